"""Measures the parts of vLLM's memory in this process, one by one, with random weights of the right shape.

Used by probe.py. Written for vLLM 0.26's worker and both of its model runners: the second one (dense models) does
not run the vision encoder when it profiles, the first one (experts, hybrid models) does.
"""

import contextlib
import gc
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

TOKENS = (512, 1024, 2048, 4096, 8192)
ROWS = (1, 4, 32, 256)
GRAPHS = ((1,), (1, 2, 4), (1, 2, 4, 8, 16, 32))
PICTURES = ((448, 336, 1), (512, 512, 1), (512, 512, 4), (1024, 1024, 1), (2048, 2048, 1))
"""Width, height and number of pictures encoded at once."""
CLIP = (8, 384, 384)
"""Frames, width and height."""
KV_BYTES = 6 << 30


class Parts:
    """One engine without its server. `measure` fills `found`, and `errors` for parts that fail."""

    def __init__(self, directory: Path, arguments: dict[str, Any], load_only: bool) -> None:
        self.found: dict[str, Any] = {"errors": {}, "seconds": {}}
        self.load_only = load_only
        self.directory = directory
        self.arguments = arguments
        self.items: list[tuple[dict[str, Any], list[tuple[str, Any]]]] = []
        self.executor: Any = None

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        except Exception as error:
            import traceback

            traceback.print_exc()
            self.found["errors"][name] = f"{type(error).__name__}: {error}"[:400]
        self.found["seconds"][name] = round(time.monotonic() - began, 2)

    def prepare(self) -> None:
        """Makes everything that needs no GPU: the configuration and the pictures."""
        with self.part("config"):
            from vllm.engine.arg_utils import EngineArgs
            from vllm.plugins import load_general_plugins
            from vllm.usage.usage_lib import UsageContext

            load_general_plugins()
            context = UsageContext.OPENAI_API_SERVER
            self.config = EngineArgs(**self.arguments).create_engine_config(usage_context=context)
            model = self.config.model_config
            self.found["runner"] = "V2" if self.config.use_v2_model_runner else "V1"
            self.found["max_model_len"] = model.max_model_len
            self.found["async_scheduling"] = self.config.scheduler_config.async_scheduling
        if not self.load_only and "config" not in self.found["errors"]:
            with self.part("pictures"):
                self._prepare_pictures()

    def _prepare_pictures(self) -> None:
        from vllm.multimodal import MULTIMODAL_REGISTRY as registry

        model = self.config.model_config
        if not model.is_multimodal_model:
            return
        processor = registry.create_processor(model)
        limits = processor.info.allowed_mm_limits
        self.found["picture_tokens_most"] = dict(
            processor.info.get_mm_max_tokens_per_item(model.max_model_len, dict.fromkeys(limits, 1)) or {}
        )
        for width, height, count in PICTURES:
            with self.part(f"picture {width}x{height}"):
                options = {"count": 1, "width": width, "height": height}
                item = _dummy(processor, model, "image", options)
                self.items.append(({"picture": [width, height], "count": count}, [("image", item)] * count))
        if limits.get("video"):
            with self.part("clip"):
                frames, width, height = CLIP
                options = {"count": 1, "num_frames": frames, "width": width, "height": height}
                self.items.append(
                    ({"clip": list(CLIP), "count": 1}, [("video", _dummy(processor, model, "video", options))])
                )

    def measure(self) -> None:
        """Measures all parts in the order in which the engine makes them."""
        import torch

        with self.part("context"):
            torch.cuda.init()
            torch.zeros(1, device="cuda")
            self.found["context"] = state()
        with self.part("load"):
            self._load()
        if self.executor is None:
            return
        with self.part("tensors"):
            self.found["tensors"] = _tensors(self.runner.get_model())
        if self.load_only:
            return
        with torch.inference_mode():
            with self.part("profile"):
                self._profile()
            with self.part("activation"):
                self.found["activation"] = {n: peak(partial(self._step, n)) for n in TOKENS if n <= self.tokens}
            with self.part("sampler"):
                self._sampler()
            for what, items in self.items:
                with self.part(f"vision {list(what.values())}"):
                    self._encode(what, items)
            with self.part("kv"):
                self._make_kv()
            for sizes in GRAPHS:
                with self.part(f"graphs {sizes}"):
                    self._capture(sizes)
            with self.part("warm"):
                self._forget_graphs((1,))
                self.executor.collective_rpc("compile_or_warm_up_model")
                self.found["warm"] = state()
            with self.part("attention"):
                self.found["attention"] = {n: peak(partial(self.runner._dummy_run, n)) for n in (1, 512, 2048)}
                self.found["end"] = state()

    @property
    def runner(self) -> Any:
        return self.executor.driver_worker.worker.model_runner

    @property
    def tokens(self) -> int:
        return int(self.config.scheduler_config.max_num_batched_tokens)

    def _load(self) -> None:
        import torch
        from vllm.v1.executor.uniproc_executor import UniProcExecutor

        peaks: list[int] = []
        reset = torch.cuda.reset_peak_memory_stats

        def noted(*given: Any, **named: Any) -> None:
            peaks.append(torch.cuda.max_memory_allocated())
            reset(*given, **named)

        torch.cuda.reset_peak_memory_stats = noted
        try:
            self.executor = UniProcExecutor(self.config)
        finally:
            torch.cuda.reset_peak_memory_stats = reset
        worker = self.executor.driver_worker.worker
        before = worker.init_snapshot
        self.found["load"] = {
            "weights": int(self.runner.model_memory_usage),
            "peak": max(peaks, default=0),
            "before": {"non_torch": before.non_torch_memory, "torch": before.torch_memory, "free": before.free_memory},
            **state(),
        }
        self.found["load"]["around"] = self.found["load"]["allocated"] - self.found["load"]["weights"]

    def _profile(self) -> None:
        available = self.executor.determine_available_memory()
        worker = self.executor.driver_worker.worker
        self.found["profile"] = {
            "available": available[0],
            "activation": worker.peak_activation_memory,
            "non_torch": worker.non_torch_memory,
            "graphs": worker.cudagraph_memory_estimate,
            "requested": int(worker.requested_memory),
            **state(),
        }

    def _step(self, tokens: int) -> Any:
        if self.found["runner"] == "V2":
            return self.runner._dummy_run(tokens, skip_attn=True, is_profile=True)
        return self.runner._dummy_run(tokens, is_profile=True)

    def _sampler(self) -> None:
        _, last = self._step(self.tokens)
        rows = [n for n in ROWS if n <= last.shape[0]]
        self.found["sampler"] = {n: peak(partial(self.runner._dummy_sampler_run, last[:n])) for n in rows}

    def _encode(self, what: dict[str, Any], items: list[tuple[str, Any]]) -> None:
        from vllm.multimodal.utils import group_and_batch_mm_kwargs

        kept: list[Any] = []
        shapes: dict[str, list[int]] = {}

        def encode() -> list[Any]:
            for _, _, batch in group_and_batch_mm_kwargs(items, device=self.runner.device, pin_memory=True):
                shapes.update({name: list(value.shape) for name, value in batch.items() if hasattr(value, "shape")})
                kept.extend(self.runner.get_model().embed_multimodal(**batch))
            return kept

        measured = peak(encode)
        output = sum(value.nbytes for value in kept)
        tokens = sum(value.shape[0] for value in kept)
        self.found.setdefault("vision", []).append(
            {**what, "tokens": tokens, "output": output, "inputs": shapes, **measured}
        )

    def _make_kv(self) -> None:
        from vllm.v1.core.kv_cache_utils import get_kv_cache_configs
        from vllm.v1.core.single_type_kv_cache_manager import register_all_kvcache_specs

        register_all_kvcache_specs(self.config)
        specs = self.executor.get_kv_cache_specs()
        (made,) = get_kv_cache_configs(self.config, specs, [KV_BYTES])
        groups = []
        for group in made.kv_cache_groups:
            spec = group.kv_cache_spec
            groups.append(
                {
                    "kind": type(spec).__name__,
                    "layers": len(group.layer_names),
                    "block_tokens": spec.block_size,
                    "page": spec.page_size_bytes,
                    "needed": spec.max_memory_usage_bytes(self.config),
                }
            )
        cache = self.config.cache_config
        cache.num_gpu_blocks = made.num_blocks
        if groups:
            cache.block_size = min(group["block_tokens"] for group in groups)
        before = state()
        self.executor.driver_worker.initialize_from_config([made])
        after = state()
        self.found["kv"] = {
            "given": KV_BYTES,
            "blocks": made.num_blocks,
            "tensors": sum(tensor.size for tensor in made.kv_cache_tensors),
            "groups": groups,
            "allocated": after["allocated"] - before["allocated"],
            "backends": _backends(self.runner),
            **{name: after[name] for name in ("used", "reserved", "beyond_torch")},
        }

    def _capture(self, sizes: tuple[int, ...]) -> None:
        before = state()
        mode = self._forget_graphs(sizes)
        said = self.runner.capture_model()
        after = state()
        self.found.setdefault("graphs", []).append(
            {"sizes": list(sizes), "mode": mode, "said": int(said)}
            | {name: after[name] - before[name] for name in ("used", "reserved", "allocated", "beyond_torch")}
        )

    def _forget_graphs(self, sizes: tuple[int, ...]) -> str:
        """Drops the captured graphs and requests these sizes; returns the mode that the attention backend allows."""
        compilation = self.config.compilation_config
        compilation.cudagraph_capture_sizes = list(sizes)
        compilation.max_cudagraph_capture_size = max(sizes)
        if self.found["runner"] == "V2":
            old = self.runner.cudagraph_manager
            self.runner.cudagraph_manager = type(old)(
                self.config,
                self.runner.device,
                old.cudagraph_mode,
                decode_query_len=old.decode_query_len,
                lora_capture_cases=old.lora_capture_cases,
            )
            old.graphs.clear()
            mode = str(old.cudagraph_mode)
        else:
            from vllm.compilation.cuda_graph import CUDAGraphWrapper
            from vllm.v1.worker.workspace import unlock_workspace

            unlock_workspace()
            CUDAGraphWrapper.clear_all_graphs()
            dispatcher = self.runner.cudagraph_dispatcher
            for keys in dispatcher.cudagraph_keys.values():
                keys.clear()
            dispatcher.initialize_cudagraph_keys(dispatcher.cudagraph_mode, self.runner.uniform_decode_query_len)
            mode = str(dispatcher.cudagraph_mode)
        gc.collect()
        return mode


def state() -> dict[str, int]:
    """Bytes in use on the device. `beyond_torch`: bytes in use that torch's allocator does not hold."""
    import torch

    torch.cuda.synchronize()
    free, total = torch.cuda.mem_get_info()
    reserved = torch.cuda.memory_reserved()
    used = total - free
    return {
        "used": used,
        "reserved": reserved,
        "allocated": torch.cuda.memory_allocated(),
        "beyond_torch": used - reserved,
    }


def peak(work: Callable[[], Any]) -> dict[str, int]:
    """Peak of `work` above the memory allocated before, by the tensors' sizes and by torch's reserved memory."""
    import torch

    gc.collect()
    torch.cuda.empty_cache()
    before = state()
    torch.cuda.reset_peak_memory_stats()
    kept = work()
    torch.cuda.synchronize()
    measured = {
        "peak": torch.cuda.max_memory_allocated() - before["allocated"],
        "peak_reserved": torch.cuda.max_memory_reserved() - before["reserved"],
    }
    del kept
    gc.collect()
    after = state()
    measured["stays"] = after["allocated"] - before["allocated"]
    measured["beyond_torch"] = after["beyond_torch"] - before["beyond_torch"]
    return measured


def _dummy(processor: Any, model: Any, modality: str, options: dict[str, int]) -> Any:
    from vllm.config.multimodal import ImageDummyOptions, VideoDummyOptions
    from vllm.multimodal.processing.context import TimingContext

    chosen = (ImageDummyOptions if modality == "image" else VideoDummyOptions)(**options)
    inputs = processor.dummy_inputs.get_dummy_processor_inputs(
        seq_len=1 << 18, mm_counts={modality: 1}, mm_options={modality: chosen}
    )
    made = processor.apply(inputs, timing_ctx=TimingContext(enabled=False))
    return made["mm_kwargs"][modality][0]


def _tensors(module: Any) -> dict[str, Any]:
    """The model's GPU memory by data type and by part, and its largest tensors that are not parameters."""
    import torch

    seen: set[int] = set()
    types: dict[str, int] = {}
    parts: dict[str, int] = {}

    def storage(tensor: Any) -> int:
        held = tensor.untyped_storage()
        if not tensor.is_cuda or held.data_ptr() in seen:
            return 0
        seen.add(held.data_ptr())
        return int(held.nbytes())

    for name, value in module.named_parameters():
        size = storage(value)
        types[str(value.dtype)] = types.get(str(value.dtype), 0) + size
        prefix = ".".join(name.split(".")[:2])
        parts[prefix] = parts.get(prefix, 0) + size
    buffers = {name: (storage(value), list(value.shape), str(value.dtype)) for name, value in module.named_buffers()}
    others = [
        (storage(value), list(value.shape), str(value.dtype))
        for value in gc.get_objects()
        if type(value) in (torch.Tensor, torch.nn.Parameter) and value.is_cuda
    ]
    return {
        "parameters": sum(types.values()),
        "types": types,
        "parts": parts,
        "buffers": {name: entry for name, entry in buffers.items() if entry[0] >= 1 << 16},
        "buffers_total": sum(entry[0] for entry in buffers.values()),
        "others": sorted((entry for entry in others if entry[0]), key=lambda entry: -entry[0])[:12],
        "others_total": sum(entry[0] for entry in others),
    }


def _backends(runner: Any) -> list[str]:
    with contextlib.suppress(Exception):
        return sorted({group.backend.__name__ for groups in runner.attn_groups for group in groups})
    return []


def environment() -> dict[str, str]:
    """Environment variables for a child."""
    return {
        "VLLM_USE_FLASHINFER_SAMPLER": os.environ.get("VLLM_USE_FLASHINFER_SAMPLER", "0"),
        "VLLM_USE_DEEP_GEMM": os.environ.get("VLLM_USE_DEEP_GEMM", "0"),
        "VLLM_HOST_IP": "127.0.0.1",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "GLOO_SOCKET_IFNAME": "lo",
        "TOKENIZERS_PARALLELISM": "false",
    }
