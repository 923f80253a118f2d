"""The cookie of a browser that has shown a key: whose it is and until when, signed. Pure.

vedette keeps no list of logins: they outlast a restart, and end with the key that they were made with, because its hash
is part of what is signed.
"""

import hashlib
import hmac

LIFETIME_S = 30 * 24 * 3600.0


def seal(name: str, digest: str, owner_key: str, now: float) -> str:
    """The cookie's value for the key of this name. digest: the key's hash; now: Unix time in seconds."""
    expires = str(round(now + LIFETIME_S))
    return f"{name}:{expires}:{_signature(name, expires, digest, owner_key)}"


def named_in(value: str) -> str:
    """The name of the key that a cookie claims to be made with."""
    return value.partition(":")[0]


def is_valid(value: str, digest: str, owner_key: str, now: float) -> bool:
    """Whether a cookie was made by this vedette with the key of this hash, and has not expired."""
    name, _, rest = value.partition(":")
    expires, _, signature = rest.partition(":")
    if not (expires.isascii() and expires.isdigit() and len(expires) < 15 and signature.isascii()):
        return False
    return hmac.compare_digest(signature, _signature(name, expires, digest, owner_key)) and now < int(expires)


def _signature(name: str, expires: str, digest: str, owner_key: str) -> str:
    text = "\n".join(("vedette session", name, expires, digest))
    return hmac.new(owner_key.encode(), text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()
