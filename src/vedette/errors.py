"""The one error tree.

An error says what happened and why (`sentence`) and what to do next (`hint`). It knows neither HTTP nor
exit codes: the CLI and the app render it, each in one place. A bug is no `VedetteError` and keeps its traceback.
"""

from typing import ClassVar


class VedetteError(Exception):
    """Base of everything vedette tells a person about; `code` is stable and for programs."""

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(self, sentence: str, hint: str) -> None:
        super().__init__(f"{sentence} {hint}")
        self.sentence = sentence
        self.hint = hint

    def as_json(self) -> dict[str, object]:
        return {"code": self.code, "sentence": self.sentence, "hint": self.hint, "retryable": self.retryable}


class ConfigError(VedetteError):
    """A setting that cannot be used: unknown key, wrong type, unreadable file."""

    code = "config"


class DeviceError(VedetteError):
    """A device name that is not known, or facts that cannot be read."""

    code = "device"


class ModelNotFoundError(VedetteError):
    """No such model here, and none could be fetched."""

    code = "model_not_found"


class ModelCorruptError(VedetteError):
    """A model's files are there but cannot be what they say they are."""

    code = "model_corrupt"


class DoesNotFitError(VedetteError):
    """The plan needs more memory than the device has available."""

    code = "does_not_fit"


class DiskFullError(VedetteError):
    """Not enough disk space for what is about to be written; checked before writing."""

    code = "disk_full"


class EngineInstallError(VedetteError):
    """The engine's environment could not be made."""

    code = "engine_install"
    retryable = True


class EngineFailedError(VedetteError):
    """The engine ended, or never became ready."""

    code = "engine_failed"


class SwapFailedError(VedetteError):
    """Another model did not come up in the place of the one that was served, which is brought back."""

    code = "swap_failed"


class EngineUnavailableError(VedetteError):
    """No engine can answer right now; asking again later may work."""

    code = "engine_unavailable"
    retryable = True


class RequestRefusedError(VedetteError):
    """The engine refused a request: too long, malformed, unknown model."""

    code = "request_refused"


class BadInputError(VedetteError):
    """What a person or a page sent cannot be used: no image, no JSON, wrong fields."""

    code = "bad_input"


class TooLargeError(BadInputError):
    """Input over the size limit."""

    code = "too_large"


class AlreadyRunningError(VedetteError):
    """Another vedette serves from this home already."""

    code = "already_running"


class NotRunningError(VedetteError):
    """Nothing is running that could be asked or stopped."""

    code = "not_running"


class PortInUseError(VedetteError):
    """The port vedette should listen on is taken."""

    code = "port_in_use"


class ServiceError(VedetteError):
    """The service could not be installed, removed or looked at."""

    code = "service"
