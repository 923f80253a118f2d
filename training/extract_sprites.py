"""Cuts vedette-tiny's pictured objects out of Debian's fonts-noto-color-emoji (SIL Open Font License).

apt-get install fonts-noto-color-emoji
python training/extract_sprites.py
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from vedette.scene.world import OBJECTS

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
SPRITES = Path(__file__).parent.parent / "src" / "vedette" / "scene" / "sprites"
STRIKE_PX = 109  # the only bitmap size that the font holds
SIDE_PX = 128


def sprite(emoji: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """The emoji, centred, its longer side filling a square of SIDE_PX pixels."""
    canvas = Image.new("RGBA", (200, 200))
    ImageDraw.Draw(canvas).text((30, 30), emoji, font=font, embedded_color=True)
    cut = canvas.crop(canvas.getbbox())
    scale = SIDE_PX / max(cut.size)
    cut = cut.resize((round(cut.width * scale), round(cut.height * scale)), Image.Resampling.LANCZOS)
    square = Image.new("RGBA", (SIDE_PX, SIDE_PX))
    square.paste(cut, ((SIDE_PX - cut.width) // 2, (SIDE_PX - cut.height) // 2))
    return square


def main() -> None:
    font = ImageFont.truetype(str(FONT), STRIKE_PX)
    for name, emoji in OBJECTS.items():
        picture = sprite(emoji, font).quantize(128, Image.Quantize.FASTOCTREE)
        picture.save(SPRITES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
