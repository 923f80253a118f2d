"""Why each number of a plan is what it is, in words."""

from collections.abc import Iterator

from vedette.device.facts import Device
from vedette.plan import memory as parts
from vedette.plan.climb import Choice
from vedette.plan.formats import Verdict, advice, weights_format
from vedette.plan.ladder import Rung
from vedette.plan.plan import Backend, Basis, EngineSettings, Graphs, Memory, Plan, Reason, Wish

GIB = 1024**3
OTHERS = "other_processes"


def gib(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.2f} GiB"


def plan_reasons(site: parts.Site, wish: Wish, settings: EngineSettings, choice: Choice) -> tuple[Reason, ...]:
    """A reason for every number, memory first."""
    return (
        *_memory_reasons(site, settings, choice),
        *_context_reasons(site, wish, choice),
        *_settings_reasons(site, settings, choice.need),
    )


def wish_in_words(wish: Wish, rung: Rung) -> str:
    """What `rung` gives of the things that were wished for: `a context of 8,192, 150-token answers`."""
    words = []
    if wish.max_model_len is not None:
        words.append(f"a context of {rung.max_model_len:,}")
    if wish.image_max_pixels is not None and rung.image_max_pixels is not None:
        words.append(f"pictures of {rung.image_max_pixels:,} pixels")
    if wish.images_per_request is not None:
        words.append(f"{rung.images} pictures in a request")
    if wish.prompt_tokens is not None:
        words.append(f"{rung.prompt_tokens:,}-token prompts")
    if wish.answer_tokens is not None:
        words.append(f"{rung.answer_tokens:,}-token answers")
    if wish.concurrency is not None:
        words.append(f"{rung.concurrency} requests at once")
    return ", ".join(words)


def others_sentence(plan: Plan) -> str | None:
    """Who else holds memory that the plan could use; None where that is not known, or it has all it would like."""
    return next((reason.why for reason in plan.reasons if reason.subject == OTHERS), None)


def free_memory(plan: Plan) -> str:
    """The advice for a plan that does not fit, as the beginning of a sentence."""
    others = others_sentence(plan)
    return f"Free memory ({others})" if others else "Free memory"


def _memory_reasons(site: parts.Site, settings: EngineSettings, choice: Choice) -> Iterator[Reason]:
    model, need = site.model, choice.need

    def reason(subject: str, why: str, basis: Basis = Basis.COMPUTED) -> Reason:
        name = f"{subject}_bytes"
        measured = name in choice.calibrated
        return Reason(
            subject,
            gib(getattr(need, name)),
            f"{why}; put right by what a start here measured" if measured else why,
            Basis.CALIBRATED if measured else basis,
        )

    unknown = Basis.ASSUMED if model.assumed_parts else Basis.COMPUTED
    if model.assumed_parts:
        why = f"vedette does not know it; assumed: {', '.join(model.assumed_parts)}"
        yield Reason("architecture", model.architecture, why, Basis.ASSUMED)
    yield reason("weights", _weights_story(site, settings), Basis.ASSUMED if model.assumed else Basis.COMPUTED)
    yield reason(
        "kv_cache",
        f"{settings.max_num_seqs} × {settings.max_model_len:,} tokens, in whole blocks as the engine groups its layers",
        unknown,
    )
    yield reason(
        "activation",
        f"{settings.max_num_batched_tokens} tokens in the widest layer, logits, workspaces and buffers",
        unknown,
    )
    if need.vision_activation_bytes:
        yield reason("vision_activation", "the pictures that one step may encode together, beyond that")
    assumed = Basis.COMPUTED if site.device.compute_capability == (9, 0) else Basis.ASSUMED
    if need.cuda_graph_bytes:
        yield reason("cuda_graph", f"batches of {', '.join(map(str, settings.capture_sizes))}", assumed)
    if need.runtime_bytes:
        yield reason("runtime", "CUDA's context and libraries, which vLLM does not count", assumed)
    where = "RAM beside the GPU" if need.host_available_bytes is not None else "the same memory"
    tokenizers = f"{gib(parts.tokenizers_bytes(model))} of it tokenizers"
    yield reason("host", f"vLLM's own processes, in {where}; {tokenizers}", Basis.ASSUMED)
    yield reason("reserve", _reserve_story(site), Basis.ASSUMED)
    yield reason(
        "available",
        f"of {gib(site.device.memory_total_bytes)}, " + _available_story(site, need),
        Basis.ASSUMED if site.device.assumed else Basis.COMPUTED,
    )
    others = site.device.other_processes
    if others and _competes(site.device, choice):
        held = ", ".join(f"{process.name} {gib(process.resident_bytes)}" for process in others)
        why = f"{held} {'holds' if len(others) == 1 else 'hold'} memory that this plan could use"
        yield Reason(OTHERS, gib(sum(process.resident_bytes for process in others)), why, Basis.COMPUTED)
    if site.device.swap_total_bytes:
        yield Reason("swap", gib(site.device.swap_total_bytes), _swap_story(site), Basis.COMPUTED)


def _competes(device: Device, choice: Choice) -> bool:
    """Whether RAM that other processes hold is what the plan lacks."""
    need = choice.need
    if device.memory_limited:  # nobody outside takes of it
        return False
    if need.host_available_bytes is not None:
        return need.host_bytes > need.host_available_bytes
    return need.shortfall_bytes > 0 or choice.rung != choice.liked


def _swap_story(site: parts.Site) -> str:
    total, zram = site.device.swap_total_bytes, site.device.swap_zram_bytes
    story = "never counted as memory for the model: "
    if zram:
        what = "it" if zram == total else f"{gib(zram)} of it"
        story += f"{what} is RAM, compressed (zram), which takes RAM and processor time from the model"
    else:
        story += "all its weights are read for every token, and would have to be swapped in each time"
    return story + ("; a GPU's memory cannot be swapped" if site.backend is Backend.CUDA else "")


def _weights_story(site: parts.Site, settings: EngineSettings) -> str:
    model = site.model
    story = "the catalogue's figure" if model.assumed else "from the tensor headers"
    story += f", with {gib(parts.position_cache_bytes(site, settings.max_model_len))} of position tables"
    saved = parts.position_saving(site, settings.max_model_len)
    if saved:
        story += f" ({gib(saved)} saved by ending them where the context ends)"
    if model.vision_weights_bytes and not settings.images_per_prompt:
        story += f"; {gib(model.vision_weights_bytes)} of vision tower not loaded"
    copied = parts.repacked_bytes(model, settings.backend)
    return story + (f"; {gib(copied)} repacked for the processor" if copied else "")


def _reserve_story(site: parts.Site) -> str:
    if not parts.reserve_bytes(site.device):
        return "none: the memory is the engine's own"
    if site.device.memory_limited or not site.device.unified_memory:
        return "for what comes and goes; the memory is the engine's own"
    return "left to the system: 3 % of what is available, at least 0.25 GiB"


def _available_story(site: parts.Site, need: Memory) -> str:
    if site.device.assumed:
        return "as the catalogue has this board"
    if need.available_bytes < site.device.memory_available_bytes:
        return "less than the system can give now: with more, an engine ran out of memory here"
    return "what the system can give now"


def _context_reasons(site: parts.Site, wish: Wish, choice: Choice) -> Iterator[Reason]:
    rung, liked, model = choice.rung, choice.liked, site.model

    def chosen(subject: str, name: str, wished: int | None) -> Reason:
        value, best = getattr(rung, name), getattr(liked, name)
        return Reason(subject, f"{value:,}", _why_chosen(wished, best, value, choice), Basis.COMPUTED)

    yield chosen("max_model_len", "max_model_len", wish.max_model_len)
    yield chosen("concurrency", "concurrency", wish.concurrency)
    if rung.images:
        if rung.image_max_pixels is not None:
            yield chosen("image_max_pixels", "image_max_pixels", wish.image_max_pixels)
        holds = f"a request may hold {rung.images}" + (f", or a clip of {rung.clip_tokens}" if rung.clip_tokens else "")
        why = f"the most that one picture takes, whatever its shape, markers included; {holds}"
        yield Reason("visual_tokens", str(rung.visual_tokens), why, Basis.COMPUTED)
        if not rung.videos and model.videos_per_prompt and not site.engine.limits_clips:
            why = "this engine cannot limit them apart from pictures, as vLLM can from 0.29 on"
            yield Reason("videos_per_request", "0", why, Basis.COMPUTED)
    elif model.vision is not None or model.unknown_vision:
        why = (
            f"how {model.architecture} turns pictures into tokens is not known: only text is served"
            if model.unknown_vision
            else "pictures are switched off, and the vision tower is not loaded"
        )
        yield Reason("visual_tokens", "0", why, Basis.COMPUTED)
    for name in ("prompt_tokens", "answer_tokens"):
        wished = getattr(wish, name)
        value = getattr(rung, name)
        why = "as you asked" if wished == value else "its share of what the pictures leave of the context"
        yield Reason(name, str(value), why, Basis.COMPUTED)


def _why_chosen(wished: int | None, liked: int | None, value: int, choice: Choice) -> str:
    if wished == value:
        return "as you asked"
    if liked == value:
        return "what one would like" if wished is None else "the most the model takes, less than you asked for"
    return f"less than {liked:,}, with which {gib(choice.liked_need.total_bytes)} would be needed"


def _format_reason(site: parts.Site) -> Reason:
    """What the device makes of the checkpoint's format, and which others it runs."""
    cuda = site.backend is Backend.CUDA
    capability = site.device.compute_capability if cuda else None
    found = weights_format(site.model.quantization, capability, gpu=cuda)
    others = f". {advice(capability).rstrip('.')}" if capability is not None or not cuda else ""
    basis = Basis.ASSUMED if found.verdict is Verdict.UNKNOWN else Basis.COMPUTED
    return Reason("weights_format", found.title, found.why + others, basis)


def _settings_reasons(site: parts.Site, settings: EngineSettings, need: Memory) -> Iterator[Reason]:
    graphs = {
        Graphs.EAGER: "a CPU has no graphs; compiled, it starts 44 s later and holds 0.4 GiB more",
        Graphs.GRAPHS: "many times faster than eager in the same memory, without the minute that compiling takes",
        Graphs.COMPILED: "compiled kernels and graphs",
    }
    yield Reason("graphs", settings.graphs.value, graphs[settings.graphs], Basis.COMPUTED)
    if settings.threads is not None:
        why = "one core is left to the server; the model has no worker process of its own, which would take 0.4 GiB"
        yield Reason("threads", str(settings.threads), why, Basis.COMPUTED)
    if settings.returns_memory:
        why = "little is left: what is freed goes back to the system at once, and long prompts are read more slowly"
        yield Reason("freed_memory", "returned", why, Basis.COMPUTED)
    yield Reason("dtype", settings.dtype, "the type of the model's weights", Basis.COMPUTED)
    yield _format_reason(site)
    if settings.kv_cache_dtype is not None:
        why = "keys and values of 8 bits: half the memory, where 16 bits would leave too short a context"
        yield Reason("kv_cache_dtype", settings.kv_cache_dtype, why, Basis.COMPUTED)
    caching = (
        "a follow-up question does not read the picture and the conversation again"
        if settings.prefix_caching
        else "layers that keep a state would keep a second one for it"
    )
    yield Reason("prefix_caching", "on" if settings.prefix_caching else "off", caching, Basis.COMPUTED)
    if settings.gpu_memory_utilization is not None:
        why = "only a gate at start, as low as it goes: the size of the KV cache is given in bytes"
        why += _page_cache_story(site.device)
        yield Reason("gpu_memory_utilization", f"{settings.gpu_memory_utilization:.2f}", why, Basis.COMPUTED)
    if settings.processor_cache_bytes:
        why = "prepared pictures for follow-up questions; the engine's default of 4 GiB would be the model's memory"
        yield Reason("processor_cache", gib(settings.processor_cache_bytes), why, Basis.COMPUTED)
    if settings.reasoning_parser is not None:
        why = "the model thinks inside <think> before it answers"
        yield Reason("reasoning_parser", settings.reasoning_parser, why, Basis.COMPUTED)


def _page_cache_story(device: Device) -> str:
    if not device.page_cache_counts_as_used:
        return ""
    now = f" ({gib(device.page_cache_bytes)} now)" if device.page_cache_bytes is not None else ""
    return f"; below L4T r39 the page cache{now} counts as used for CUDA, and a higher gate could refuse what fits"
