"""Frames out of films, by PyAV. The picture worker imports this in its own process; nothing of vedette is there.

Films are given by their container's name and held to a few codecs: FFmpeg knows hundreds, and some open other files.
"""

import itertools
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import av

_CODECS = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mjpeg"})
_MOST_PIXELS = 3840 * 2160
"""Of a frame. The codecs hold up to 16 of them."""
_MOST_FRAMES = 20_000
_MOST_DECODED_PIXELS = 1_500_000_000
"""Of all frames together: about 4 s of processor time. Of longer films only key frames are decoded."""


class FilmError(Exception):
    """The film cannot be used; `answer` goes to vedette."""

    def __init__(self, reason: str, **details: object) -> None:
        super().__init__(reason)
        self.answer = {"refused": reason, **details}


def read_frames(
    data: bytes, container: str, most: int, fit: "Callable[[tuple[int, int]], tuple[int, int]]"
) -> "Iterator[Any]":
    """At most `most` frames as pictures in RGB, from the first to the last, upright, of the size that `fit` gives."""
    with av.open(BytesIO(data), format=container) as film:
        if not film.streams.video:
            raise FilmError("damaged", error="no picture in the film")
        stream = film.streams.video[0]
        context = stream.codec_context
        size = (context.width, context.height)
        if context.name not in _CODECS:
            raise FilmError("codec", codec=context.name)
        if not 0 < size[0] * size[1] <= _MOST_PIXELS:
            raise FilmError("film_too_large", width=size[0], height=size[1], most_pixels=_MOST_PIXELS)
        context.thread_count = 1
        times = _times(film, stream)
        if len(times) > _MOST_FRAMES:
            raise FilmError("film_long", frames=len(times) - 1)
        small = fit(size)
        short = len(times) * size[0] * size[1] <= _MOST_DECODED_PIXELS
        for frame in (_all if short else _key_frames)(film, stream, _spread(times, most)):
            image = frame.reformat(width=small[0], height=small[1], format="rgb24").to_image()
            yield image.rotate(frame.rotation, expand=True) if frame.rotation else image


def _times(film: Any, stream: Any) -> "list[int]":
    """The times of all frames in their order, without decoding: what a header says of their number may be wrong."""
    packets = itertools.islice(film.demux(stream), _MOST_FRAMES + 2)
    times = sorted(packet.pts for packet in packets if packet.pts is not None)
    film.seek(0)
    if not times:
        raise FilmError("damaged", error="no frame in the film")
    return times


def _spread(times: "list[int]", most: int) -> "list[int]":
    if len(times) <= most:
        return times
    return [times[number * (len(times) - 1) // max(1, most - 1)] for number in range(most)]


def _all(film: Any, stream: Any, wanted: "list[int]") -> "Iterator[Any]":
    """Decode from the start; the frames at the wanted times, or the next ones after them."""
    left = iter(wanted)
    time = next(left, None)
    for frame in film.decode(stream):
        if time is None:
            return
        if frame.pts is not None and frame.pts >= time:
            yield frame
            time = next(left, None)


def _key_frames(film: Any, stream: Any, wanted: "list[int]") -> "Iterator[Any]":
    """The last key frame before each wanted time; each but once."""
    stream.codec_context.skip_frame = "NONKEY"
    shown = None
    for time in wanted:
        film.seek(time, stream=stream)
        frame = next(film.decode(stream), None)
        if frame is not None and frame.pts != shown:
            shown = frame.pts
            yield frame
