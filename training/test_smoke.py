"""Tests a small version of the training on a CPU; needs torch, triton and transformers (in the engine's environment).

python -m pytest training/test_smoke.py
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from random import Random
from typing import Any

os.environ["TRITON_INTERPRET"] = "1"  # before triton is imported: its kernels then run on a CPU
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "src")]

import pytest  # noqa: E402
import torch  # noqa: E402
from PIL import Image, ImageChops, ImageStat  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

from training.batches import BatchMaker  # noqa: E402
from training.camera import Camera, Shot  # noqa: E402
from training.canvas import Canvas, Rows  # noqa: E402
from training.card import sit_exam, write_card  # noqa: E402
from training.exam import Case, jpeg, score_table  # noqa: E402
from training.export import export  # noqa: E402
from training.network import Network, layout_tables, patch_places  # noqa: E402
from training.render import Renderer  # noqa: E402
from training.shape import CELLS, LAYOUT_INDEX, PATCHES  # noqa: E402
from training.tokenizer import FastEncoder, build_tokenizer  # noqa: E402
from training.train import Settings, Trainer  # noqa: E402
from vedette.scene import COLOURS, Background, Scene, Thing, render  # noqa: E402

PLAIN = Background("plain", (90, 140, 160), (90, 140, 160), 0.0, 1)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return build_tokenizer()


@pytest.fixture(scope="module")
def exported(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> tuple[Network, Path]:
    """An untrained network whose every parameter matters, and its model directory (weights in bfloat16)."""
    torch.manual_seed(0)
    network = Network()
    for parameter in network.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
        parameter.data = parameter.data.bfloat16().float()
    folder = tmp_path_factory.mktemp("model")
    export(network.state_dict(), tokenizer, folder)
    return network, folder


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


def our_logits(network: Network, inputs: Any, positions: torch.Tensor, pixels: torch.Tensor, grid: Any) -> torch.Tensor:
    """Our forward on what the processor made: pictures one to a vision sequence, frame pairs two."""
    ids = inputs["input_ids"]
    pairs = [(1, h, w) for t, h, w in grid.tolist() for _ in range(t)]
    share = 2 if grid[0, 0] > 1 else 1
    patches = torch.zeros(len(pairs) // share, PATCHES, 1536)
    layout = torch.zeros(len(pairs) // share, dtype=torch.long)
    visual = torch.zeros_like(ids)
    places = (inputs["mm_token_type_ids"][0] > 0).nonzero()[:, 0]
    start = taken = 0
    for number, (_, h, w) in enumerate(pairs):
        sequence, part = divmod(number, share)
        patches[sequence, part * h * w : (part + 1) * h * w] = pixels[start : start + h * w]
        layout[sequence] = LAYOUT_INDEX[(h // 2, w // 2, share)]
        cells = h * w // 4
        visual[0, places[taken : taken + cells]] = sequence * CELLS + part * cells + torch.arange(cells) + 1
        start, taken = start + h * w, taken + cells
    with torch.no_grad():
        hidden, _ = network(patches, layout, ids, positions.transpose(0, 1), torch.zeros_like(ids), visual)
        return network.logits(hidden)


@pytest.mark.parametrize("sort", ["pictures", "clip"])
def test_our_forward_is_transformers_forward(exported: tuple[Network, Path], sort: str) -> None:
    from transformers import AutoProcessor, Qwen3VLForConditionalGeneration

    network, folder = exported
    model = Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    processor = AutoProcessor.from_pretrained(folder)
    torch.manual_seed(1)
    if sort == "pictures":
        parts = [{"type": "image"}, {"type": "image"}]
        media: dict[str, Any] = {
            "images": [Image.effect_noise(size, 90).convert("RGB") for size in ((640, 480), (1280, 720))]
        }
    else:
        parts = [{"type": "video"}]
        media = {
            "videos": [torch.randint(0, 255, (8, 3, 480, 640), dtype=torch.uint8)],
            "video_metadata": [{"total_num_frames": 8, "fps": 2.0, "frames_indices": list(range(8))}],
            "do_sample_frames": False,
        }
    message = {"role": "user", "content": [{"type": "text", "text": "What moves? 长颈鹿"}, *parts]}
    text = processor.apply_chat_template([message], add_generation_prompt=True, tokenize=False)
    inputs = processor(text=[text], return_tensors="pt", **media)
    kind = "image" if sort == "pictures" else "video"
    pixels = inputs["pixel_values" if kind == "image" else "pixel_values_videos"]
    grid = inputs[f"{kind}_grid_thw"]
    with torch.no_grad():
        theirs = model(**inputs).logits
    positions, _ = model.model.get_rope_index(
        inputs["input_ids"],
        mm_token_type_ids=inputs["mm_token_type_ids"],
        attention_mask=inputs["attention_mask"],
        **{f"{kind}_grid_thw": grid},
    )
    assert relative_error(our_logits(network, inputs, positions, pixels, grid), theirs) < 1e-4


def test_conversations_about_one_picture_do_not_see_each_other() -> None:
    torch.manual_seed(2)
    network = Network()
    ids = torch.randint(0, 1280, (1, 30))
    segment = torch.tensor([[0] * 10 + [1] * 10 + [2] * 10])
    positions = torch.tensor([*range(20), *range(10, 20)]).expand(1, 3, 30)
    nothing = torch.zeros(1, PATCHES, 1536), torch.zeros(1, dtype=torch.long)
    with torch.no_grad():
        packed, _ = network(*nothing, ids, positions, segment, torch.zeros_like(ids))
        alone, _ = network(
            *nothing,
            ids[:, [*range(10), *range(20, 30)]],
            positions[..., :20],
            segment[:, :20] * 1,
            torch.zeros(1, 20, dtype=torch.long),
        )
    assert relative_error(packed[:, 20:], alone[:, 10:]) < 1e-4


def test_both_renderers_draw_the_same_scene() -> None:
    grid = (7, 9)
    things = (
        Thing("dog", None, 0.3, 0.5, 0.5, 12.0, True),
        Thing("crescent", "red", 0.75, 0.4, 0.4, -9.0, False, False, COLOURS["red"]),
    )
    scene = Scene(things, PLAIN, 9 / 7)
    canvas = Canvas(Rows(1, 0, 0, 0, 0))
    colours = [channel / 255 for channel in PLAIN.first * 2]
    backdrop = [*colours, 0, 1, 0, 0, 1, *[0] * 10]  # no texture, no ramp, no surround
    shot = Shot(scene, Camera.straight(), [1, 1, 1, 0, 1, 0, 0, 0, 0], backdrop, 0.0, 0.0, [1, 1, 1])
    canvas.frame_of[0] = canvas.shoot(shot, scene, grid)
    layout = torch.tensor([LAYOUT_INDEX[(*grid, 1)]], dtype=torch.int32)
    patches = torch.zeros(1, PATCHES, 1536)
    renderer = Renderer(torch.device("cpu"), 0, layout_tables())
    numbers = (torch.from_numpy(a) for a in (canvas.frames, canvas.things, canvas.frame_of))
    renderer.draw(patches, *numbers, layout, torch.zeros(1, dtype=torch.int32))
    picture = torch.zeros(3, grid[0] * 32, grid[1] * 32)
    for patch, (row, column) in zip(patches[0].view(PATCHES, 3, 2, 16, 16), patch_places(*grid).tolist(), strict=False):
        assert torch.equal(patch[:, 0], patch[:, 1])
        picture[:, row * 16 : row * 16 + 16, column * 16 : column * 16 + 16] = patch[:, 0]
    data = ((picture.permute(1, 2, 0) + 1) * 127.5).round().byte().numpy().tobytes()
    ours = Image.frombytes("RGB", (grid[1] * 32, grid[0] * 32), data)
    theirs = render(scene, *ours.size)
    blank = render(Scene((), PLAIN, scene.aspect), *ours.size)
    apart, drawn = (sum(ImageStat.Stat(ImageChops.difference(one, theirs)).mean) for one in (ours, blank))
    assert apart < 0.15 * drawn  # edges and Pillow's shadows


def test_fast_encoder_agrees_with_the_tokenizer(tokenizer: Tokenizer) -> None:
    encode = FastEncoder(tokenizer)
    for text in ("What do you see?", "1. a red star\n2. an umbrella\n", " 长颈鹿 🦒\t é  x42 ~~", "<1.2 seconds>", ""):
        assert encode(text) == tokenizer.encode(text, add_special_tokens=False).ids
        assert tokenizer.decode(encode(text)) == text
    words_of_the_world = [f" {name}" for name in COLOURS] + [" dog", " stars", " umbrella"]
    assert all(len(encode(word)) == 1 for word in words_of_the_world)


def test_batches_ask_for_the_tokens_that_follow(tokenizer: Tokenizer) -> None:
    rows = Rows(one_picture=3, two_pictures=2, clips=3, six_frame_clips=2, no_picture=1)
    maker = BatchMaker(tokenizer, rows, 1)
    for _ in range(4):
        batch = maker.make()
        end = tokenizer.token_to_id("<|im_end|>")
        ids, targets, segment = (batch[name].tolist() for name in ("ids", "targets", "segment"))
        for row in range(rows.total):
            for at, target in enumerate(targets[row][:-1]):
                if target >= 0:
                    goes_on = segment[row][at + 1] == segment[row][at]
                    assert target == (ids[row][at + 1] if goes_on else end)
                    assert segment[row][at] > 0
        used = batch["visual"][batch["visual"] > 0]
        assert len(used.unique()) == len(used)
        assert maker.canvas.frame == rows.frames
        assert maker.canvas.sequence == rows.sequences


def test_a_few_steps_learn_a_batch_by_heart_then_export_and_exam(tokenizer: Tokenizer, tmp_path: Path) -> None:
    rows = Rows(one_picture=1, two_pictures=0, clips=0, six_frame_clips=0, no_picture=1)
    trainer = Trainer(torch.device("cpu"), rows, Settings())
    trainer.load(BatchMaker(tokenizer, rows, 3).make())
    trainer.draw()
    losses = []
    for _ in range(12):
        trainer.learn()
        trainer.forget()
        trainer.rate.fill_(2e-3)
        losses.append(float(trainer.report["loss"]))
    assert losses[0] > 5 > 1 > losses[-1]
    export(trainer.network.state_dict(), tokenizer, tmp_path)
    picture = jpeg(render(Scene((), PLAIN), 320, 240))
    cases = [Case("describe", (("", "x"),), (picture,)), Case("clip", (("", "x"),), (), (picture,) * 4)]
    results = sit_exam(tmp_path, cases)
    assert {case.skill for case, _, _ in results} == {"describe", "clip"}
    facts = {"steps": 12, "training_s": 1, "rows": 24, "device": "CPU", "parameters": 16_385_024}
    assert score_table(results) in write_card(facts, score_table(results))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 35_000_000
    assert Image.open(io.BytesIO(picture)).size == (320, 240)


def test_random_cameras_and_their_inverses_cancel() -> None:
    from camera import inverse, project

    rng = Random(1)
    for _ in range(50):
        camera = Camera.held(rng, 1.3, rng.uniform(0.6, 1.0), 0.14)
        x, y = rng.random(), rng.random()
        back = project(inverse(camera.matrix), *project(camera.matrix, x, y))
        assert back == pytest.approx((x, y), abs=1e-9)
