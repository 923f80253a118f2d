"""Why each number of a plan is what it is, in words."""

from collections.abc import Iterator

from vedette.device.device import Device
from vedette.plan import memory as parts
from vedette.plan.climb import Choice
from vedette.plan.formats import Verdict, advice, weights_format
from vedette.plan.ladder import CLIP_FRAMES, LIKINGS, MOST_CPU_CONTEXT, Rung
from vedette.plan.plan import Backend, Basis, EngineSettings, Graphs, Memory, Plan, Reason, Wish, Workload
from vedette.units import size

OTHERS = "other_processes"

ENOUGH_CONTEXT = {
    Workload.LIVE: "enough for a picture, a question and a short answer",
    Workload.CLIP: "enough for a clip, a question and an answer",
    Workload.CHAT: "enough for a long conversation with pictures",
    None: "enough for a live page and a conversation beside it",
}
ENOUGH_REQUESTS = {
    Workload.LIVE: "a second page may watch",
    Workload.CLIP: "one after the other",
    Workload.CHAT: "enough for conversations side by side",
    Workload.API: "programs ask several things at a time",
    None: "enough for a live page and a few conversations",
}


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
        words.append(_images_in_words(rung.images))
    if wish.prompt_tokens is not None:
        words.append(f"{rung.prompt_tokens:,}-token prompts")
    if wish.answer_tokens is not None:
        words.append(f"{rung.answer_tokens:,}-token answers")
    if wish.concurrency is not None:
        words.append(_requests_in_words(rung.concurrency))
    return ", ".join(words)


def others_sentence(plan: Plan) -> str | None:
    """Who else holds memory that the plan could use; None where that is not known, or it has all it would like."""
    return next((reason.why for reason in plan.reasons if reason.subject == OTHERS), None)


def free_memory(plan: Plan) -> str:
    """The advice for a plan that does not fit, as the beginning of a sentence."""
    others = others_sentence(plan)
    return f"Free memory ({others})" if others else "Free memory"


def _images_in_words(images: int) -> str:
    return f"{images} pictures in a request" if images != 1 else "one picture in a request"


def _requests_in_words(concurrency: int) -> str:
    return f"{concurrency:,} requests at once" if concurrency > 1 else "one request at a time"


def _memory_reasons(site: parts.Site, settings: EngineSettings, choice: Choice) -> Iterator[Reason]:
    model, need = site.model, choice.need

    def reason(subject: str, why: str, basis: Basis = Basis.COMPUTED) -> Reason:
        name = f"{subject}_bytes"
        measured = name in choice.calibrated
        return Reason(
            subject,
            size(getattr(need, name)),
            f"{why}; put right by what a start here measured" if measured else why,
            Basis.CALIBRATED if measured else basis,
        )

    unknown = Basis.ASSUMED if model.assumed_parts else Basis.COMPUTED
    if model.assumed_parts:
        why = f"vedette does not know it; assumed: {', '.join(map(str, model.assumed_parts))}"
        yield Reason("architecture", model.architecture, why, Basis.ASSUMED)
    yield reason("weights", _weights_story(site, settings), Basis.ASSUMED if model.assumed else Basis.COMPUTED)
    yield reason(
        "kv_cache",
        f"{settings.max_num_seqs} × {settings.max_model_len:,} tokens, in whole blocks as the engine groups its layers",
        unknown,
    )
    yield reason(
        "activation",
        f"{settings.max_num_batched_tokens:,} tokens in the widest layer, logits, workspaces and buffers",
        unknown,
    )
    if need.vision_activation_bytes:
        yield reason("vision_activation", "the pictures that one step may encode together, beyond that")
    assumed = Basis.COMPUTED if site.device.compute_capability == (9, 0) else Basis.ASSUMED
    if need.cuda_graph_bytes:
        yield reason("cuda_graph", f"batches of {', '.join(map(str, settings.capture_sizes))}", assumed)
    if need.runtime_bytes:
        yield reason(
            "runtime",
            "CUDA's context and libraries, and gaps between the cache's tensors: vLLM counts neither",
            assumed,
        )
    where = "RAM beside the GPU" if need.host_available_bytes is not None else "the same memory"
    tokenizers = f"{size(parts.tokenizers_bytes(model))} of it tokenizers"
    yield reason("host", f"vLLM's own processes, in {where}; {tokenizers}", Basis.ASSUMED)
    yield reason("reserve", _reserve_story(site), Basis.ASSUMED)
    yield reason(
        "available",
        f"of {size(site.device.memory_total_bytes)}, " + _available_story(site, need),
        Basis.ASSUMED if site.device.assumed else Basis.COMPUTED,
    )
    others = site.device.other_processes
    if others and _competes(site.device, choice):
        held = ", ".join(f"{process.name} {size(process.resident_bytes)}" for process in others)
        why = f"{held} {'holds' if len(others) == 1 else 'hold'} memory that this plan could use"
        yield Reason(OTHERS, size(sum(process.resident_bytes for process in others)), why, Basis.COMPUTED)
    if site.device.swap_total_bytes:
        yield Reason("swap", size(site.device.swap_total_bytes), _swap_story(site), Basis.COMPUTED)


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
        what = "it" if zram == total else f"{size(zram)} of it"
        story += f"{what} is RAM, compressed (zram), which takes RAM and processor time from the model"
    else:
        story += "all its weights are read for every token, and would have to be swapped in each time"
    return story + ("; a GPU's memory cannot be swapped" if site.backend is Backend.CUDA else "")


def _weights_story(site: parts.Site, settings: EngineSettings) -> str:
    model = site.model
    story = "the catalogue's figure" if model.assumed else "from the tensor headers"
    tables = parts.position_cache_bytes(site, settings.max_model_len)
    story += f", with {size(tables)} of position tables" if tables else ""
    saved = parts.position_saving(site, settings.max_model_len)
    if saved:
        story += f" ({size(saved)} saved by ending them where the context ends)"
    if model.vision_weights_bytes and not settings.images_per_prompt:
        story += f"; {size(model.vision_weights_bytes)} of vision tower not loaded"
    copied = parts.repacked_bytes(model, settings.backend)
    return story + (f"; {size(copied)} repacked for the processor" if copied else "")


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

    def chosen(name: str, wished: int | None, enough: str) -> Reason:
        value, best = getattr(rung, name), getattr(liked, name)
        if wished == value:
            why = "as you asked"
        elif best == value:
            why = enough if wished is None else "the most the model takes, less than you asked for"
        else:
            why = _why_less(name, best, wished, choice)
        return Reason(_SUBJECTS.get(name, name), f"{value:,}", why, Basis.COMPUTED)

    yield chosen("max_model_len", wish.max_model_len, _enough_context(site, wish, rung))
    kind = wish.workload if rung.images or wish.workload in {Workload.CLIP, Workload.API} else Workload.CHAT
    yield chosen("concurrency", wish.concurrency, ENOUGH_REQUESTS[kind])
    if rung.images:
        enough = "one at a time" if rung.images == 1 else "enough to compare them"
        yield chosen("images", wish.images_per_request, enough)
        if rung.image_max_pixels is not None:
            yield chosen("image_max_pixels", wish.image_max_pixels, _enough_pixels(wish, rung.image_max_pixels))
        why = "the most that one picture takes, whatever its shape, markers included"
        yield Reason("visual_tokens", f"{rung.visual_tokens:,}", why, Basis.COMPUTED)
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
    if rung.videos:
        why = f"enough to tell what happens, in {rung.clip_tokens:,} tokens at the most; more would shorten answers"
        yield Reason("video_frames", str(CLIP_FRAMES), why, Basis.COMPUTED)
    for name, rest in (
        ("prompt_tokens", "what the pictures and the answer leave" if rung.images else "what the answer leaves"),
        ("answer_tokens", _enough_answer(site, wish, rung)),
    ):
        wished, value = getattr(wish, name), getattr(rung, name)
        why = (
            rest if wished is None else "as you asked" if wished == value else f"less than the {wished:,} you asked for"
        )
        yield Reason(name, f"{value:,}", why, Basis.COMPUTED)


_SUBJECTS = {"images": "images_per_request"}
"""Fields of `Rung` that a plan calls otherwise."""


def _why_less(name: str, best: int, wished: int | None, choice: Choice) -> str:
    """Why a number is not the one of the first rung: what all that was given up would have needed."""
    rung, liked = choice.rung, choice.liked
    given_up = {
        "max_model_len": f"a context of {liked.max_model_len:,}",
        "concurrency": _requests_in_words(liked.concurrency),
        "images": _images_in_words(liked.images),
        "image_max_pixels": f"pictures of {liked.image_max_pixels or 0:,} pixels",
        "videos": "clips",
    }
    given_up = {field: told for field, told in given_up.items() if getattr(rung, field) != getattr(liked, field)}
    told = f"less than the {best:,} that you asked for" if wished == best else f"less than {best:,}"
    if next(iter(given_up)) != name:
        return f"{told}, for want of memory as well"
    others = [words for field, words in given_up.items() if field != name]
    beside = f"with {', '.join(others)} " if others else ""
    return f"{told}: {beside}that would need {size(choice.liked_need.total_bytes)}"


def _enough_context(site: parts.Site, wish: Wish, rung: Rung) -> str:
    length, liked = rung.max_model_len, LIKINGS[wish.workload].context
    if length == site.model.max_position_embeddings:
        return "all that the model knows"
    if liked is None or length > liked:
        return "twice what you ask for in prompt, answer and pictures, or somewhat more"
    if site.backend is Backend.CPU and length == MOST_CPU_CONTEXT < liked:
        return "a CPU reads prompts slowly: `--context` asks for more"
    return ENOUGH_CONTEXT[wish.workload] if rung.images else "enough for a conversation"


def _enough_pixels(wish: Wish, pixels: int) -> str:
    liked = LIKINGS[wish.workload].pixels
    if pixels < liked:
        return f"the nearest to {liked:,} that the model takes"
    return "words on a sign can be read, and an answer begins soon"


def _enough_answer(site: parts.Site, wish: Wish, rung: Rung) -> str:
    left = rung.max_model_len - max(rung.images * rung.visual_tokens, rung.clip_tokens)
    if rung.answer_tokens >= (left - (wish.prompt_tokens or 0)) // 2:
        return "half of what the pictures leave" if rung.images else "half of the context"
    return "enough for reasoning and answer" if site.model.thinks else "enough for a long answer"


def _format_reason(site: parts.Site) -> Reason:
    """What the device makes of the checkpoint's format, and which others it runs."""
    cuda = site.backend is Backend.CUDA
    capability = site.device.compute_capability if cuda else None
    found = weights_format(site.model.quantization, capability, gpu=cuda)
    others = f". {advice(capability).rstrip('.')}" if capability is not None or not cuda else ""
    basis = Basis.ASSUMED if found.verdict is Verdict.UNKNOWN else Basis.COMPUTED
    return Reason("weights_format", found.title, found.why + others, basis)


def _attention_reasons(site: parts.Site, settings: EngineSettings) -> Iterator[Reason]:
    """How prompts are read and what is kept of them, where the engine's own choice is right included."""
    kept = parts.kv_format(site)
    if settings.kv_cache_dtype is not None:
        why = "8 bits, which is half the memory, where 16 bits would leave too short a context"
    elif kept.dtype is not None and kept.attention_backend is None:
        why = "there is room for 16 bits; in 8 answers may differ a little"
    else:
        why = f"the model's own: {kept.why}"
    yield Reason("kv_cache_dtype", settings.kv_cache_dtype or settings.dtype, why, Basis.COMPUTED)
    if settings.backend is Backend.CUDA and settings.attention_backend is None:
        why = "vLLM takes the fastest backend that this GPU and this model's heads allow"
        yield Reason("attention_backend", "vLLM's own", why, Basis.ASSUMED)
    step = f"{settings.max_num_batched_tokens:,}"
    if settings.max_num_batched_tokens < settings.max_model_len:
        why = "as vLLM does by itself: answers that are being written do not wait for another's long prompt"
        yield Reason("chunked_prefill", "on", why, Basis.COMPUTED)
        why = "pieces of a quarter of the context, 512 to 2,048, or of one picture or clip, which has to go in whole"
        yield Reason("max_num_batched_tokens", step, why, Basis.COMPUTED)
    else:
        yield Reason("max_num_batched_tokens", step, "every prompt is read in one step", Basis.COMPUTED)


def _settings_reasons(site: parts.Site, settings: EngineSettings, need: Memory) -> Iterator[Reason]:
    graphs = {
        Graphs.EAGER: "a CPU has no graphs; compiled, it starts 44 s later and holds 0.4 GiB more",
        Graphs.GRAPHS: "many times faster than eager in the same memory, without the minute that compiling takes",
        Graphs.COMPILED: "compiled kernels and graphs",
    }
    if settings.graphs is Graphs.EAGER and settings.backend is Backend.CUDA:
        graphs[Graphs.EAGER] = "their memory is wanted for the least context: tokens come many times more slowly"
    yield Reason("graphs", settings.graphs.value, graphs[settings.graphs], Basis.COMPUTED)
    if settings.threads is not None:
        why = "one core is left to the server; the model has no worker process of its own, which would take 0.4 GiB"
        yield Reason("threads", str(settings.threads), why, Basis.COMPUTED)
    if settings.returns_memory:
        why = "little is left: what is freed goes back to the system at once, and long prompts are read more slowly"
        yield Reason("freed_memory", "returned", why, Basis.COMPUTED)
    yield Reason("dtype", settings.dtype, "the type of the model's weights", Basis.COMPUTED)
    yield _format_reason(site)
    yield from _attention_reasons(site, settings)
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
        yield Reason("processor_cache", size(settings.processor_cache_bytes), why, Basis.COMPUTED)
    if settings.reasoning_parser is not None:
        why = "the model thinks inside <think> before it answers"
        yield Reason("reasoning_parser", settings.reasoning_parser, why, Basis.COMPUTED)


def _page_cache_story(device: Device) -> str:
    if not device.page_cache_counts_as_used:
        return ""
    now = f" ({size(device.page_cache_bytes)} now)" if device.page_cache_bytes is not None else ""
    return f"; below L4T r39 the page cache{now} counts as used for CUDA, and a higher gate could refuse what fits"
