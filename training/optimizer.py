"""Muon for the matrices, AdamW for the rest, as one step that a CUDA graph can hold.

Muon (Keller Jordan, 2024; the step's scale as in Moonlight, 2025): momentum, made near-orthogonal by five
Newton-Schulz rounds. Matrices of one shape are handled together.
"""

from __future__ import annotations

import torch
from torch import Tensor


def orthogonal(g: Tensor) -> Tensor:
    """g: (n, rows, columns) -> about U V' of each matrix's singular value decomposition, in bfloat16."""
    tall = g.shape[1] > g.shape[2]
    x = (g.transpose(1, 2) if tall else g).bfloat16()
    x = x / (x.float().norm(dim=(1, 2), keepdim=True) + 1e-7).bfloat16()
    for _ in range(5):
        gram = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return x.transpose(1, 2) if tall else x


class Optimizer:
    """Steps parameters in place from their `.grad`; `rate` is a tensor, so that it can change under a CUDA graph."""

    def __init__(
        self, matrices: list[Tensor], others: list[Tensor], rate: Tensor, decay: float, muon: bool = True
    ) -> None:
        self.rate, self.decay = rate, decay
        if not muon:
            matrices, others = [], matrices + others
        by_shape: dict[torch.Size, list[Tensor]] = {}
        for matrix in matrices:
            by_shape.setdefault(matrix.shape, []).append(matrix)
        self.stacks = [
            (group, torch.zeros(len(group), *shape, device=rate.device)) for shape, group in by_shape.items()
        ]
        self.others = others
        self.first = [torch.zeros_like(p) for p in others]
        self.second = [torch.zeros_like(p) for p in others]
        self.steps = torch.zeros((), device=rate.device)

    @torch.no_grad()
    def step(self) -> None:
        for group, momentum in self.stacks:
            gradient = torch.stack([p.grad for p in group])  # type: ignore[misc]
            momentum.lerp_(gradient, 0.05)
            update = orthogonal(gradient.lerp(momentum, 0.95)).float()
            update.mul_(-0.2 * max(update.shape[1:]) ** 0.5 * self.rate)
            torch._foreach_mul_(group, 1 - self.rate * self.decay)
            torch._foreach_add_(group, list(update.unbind(0)))
        self._adam()

    def _adam(self) -> None:
        self.steps += 1
        gradients = [p.grad for p in self.others]
        torch._foreach_lerp_(self.first, gradients, 0.1)
        torch._foreach_mul_(self.second, 0.98)
        torch._foreach_addcmul_(self.second, gradients, gradients, 0.02)
        correction = (1 - 0.98**self.steps).sqrt() / (1 - 0.9**self.steps)
        scale = torch._foreach_sqrt(self.second)
        torch._foreach_add_(scale, 1e-8)
        update = torch._foreach_div(self.first, scale)
        torch._foreach_mul_(update, -self.rate * correction)
        torch._foreach_add_(self.others, update)
