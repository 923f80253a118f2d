"""Where a request holds pictures and clips, in the shapes of OpenAI's and Anthropic's APIs. Pure.

Every object of the messages is looked at, whatever its `type` is: vLLM takes a picture from a part without a type, and
from one with a `uuid` under any type (vllm/renderers/chat_utils.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from vedette.errors import BadInputError

_WITHOUT_MEDIA = frozenset(
    {
        *("tools", "functions", "tool_choice", "tool_calls", "response_format", "structured_outputs", "text"),
        *("output_config", "metadata", "chat_template_kwargs", "vllm_xargs", "logit_bias"),
        *("guided_json", "guided_regex", "guided_choice", "guided_grammar"),
    }
)
"""Fields with values of the client's own, where a name such as `image_url` is no picture."""
_CHAT = "/v1/chat/completions"
_TEXTS_OF_CHAT = frozenset({"documents"})
"""Further ones of a chat; elsewhere (`/v1/rerank`, `/v1/score`) they hold pictures."""
_REFUSED = {
    "input_audio": "audio",
    "audio_url": "audio",
    "image_embeds": "image_embeds",
    "audio_embeds": "audio_embeds",
    "video_embeds": "video_embeds",
    "prompt_embeds": "prompt_embeds",
    "image_pil": "image_pil",
}


class MediaKind(Enum):
    PICTURE = "picture"
    CLIP = "clip"


@dataclass(frozen=True)
class MediaPart:
    """One picture or clip of a request."""

    kind: MediaKind
    url: str
    """A `data:` address, or another one."""
    size: int
    """Characters that it takes in the request."""
    _holder: dict[str, Any]
    _key: str

    def replace(self, url: str) -> None:
        """Put another `data:` address in its place."""
        if self._key == "source":
            kind, _, data = url.removeprefix("data:").partition(";base64,")
            self._holder[self._key] = {"type": "base64", "media_type": kind, "data": data}
        else:
            self._holder[self._key] = url


def media_of(document: Any, path: str) -> Iterator[MediaPart]:
    """Every picture and clip of a request to an address.

    Raises BadInputError for what the engine would have to unpack: sound, tensors.
    """
    without_media = _WITHOUT_MEDIA | _TEXTS_OF_CHAT if path.startswith(_CHAT) else _WITHOUT_MEDIA
    left = [document]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            yield from _of_object(value)
            hidden = ("input",) if value.get("type") == "tool_use" else ()
            left += [
                each
                for name, each in value.items()
                if isinstance(each, (dict, list)) and name not in without_media and name not in hidden
            ]
        else:
            left += [each for each in value if isinstance(each, (dict, list))]


def _of_object(value: dict[str, Any]) -> Iterator[MediaPart]:
    if not _REFUSED.keys().isdisjoint(value) or value.get("type") in _REFUSED:
        _refuse(value)
    if "image_url" in value:
        yield from _of_address(MediaKind.PICTURE, value, "image_url")
    if "video_url" in value:
        yield from _of_address(MediaKind.CLIP, value, "video_url")
    if value.get("type") == "image" and isinstance(value.get("source"), dict):
        yield from _of_source(value)


def _of_address(kind: MediaKind, holder: dict[str, Any], key: str) -> Iterator[MediaPart]:
    address = holder[key]
    if isinstance(address, dict):
        holder, key, address = address, "url", address.get("url")
    if isinstance(address, str):
        yield MediaPart(kind, address, len(address), holder, key)
    elif address is not None:
        raise BadInputError("serve.address_not_text", field=key)


def _of_source(holder: dict[str, Any]) -> Iterator[MediaPart]:
    """A picture of Anthropic's API."""
    source = holder["source"]
    data, address = source.get("data"), source.get("url")
    if source.get("type") == "base64" or isinstance(data, str):
        if not isinstance(data, str):
            raise BadInputError("serve.address_not_text", field="data")
        kind = source.get("media_type")
        url = f"data:{kind if isinstance(kind, str) else 'image/jpeg'};base64,{data}"
        yield MediaPart(MediaKind.PICTURE, url, len(data), holder, "source")
    elif isinstance(address, str):
        yield MediaPart(MediaKind.PICTURE, address, len(address), holder, "source")


def _refuse(value: dict[str, Any]) -> None:
    kind = value.get("type")
    for name, sort in _REFUSED.items():
        if value.get(name) is not None or kind == name:
            if sort == "audio":
                raise BadInputError("serve.no_sound")
            raise BadInputError("serve.no_tensors", field=name)
