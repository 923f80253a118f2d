"""The certificate that vedette serves with over HTTPS: the user's, or one that vedette makes with `openssl`.

A Python library that makes certificates is ten times as large as vedette; nearly every Linux has `openssl`.
"""

import hashlib
import socket
import ssl
import subprocess
from pathlib import Path

from vedette.errors import ConfigError
from vedette.files import read_whole, write_whole
from vedette.settings.home import Home
from vedette.settings.table import Settings

_DAYS = 825
"""The longest that some browsers accept."""
_MOST_BYTES = 1_000_000
_RENEW_S = 30 * 24 * 3600
_COMMAND_TIMEOUT_S = 30


def server_context(settings: Settings, home: Home) -> ssl.SSLContext:
    """What a server needs for HTTPS. A copy of the certificate is kept for `served_certificate`. Raises ConfigError."""
    home.access.mkdir(mode=0o700, parents=True, exist_ok=True)
    if settings.tls_cert is not None and settings.tls_key is not None:
        certificate, key = Path(settings.tls_cert).expanduser(), Path(settings.tls_key).expanduser()
    else:
        certificate, key = _own_certificate(home)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        chain, _ = (
            read_whole(certificate, _MOST_BYTES),
            read_whole(key, _MOST_BYTES),
        )  # a pipe would keep OpenSSL waiting
        context.load_cert_chain(certificate, key, password=lambda: "")  # never ask for one on the terminal
        write_whole(served_certificate(home), chain)
    except (OSError, ValueError) as error:
        raise ConfigError("instance.tls_unusable", path=str(certificate), error=str(error)) from error
    return context


def served_certificate(home: Home) -> Path:
    """A copy of the certificate that this home's vedette serves with, by which its own commands know it."""
    return home.access / "served.pem"


def fingerprint(certificate: Path) -> str:
    """The SHA-256 of the first certificate in a file, as browsers show it."""
    digest = (
        hashlib.sha256(ssl.PEM_cert_to_DER_cert(read_whole(certificate, _MOST_BYTES).decode("ascii")))
        .hexdigest()
        .upper()
    )
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


def _own_certificate(home: Home) -> tuple[Path, Path]:
    """vedette's own certificate and key, made anew before it expires. Raises ConfigError without `openssl`."""
    certificate, key = home.access / "own.pem", home.access / "own.key"
    if key.exists() and _run("x509", "-in", str(certificate), "-noout", "-checkend", str(_RENEW_S)) is None:
        return certificate, key
    name = socket.gethostname()
    names = ",".join(f"DNS:{each}" for each in dict.fromkeys(("localhost", name, f"{name}.local")))
    made_key, made = home.access / "own.key.part", home.access / "own.pem.part"
    made_key.touch(mode=0o600)
    error = _run(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", str(_DAYS)),
        *("-keyout", str(made_key), "-out", str(made), "-subj", "/CN=vedette"),
        *("-addext", f"subjectAltName={names},IP:127.0.0.1,IP:::1"),
    )
    if error is not None:
        raise ConfigError("instance.no_openssl", error=error)
    made_key.replace(key)
    made.replace(certificate)
    return certificate, key


def _run(*words: str) -> str | None:
    """Why a command of `openssl` failed; None if it did not."""
    try:
        result = subprocess.run(
            ["openssl", *words], capture_output=True, text=True, check=False, timeout=_COMMAND_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    lines = (result.stderr or result.stdout).strip().splitlines()
    return None if result.returncode == 0 else (lines[-1] if lines else f"openssl: {result.returncode}")
