"""The share of each log in the size of all. Pure. A log is two files: the current half and the older one."""

from vedette.settings.table import Settings
from vedette.units import MIB


def server_log_bytes(settings: Settings) -> int:
    """Of vedette's own log."""
    return settings.log_mib * MIB // 4


def engine_log_bytes(settings: Settings) -> int:
    """Of the log of each engine."""
    return (settings.log_mib * MIB - server_log_bytes(settings)) // (1 + len(settings.beside))
