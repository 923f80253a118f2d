"""Where a model comes from, as a person writes it: `ngc:org/team/model:version`, `modelscope:org/name`, an address."""

import hashlib
import re
from dataclasses import dataclass
from enum import Enum
from urllib.parse import urlsplit

from vedette.errors import ModelNotFoundError

_WORD = "[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
_REPOSITORY = re.compile(f"{_WORD}/{_WORD}")
_NGC = re.compile(f"({_WORD})/(?:({_WORD})/)?({_WORD}):({_WORD})")
_LOCAL = {"localhost", "127.0.0.1", "::1"}
MAX_ADDRESS = 1024
PARTIAL = ".partial"
"""Suffix of a directory whose download is not complete."""


class Kind(Enum):
    """What speaks to a source: one file each in this folder."""

    HUGGING_FACE = "huggingface"
    NGC = "ngc"
    MODELSCOPE = "modelscope"
    WEB = "web"


@dataclass(frozen=True)
class Origin:
    """One model at one source."""

    kind: Kind
    path: str
    """Within the source: `org/name`, `org/team/model:version`, or a whole address of the web."""

    @property
    def name(self) -> str:
        """What a person types for it; a Hugging Face model's is its ID."""
        return self.path if self.kind in {Kind.HUGGING_FACE, Kind.WEB} else f"{self.kind.value}:{self.path}"

    @property
    def directory_name(self) -> str:
        """The name of its directory among the downloaded models. Only sources other than the hub have a `+` in it."""
        if self.kind is Kind.HUGGING_FACE:
            return self.path.replace("/", "--")
        if self.kind is Kind.WEB:
            last = re.sub("[^A-Za-z0-9._-]", "", self.path.rstrip("/").rpartition("/")[2])[:80] or "model"
            return f"web+{hashlib.sha256(self.path.encode()).hexdigest()[:12]}+{last}"
        return f"{self.kind.value}+{re.sub('[/:]', '+', self.path)}"


@dataclass(frozen=True)
class NgcPath:
    """A version of a model in NVIDIA's catalogue."""

    org: str
    team: str | None
    model: str
    version: str

    @property
    def directory_name(self) -> str:
        """Of the directory that `ngc registry model download-version` makes."""
        return f"{self.model}_v{self.version}"


def parse_ngc_path(path: str) -> NgcPath:
    """path: `org/team/model:version` or `org/model:version`, as an Origin has it."""
    found = _NGC.fullmatch(path)
    if found is None or ".." in path:
        raise ValueError(path)
    return NgcPath(*found.groups())


def parse_origin(argument: str) -> Origin | None:
    """The origin that an argument with a source's name before it means; None for any other argument.

    Raises ModelNotFoundError if the argument names a source, and no model that it could have.
    """
    scheme, colon, path = argument.partition(":")
    if scheme in {"http", "https"} and path.startswith("//"):
        return _web_origin(argument)
    if not colon or scheme not in {Kind.NGC.value, Kind.MODELSCOPE.value, Kind.HUGGING_FACE.value}:
        return None
    kind = Kind(scheme)
    if kind is Kind.NGC:
        try:
            parse_ngc_path(path)
        except ValueError:
            raise ModelNotFoundError("models.not_an_ngc_name", name=argument[:MAX_ADDRESS]) from None
    elif not _REPOSITORY.fullmatch(path) or ".." in path:
        raise ModelNotFoundError("models.not_a_repository", name=argument[:MAX_ADDRESS], source=scheme)
    return Origin(kind, path)


def _web_origin(argument: str) -> Origin:
    """Raises ModelNotFoundError for an address with a key in it, which would be in logs, and for one without TLS."""
    try:
        parts = urlsplit(argument)
        plain = not (parts.username or parts.password or parts.query or parts.fragment) and parts.port != 0
    except ValueError:
        parts, plain = urlsplit(""), False
    trusted = parts.scheme == "https" or parts.hostname in _LOCAL
    odd = len(argument) > MAX_ADDRESS or re.search(r"[\s\\\x00-\x1f\x7f]", argument) or ".." in argument
    if not parts.hostname or not plain or not trusted or odd or not argument.isascii():
        raise ModelNotFoundError("models.not_an_address")
    return Origin(Kind.WEB, argument.rstrip("/"))
