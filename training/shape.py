"""vedette-tiny's shape: its configuration, and the picture sizes that it is trained on."""

from __future__ import annotations

from typing import Any

PATCH_PX = 16
CELL_PX = 32  # two by two patches become one visual token
#: Patches of one vision sequence: one picture, or two frame pairs of an eight-frame clip.
PATCHES = 320
CELLS = PATCHES // 4
MAX_PICTURE_PX = PATCHES * PATCH_PX * PATCH_PX  # 320 x 256
MIN_PICTURE_PX = 224 * 224
#: A clip's pixel budget: four frames of 320 x 256, or eight of half that.
MAX_CLIP_PX = 4 * MAX_PICTURE_PX
MIN_CLIP_PX = MAX_CLIP_PX // 2
CLIP_FRAMES = 8

TEXT: dict[str, Any] = {
    "vocab_size": 1280,
    "hidden_size": 320,
    "intermediate_size": 896,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "rope_theta": 10000.0,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-6,
}
MROPE_SECTION = (12, 10, 10)
VISION: dict[str, Any] = {
    "depth": 6,
    "hidden_size": 256,
    "intermediate_size": 1024,
    "num_heads": 4,
    "num_position_embeddings": 256,
    "deepstack_visual_indexes": [1, 3],
    "out_hidden_size": 320,
    "patch_size": PATCH_PX,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "in_channels": 3,
}

#: (rows, columns) of cells: what the image processor makes of 4:3, 3:2, 16:9, 1:1 and upright pictures.
PICTURE_GRIDS = (
    (8, 10), (7, 10), (6, 11), (7, 9), (8, 9), (8, 8), (7, 8), (7, 7), (6, 9), (6, 10), (5, 11), (5, 12), (6, 12),
    (6, 13), (10, 7), (10, 8), (11, 6), (9, 8), (9, 7),
)  # fmt: skip
#: Grids of a frame pair when two of them share a vision sequence (clips of up to eight frames).
SMALL_GRIDS = ((5, 7), (5, 8), (4, 8), (6, 6), (5, 6), (4, 7), (8, 5), (7, 5))
#: Grids of a frame pair that has a vision sequence of its own (clips of up to four frames).
LARGE_GRIDS = ((7, 10), (8, 10), (6, 11), (7, 9), (8, 8), (10, 7), (6, 9), (6, 8))

#: Vision sequence layouts: (rows, columns, how many).
LAYOUTS = (
    *((rows, columns, 1) for rows, columns in dict.fromkeys((*PICTURE_GRIDS, *LARGE_GRIDS))),
    *((rows, columns, 2) for rows, columns in SMALL_GRIDS),
)
LAYOUT_INDEX = {layout: index for index, layout in enumerate(LAYOUTS)}
