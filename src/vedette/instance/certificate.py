"""The certificate that vedette serves with over HTTPS: the user's, or one that vedette makes."""

from pathlib import Path

from vedette.settings.home import Home


def served_certificate(home: Home) -> Path:
    """A copy of the certificate that this home's vedette serves with, by which its own commands know it."""
    return home.access / "served.pem"
