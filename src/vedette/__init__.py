"""vedette makes a small machine see and speak."""

__version__ = "0.1.0"
