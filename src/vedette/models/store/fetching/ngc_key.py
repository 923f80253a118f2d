"""The key for NVIDIA's catalogue: from the environment, from `ngc config set`, or from a file of vedette's."""

import base64
import configparser
import json
import os
import stat
import time
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vedette.files import read_whole
from vedette.models.store.fetching.model_source import SourceError, Trouble
from vedette.models.store.fetching.origin import NgcPath
from vedette.models.store.fetching.web_access import WebAccess, read_answer, web_troubles

KEYS_PAGE = "https://org.ngc.nvidia.com/setup/api-keys"
KEY_FILE = "ngc"
MAX_FILE_BYTES = 64_000
MAX_ANSWER_BYTES = 1_000_000
RENEW_BEFORE_S = 60.0
USUAL_LIFE_S = 300.0
"""Of a token whose server does not say how long it is good."""
_VARIABLES = ("NGC_CLI_API_KEY", "NGC_API_KEY", "NGC_APP_KEY")
_BEARER = "nvapi-"
_NOTHING = {"no-apikey", "no-org", "no-team"}


@dataclass(frozen=True)
class NgcKey:
    """A key, and the organisation that its owner has chosen."""

    key: str = field(repr=False)
    org: str | None = None
    team: str | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """What says to the API for whom a request is."""
        if self.org is None:
            return {}
        return {"nv-ngc-org": self.org} | ({"nv-ngc-team": self.team} if self.team else {})


@dataclass(frozen=True)
class Token:
    """What the API is asked with."""

    value: str = field(repr=False)
    good_until_s: float
    """Of `time.monotonic`."""


def read_ngc_key(keys: Path, environment: Mapping[str, str] = os.environ) -> NgcKey | None:
    """The first key of: the environment, the file of `ngc config set`, the file `ngc` in vedette's directory of keys.

    None without any. Raises SourceError (KEY_OPEN) if others can read vedette's file.
    """
    base = environment.get("NGC_CLI_HOME")
    config = _read_config((Path(base).expanduser() if base else Path.home()) / ".ngc" / "config")
    org, team = (config.get(name) if config.get(name) not in _NOTHING else None for name in ("org", "team"))
    for name in _VARIABLES:
        if environment.get(name, "").strip():
            return NgcKey(environment[name].strip(), org, team)
    if config.get("apikey") and config["apikey"] not in _NOTHING:
        return NgcKey(config["apikey"], org, team)
    try:
        path = keys / KEY_FILE
        if stat.S_IMODE(path.lstat().st_mode) & 0o077:
            raise SourceError(Trouble.KEY_OPEN, str(path))
        return NgcKey(read_whole(path, MAX_FILE_BYTES, own=True).decode("ascii").strip(), org, team)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        raise SourceError(Trouble.KEY_OPEN, str(path)) from None


def _read_config(path: Path) -> dict[str, str]:
    """The section that `ngc config set` writes; empty if there is none."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(read_whole(path, MAX_FILE_BYTES).decode())
        return dict(parser["CURRENT"])
    except (OSError, RuntimeError, UnicodeDecodeError, configparser.Error, KeyError):
        return {}


def read_token(key: NgcKey, path: NgcPath, authority: str) -> Token:
    """What the API is asked with: a personal key itself (`nvapi-…`), or the token that is given for an older key.

    authority: the address of the server that gives tokens. Raises SourceError.
    """
    if key.key.startswith(_BEARER):
        return Token(key.key, float("inf"))
    scopes = [f"group/ngc:{path.org}"] + ([f"group/ngc:{path.org}/{path.team}"] if path.team else [])
    query = urllib.parse.urlencode({"service": "ngc", "scope": scopes}, doseq=True)
    basic = base64.b64encode(f"$oauthtoken:{key.key}".encode()).decode()
    access = WebAccess(authority, {"Authorization": f"Basic {basic}"})
    try:
        with web_troubles():
            response = access.open(f"{authority}/token?{query}")
        document = json.loads(read_answer(response, MAX_ANSWER_BYTES))
        token, life_s = document["token"], document.get("expires_in", 0)
    except SourceError as error:
        refused = error.trouble is Trouble.REFUSED and error.detail in {"400", "401", "403"}
        raise SourceError(Trouble.KEY_REFUSED, error.detail, KEYS_PAGE) if refused else error from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise SourceError(Trouble.ODD_ANSWER) from None
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise SourceError(Trouble.ODD_ANSWER)
    good_s = life_s if isinstance(life_s, (int, float)) and life_s > 0 else USUAL_LIFE_S
    return Token(token, time.monotonic() + good_s - RENEW_BEFORE_S)
