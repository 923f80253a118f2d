"""The one error tree.

    VedetteError
    ├── ConfigError                a setting, or a directory that a setting names, cannot be used
    ├── DeviceError                an unknown board, or a machine whose memory cannot be read
    ├── ModelNotFoundError         no such model here, and none could be fetched
    ├── ModelCorruptError          a model's files are damaged or impossible
    ├── DoesNotFitError            the plan needs more memory than there is
    ├── DiskFullError              no room for the files that were about to be written
    ├── FileAccessError            a file of vedette's cannot be read or written
    ├── EngineInstallError         the engine's environment or image could not be made
    ├── EngineVersionError         a version of vLLM that cannot run the plan
    ├── EngineFailedError          the engine ended, or never became ready
    │   └── EngineDiedError        … with a cause that was found
    ├── SwapFailedError            the next model did not start; the one before is started again
    ├── EngineUnavailableError     no engine can answer now; a later attempt may succeed
    │   └── EngineUnreachableError nothing listens where the engine did
    ├── EngineAnswerError          what an engine or a server sent cannot be read
    ├── RequestRefusedError        the engine refused a request
    ├── BadInputError              input that cannot be used
    │   ├── TooLargeError          input above a size limit
    │   └── CostlyRequestError     a request with which an engine ran out of memory
    ├── TooSlowError               a client that keeps vedette waiting
    ├── OverloadedError            more connections or bytes than vedette holds at a time
    ├── TooManyRequestsError       more than one client may use
    ├── UnauthorizedError          a request without the key that it needs
    ├── ForbiddenError             a request from another site, or without the right to do this
    ├── NoSuchPageError            an address that the app does not have
    ├── AlreadyRunningError        another vedette serves from this home
    ├── NotRunningError            nothing is running that could answer or be stopped
    ├── PortInUseError             the port is taken, or not allowed
    ├── ServiceError               systemd could not do what was asked
    ├── RemoteError                an error that a running vedette answered with
    └── FaultError                 a fault of vedette's own

An error holds a message (language/message.py): what happened and why, and what to do next. It knows neither HTTP nor
exit codes: the CLI and the app show it, each in one place. A bug is no VedetteError and keeps its traceback.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from vedette.language.message import Message, Parameter, hint_of, message_json, received_message, say


class VedetteError(Exception):
    """Base of every error that vedette shows to a person; `code` is stable and for programs."""

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False
    """Whether the same request may succeed later without a change."""

    def __init__(self, code: str, /, **params: Parameter) -> None:
        """code: of a sentence and a hint in the language tables; params: the values that they speak of."""
        self.message = Message(code, **params)
        super().__init__(f"{self.sentence} {self.hint}".strip())

    @property
    def sentence(self) -> str:
        """What happened and why, in English."""
        return say(self.message)

    @property
    def hint(self) -> str:
        """What to do next, in English; empty where nothing can be done."""
        return hint_of(self.message) or ""

    def as_json(self) -> dict[str, Any]:
        """The error for programs and for the page."""
        return {
            "code": self.code,
            "sentence": self.sentence,
            "hint": self.hint,
            "retryable": self.retryable,
            "message": message_json(self.message),
        }


@dataclass(frozen=True)
class Cause:
    """Why no engine serves; `code` is stable and for programs."""

    code: str
    message: Message

    @property
    def sentence(self) -> str:
        """What happened and why, in English."""
        return say(self.message)

    @property
    def hint(self) -> str:
        """What to do next, in English."""
        return hint_of(self.message) or ""


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
    """A model's files are damaged, or hold values that are impossible."""

    code = "model_corrupt"


class DoesNotFitError(VedetteError):
    """The plan needs more memory than the device has available."""

    code = "does_not_fit"


class DiskFullError(VedetteError):
    """Not enough disk space for files that are about to be written; checked before writing."""

    code = "disk_full"


class FileAccessError(VedetteError):
    """A file that vedette keeps cannot be read or written."""

    code = "file_access"


class EngineInstallError(VedetteError):
    """The engine's environment or image could not be made."""

    code = "engine_install"
    retryable = True


class EngineVersionError(VedetteError):
    """An engine of a version that vedette does not know, or that cannot do what the plan needs."""

    code = "engine_version"


class EngineFailedError(VedetteError):
    """The engine ended, or never became ready."""

    code = "engine_failed"


class EngineDiedError(EngineFailedError):
    """The engine ended before it was ready, and the cause was found."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.message.code, **cause.message.params)
        self.cause = cause

    def as_json(self) -> dict[str, Any]:
        """The error with the cause's code, which tells more than the class's."""
        return super().as_json() | {"code": self.cause.code}


class SwapFailedError(VedetteError):
    """The next model did not start; the one before is started again."""

    code = "swap_failed"


class EngineUnavailableError(VedetteError):
    """No engine can answer now; a later attempt may succeed."""

    code = "engine_unavailable"
    retryable = True


class EngineUnreachableError(EngineUnavailableError):
    """Nothing listens where the engine did: it has seen nothing of the request."""


class EngineAnswerError(VedetteError):
    """The engine, or the server that vedette is attached to, sent something that cannot be read."""

    code = "engine_answer"


class RequestRefusedError(VedetteError):
    """The engine refused a request: too long, malformed, unknown model."""

    code = "request_refused"


class BadInputError(VedetteError):
    """Input of a person or a page that cannot be used: no image, no JSON, wrong fields."""

    code = "bad_input"


class TooLargeError(BadInputError):
    """Input above a size limit."""

    code = "too_large"


class TooSlowError(VedetteError):
    """A client that sends its request too slowly."""

    code = "too_slow"


class OverloadedError(VedetteError):
    """More connections, pages or bytes than vedette holds at a time."""

    code = "overloaded"
    retryable = True


class TooManyRequestsError(VedetteError):
    """More requests or tokens than one client may use; the message has `wait_s`."""

    code = "too_many_requests"
    retryable = True


class UnauthorizedError(VedetteError):
    """A request without a key where one is needed, or with one that is not known."""

    code = "unauthorized"


class CostlyRequestError(BadInputError):
    """A request with which an engine ran out of memory; sent again soon, it is refused."""

    code = "costly_request"


class ForbiddenError(VedetteError):
    """A request from another site's page or name, or one that its sender has no right to."""

    code = "forbidden"


class NoSuchPageError(VedetteError):
    """An address, or a method at an address, that the app does not have."""

    code = "no_such_page"


class AlreadyRunningError(VedetteError):
    """Another vedette serves from this home."""

    code = "already_running"


class NotRunningError(VedetteError):
    """Nothing is running that could answer or be stopped."""

    code = "not_running"


class PortInUseError(VedetteError):
    """The port that vedette should listen on is taken, or may not be used."""

    code = "port_in_use"


class ServiceError(VedetteError):
    """systemd could not install, remove or show the service."""

    code = "service"


class RemoteError(VedetteError):
    """An error that a running vedette answered with, as it sent it."""

    code = "remote"

    def __init__(self, document: Mapping[str, Any]) -> None:
        message = received_message(document.get("message"), document.get("sentence"), document.get("hint"))
        super().__init__(message.code, **message.params)
        self._document = document

    def as_json(self) -> dict[str, Any]:
        """The error as it came."""
        return dict(self._document)


class FaultError(VedetteError):
    """A fault of vedette's own, which a person can only report."""

    code = "fault"


def cause_of(error: VedetteError) -> Cause:
    """The cause that an error amounts to."""
    return error.cause if isinstance(error, EngineDiedError) else Cause(error.code, error.message)
