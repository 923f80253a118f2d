"""What every vision family implements: how pictures and clips become tokens. Pure.

Counts are those of vLLM 0.32 with the model's own processor. A picture's `max_pixels` is a limit of its area; a
clip's is in its processor's own terms (`Vision.clip_max_pixels` translates). None leaves the model's own limit.
Methods that count one picture or clip raise ValueError for sizes that the processor refuses.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from vedette.models.config_reader import ConfigReader

PLANNED_ASPECT_RATIO = 4
"""Plans keep memory for pictures whose long side is at most this many times the short side."""
FRAMES_PER_SECOND = 2.0
"""Default of clips. Only the length of the times that are written between frames depends on it."""
LONGEST_CLIP_S = 9_999.0
"""Later times have more digits, each of them a token."""


@dataclass(frozen=True, kw_only=True)
class Vision(ABC):
    """The vision part of one model. Pictures of one step go through the encoder together (vLLM 0.32)."""

    patch_size: int
    """Pixels along one side of a patch."""
    merge_size: int
    """Patches along one side that become one visual token."""
    max_pixels: int
    """Largest picture area that the processor makes."""
    hidden_size: int
    intermediate_size: int
    output_size: int = 0
    """Elements of one visual token as the language model gets it; 0 if it is the language model's hidden size."""
    outputs: int = 1
    """Vectors of `output_size` that one visual token has: Qwen3-VL adds those of deeper layers (deepstack)."""

    hidden_states: ClassVar[int]
    """Hidden states of a patch that are in memory together with a layer's feed-forward part (measured)."""
    max_aspect_ratio: ClassVar[float] = math.inf
    """The processor refuses pictures whose long side is more than this many times the short side."""
    bidirectional_pictures: ClassVar[bool] = False
    """The tokens of one picture attend to each other in both directions."""

    @abstractmethod
    def picture_tokens(self, width: int, height: int, max_pixels: int | None = None) -> int:
        """Tokens that one picture takes from the context, markers included."""

    @abstractmethod
    def most_picture_tokens(self, max_pixels: int | None = None, aspect_ratio: float = PLANNED_ASPECT_RATIO) -> int:
        """An upper bound of `picture_tokens` for every picture up to this aspect ratio."""

    @abstractmethod
    def encoder_patches(self, max_pixels: int | None = None) -> int:
        """Patches that the encoder computes for the largest picture up to PLANNED_ASPECT_RATIO."""

    @abstractmethod
    def pixel_limits(self) -> tuple[int, ...]:
        """Values of `max_pixels` worth planning with, largest first; () if no limit can be set."""

    @property
    def patch_sides(self) -> tuple[int, ...]:
        """Pixels along one side of a patch, of every encoder that the model has."""
        return (self.patch_size,)

    def nearest_limit(self, max_pixels: int) -> int:
        """The limit that the processor applies when `max_pixels` is asked for."""
        return min(max_pixels, self.max_pixels)

    def processor_arguments(self, image_max_pixels: int | None, video_max_pixels: int | None) -> dict[str, Any]:
        """The value of `--mm-processor-kwargs` that sets these limits; {} if none has to be set.

        vLLM would also accept a limit above the model's own, so such a limit is lowered to the model's.
        """
        return {}

    def joint_arguments(self, max_pixels: int) -> dict[str, Any]:
        """The value of `--mm-processor-kwargs` that limits pictures and clips together: for vLLM before 0.29."""
        raise ValueError("this model takes no clips")

    def encoder_elements(self, patches: int, pictures: int) -> int:
        """Elements of the tensors that are in memory together at the encoder's peak.

        patches: of everything in one step. pictures: the most that all requests together may hold.
        """
        return patches * (3 * self.intermediate_size + self.hidden_states * self.hidden_size)

    def most_tokens_of_any_picture(self, max_pixels: int | None = None) -> int:
        """An upper bound of `picture_tokens` for every picture that the processor accepts."""
        return self.most_picture_tokens(max_pixels, self.max_aspect_ratio)

    @property
    def takes_clips(self) -> bool:
        """Whether the model takes clips: only then do the methods below mean anything."""
        return False

    def clip_tokens(
        self,
        frames: int,
        width: int,
        height: int,
        max_pixels: int | None = None,
        frames_per_second: float = FRAMES_PER_SECOND,
    ) -> int:
        """Tokens that a clip takes from the context, markers and written times included."""
        raise ValueError("this model takes no clips")

    def most_clip_tokens(
        self,
        frames: int,
        max_pixels: int | None = None,
        aspect_ratio: float = PLANNED_ASPECT_RATIO,
        frames_per_second: float = FRAMES_PER_SECOND,
    ) -> int:
        """An upper bound of `clip_tokens` for every clip whose frames are up to this aspect ratio."""
        raise ValueError("this model takes no clips")

    def most_tokens_of_any_clip(self, frames: int, max_pixels: int | None = None) -> int:
        """An upper bound for every clip that the processor accepts and that lasts up to LONGEST_CLIP_S."""
        return self.most_clip_tokens(frames, max_pixels, self.max_aspect_ratio, frames / LONGEST_CLIP_S)

    def profiled_clip_tokens(
        self,
        clips: int,
        max_model_len: int,
        image_max_pixels: int | None = None,
        video_max_pixels: int | None = None,
    ) -> int:
        """Visual tokens of the clip that vLLM reserves encoder memory for at start; 0 if there are no clips.

        clips: the most that one prompt may hold.
        """
        return 0

    def clip_max_pixels(self, frames: int, frame_pixels: int) -> int | None:
        """The limit that gives each of `frames` frames up to `frame_pixels`; None if the model takes no clips."""
        return None


@dataclass(frozen=True)
class VisionFiles:
    """What a model's files say about its vision part; all of it is hostile input."""

    model_type: str
    config: ConfigReader
    """The whole config.json."""
    encoder: ConfigReader
    """Its `vision_config`."""
    pictures: ConfigReader
    """Settings of the image processor."""
    clips: ConfigReader | None
    """Settings of the video processor; None if no file has any."""
    tokenizer: bytes
    """The text of tokenizer.json; empty if there is none."""

    def knows_token(self, token: str) -> bool:
        """Whether tokenizer.json holds this token, escaped or not."""
        escaped = "".join(letter if letter.isascii() else f"\\u{ord(letter):04x}" for letter in token)
        return any(f'"{text}"'.encode() in self.tokenizer for text in (token, escaped))


@dataclass(frozen=True)
class Family:
    """One vision family: which models belong to it and how to read them."""

    text_model_types: Mapping[str, str]
    """For each `model_type` of the family, that of its language part where `text_config` names none."""
    parse: Callable[[VisionFiles], Vision | None]
    """The vision part as the files describe it. None if this model's encoder is of an unknown kind.

    Defaults of missing values are those of transformers 5.19. Raises ModelCorruptError for impossible values.
    """
