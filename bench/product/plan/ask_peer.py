"""Asks one other tool for its estimates, in that tool's own environment: JSON in, JSON out.

`against_peers.py` runs it as `PYTHON ask_peer.py TOOL HUB < cases`, where HUB is an address that serves the models as
the Hugging Face hub does. A case is {shape, repository, directory, context, requests, bits}; an answer {weights, kv,
total, note} in bytes, None where the tool gives none, or {failed}.
"""

import importlib
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

Case = dict[str, Any]
Estimate = dict[str, Any]
GIB = 1024**3


def hf_mem(case: Case, hub: str) -> Estimate:
    """Weights from the headers, keys and values; names no other memory."""
    tool = importlib.import_module("hf_mem.run")
    for name in ("get_json_file", "fetch_safetensors_metadata"):
        if not hasattr(getattr(tool, name), "of_this_hub"):
            setattr(tool, name, _redirected(getattr(tool, name), hub))
    asked = {
        "model_id": case["repository"],
        "experimental": True,
        "max_model_len": case["context"],
        "batch_size": case["requests"],
    }
    note = None
    try:
        found = tool.run(**asked)
    except RuntimeError as error:
        if "kv_cache_dtype" not in str(error) and "kv-cache-dtype" not in str(error):
            raise
        found = tool.run(**asked, kv_cache_dtype="bfloat16")
        note = "type of the KV cache given by hand"
    if found.kv_cache is None:
        note = "no KV estimate"
    return {"weights": found.memory, "kv": found.kv_cache, "total": found.total_memory, "note": note}


def _redirected(fetch: Callable[..., Any], hub: str) -> Callable[..., Any]:
    """hf-mem spells the hub's address out; this asks `hub` instead."""

    async def asked_here(client: Any, url: str, headers: dict[str, str] | None = None) -> Any:
        return await fetch(client, url.replace("https://huggingface.co", hub), headers)

    asked_here.of_this_hub = True  # type: ignore[attr-defined]
    return asked_here


def modelinfo(case: Case, _: str) -> Estimate:
    """Weights, keys and values, and 600 MiB for CUDA's context, from a local file."""
    tool = importlib.import_module("modelinfo.cli")
    file = str(Path(case["directory"]) / "model.safetensors")
    found = tool.analyze_model(file, case["context"], batch_size=case["requests"])["footprint"]
    note = None if found["kv_cache_bytes"] else "no KV estimate"
    return {
        "weights": found["base_memory_bytes"],
        "kv": found["kv_cache_bytes"] or None,
        "total": found["total_memory_bytes"],
        "note": note,
    }


def jetfit(case: Case, _: str) -> Estimate:
    """From its own list of models, at 4,096 tokens whatever is asked, in llama.cpp's formats: the nearest one."""
    tool = importlib.import_module("jetfit.fit")
    profile = importlib.import_module("jetfit.profiles").PROFILES["jetson_agx_orin_64gb"]
    plain = case["shape"].lower().replace("meta-", "")
    named = [model for model in tool.KNOWN_MODELS if plain.startswith(model.name.lower())]
    if not named:
        return {"failed": "model not in its list"}
    quant, note = {4: ("Q4_K_M", None), 8: ("Q8_0", None)}.get(case["bits"], ("Q8_0", "knows no 16-bit weights: Q8_0"))
    found = tool.score_model(max(named, key=lambda model: len(model.name)), quant, profile, profile.total_memory_gb)
    return {
        "weights": found.effective_size_gb * GIB,
        "kv": found.kv_cache_gb * GIB,
        "total": found.total_memory_gb * GIB,
        "note": note,
    }


def autoconfig(case: Case, _: str) -> Estimate:
    """What `make_plan` counts: files, keys and values, and 1.5 and 2.5 GiB for the rest.

    It plans only for the GPU that torch finds; here torch is a stand-in that finds one of 122 GiB.
    """
    planner = _autoconfig_planner()
    plan = planner.make_plan(case["repository"], case["context"], reserve_gib=2.5, local_files_only=True, cache=False)
    weights, kv = plan.notes["weights_gib_est"] * GIB, plan.notes["kv_bytes_per_seq_est"] * case["requests"]
    rest = (plan.notes["compile_overhead_gib"] + 2.5) * GIB
    return {"weights": weights, "kv": kv, "total": weights + kv + rest, "note": None}


def _autoconfig_planner() -> Any:
    """The planner alone: the package's own import needs torch and vLLM, its planner only torch's view of a GPU."""
    importlib.import_module("transformers")  # imported before torch's stand-in, which it would inspect
    gpu = types.SimpleNamespace(name="as if Thor", total_memory=122 * GIB, major=11, minor=0, multi_processor_count=20)
    cuda = types.SimpleNamespace(
        is_available=lambda: True,
        get_device_properties=lambda _: gpu,
        is_bf16_supported=lambda: True,
        device_count=lambda: 1,
    )
    torch: Any = types.ModuleType("torch")
    torch.cuda = cuda
    sys.modules.setdefault("torch", torch)
    package = types.ModuleType("vllm_autoconfig")
    roots = [Path(path) / "vllm_autoconfig" for path in sys.path]
    package.__path__ = [str(root) for root in roots if root.is_dir()]
    sys.modules.setdefault("vllm_autoconfig", package)
    return importlib.import_module("vllm_autoconfig.planner")


TOOLS = {"hf-mem": hf_mem, "modelinfo-cli": modelinfo, "jetfit": jetfit, "vllm-speculative-autoconfig": autoconfig}


def main() -> None:
    tool, hub = sys.argv[1:]
    answers, out = [], sys.stdout
    sys.stdout = sys.stderr  # some tools print while they work
    for case in json.load(sys.stdin):
        try:
            answers.append(TOOLS[tool](case, hub))
        except Exception as error:  # whatever a tool raises is its answer
            answers.append({"failed": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"})
    json.dump(answers, out)


if __name__ == "__main__":
    main()
