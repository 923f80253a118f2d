"""Finds the parts of a config.json that see and hear, with the defaults of their class. Pure."""

from vedette.models.config_reader import ConfigReader
from vedette.models.forms.type_defaults import defaults_of, part_type

SECTIONS = (
    *("vision_config", "vision_tower_config", "vision_encoder_config", "vision_model_config", "vit_config"),
    *("img_processor", "visual", "vision"),
)
"""Names under which the vision part stands, in the order in which they are tried."""
AUDIO_SECTIONS = ("audio_config", "sound_config", "speech_config", "audio_processor", "whisper_config")
"""Names under which the part that hears stands."""
OUTER = ("thinker_config",)
"""Sections that hold both the vision and the language part."""


def find_outer(whole: ConfigReader) -> ConfigReader:
    """The configuration that holds the vision part: the whole, or a section of it."""
    nested = (whole.section(name) for name in OUTER if isinstance(whole.values.get(name), dict))
    return next((section for section in nested if section is not None), whole)


def has_audio_part(whole: ConfigReader) -> bool:
    """Whether the file describes a part that hears."""
    outer = find_outer(whole)
    return any(isinstance(outer.values.get(name), dict) and outer.values[name] for name in AUDIO_SECTIONS)


def find_vision_part(whole: ConfigReader) -> ConfigReader | None:
    """The vision part's values with the defaults of its class; None if the file has none."""
    outer = find_outer(whole)
    for name in SECTIONS:
        if isinstance(outer.values.get(name), dict) or (name == "vision_config" and outer.values.get(name) is not None):
            section = outer.section(name)
            if section is not None:
                known = defaults_of(part_type(section, name, outer.text("model_type") or "")).values
                return ConfigReader({**known, **section.values}, section.where)
    return None
