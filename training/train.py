"""Trains vedette-tiny from nothing, by the clock, and writes it as a model directory with its model card.

    python training/train.py --out vedette-tiny --minutes 9.5      # needs one GPU, pillow, torch, transformers

Data workers draw scenes and write conversations, the GPU renders the pictures, and one CUDA graph holds the whole
step: PyTorch's cost per call, not arithmetic, would otherwise set the pace.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "src")]

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from training.batches import Batches  # noqa: E402
from training.canvas import ROWS, Rows  # noqa: E402
from training.network import Network, layout_tables, linear  # noqa: E402
from training.optimizer import Optimizer  # noqa: E402
from training.render import Renderer  # noqa: E402
from training.shape import PATCHES, TEXT  # noqa: E402
from training.tokenizer import build_tokenizer  # noqa: E402
from vedette.scene.world import COLOURS, KINDS  # noqa: E402

TRAINING_SEED = 1
AUXILIARY = {"kind": len(KINDS) + 1, "colour": len(COLOURS) + 2, "centre": 2}
AUXILIARY_WEIGHT = 0.3


@dataclass(frozen=True)
class Settings:
    rate: float = 2e-3
    decay: float = 0.02
    warm_up_steps: int = 150
    muon: bool = True


def token_loss(hidden: Tensor, embedding: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy over the answer tokens, and which of them are predicted correctly."""
    logits = F.linear(hidden, embedding.to(hidden.dtype)).flatten(0, 1).float()
    wanted = targets.flatten()
    losses = F.cross_entropy(logits, wanted, ignore_index=-100, reduction="sum")
    return losses / (wanted >= 0).sum(), (logits.detach().argmax(-1) == wanted) | (wanted < 0)


class Trainer:
    """The network, its optimizer and one training step over fixed input tensors."""

    def __init__(self, device: torch.device, rows: Rows, settings: Settings) -> None:
        torch.manual_seed(TRAINING_SEED)
        self.device, self.rows, self.settings = device, rows, settings
        self.cuda = device.type == "cuda"
        self.network = Network().to(device)
        self.heads = nn.Linear(TEXT["hidden_size"], sum(AUXILIARY.values())).to(device)
        self.renderer = Renderer(device, TRAINING_SEED, layout_tables())
        dtype = torch.bfloat16 if self.cuda else torch.float32
        self.patches = torch.zeros(rows.sequences, PATCHES, 1536, device=device, dtype=dtype)
        self.inputs: dict[str, Tensor] = {}
        self.seed = torch.zeros(1, dtype=torch.int32, device=device)
        self.rate = torch.zeros((), device=device)
        self.optimizer = self._optimizer()
        self.loss = token_loss
        self.graph: torch.cuda.CUDAGraph | None = None
        self.report: dict[str, Tensor] = {}

    def _optimizer(self) -> Optimizer:
        matrices, others = [], []
        for name, parameter in self.network.named_parameters():
            is_matrix = parameter.ndim == 2 and "embed" not in name
            (matrices if is_matrix else others).append(parameter)
        others += list(self.heads.parameters())
        return Optimizer(matrices, others, self.rate, self.settings.decay, self.settings.muon)

    def load(self, batch: dict[str, Tensor]) -> None:
        """Copies a batch into the step's input tensors."""
        for name, value in batch.items():
            if name not in self.inputs:
                self.inputs[name] = torch.empty_like(value, device=self.device)
            self.inputs[name].copy_(value, non_blocking=True)
        self.seed += 104_729

    def draw(self) -> None:
        """Renders the pictures of the loaded batch."""
        i = self.inputs
        self.renderer.draw(self.patches, i["frames"], i["things"], i["frame_of"], i["layout"], self.seed)

    def losses(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Runs the network on the drawn pictures; returns the loss, and figures for the log."""
        i = self.inputs
        hidden, seen = self.network(
            self.patches, i["layout"].long(), i["ids"], i["positions"], i["segment"], i["visual"]
        )
        loss, right = self.loss(hidden, self.network.model.language_model.embed_tokens.weight, i["targets"])
        guesses = linear(seen, self.heads).float().split(list(AUXILIARY.values()), -1)
        auxiliary = [
            F.cross_entropy(guess.flatten(0, 1), i["labels"][..., number].flatten(), ignore_index=-100)
            for number, guess in enumerate(guesses)
        ]
        report = {
            "loss": loss.detach(),
            "right": right,
            **dict(zip(AUXILIARY, (a.detach() for a in auxiliary), strict=True)),
        }
        return loss + AUXILIARY_WEIGHT * sum(auxiliary), report

    def learn(self) -> None:
        """One training step on the drawn pictures."""
        total, self.report = self.losses()
        total.backward()
        torch.nn.utils.clip_grad_norm_(
            itertools.chain(self.network.parameters(), self.heads.parameters()), 1.0, foreach=True
        )
        self.optimizer.step()

    def compile(self) -> None:
        """Compiles the blocks and records the whole step, learning nothing (the rate is 0)."""
        self.loss = torch.compile(token_loss, dynamic=False)
        for part in (*self.network.model.visual.blocks, *self.network.model.language_model.layers):
            part.compile(dynamic=False)
        for part in (self.network.model.visual.merger, *self.network.model.visual.deepstack_merger_list):
            part.compile(dynamic=False)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.draw()
                self.learn()
                self.forget()
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.draw()
            self.learn()

    def forget(self) -> None:
        for parameter in itertools.chain(self.network.parameters(), self.heads.parameters()):
            parameter.grad = None

    def step(self, batch: dict[str, Tensor], rate: float) -> None:
        self.load(batch)
        self.rate.fill_(rate)
        if self.graph:
            self.graph.replay()
        else:
            self.draw()
            self.learn()
            self.forget()

    def exactness(self) -> str:
        """Shares of conversations of the last batch whose every token is predicted correctly, by kind of row."""
        segment, targets = self.inputs["segment"], self.inputs["targets"]
        wrong = (~self.report["right"].view_as(targets)).long()
        rows, most = targets.shape[0], 64
        index = (torch.arange(rows, device=self.device)[:, None] * most + segment.clamp(min=0)).flatten()
        said = torch.zeros(rows * most, device=self.device, dtype=torch.long)
        missed = said.clone()
        said.index_add_(0, index, (targets >= 0).long().flatten())
        missed.index_add_(0, index, wrong.flatten())
        exact, asked = ((missed == 0) & (said > 0)).view(rows, most), (said > 0).view(rows, most)
        shares, start = [], 0
        for name, count in vars(self.rows).items():
            part = slice(start, start + count)
            start += count
            shares.append(f"{name.replace('_', ' ')} {exact[part].sum() / asked[part].sum().clamp(min=1):.3f}")
        return " ".join(shares)


def rate_at(settings: Settings, step: int, progress: float) -> float:
    """Warm-up by steps, then a cosine by the clock: a slow start cannot eat the schedule."""
    return (
        settings.rate
        * min(1.0, (step + 1) / settings.warm_up_steps)
        * (0.5 + 0.5 * math.cos(math.pi * min(progress, 1.0)))
    )


def train(trainer: Trainer, batches: Iterator[dict[str, Tensor]], seconds: float, log_every_s: float = 10.0) -> int:
    """Trains for `seconds`; returns the steps made."""
    start = time.monotonic()
    shown, step = start, 0
    events: list[torch.cuda.Event] = []
    waited = 0.0
    while (now := time.monotonic()) - start < seconds:
        asked = time.monotonic()
        batch = next(batches)
        waited += time.monotonic() - asked
        trainer.step(batch, rate_at(trainer.settings, step, (now - start) / seconds))
        step += 1
        if trainer.cuda:
            events.append(torch.cuda.Event())
            events[-1].record()
            if len(events) > 3:
                events.pop(0).synchronize()
        if now - shown > log_every_s:
            shown = now
            figures = " ".join(f"{k} {v.item():.4f}" for k, v in trainer.report.items() if k != "right")
            if now - start > 60 and not trainer.report["loss"] < 6:
                raise RuntimeError("The network does not learn: the loss is not lower than at the start.")
            print(
                f"{now - start:5.0f} s  step {step}  {figures}  exact: {trainer.exactness()}  waited {waited:.1f} s",
                flush=True,
            )
    return step


def batches_for(
    tokenizer_json: str, rows: Rows, workers: int, seed: int = TRAINING_SEED
) -> Iterator[dict[str, Tensor]]:
    dataset = Batches(tokenizer_json, rows, seed)
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=None, num_workers=workers, pin_memory=torch.cuda.is_available(),
        prefetch_factor=4 if workers else None,
    )  # fmt: skip
    return iter(loader)


def main() -> None:
    started = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=9.5, help="time in all, compiling and exam included")
    parser.add_argument("--exam-seconds", type=float, default=50, help="seconds reserved for export and exam")
    parser.add_argument("--exam-cases", type=int, default=20, help="per skill")
    parser.add_argument("--workers", type=int, default=14)
    parser.add_argument("--adam", action="store_true", help="AdamW for everything, in place of Muon for matrices")
    parser.add_argument("--rate", type=float, default=Settings.rate)
    arguments = parser.parse_args()
    tokenizer = build_tokenizer()
    batches = batches_for(tokenizer.to_str(), ROWS, arguments.workers)
    torch.set_float32_matmul_precision("high")
    trainer = Trainer(torch.device("cuda"), ROWS, Settings(rate=arguments.rate, muon=not arguments.adam))
    trainer.load(next(batches))
    trainer.compile()
    print(f"compiled after {time.monotonic() - started:.0f} s", flush=True)
    seconds = arguments.minutes * 60 - arguments.exam_seconds - (time.monotonic() - started)
    steps = train(trainer, batches, seconds)
    from card import finish  # transformers is slow to import

    facts = {
        "steps": steps,
        "training_s": round(seconds),
        "rows": steps * ROWS.total,
        "device": torch.cuda.get_device_name(),
        "parameters": sum(p.numel() for p in trainer.network.parameters()),
    }
    print(json.dumps(facts))
    finish(trainer.network.state_dict(), tokenizer, arguments.out, facts, arguments.exam_cases)
    print(f"done after {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
