"""The one admission: every request to `/v1` is held against the plan here before it reaches the engine."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from vedette.errors import BadInputError
from vedette.plan.plan import Context
from vedette.serve.admission.media_parts import MediaKind, MediaPart, media_of
from vedette.serve.admission.media_url import is_data_url
from vedette.serve.admission.picture_gate import PictureGate, clip_limits, picture_limits
from vedette.serve.admission.request_fields import check_fields, prompts_in
from vedette.serve.admission.request_json import check_size, parse_request
from vedette.serve.admission.request_limits import RequestLimits
from vedette.serve.admission.response_items import check_items
from vedette.serve.admission.schemas import check_schemas


@dataclass(frozen=True)
class Asked:
    """A request as the client sent it."""

    body: bytes | bytearray | None
    """None if it has none."""
    model: str | None
    """The model that it names."""
    document: Any
    """The values of its JSON."""
    path: str
    """Its address."""


@dataclass(frozen=True)
class Admitted:
    """A request that may be sent to the engine."""

    body: bytes | bytearray | None
    """As the client sent it, unless a picture had to be made smaller."""
    path: str
    """Its address."""
    sequences: int = 1
    """Answers that the engine generates for it at once."""
    has_media: bool = False
    context: Context | None = None
    """The plan that it was held against; None: only its JSON was read."""


class Admission:
    """Admits requests to plans."""

    def __init__(self, gate: PictureGate) -> None:
        self._gate = gate

    async def admit(self, asked: Asked, context: Context, client: Hashable) -> Admitted:
        """The request for an engine with this plan. Raises BadInputError, TooLargeError if it asks for too much."""
        document = asked.document
        if not asked.body or not isinstance(document, (dict, list)):
            return Admitted(asked.body, asked.path, context=context)
        limits = RequestLimits(context)
        media = list(media_of(document, asked.path))
        prompts = conversations = sequences = 1
        if isinstance(document, dict):
            conversations = prompts_in(document.get("messages"))
            prompts = max(conversations, prompts_in(document.get("prompt")))
            sequences = check_fields(document, limits)
            check_schemas(document)
            check_items(asked.path, document.get("input"))
        _check_text(len(asked.body) - sum(part.size for part in media), limits.text_bytes(prompts), context)
        _check_media(media, limits, conversations)
        changed = [await self._pass(part, context, client) for part in media]
        body = _encoded(document) if any(changed) else asked.body
        return Admitted(body, asked.path, sequences, bool(media), context)

    async def _pass(self, part: MediaPart, context: Context, client: Hashable) -> bool:
        """Put what the gate makes of a picture or clip in its place; whether that is something else."""
        if part.kind is MediaKind.PICTURE:
            url = await self._gate.picture_url(part.url, picture_limits(context), client)
        else:
            url = await self._gate.clip_url(part.url, clip_limits(context), client)
        if url is part.url:
            return False
        part.replace(url)
        return True


def read_request(body: bytes | bytearray | None, most_values: int, path: str) -> Asked:
    """The request that a body holds. Raises BadInputError for what is no JSON, too deep, or of too many values."""
    if not body:
        return Asked(body, None, None, path)
    check_size(body, most_values)
    document = parse_request(body)
    model = document.get("model") if isinstance(document, dict) else None
    return Asked(body, model if isinstance(model, str) else None, document, path)


def media_in(body: bytes, path: str) -> list[str]:
    """The `data:` addresses in an admitted request to an address."""
    document = parse_request(body)
    return [part.url for part in media_of(document, path)] if isinstance(document, (dict, list)) else []


def _check_text(size: int, most: int, context: Context) -> None:
    if size > most:
        raise BadInputError("serve.text_too_long", size=size, most=most, context_tokens=context.max_model_len)


def _check_media(media: Sequence[MediaPart], limits: RequestLimits, conversations: int) -> None:
    for part in media:
        if not is_data_url(part.url):
            raise BadInputError("serve.address_refused", address=part.url[:100])
    pictures = sum(part.kind is MediaKind.PICTURE for part in media)
    if pictures and not limits.pictures:
        raise BadInputError("serve.no_pictures")
    if pictures > limits.pictures * conversations:
        raise BadInputError("serve.too_many_pictures", pictures=pictures, most=limits.pictures)


def _encoded(document: Any) -> bytes:
    try:
        return msgspec.json.encode(document)
    except OverflowError as error:
        raise BadInputError("serve.not_json", error=str(error)) from error
