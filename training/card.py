"""The steps after training: export, exam and model card."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor

from training.exam import Case, make_cases, score_table
from training.export import export

EXAM_SEED = 7


def messages_of(case: Case) -> list[dict[str, Any]]:
    """The conversation for the chat template, up to the last question."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": case.system}] if case.system else []
    for number, (question, answer) in enumerate(case.turns):
        parts: list[dict[str, Any]] = [{"type": "text", "text": question}]
        if number == 0:
            parts += [{"type": "image"}] * len(case.pictures) + ([{"type": "video"}] if case.frames else [])
        messages.append({"role": "user", "content": parts})
        if number < len(case.turns) - 1:
            messages.append({"role": "assistant", "content": answer})
    return messages


def _inputs(processor: Any, cases: list[Case], device: torch.device) -> Any:
    texts = [
        processor.apply_chat_template(
            messages_of(case), add_generation_prompt=True, tokenize=False, enable_thinking=bool(case.thoughts)
        )
        for case in cases
    ]
    pictures = [Image.open(io.BytesIO(data)).convert("RGB") for case in cases for data in case.pictures]
    clips = [[Image.open(io.BytesIO(data)).convert("RGB") for data in case.frames] for case in cases if case.frames]
    more: dict[str, Any] = {}
    if clips:
        from torchvision.transforms.functional import pil_to_tensor

        more = {
            "videos": [torch.stack([pil_to_tensor(frame) for frame in clip]) for clip in clips],
            "do_sample_frames": False,
            "video_metadata": [
                {"total_num_frames": len(clip), "fps": 2.0, "frames_indices": list(range(len(clip)))} for clip in clips
            ],
        }
    return processor(
        text=texts, images=pictures or None, padding=True, padding_side="left", return_tensors="pt", **more
    ).to(device)


def sit_exam(folder: Path, cases: list[Case], batch: int = 60) -> list[tuple[Case, str, str]]:
    """Answers by the exported model through transformers' own generate: (case, answer, thoughts)."""
    from transformers import AutoProcessor, Qwen3VLForConditionalGeneration

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    processor = AutoProcessor.from_pretrained(folder)
    model = Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype=torch.bfloat16).to(device).eval()
    results = []
    order = sorted(cases, key=lambda case: (bool(case.frames), len(case.pictures), bool(case.thoughts)))
    for start in range(0, len(order), batch):
        chunk = order[start : start + batch]
        alike = {(bool(case.frames), bool(case.pictures)) for case in chunk}
        for kind in alike:
            group = [case for case in chunk if (bool(case.frames), bool(case.pictures)) == kind]
            inputs = _inputs(processor, group, device)
            with torch.inference_mode():
                output = model.generate(**inputs, max_new_tokens=120, do_sample=False)
            for case, ids in zip(group, output[:, inputs["input_ids"].shape[1] :], strict=True):
                text = processor.tokenizer.decode(ids, skip_special_tokens=True)
                thoughts, _, answer = text.rpartition("</think>")
                results.append((case, answer.strip(), thoughts.strip()))
    return results


def finish(state: dict[str, Tensor], tokenizer: Tokenizer, folder: Path, facts: dict[str, Any], per_skill: int) -> None:
    """Exports, examines and writes README.md."""
    export(state, tokenizer, folder)
    begun = time.monotonic()
    results = sit_exam(folder, make_cases(EXAM_SEED, per_skill))
    table = score_table(results)
    for case, answer, thoughts in [r for r in results if r[1] != r[0].answer][:40]:
        print(f"- {case.skill}: {case.turns[-1][0]!r} -> {answer!r}, not {case.answer!r}; {thoughts!r}")
    print(table)
    print(f"exam: {time.monotonic() - begun:.0f} s")
    (folder / "README.md").write_text(write_card(facts, table))


def write_card(facts: dict[str, Any], table: str) -> str:
    """The model card."""
    return CARD.format(table=table, **facts)


CARD = (Path(__file__).parent / "card.md").read_text()
