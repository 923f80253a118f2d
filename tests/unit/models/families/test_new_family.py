"""The example in CONTRIBUTING.md: its file, registered by its one line, is enough to plan a model of a new family."""

import json
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import vedette
from bench.lab.shapes import make_shape
from vedette.device.boards import device_named
from vedette.models.checkpoint import read_model
from vedette.models.families import registry
from vedette.models.families.family import Vision
from vedette.plan.make import make_plan
from vedette.plan.plan import Wish

CONTRIBUTING = (Path(__file__).parents[4] / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A model of the example's family, with the weights of LLaVA."""
    path = make_shape("llava-1.5-7b-hf", tmp_path / "postcard")
    config: dict[str, Any] = json.loads((path / "config.json").read_bytes())
    (path / "config.json").write_text(json.dumps(config | {"model_type": "postcard"}))
    return path


def test_without_the_family_its_vision_part_is_unknown(directory: Path) -> None:
    model = read_model(directory)
    assert model.vision is None
    assert model.unknown_vision


def test_the_example_in_contributing_plans_a_model(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [file] = re.findall(r"```python\n(.*?)```", CONTRIBUTING, re.DOTALL)
    [name] = re.findall(r"^\+    (\w+)\.FAMILY,$", CONTRIBUTING, re.MULTILINE)
    module = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(file, f"{name}.py", "exec"), module.__dict__)  # noqa: S102 - the guide's own text
    assert f"{name}.py" in CONTRIBUTING
    monkeypatch.setattr(registry, "FAMILIES", [*registry.FAMILIES, module.FAMILY])

    model = read_model(directory)

    assert model.vision is not None
    assert not model.unknown_vision
    tokens = (336 // 14 // 2) ** 2 + 2
    assert model.vision.picture_tokens(640, 480) == tokens
    plan = make_plan(device_named("agx-orin-64gb"), model, Wish(images_per_request=1))
    assert plan.fits
    assert plan.context.visual_tokens == tokens
    assert plan.memory.vision_activation_bytes > 0


def test_a_family_says_all_that_a_plan_asks() -> None:
    unsaid = {"picture_tokens", "most_picture_tokens", "encoder_patches", "pixel_limits"}
    assert Vision.__abstractmethods__ == unsaid
    with pytest.raises(TypeError, match="abstract"):
        Vision(patch_size=14, merge_size=2, max_pixels=1, hidden_size=1, intermediate_size=1)  # type: ignore[abstract]


def test_every_file_of_a_family_is_registered() -> None:
    files = {path.stem for path in (Path(vedette.__file__).parent / "models" / "families").glob("*.py")}
    named = set(re.findall(r"^    (\w+)\.FAMILY,$", Path(registry.__file__).read_text(encoding="utf-8"), re.MULTILINE))
    assert files - named == {"__init__", "family", "registry", "square_encoder", "tile_grid"}


def test_no_two_families_claim_one_model_type() -> None:
    claimed = [model_type for family in registry.FAMILIES for model_type in family.text_model_types]
    assert len(claimed) == len(set(claimed))
