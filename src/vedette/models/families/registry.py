"""The vision families that vedette can count tokens for. A new family is one file and one entry here. Pure."""

from collections.abc import Mapping
from typing import Any

from vedette.language.message import Message
from vedette.models.agreement import check_channels
from vedette.models.config_reader import ConfigReader
from vedette.models.families import (
    deepseek_ocr,
    gemma3,
    gemma4,
    glm4v,
    idefics3,
    internvl,
    lfm2_vl,
    llava,
    minicpm_v,
    phi3_v,
    qwen_vl,
)
from vedette.models.families.family import Family, Vision, VisionFiles
from vedette.models.forms.vision_part import find_outer, find_vision_part

FAMILIES: list[Family] = [
    qwen_vl.FAMILY,
    idefics3.FAMILY,
    gemma3.FAMILY,
    llava.FAMILY,
    internvl.FAMILY,
    lfm2_vl.FAMILY,
    minicpm_v.FAMILY,
    gemma4.FAMILY,
    phi3_v.FAMILY,
    glm4v.FAMILY,
    deepseek_ocr.FAMILY,
]


def parse_vision(
    config: Mapping[str, Any],
    image: Mapping[str, Any],
    video: Mapping[str, Any] | None,
    where: str,
    tokenizer: bytes = b"",
) -> Vision | None:
    """The model's vision part; None for a text model and for a model of no family here.

    image, video: the settings of the image and video processors (`video` is None if no file has any).
    where: the name of config.json for messages. tokenizer: the text of tokenizer.json; empty if there is none.
    Raises ModelCorruptError for missing or impossible values.
    """
    whole = ConfigReader(config, where)
    encoder = find_vision_part(whole)
    if encoder is None:
        return None
    outer = find_outer(whole)
    model_type = outer.text("model_type") or ""
    family = _family_of(model_type)
    if family is None:
        return None
    check_channels(encoder)
    return family.parse(
        VisionFiles(
            model_type=model_type,
            config=outer,
            encoder=encoder,
            pictures=ConfigReader(image, Message("models.image_processor_settings")),
            clips=None if video is None else ConfigReader(video, Message("models.video_processor_settings")),
            tokenizer=tokenizer,
        )
    )


def text_model_type(model_type: str) -> str:
    """The `model_type` of the language part of a vision-language model; of other models their own."""
    family = _family_of(model_type)
    return model_type if family is None else family.text_model_types[model_type]


def _family_of(model_type: str) -> Family | None:
    return next((family for family in FAMILIES if model_type in family.text_model_types), None)
