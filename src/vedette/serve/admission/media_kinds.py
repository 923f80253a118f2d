"""Kinds of files by their first bytes: those that the picture worker decodes, and the names of others. Pure."""

import re

from vedette.language.message import Message

_AVIF = rb".{4}ftyp(?:avi[fs]|mif1.{4,40}avif)"
_DECODED = re.compile(
    rb"\xff\xd8|\x89PNG\r\n\x1a\n|GIF8|BM|RIFF....WEBP|II\*\0|MM\0\*|II\+\0|MM\0\+|" + _AVIF, re.DOTALL
)
_ANIMATED = re.compile(rb"GIF8|RIFF....WEBP|\x89PNG|" + _AVIF, re.DOTALL)
_HEIC_BRANDS = rb"hei[cxmsf]|hev[cxms]|mif1|msf1"
_NAMES: tuple[tuple[str | Message, re.Pattern[bytes]], ...] = tuple(
    (name, re.compile(signature, re.DOTALL))
    for name, signature in (
        ("HEIC", rb".{4}ftyp(?:%s)" % _HEIC_BRANDS),
        ("MP4", rb".{4}(?:ftyp|moov|mdat|wide|free|skip)"),
        ("WebM", rb"\x1aE\xdf\xa3"),
        ("AVI", rb"RIFF....AVI "),
        ("WAV", rb"RIFF....WAVE"),
        ("SVG", rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!(?:--.{0,500}?--|DOCTYPE[^>]{0,500})>\s*)*<svg"),
        ("PDF", rb"%PDF-"),
        ("PostScript", rb"%!PS"),
        (Message("serve.kind.numpy"), rb"\x93NUMPY"),
        (Message("serve.kind.torch"), rb"PK\x03\x04.{26}[^/]{1,60}/(?:data\.pkl|\.format_version|byteorder)"),
        (Message("serve.kind.pickle"), rb"\x80[\x02-\x05]"),
        ("safetensors", rb".{3}\0\0\0\0\0\s*\{"),
        ("ZIP", rb"PK\x03\x04"),
        ("gzip", rb"\x1f\x8b"),
        ("JPEG 2000", rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"),
        ("JPEG XL", rb"\0\0\0\x0cJXL \r\n\x87\n|\xff\x0a"),
        ("PSD", rb"8BPS"),
        ("ICO", rb"\0\0[\x01\x02]\0"),
        ("PNM", rb"P[1-7]\s"),
        (Message("serve.kind.python_text"), rb"<[\w.]+ .{0,80}at 0x[0-9a-fA-F]+>|<_io\."),
        ("HTML", rb"\s*<(?i:!doctype html|html|head|body)"),
        ("XML", rb"\s*<\?xml"),
    )
)
_CONTAINERS = {"MP4": "mp4", "WebM": "matroska", "AVI": "avi"}
_LONGEST_HEADER = 1200


def is_decoded(data: bytes) -> bool:
    """Whether the worker may be able to decode the file: JPEG, PNG, WebP, GIF, AVIF, TIFF or BMP."""
    return bool(_DECODED.match(data))


def is_animation(data: bytes) -> bool:
    """Whether the file is of a kind whose frames the worker can decode: GIF, WebP, PNG or AVIF."""
    return bool(_ANIMATED.match(data))


def kind_of(data: bytes) -> str | Message:
    """The name of a kind of file that is not decoded."""
    start = data[:_LONGEST_HEADER]
    known = next((name for name, signature in _NAMES if signature.match(start)), None)
    return known or (Message("serve.kind.text") if _is_text(start) else Message("serve.kind.unknown"))


def film_container(data: bytes) -> str | None:
    """FFmpeg's name of a film's format; None for anything else."""
    kind = kind_of(data)
    return _CONTAINERS.get(kind) if isinstance(kind, str) else None


def _is_text(start: bytes) -> bool:
    try:
        text = start.decode()
    except UnicodeDecodeError as error:
        if error.start < len(start) - 4:
            return False
        text = start[: error.start].decode()
    return bool(text) and all(sign.isprintable() or sign.isspace() for sign in text)
