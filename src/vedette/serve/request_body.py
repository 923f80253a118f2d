"""A request's body, read whole within bounds and unpacked, so that a small packed one cannot become a large one."""

import zlib
from collections.abc import AsyncIterator, Callable, Iterator

from aiohttp import web

from vedette.errors import BadInputError, TooLargeError

MAX_BODY_BYTES = 32 * 2**20
"""The limit of a request: about twenty pictures of a megapixel in base64."""
_STEP_BYTES = 256 * 1024
"""What is unpacked at a time."""


async def read_body(request: web.Request) -> AsyncIterator[bytes]:
    """Yield the body in pieces, unpacked. The app's server must not unpack bodies itself (runner.py).

    Raises BadInputError, TooLargeError.
    """
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise _too_large()
    unpack = _unpacker(request.headers.get("Content-Encoding", ""))
    size = 0
    async for chunk in request.content.iter_any():
        for piece in unpack(chunk):
            size += len(piece)
            if size > MAX_BODY_BYTES:
                raise _too_large()
            yield piece
    for piece in unpack(b""):
        yield piece


def _unpacker(encoding: str) -> Callable[[bytes], Iterator[bytes]]:
    """What unpacks chunk after chunk; an empty chunk is the end."""
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return _as_it_is
    if name in ("gzip", "x-gzip", "deflate"):
        return _Inflating(name == "deflate").unpack
    raise BadInputError("serve.encoding_unknown", encoding=encoding[:50])


def _as_it_is(chunk: bytes) -> Iterator[bytes]:
    if chunk:
        yield chunk


class _Inflating:
    """Unpacks gzip and deflate in steps."""

    def __init__(self, is_deflate: bool) -> None:
        self._is_deflate = is_deflate
        self._inflater = None if is_deflate else zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    def unpack(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what a chunk holds. Raises BadInputError for damaged data, and at the end for data that is missing."""
        try:
            if chunk:
                yield from self._inflate(chunk)
            elif self._inflater is not None and not self._inflater.eof:
                raise BadInputError("serve.body_unreadable", error="incomplete data")
        except zlib.error as error:
            raise BadInputError("serve.body_unreadable", error=str(error)) from error

    def _inflate(self, chunk: bytes) -> Iterator[bytes]:
        inflater = self._inflater
        if inflater is None:  # "deflate" has zlib's header by its standard, and none from some clients
            inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS if chunk[0] & 0xF == 8 else -zlib.MAX_WBITS)
            self._inflater = inflater
        if inflater.eof:
            raise BadInputError("serve.body_unreadable", error="data after the end")
        while chunk and not inflater.eof:
            yield inflater.decompress(chunk, _STEP_BYTES)
            chunk = inflater.unconsumed_tail
        if inflater.unused_data:
            raise BadInputError("serve.body_unreadable", error="data after the end")


def _too_large() -> TooLargeError:
    return TooLargeError("serve.request_too_large", limit_bytes=MAX_BODY_BYTES)
