"""vLLM's own parser accepts vedette's arguments and gives them the meaning intended. No engine is started."""

import asyncio
import dataclasses
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.rig.engine_settings import CPU, GPU, TEXT, WITH_CLIPS
from vedette.engine.hosts.installer import InstallSettings, ensure
from vedette.engine.hosts.recipes import CPU_RECIPE
from vedette.engine.vllm.flags import serve_arguments
from vedette.engine.vllm.versions import parse_help
from vedette.plan.plan import Graphs
from vedette.settings.table import Settings

PARSE = """
import json, sys
import num2words  # SmolVLM2's processor ends the start without it
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser

parser = make_arg_parser(FlexibleArgumentParser())
parsed = [vars(parser.parse_args(arguments)) for arguments in json.load(sys.stdin)]
json.dump({"help": parser.format_help(), "parsed": parsed}, sys.stdout, default=str)
"""
CASES = {
    "text": serve_arguments(dataclasses.replace(TEXT, graphs=Graphs.EAGER), CPU, CPU_RECIPE.version),
    "graphs": serve_arguments(TEXT, GPU, CPU_RECIPE.version),
    "clips": serve_arguments(WITH_CLIPS, GPU, CPU_RECIPE.version),
}


@pytest.fixture(scope="module")
def answer(check_home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The values that vLLM's parser gives for each case, and its help."""
    work = tmp_path_factory.mktemp("work")
    workshop = InstallSettings(check_home / "engines", Settings().torch_index, work, lambda _: None)
    made = asyncio.run(ensure(CPU_RECIPE, workshop))
    asked = json.dumps([arguments[1:] for arguments in CASES.values()])
    program = [str(made.python), "-c", PARSE]
    result = subprocess.run(program, input=asked, capture_output=True, text=True, timeout=300, cwd=work)
    assert result.returncode == 0, result.stderr[-2000:]
    answer: dict[str, Any] = json.loads(result.stdout[result.stdout.index('{"help"') :])
    answer["parsed"] = dict(zip(CASES, answer["parsed"], strict=True))
    return answer


def test_the_parser_gives_the_arguments_the_meaning_intended(answer: dict[str, Any]) -> None:
    text, clips = answer["parsed"]["text"], answer["parsed"]["clips"]
    assert text["model_tag"] == "/models/some"
    assert text["served_model_name"] == ["some"]
    assert (text["max_model_len"], text["max_num_seqs"], text["max_num_batched_tokens"]) == (8192, 4, 2048)
    assert text["kv_cache_memory_bytes"] == TEXT.kv_cache_bytes
    assert text["enforce_eager"]
    assert text["limit_mm_per_prompt"] == {"image": 0, "video": 0}
    assert text["enable_prefix_caching"]
    assert not clips["enable_prefix_caching"]
    assert clips["mm_processor_kwargs"] == WITH_CLIPS.processor_arguments
    assert clips["hf_overrides"] == WITH_CLIPS.hf_overrides
    assert clips["media_io_kwargs"] == {"video": {"num_frames": 8}}
    assert clips["default_chat_template_kwargs"] == {"enable_thinking": False}
    assert clips["allowed_media_domains"] == ["none.invalid"]
    assert (clips["kv_cache_dtype"], clips["attention_backend"]) == ("fp8", "FLASHINFER")


def test_graphs_need_no_compilation(answer: dict[str, Any]) -> None:
    config = answer["parsed"]["graphs"]["compilation_config"]
    assert "'mode': <CompilationMode.NONE: 0>" in config
    assert "'cudagraph_mode': <CUDAGraphMode.FULL_DECODE_ONLY" in config
    assert "'cudagraph_capture_sizes': [1, 2, 4]" in config


def test_the_help_lists_every_option(answer: dict[str, Any]) -> None:
    known = parse_help(answer["help"])
    for arguments in CASES.values():
        assert {word for word in arguments if word.startswith("--")} <= known
