"""Plans for programs: the types of the JSON that docs/design.md describes. Bytes throughout.

Sentences are English. Beside each stands its message, from which a program makes it in another language.
"""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from vedette.device.device import Device
from vedette.language.message import Message, message_json, say
from vedette.plan.plan import Context, Memory, Plan, Reason, Speed


class MessageDocument(msgspec.Struct, frozen=True):
    """A sentence as its code in the language tables and its parameters."""

    code: str
    params: dict[str, Any]


class DeviceDocument(msgspec.Struct, frozen=True):
    """The device of a plan."""

    name: str
    memory_total_bytes: int
    memory_available_bytes: int
    assumed: bool
    """From the catalogue of boards, not read from a machine."""


class EngineDocument(msgspec.Struct, frozen=True):
    """What runs the plan, and the command that starts it by hand."""

    kind: str
    """environment, container or external."""
    version: str | None
    """Of vLLM."""
    image: str | None
    """Of a container, by digest where that is known."""
    argv: list[str]
    env: dict[str, str]


class MemoryDocument(msgspec.Struct, frozen=True):
    """Bytes of each part."""

    weights_bytes: int
    kv_cache_bytes: int
    activation_bytes: int
    vision_activation_bytes: int
    cuda_graph_bytes: int
    runtime_bytes: int
    host_bytes: int
    reserve_bytes: int
    total_bytes: int
    """Sum of the parts; without host_bytes where a GPU's memory is its own."""
    available_bytes: int


class ContextDocument(msgspec.Struct, frozen=True):
    """The context as one budget of tokens."""

    max_model_len: int
    visual_tokens: int
    """The most that one picture takes."""
    images_per_request: int
    prompt_tokens: int
    answer_tokens: int
    image_max_pixels: int | None
    concurrency: int


class SpeedDocument(msgspec.Struct, frozen=True):
    """Limits of the hardware; null where a figure of the device is not known."""

    decode_tokens_per_s_ceiling: float | None
    decode_tokens_per_s: float | None
    first_token_ms_floor: float | None


class WishDocument(msgspec.Struct, frozen=True):
    """Whether the wish is granted; all but `met` only where it is not and something else is planned instead."""

    met: bool
    wished: str | UnsetType = UNSET
    wished_message: MessageDocument | UnsetType = UNSET
    planned: str | UnsetType = UNSET
    planned_message: MessageDocument | UnsetType = UNSET
    missing_bytes: int | UnsetType = UNSET
    ignored: list[str] | UnsetType = UNSET
    """Wishes that the model cannot grant on any device."""
    ignored_messages: list[MessageDocument] | UnsetType = UNSET


class ReasonDocument(msgspec.Struct, frozen=True):
    """Why one number is what it is."""

    subject: str
    value: str
    why: str
    basis: str
    """computed, assumed or calibrated."""
    message: MessageDocument
    """Of `why`."""


class PlanDocument(msgspec.Struct, frozen=True):
    """One model on one device."""

    model: str
    device: DeviceDocument
    engine: EngineDocument
    fits: bool
    memory: MemoryDocument
    context: ContextDocument
    speed: SpeedDocument
    wish: WishDocument
    reasons: list[ReasonDocument]
    shortfall_bytes: int | UnsetType = UNSET
    """Only if it does not fit."""
    unsupported: str | UnsetType = UNSET
    """Only if this device cannot run this model with any amount of memory."""
    unsupported_message: MessageDocument | UnsetType = UNSET


class PackingDocument(msgspec.Struct, frozen=True):
    """Several models on one device."""

    device: DeviceDocument
    reserve_bytes: int
    """Kept free once for all models."""
    together: list[PlanDocument]
    in_turns: list[PlanDocument]


def plan_document(plan: Plan, device: Device, engine: EngineDocument) -> PlanDocument:
    """Return a plan as programs read it."""
    return PlanDocument(
        model=plan.model_name,
        device=device_document(device),
        engine=engine,
        fits=plan.fits,
        memory=_memory(plan.memory),
        context=_context(plan.context),
        speed=_speed(plan.speed),
        wish=_wish(plan),
        reasons=[_reason(reason) for reason in plan.reasons],
        shortfall_bytes=UNSET if plan.fits else plan.shortfall_bytes,
        unsupported=UNSET if plan.unsupported is None else say(plan.unsupported),
        unsupported_message=UNSET if plan.unsupported is None else _message(plan.unsupported),
    )


def device_document(device: Device) -> DeviceDocument:
    """Return the device of a plan as programs read it."""
    return DeviceDocument(device.name, device.memory_total_bytes, device.memory_available_bytes, device.assumed)


def document_json(document: msgspec.Struct) -> dict[str, Any]:
    """Return a document as JSON's own types."""
    found: dict[str, Any] = msgspec.to_builtins(document)
    return found


def _memory(memory: Memory) -> MemoryDocument:
    return MemoryDocument(
        weights_bytes=memory.weights_bytes,
        kv_cache_bytes=memory.kv_cache_bytes,
        activation_bytes=memory.activation_bytes,
        vision_activation_bytes=memory.vision_activation_bytes,
        cuda_graph_bytes=memory.cuda_graph_bytes,
        runtime_bytes=memory.runtime_bytes,
        host_bytes=memory.host_bytes,
        reserve_bytes=memory.reserve_bytes,
        total_bytes=memory.total_bytes,
        available_bytes=memory.available_bytes,
    )


def _context(context: Context) -> ContextDocument:
    return ContextDocument(
        max_model_len=context.max_model_len,
        visual_tokens=context.visual_tokens,
        images_per_request=context.images_per_request,
        prompt_tokens=context.prompt_tokens,
        answer_tokens=context.answer_tokens,
        image_max_pixels=context.image_max_pixels,
        concurrency=context.concurrency,
    )


def _speed(speed: Speed) -> SpeedDocument:
    return SpeedDocument(speed.decode_tokens_per_s_ceiling, speed.decode_tokens_per_s, speed.first_token_ms_floor)


def _wish(plan: Plan) -> WishDocument:
    given_up = plan.concession
    ignored = [say(message) for message in plan.ignored] or UNSET
    ignored_messages = [_message(message) for message in plan.ignored] or UNSET
    if given_up is None:
        return WishDocument(plan.fits and not plan.ignored, ignored=ignored, ignored_messages=ignored_messages)
    return WishDocument(
        met=False,
        ignored=ignored,
        ignored_messages=ignored_messages,
        wished=say(given_up.wished),
        wished_message=_message(given_up.wished),
        planned=say(given_up.planned),
        planned_message=_message(given_up.planned),
        missing_bytes=given_up.missing_bytes,
    )


def _reason(reason: Reason) -> ReasonDocument:
    return ReasonDocument(reason.subject, say(reason.value), say(reason.why), reason.basis.value, _message(reason.why))


def _message(message: Message) -> MessageDocument:
    return msgspec.convert(message_json(message), MessageDocument)
