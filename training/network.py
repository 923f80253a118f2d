"""A batched forward pass of Qwen3-VL, for training.

Hugging Face's modules attend image by image and cannot share a picture among independent conversations. This one
can, and its parameters bear the same names, so that its state dict is a checkpoint. `test_smoke.py` holds the two
together. Sequences: every vision sequence has PATCHES patches (`shape.LAYOUTS` says whose); every text sequence
starts with a prefix (segment 0: the pictures) that all later segments see, while they do not see each other.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.shape import CELLS, LAYOUTS, MROPE_SECTION, PATCHES, TEXT, VISION


def linear(x: Tensor, layer: nn.Linear) -> Tensor:
    """The layer in the dtype of `x`: master weights stay float32."""
    bias = None if layer.bias is None else layer.bias.to(x.dtype)
    return F.linear(x, layer.weight.to(x.dtype), bias)


def layer_norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    return F.layer_norm(x, norm.normalized_shape, norm.weight.to(x.dtype), norm.bias.to(x.dtype), norm.eps)


class RMSNorm(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + TEXT["rms_norm_eps"])
        return self.weight.to(x.dtype) * wide.to(x.dtype)


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary embedding; x: (batch, heads, length, size), cosine and sine: (batch, 1, length, size)."""
    first, second = x.chunk(2, dim=-1)
    return x * cosine + torch.cat((-second, first), dim=-1) * sine


class VisionAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        size = VISION["hidden_size"]
        self.qkv = nn.Linear(size, 3 * size)
        self.proj = nn.Linear(size, size)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor, mask: Tensor) -> Tensor:
        batch, length, size = x.shape
        heads = VISION["num_heads"]
        q, k, v = linear(x, self.qkv).view(batch, length, 3, heads, size // heads).permute(2, 0, 3, 1, 4).unbind(0)
        q, k = rotate(q, cosine, sine), rotate(k, cosine, sine)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.expand(batch, heads, length, length))
        return linear(out.transpose(1, 2).reshape(batch, length, size), self.proj)


class VisionMLP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear_fc1 = nn.Linear(VISION["hidden_size"], VISION["intermediate_size"])
        self.linear_fc2 = nn.Linear(VISION["intermediate_size"], VISION["hidden_size"])

    def forward(self, x: Tensor) -> Tensor:
        return linear(F.gelu(linear(x, self.linear_fc1), approximate="tanh"), self.linear_fc2)


class VisionBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(VISION["hidden_size"], eps=1e-6)
        self.norm2 = nn.LayerNorm(VISION["hidden_size"], eps=1e-6)
        self.attn = VisionAttention()
        self.mlp = VisionMLP()

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attn(layer_norm(x, self.norm1), cosine, sine, mask)
        return x + self.mlp(layer_norm(x, self.norm2))


class Merger(nn.Module):
    """Four neighbouring patches become one visual token."""

    def __init__(self, norm_after: bool) -> None:
        super().__init__()
        size = 4 * VISION["hidden_size"]
        self.norm = nn.LayerNorm(size if norm_after else VISION["hidden_size"], eps=1e-6)
        self.linear_fc1 = nn.Linear(size, size)
        self.linear_fc2 = nn.Linear(size, VISION["out_hidden_size"])
        self.norm_after = norm_after

    def forward(self, x: Tensor) -> Tensor:
        batch, length, size = x.shape
        together = (batch, length // 4, 4 * size)
        x = (
            layer_norm(x.reshape(together), self.norm)
            if self.norm_after
            else layer_norm(x, self.norm).reshape(together)
        )
        return linear(F.gelu(linear(x, self.linear_fc1)), self.linear_fc2)


class PatchEmbed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Conv3d(3, VISION["hidden_size"], (2, 16, 16), (2, 16, 16))

    def forward(self, patches: Tensor) -> Tensor:
        weight = self.proj.weight.flatten(1).to(patches.dtype)
        return F.linear(patches, weight, self.proj.bias.to(patches.dtype))


def patch_places(rows: int, columns: int) -> Tensor:
    """(patches, 2): row and column of every patch of a grid of cells, in the order that the processor emits them."""
    r, c = torch.meshgrid(torch.arange(2 * rows), torch.arange(2 * columns), indexing="ij")
    places = torch.stack((r, c), -1).view(rows, 2, columns, 2, 2)
    return places.permute(0, 2, 1, 3, 4).reshape(-1, 2)


def layout_tables() -> dict[str, Tensor]:
    """For every layout, per patch: segment (-1: padding), row, column, rotary angles, position weights."""
    side = int(VISION["num_position_embeddings"] ** 0.5)
    quarter = VISION["hidden_size"] // VISION["num_heads"] // 4
    frequency = 1.0 / (10000.0 ** (torch.arange(quarter).float() / quarter))
    segment = torch.full((len(LAYOUTS), PATCHES), -1)
    place = torch.zeros(len(LAYOUTS), PATCHES, 2, dtype=torch.long)
    weights = torch.zeros(len(LAYOUTS), PATCHES, side * side)
    for index, (rows, columns, many) in enumerate(LAYOUTS):
        count = 4 * rows * columns
        where = patch_places(rows, columns)
        at = where.float() * torch.tensor([(side - 1) / (2 * rows - 1), (side - 1) / (2 * columns - 1)])
        low = at.floor().long()
        high = (low + 1).clamp(max=side - 1)
        part = at - low
        tap = [(y * side + x) for y in (low[:, 0], high[:, 0]) for x in (low[:, 1], high[:, 1])]
        weight = [y * x for y in (1 - part[:, 0], part[:, 0]) for x in (1 - part[:, 1], part[:, 1])]
        spread = torch.zeros(count, side * side).scatter_add_(1, torch.stack(tap, -1), torch.stack(weight, -1))
        for copy in range(many):
            span = slice(copy * count, (copy + 1) * count)
            segment[index, span] = copy
            place[index, span] = where
            weights[index, span] = spread
    angle = (place[..., None].float() * frequency).flatten(-2)
    angle = torch.cat((angle, angle), -1)
    return {"segment": segment, "place": place, "weights": weights, "cos": angle.cos(), "sin": angle.sin()}


class Vision(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed()
        self.pos_embed = nn.Embedding(VISION["num_position_embeddings"], VISION["hidden_size"])
        self.blocks = nn.ModuleList(VisionBlock() for _ in range(VISION["depth"]))
        self.merger = Merger(norm_after=False)
        self.deepstack_merger_list = nn.ModuleList(Merger(True) for _ in VISION["deepstack_visual_indexes"])
        for name, table in layout_tables().items():
            self.register_buffer(f"layout_{name}", table, persistent=False)

    def forward(self, patches: Tensor, layout: Tensor) -> list[Tensor]:
        """patches: (V, PATCHES, 1536), layout: (V,) -> visual tokens and deepstack features, each (V, CELLS, 320)."""
        # products, not look-ups: the gradient of a look-up that meets few rows very often is slow
        by_layout = self.layout_weights @ self.pos_embed.weight
        chosen = F.one_hot(layout, len(LAYOUTS)).to(by_layout.dtype)
        positions = (chosen @ by_layout.flatten(1)).view(len(layout), PATCHES, -1).to(patches.dtype)
        cosine, sine = (t[layout][:, None].to(patches.dtype) for t in (self.layout_cos, self.layout_sin))
        segment = self.layout_segment[layout]
        mask = torch.where(segment[:, None, :, None] == segment[:, None, None, :], 0.0, -1e4).to(patches.dtype)
        x = self.patch_embed(patches) + positions
        features = []
        for index, block in enumerate(self.blocks):
            x = block(x, cosine, sine, mask)
            if index in VISION["deepstack_visual_indexes"]:
                features.append(self.deepstack_merger_list[len(features)](x))
        return [self.merger(x), *features]


class TextAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        size, head = TEXT["hidden_size"], TEXT["head_dim"]
        self.q_proj = nn.Linear(size, TEXT["num_attention_heads"] * head, bias=False)
        self.k_proj = nn.Linear(size, TEXT["num_key_value_heads"] * head, bias=False)
        self.v_proj = nn.Linear(size, TEXT["num_key_value_heads"] * head, bias=False)
        self.o_proj = nn.Linear(TEXT["num_attention_heads"] * head, size, bias=False)
        self.q_norm = RMSNorm(head)
        self.k_norm = RMSNorm(head)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor, mask: Tensor) -> Tensor:
        batch, length, _ = x.shape
        heads = TEXT["num_attention_heads"]
        q, k, v = (
            linear(x, layer).view(batch, length, -1, TEXT["head_dim"])
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        q = rotate(self.q_norm(q).transpose(1, 2), cosine, sine)
        k = rotate(self.k_norm(k).transpose(1, 2), cosine, sine)
        k, v = (t.repeat_interleave(heads // TEXT["num_key_value_heads"], 1) for t in (k, v.transpose(1, 2)))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.expand(batch, heads, length, length))
        return linear(out.transpose(1, 2).reshape(batch, length, -1), self.o_proj)


class TextMLP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        size, inner = TEXT["hidden_size"], TEXT["intermediate_size"]
        self.gate_proj = nn.Linear(size, inner, bias=False)
        self.up_proj = nn.Linear(size, inner, bias=False)
        self.down_proj = nn.Linear(inner, size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return linear(F.silu(linear(x, self.gate_proj)) * linear(x, self.up_proj), self.down_proj)


class TextBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.self_attn = TextAttention()
        self.mlp = TextMLP()
        self.input_layernorm = RMSNorm(TEXT["hidden_size"])
        self.post_attention_layernorm = RMSNorm(TEXT["hidden_size"])

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor, mask: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cosine, sine, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


def rotary_angles(positions: Tensor) -> Tensor:
    """positions: (batch, 3, length), the axes interleaved as MROPE_SECTION says -> (batch, length, head_dim)."""
    half = TEXT["head_dim"] // 2
    axis = torch.zeros(half, dtype=torch.long, device=positions.device)
    for number in (1, 2):
        axis[number : 3 * MROPE_SECTION[number] : 3] = number
    frequency = TEXT["rope_theta"] ** (-torch.arange(half, device=positions.device).float() / half)
    angle = positions.float().transpose(1, 2)[..., axis] * frequency
    return torch.cat((angle, angle), -1)


def text_mask(segment: Tensor, dtype: torch.dtype) -> Tensor:
    """segment: (batch, length), 0 the prefix, -1 padding -> additive mask (batch, 1, length, length)."""
    length = segment.shape[1]
    query, key = segment[:, :, None], segment[:, None, :]
    causal = torch.ones(length, length, dtype=torch.bool, device=segment.device).tril()
    seen = causal & ((key == 0) | (key == query))
    return torch.where(seen, 0.0, -1e4).to(dtype)[:, None]


class TakeOnce(torch.autograd.Function):
    """Rows of a table by index (0: zeros), each row taken at most once: so its gradient is a gather as well, where
    PyTorch's own would sort all indices."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return F.pad(table, (0, 0, 1, 0))[index]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (inverse,) = ctx.saved_tensors
        return F.pad(gradient.flatten(0, -2), (0, 0, 1, 0))[inverse], None, None


def inverse_index(index: Tensor, size: int) -> Tensor:
    """For every row of the table, 1 + where `index` takes it; 0 where it does not."""
    flat = index.flatten()
    places = torch.arange(1, len(flat) + 1, device=index.device)
    return torch.zeros(size + 1, dtype=torch.long, device=index.device).scatter_(0, flat, places)[1:]


class Language(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(TEXT["vocab_size"], TEXT["hidden_size"])
        self.layers = nn.ModuleList(TextBlock() for _ in range(TEXT["num_hidden_layers"]))
        self.norm = RMSNorm(TEXT["hidden_size"])

    def forward(self, ids: Tensor, positions: Tensor, segment: Tensor, visual: Tensor, seen: list[Tensor]) -> Tensor:
        """ids, segment, visual: (B, L); positions: (B, 3, L); `visual` is 1 + the number of the visual token that
        stands there, 0 for words; `seen`: visual tokens and deepstack features, each (V, CELLS, size)."""
        dtype = seen[0].dtype
        inverse = inverse_index(visual, seen[0].shape[0] * CELLS)
        taken = [TakeOnce.apply(part.flatten(0, 1), visual, inverse) for part in seen]
        angle = rotary_angles(positions)[:, None]
        cosine, sine, mask = angle.cos().to(dtype), angle.sin().to(dtype), text_mask(segment, dtype)
        words = F.embedding(ids, self.embed_tokens.weight).to(dtype)
        x = torch.where((visual > 0)[..., None], taken[0], words)
        for index, layer in enumerate(self.layers):
            x = layer(x, cosine, sine, mask)
            if index + 1 < len(taken):
                x = x + taken[index + 1]
        return self.norm(x)


class Body(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.visual = Vision()
        self.language_model = Language()


class Network(nn.Module):
    """`Qwen3VLForConditionalGeneration` with tied embeddings, under the same parameter names."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Body()
        self.apply(_initialise)
        deep = 2 * TEXT["num_hidden_layers"]
        for layer in self.model.language_model.layers:
            for out in (layer.self_attn.o_proj, layer.mlp.down_proj):
                out.weight.data /= deep**0.5
        for block in self.model.visual.blocks:
            for out in (block.attn.proj, block.mlp.linear_fc2):
                out.weight.data /= (2 * VISION["depth"]) ** 0.5

    def forward(
        self, patches: Tensor, layout: Tensor, ids: Tensor, positions: Tensor, segment: Tensor, visual: Tensor
    ) -> tuple[Tensor, Tensor]:
        """-> hidden states (B, L, size) and visual tokens (V, CELLS, size); shapes as in Vision and Language."""
        seen = self.model.visual(patches, layout)
        return self.model.language_model(ids, positions, segment, visual, seen), seen[0]

    def logits(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.model.language_model.embed_tokens.weight.to(hidden.dtype))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=module.in_features**-0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv3d):
        nn.init.normal_(module.weight, std=1536**-0.5)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.05)


__all__ = ["CELLS", "Network", "linear"]
