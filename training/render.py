"""Draws training pictures on the GPU, straight into the patches that the network reads.

One Triton program draws one 16 x 16 patch: backdrop, things with their shadows, then what a camera does to them
(perspective, colour cast, vignette, noise, JPEG). It shares nothing with `vedette.scene.draw` but the emoji
sprites, so that scenes drawn there are a fair test. `TRITON_INTERPRET=1` runs it on a CPU, slowly.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from PIL import Image
from torch import Tensor

from training.shape import PATCHES
from vedette.scene.world import KINDS, OBJECTS, SHAPES

SPRITES = Path(__file__).parent.parent / "src" / "vedette" / "scene" / "sprites"
SIDE = 128
LEVELS = 5
LEVEL_STARTS = tuple(sum((SIDE >> i) ** 2 for i in range(level)) for level in range(LEVELS + 1))
TEXTURES, TEXTURE_SIDE = 384, 64
MAX_THINGS = 6

#: Columns of a frame's parameters (see `batches.py`, which fills them).
FRAME = {
    name: index
    for index, name in enumerate(
        (
            "count", "h0", "h1", "h2", "h3", "h4", "h5", "h6", "h7", "per_px_x", "per_px_y", "extent_x", "extent_y",
            "first_r", "first_g", "first_b", "second_r", "second_g", "second_b", "texture", "ta", "tb", "tc", "td",
            "tx", "ty", "amplitude", "ramp_x", "ramp_y", "ramp_0", "around_r", "around_g", "around_b", "around_texture",
            "gain_r", "gain_g", "gain_b", "offset", "contrast", "vignette", "noise", "coarse_noise", "jpeg", "width",
            "height",
        )
    )
}  # fmt: skip
#: Columns of a thing's parameters.
THING = {
    name: index
    for index, name in enumerate(
        ("x", "y", "a", "b", "c", "d", "sprite", "level", "red", "green", "blue", "shadow", "shadow_x", "shadow_y")
    )
}


def _shape_alpha(kind: str, x: Tensor, y: Tensor) -> Tensor:
    """Is the point (x, y), in [-1, 1], inside the shape?"""
    radius = torch.hypot(x, y)
    if kind == "circle":
        return radius < 0.97
    if kind == "ring":
        return (radius < 0.97) & (radius > 0.46)
    if kind == "crescent":
        return (radius < 0.97) & (torch.hypot(x - 0.48, y + 0.32) > 0.82)
    if kind == "square":
        return (x.abs() < 0.84) & (y.abs() < 0.84)
    if kind == "triangle":
        return (y < 0.8) & (y > -0.88 + 1.787 * x.abs())
    if kind == "diamond":
        return x.abs() / 0.68 + y.abs() < 1.0
    if kind == "cross":
        return ((x.abs() < 0.32) & (y.abs() < 0.94)) | ((y.abs() < 0.32) & (x.abs() < 0.94))
    if kind == "arrow":
        return ((y.abs() < 0.28) & (x < 0.05)) | ((x > 0.04) & (y.abs() < 0.76 * (1 - x) / 0.96))
    if kind == "heart":
        u, v = x * 1.12, -y * 1.12 + 0.08
        return (u * u + v * v - 0.62) ** 3 - 1.6 * u * u * v**3 < 0
    turn = torch.atan2(x, -y)  # a star: the distance to the nearest of five points
    near = (turn + math.pi / 5) % (2 * math.pi / 5) - math.pi / 5
    across, up = radius * torch.sin(near.abs()), radius * torch.cos(near)
    tip, dent = (0.0, 1.0), (0.4 * math.sin(math.pi / 5), 0.4 * math.cos(math.pi / 5))
    return (dent[0] - tip[0]) * (up - tip[1]) - (dent[1] - tip[1]) * (across - tip[0]) < 0


def _shape_pictures(kind: str) -> list[Tensor]:
    """(4, SIDE, SIDE) premultiplied: plain white, with a dark rim, with a bright rim around grey."""
    many = SIDE * 4
    axis = (torch.arange(many) + 0.5) / many * 2 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    inside = _shape_alpha(kind, x, y).float()
    inner = -F.max_pool2d(-inside[None, None], 4 * 5 + 1, 1, 2 * 5)[0, 0]
    alpha, inner = (F.avg_pool2d(t[None, None], 4)[0, 0] for t in (inside, inner))
    return [torch.stack([alpha] * 4), torch.stack([inner + (alpha - inner) * 0.16] * 3 + [alpha])]


def sprite_numbers() -> dict[tuple[str, bool], int]:
    """(kind, outlined) -> place in the atlas."""
    numbers = {(kind, outlined): 2 * i + outlined for i, kind in enumerate(SHAPES) for outlined in (False, True)}
    numbers.update({(kind, False): 2 * len(SHAPES) + i for i, kind in enumerate(OBJECTS)})
    return numbers


def build_atlas() -> Tensor:
    """(sprites, texels of all levels, 4) half-precision premultiplied RGBA."""
    pictures = [picture for kind in SHAPES for picture in _shape_pictures(kind)]
    for kind in OBJECTS:
        rgba = Image.open(SPRITES / f"{kind}.png").convert("RGBA")
        picture = (
            torch.frombuffer(bytearray(rgba.tobytes()), dtype=torch.uint8).view(SIDE, SIDE, 4).permute(2, 0, 1) / 255
        )
        pictures.append(torch.cat((picture[:3] * picture[3:], picture[3:])))
    level = torch.stack(pictures)
    levels = []
    for _ in range(LEVELS):
        levels.append(level.permute(0, 2, 3, 1).flatten(1, 2))
        level = F.avg_pool2d(level, 2)
    return torch.cat(levels, 1).half().contiguous()


def build_textures(seed: int) -> Tensor:
    """(TEXTURES, TEXTURE_SIDE, TEXTURE_SIDE) in [0, 1]: clouds, stripes, checks, dots, edges, specks; all wrap."""
    generator = torch.Generator().manual_seed(seed)
    side = TEXTURE_SIDE
    axis = torch.arange(side).float()
    y, x = torch.meshgrid(axis, axis, indexing="ij")

    def draw(style: int) -> Tensor:
        def whole(low: int, high: int) -> int:
            return int(torch.randint(low, high + 1, (1,), generator=generator))

        if style < 3:  # clouds of several grains
            total = torch.zeros(side, side)
            for octave in range(whole(1, 3)):
                cells = min(side, 2 ** (whole(1, 3) + octave))
                noise = torch.rand(1, 1, cells, cells, generator=generator)
                noise = F.pad(noise, (1, 1, 1, 1), mode="circular")
                total += (
                    F.interpolate(noise, scale_factor=side / cells, mode="bicubic")[0, 0][:side, :side] / 1.6**octave
                )
            return total
        step = (4, 8, 16, 32)[whole(0, 3)]
        if style == 3:
            return ((x + y * whole(0, 1)) % step < step / 2).float()
        if style == 4:
            return ((x // (step / 2) + y // (step / 2)) % 2).float()
        if style == 5:
            return (torch.hypot(x % step - step / 2, y % step - step / 2) < step / whole(4, 6)).float()
        if style == 6:
            return (y < side * torch.rand(1, generator=generator)).float()
        return (torch.rand(side, side, generator=generator) < 0.04).float()

    textures = []
    for index in range(TEXTURES):
        texture = draw(index % 8)
        textures.append((texture - texture.min()) / (texture.max() - texture.min() + 1e-6))
    return torch.stack(textures).half().contiguous()


def dct_matrix() -> Tensor:
    """(16, 16): two 8-point cosine transforms side by side."""
    k, n = torch.meshgrid(torch.arange(8).float(), torch.arange(8).float(), indexing="ij")
    one = torch.cos(math.pi * (2 * n + 1) * k / 16) * torch.where(k == 0, math.sqrt(1 / 8), 0.5)
    return torch.block_diag(one, one)


@triton.jit
def _texel(atlas, base, x, y, side, channel):
    inside = (x >= 0) & (x < side) & (y >= 0) & (y < side)
    return tl.load(atlas + (base + y * side + x) * 4 + channel, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _sample(atlas, base, x, y, side, channel):
    left = tl.floor(x)
    top = tl.floor(y)
    part_x = x - left
    part_y = y - top
    column = left.to(tl.int32)
    row = top.to(tl.int32)
    upper = (
        _texel(atlas, base, column, row, side, channel) * (1 - part_x)
        + _texel(atlas, base, column + 1, row, side, channel) * part_x
    )
    lower = (
        _texel(atlas, base, column, row + 1, side, channel) * (1 - part_x)
        + _texel(atlas, base, column + 1, row + 1, side, channel) * part_x
    )
    return upper * (1 - part_y) + lower * part_y


@triton.jit
def _texture(textures, number, x, y, SIDE: tl.constexpr):
    left = tl.floor(x)
    top = tl.floor(y)
    part_x = x - left
    part_y = y - top
    c0 = left.to(tl.int32) & (SIDE - 1)
    r0 = top.to(tl.int32) & (SIDE - 1)
    c1 = (c0 + 1) & (SIDE - 1)
    r1 = (r0 + 1) & (SIDE - 1)
    base = textures + number * SIDE * SIDE
    upper = (
        tl.load(base + r0 * SIDE + c0).to(tl.float32) * (1 - part_x)
        + tl.load(base + r0 * SIDE + c1).to(tl.float32) * part_x
    )
    lower = (
        tl.load(base + r1 * SIDE + c0).to(tl.float32) * (1 - part_x)
        + tl.load(base + r1 * SIDE + c1).to(tl.float32) * part_x
    )
    return upper * (1 - part_y) + lower * part_y


@triton.jit
def _coarsen(channel, table, step):
    """A channel after JPEG's rounding of cosine coefficients."""
    forward = tl.dot(tl.dot(table, channel, input_precision="ieee"), tl.trans(table), input_precision="ieee")
    rounded = tl.floor(forward / step + 0.5) * step
    return tl.dot(tl.dot(tl.trans(table), rounded, input_precision="ieee"), table, input_precision="ieee")


@triton.jit
def _draw(  # noqa: PLR0913
    out, frames, things, frame_of, layout, segment, place, atlas, textures, dct, seed,
    PATCHES: tl.constexpr, FRAME_SIZE: tl.constexpr, THING_SIZE: tl.constexpr, THINGS: tl.constexpr,
    SIDE: tl.constexpr, TEXELS: tl.constexpr, TEXTURE_SIDE: tl.constexpr,
):  # fmt: skip
    sequence = tl.program_id(0) // PATCHES
    patch = tl.program_id(0) % PATCHES
    step = tl.program_id(1)
    row16 = tl.arange(0, 16)
    tile = row16[:, None] * 16 + row16[None, :]
    target = out + (sequence * PATCHES + patch).to(tl.int64) * 1536 + tile
    which = tl.load(layout + sequence)
    part = tl.load(segment + which * PATCHES + patch)
    own = tl.load(frame_of + sequence * 4 + tl.maximum(part, 0) * 2 + step)
    other = tl.load(frame_of + sequence * 4 + tl.maximum(part, 0) * 2)
    if part < 0:
        for channel in range(3):
            tl.store(target + channel * 512 + step * 256, tl.zeros((16, 16), tl.float32))
    elif (step == 0) | (own != other):
        f = frames + own * FRAME_SIZE
        patch_row = tl.load(place + (which * PATCHES + patch) * 2)
        patch_column = tl.load(place + (which * PATCHES + patch) * 2 + 1)
        px = (patch_column * 16 + row16[None, :]).to(tl.float32) + 0.5 + tl.zeros((16, 16), tl.float32)
        py = (patch_row * 16 + row16[:, None]).to(tl.float32) + 0.5 + tl.zeros((16, 16), tl.float32)
        u = px * tl.load(f + 9)
        v = py * tl.load(f + 10)
        w = tl.load(f + 7) * u + tl.load(f + 8) * v + 1.0
        x = (tl.load(f + 1) * u + tl.load(f + 2) * v + tl.load(f + 3)) / w
        y = (tl.load(f + 4) * u + tl.load(f + 5) * v + tl.load(f + 6)) / w
        # backdrop
        texture = tl.load(f + 19).to(tl.int32)
        tu = tl.load(f + 20) * x + tl.load(f + 21) * y + tl.load(f + 24)
        tv = tl.load(f + 22) * x + tl.load(f + 23) * y + tl.load(f + 25)
        share = _texture(textures, texture, tu, tv, TEXTURE_SIDE) * tl.load(f + 26)
        share += tl.load(f + 27) * x + tl.load(f + 28) * y + tl.load(f + 29)
        share = tl.minimum(tl.maximum(share, 0.0), 1.0)
        red = tl.load(f + 13) + share * (tl.load(f + 16) - tl.load(f + 13))
        green = tl.load(f + 14) + share * (tl.load(f + 17) - tl.load(f + 14))
        blue = tl.load(f + 15) + share * (tl.load(f + 18) - tl.load(f + 15))
        count = tl.load(f).to(tl.int32)
        for number in range(count):
            t = things + (own * THINGS + number) * THING_SIZE
            dx = x - tl.load(t)
            dy = y - tl.load(t + 1)
            a = tl.load(t + 2)
            b = tl.load(t + 3)
            c = tl.load(t + 4)
            d = tl.load(t + 5)
            level = tl.load(t + 7).to(tl.int32)
            base = tl.load(t + 6).to(tl.int32) * TEXELS
            shadow = tl.load(t + 11)
            if shadow > 0:
                soft = tl.minimum(level + 1, 4)
                side = SIDE >> soft
                sx = dx - tl.load(t + 12)
                sy = dy - tl.load(t + 13)
                start = (SIDE * SIDE * 4 - side * side * 4) // 3
                shadow_alpha = _sample(
                    atlas, base + start, (a * sx + b * sy + 1) * 0.5 * side - 0.5,
                    (c * sx + d * sy + 1) * 0.5 * side - 0.5, side, 3,
                )  # fmt: skip
                red *= 1 - shadow * shadow_alpha
                green *= 1 - shadow * shadow_alpha
                blue *= 1 - shadow * shadow_alpha
            side = SIDE >> level
            start = (SIDE * SIDE * 4 - side * side * 4) // 3
            tx = (a * dx + b * dy + 1) * 0.5 * side - 0.5
            ty = (c * dx + d * dy + 1) * 0.5 * side - 0.5
            alpha = _sample(atlas, base + start, tx, ty, side, 3)
            red = red * (1 - alpha) + tl.load(t + 8) * _sample(atlas, base + start, tx, ty, side, 0)
            green = green * (1 - alpha) + tl.load(t + 9) * _sample(atlas, base + start, tx, ty, side, 1)
            blue = blue * (1 - alpha) + tl.load(t + 10) * _sample(atlas, base + start, tx, ty, side, 2)
        # the surroundings of a filmed screen
        beyond = (x < 0) | (y < 0) | (x > tl.load(f + 11)) | (y > tl.load(f + 12))
        wall = _texture(textures, tl.load(f + 33).to(tl.int32), tu * 0.7, tv * 0.7, TEXTURE_SIDE) * 0.3 + 0.7
        red = tl.where(beyond, tl.load(f + 30) * wall, red)
        green = tl.where(beyond, tl.load(f + 31) * wall, green)
        blue = tl.where(beyond, tl.load(f + 32) * wall, blue)
        # the camera
        width = tl.load(f + 43)
        height = tl.load(f + 44)
        away_x = px / width - 0.5
        away_y = py / height - 0.5
        dim = 1 - tl.load(f + 39) * (away_x * away_x + away_y * away_y) * 2
        contrast = tl.load(f + 38)
        offset = tl.load(f + 37)
        red = ((red * tl.load(f + 34) - 0.5) * contrast + 0.5) * dim + offset
        green = ((green * tl.load(f + 35) - 0.5) * contrast + 0.5) * dim + offset
        blue = ((blue * tl.load(f + 36) - 0.5) * contrast + 0.5) * dim + offset
        salt = tl.load(seed) + own * 7919
        fine = tl.load(f + 40)
        if fine > 0:
            pixel = (patch_row * 16 + row16[:, None]) * 1024 + patch_column * 16 + row16[None, :]
            red += tl.randn(salt, pixel) * fine
            green += tl.randn(salt + 1, pixel) * fine
            blue += tl.randn(salt + 2, pixel) * fine
        coarse = tl.load(f + 41)
        if coarse > 0:
            blob = ((patch_row * 16 + row16[:, None]) // 3) * 1024 + (patch_column * 16 + row16[None, :]) // 3
            grey = tl.randn(salt + 3, blob) * coarse
            red += grey
            green += grey
            blue += grey
        red = tl.minimum(tl.maximum(red, 0.0), 1.0)
        green = tl.minimum(tl.maximum(green, 0.0), 1.0)
        blue = tl.minimum(tl.maximum(blue, 0.0), 1.0)
        rounding = tl.load(f + 42)
        if rounding > 0:
            table = tl.load(dct + tile)
            luma = _coarsen(0.299 * red + 0.587 * green + 0.114 * blue, table, rounding)
            cb = _coarsen(-0.1687 * red - 0.3313 * green + 0.5 * blue, table, rounding * 1.6)
            cr = _coarsen(0.5 * red - 0.4187 * green - 0.0813 * blue, table, rounding * 1.6)
            red = luma + 1.402 * cr
            green = luma - 0.34414 * cb - 0.71414 * cr
            blue = luma + 1.772 * cb
            red = tl.minimum(tl.maximum(red, 0.0), 1.0)
            green = tl.minimum(tl.maximum(green, 0.0), 1.0)
            blue = tl.minimum(tl.maximum(blue, 0.0), 1.0)
        tl.store(target + step * 256, red * 2 - 1)
        tl.store(target + 512 + step * 256, green * 2 - 1)
        tl.store(target + 1024 + step * 256, blue * 2 - 1)
        last = tl.load(frame_of + sequence * 4 + part * 2 + 1)
        if (step == 0) & (last == own):
            tl.store(target + 256, red * 2 - 1)
            tl.store(target + 512 + 256, green * 2 - 1)
            tl.store(target + 1024 + 256, blue * 2 - 1)


class Renderer:
    """Holds the atlas on the device and draws batches."""

    def __init__(self, device: torch.device, seed: int, tables: dict[str, Tensor]) -> None:
        self.atlas = build_atlas().to(device)
        self.textures = build_textures(seed).to(device)
        self.dct = dct_matrix().to(device)
        self.segment = tables["segment"].to(device, torch.int32).contiguous()
        self.place = tables["place"].to(device, torch.int32).contiguous()

    def draw(self, out: Tensor, frames: Tensor, things: Tensor, frame_of: Tensor, layout: Tensor, seed: Tensor) -> None:
        """Fills out (V, PATCHES, 1536) with pixels in [-1, 1].

        frames: (F, len(FRAME)), things: (F, MAX_THINGS, len(THING)), frame_of: (V, 2, 2) frame number by segment
        and time step, layout: (V,), seed: (1,); the last three int32.
        """
        _draw[(out.shape[0] * PATCHES, 2)](
            out, frames, things, frame_of, layout, self.segment, self.place, self.atlas, self.textures, self.dct, seed,
            PATCHES=PATCHES, FRAME_SIZE=len(FRAME), THING_SIZE=len(THING), THINGS=MAX_THINGS, SIDE=SIDE,
            TEXELS=LEVEL_STARTS[-1], TEXTURE_SIDE=TEXTURE_SIDE, num_warps=4,
        )  # fmt: skip


__all__ = ["FRAME", "KINDS", "MAX_THINGS", "THING", "Renderer", "build_atlas", "build_textures", "sprite_numbers"]
