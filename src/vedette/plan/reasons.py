"""Why each number of a plan is what it is, in words."""

from vedette.device.facts import Device
from vedette.models.facts import Model
from vedette.plan import memory as parts
from vedette.plan.ladder import Rung
from vedette.plan.plan import Basis, EngineSettings, Graphs, Memory, Reason, Wish

GIB = 1024**3


def gib(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.2f} GiB"


def plan_reasons(
    device: Device, model: Model, wish: Wish, settings: EngineSettings, need: Memory, asked: tuple[Rung, Rung, Memory]
) -> tuple[Reason, ...]:
    """A reason for every number. asked: what one would like, what was chosen, what the former would need."""
    return (
        *_memory_reasons(device, model, settings, need),
        *_context_reasons(model, wish, asked),
        *_settings_reasons(settings, need),
    )


def _memory_reasons(device: Device, model: Model, settings: EngineSettings, need: Memory) -> list[Reason]:
    basis = Basis.ASSUMED if model.assumed else Basis.COMPUTED
    whence = "the catalogue's figure" if model.assumed else "from the tensor headers"
    extras = [f"{gib(parts.position_cache_bytes(model))} of position cache"]
    copied = parts.repacked_bytes(model, settings.backend)
    if copied:
        extras.append(f"{gib(copied)} repacked for the processor")
    found = [
        Reason("weights", gib(need.weights_bytes), f"{whence}, with {' and '.join(extras)}", basis),
        Reason(
            "kv_cache",
            gib(need.kv_cache_bytes),
            f"{settings.max_model_len} tokens × {settings.max_num_seqs} requests × "
            f"{parts.kv_bytes_per_token(model):,} bytes of keys and values, in whole blocks",
            Basis.COMPUTED,
        ),
        Reason(
            "activation",
            gib(need.activation_bytes),
            f"{settings.max_num_batched_tokens} tokens in the widest layer, and the logits",
            Basis.COMPUTED,
        ),
    ]
    if need.vision_activation_bytes:
        why = "the pictures that one step may encode together"
        found.append(Reason("vision_activation", gib(need.vision_activation_bytes), why, Basis.COMPUTED))
    if need.cuda_graph_bytes:
        sizes = ", ".join(map(str, settings.capture_sizes))
        found.append(Reason("cuda_graph", gib(need.cuda_graph_bytes), f"batches of {sizes}", Basis.ASSUMED))
    if need.runtime_bytes:
        why = "CUDA's context and libraries, which vLLM does not count"
        found.append(Reason("runtime", gib(need.runtime_bytes), why, Basis.ASSUMED))
    where = "RAM beside the GPU" if need.host_available_bytes is not None else "the same memory"
    found += [
        Reason("host", gib(need.host_bytes), f"vLLM's own processes, in {where}", Basis.ASSUMED),
        Reason("reserve", gib(need.reserve_bytes), "3 % of what is available, at least 0.25 GiB", Basis.ASSUMED),
        Reason(
            "available",
            gib(need.available_bytes),
            f"of {gib(device.memory_total_bytes)}, "
            + ("as the catalogue has this board" if device.assumed else "what the system can give now"),
            Basis.ASSUMED if device.assumed else Basis.COMPUTED,
        ),
    ]
    return found


def _context_reasons(model: Model, wish: Wish, asked: tuple[Rung, Rung, Memory]) -> list[Reason]:
    first, chosen, first_need = asked
    found = [
        Reason(
            "max_model_len",
            str(chosen.max_model_len),
            _choice(wish.max_model_len, first.max_model_len, chosen.max_model_len, first_need),
            Basis.COMPUTED,
        ),
        Reason(
            "concurrency",
            str(chosen.concurrency),
            _choice(wish.concurrency, first.concurrency, chosen.concurrency, first_need),
            Basis.COMPUTED,
        ),
    ]
    if chosen.image_max_pixels is not None:
        found += [
            Reason(
                "image_max_pixels",
                f"{chosen.image_max_pixels:,}",
                _choice(wish.image_max_pixels, first.image_max_pixels, chosen.image_max_pixels, first_need),
                Basis.COMPUTED,
            ),
            Reason(
                "visual_tokens",
                str(chosen.visual_tokens),
                f"of one largest picture with its markers; a request may hold {chosen.images}",
                Basis.COMPUTED,
            ),
        ]
    elif model.vision is not None or model.unknown_vision:
        why = (
            f"how {model.architecture} turns pictures into tokens is not known yet: only text is served"
            if model.unknown_vision
            else "pictures are switched off, and the vision tower is not loaded"
        )
        found.append(Reason("visual_tokens", "0", why, Basis.COMPUTED))
    found += [
        Reason("prompt_tokens", str(chosen.prompt_tokens), _part_of_context(wish.prompt_tokens), Basis.COMPUTED),
        Reason("answer_tokens", str(chosen.answer_tokens), _part_of_context(wish.answer_tokens), Basis.COMPUTED),
    ]
    return found


def _choice(wished: int | None, liked: int | None, chosen: int, first_need: Memory) -> str:
    if wished is not None:
        return "as you asked" if wished == chosen else f"the most the model takes, less than the {wished:,} asked for"
    if liked == chosen:
        return "what one would like"
    return f"less than {liked:,}, with which {gib(first_need.total_bytes)} would be needed"


def _part_of_context(wished: int | None) -> str:
    return "as you asked" if wished is not None else "its share of what the pictures leave of the context"


def _settings_reasons(settings: EngineSettings, need: Memory) -> list[Reason]:
    graphs = {
        Graphs.EAGER: "a CPU has no graphs; compiled, it starts 44 s later and holds 0.4 GiB more",
        Graphs.GRAPHS: "many times faster than eager in the same memory, without the minute that compiling takes",
        Graphs.COMPILED: "compiled kernels and graphs",
    }
    found = [
        Reason("graphs", settings.graphs.value, graphs[settings.graphs], Basis.COMPUTED),
        Reason("dtype", settings.dtype, "the type of the model's weights", Basis.COMPUTED),
    ]
    if settings.gpu_memory_utilization is not None:
        found.append(
            Reason(
                "gpu_memory_utilization",
                f"{settings.gpu_memory_utilization:.2f}",
                f"only the gate at start: the engine's own {gib(need.engine_bytes)} must be free",
                Basis.COMPUTED,
            )
        )
    if settings.reasoning_parser is not None:
        why = "the model thinks inside <think> before it answers"
        found.append(Reason("reasoning_parser", settings.reasoning_parser, why, Basis.COMPUTED))
    return found
