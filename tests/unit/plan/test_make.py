"""Plans: what fits, what is given up first, and that no plan takes more than there is."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rig.devices import GIB, MIB, cpu, gpu, jetson
from tests.rig.models import TINY, catalogue_model
from vedette.device.boards import device_named
from vedette.device.device import Device
from vedette.errors import BadInputError, DoesNotFitError
from vedette.language.message import say
from vedette.models.model import Model
from vedette.models.store.model_lookup import candidates
from vedette.plan.choose import choose_model
from vedette.plan.make import make_plan
from vedette.plan.plan import Basis, Graphs, Wish, Workload

CATALOGUE = ["cosmos-reason2-2b", "qwen2-7b-instruct", "ernie-4.5-0.3b", "smollm2-135m-instruct"]


MODELS = st.sampled_from([TINY, *map(catalogue_model, CATALOGUE)])
WISHES = st.builds(
    Wish,
    image_max_pixels=st.none() | st.integers(65_536, 500_000),
    prompt_tokens=st.none() | st.integers(1, 1200),
    answer_tokens=st.none() | st.integers(1, 1200),
    images_per_request=st.none() | st.integers(0, 1),
    concurrency=st.none() | st.integers(1, 16),
    max_model_len=st.none() | st.integers(3600, 4096),
)
MEMORIES = st.integers(0, 40 * GIB)


def fair(model: Model, wish: Wish) -> Wish:
    """No pictures of a model that takes none."""
    return wish if model.vision else dataclasses.replace(wish, image_max_pixels=None, images_per_request=None)


@given(model=MODELS, wish=WISHES, available=MEMORIES)
def test_a_plan_that_fits_never_takes_more_than_there_is(model: Model, wish: Wish, available: int) -> None:
    wish = fair(model, wish)
    for device in (cpu(available), jetson(available), gpu(available, 4 * GIB)):
        plan = make_plan(device, model, wish)
        memory, context = plan.memory, plan.context
        assert plan.fits == (memory.total_bytes <= available)
        assert plan.fits == (plan.shortfall_bytes == 0)
        assert (
            context.images_per_request * context.visual_tokens + context.prompt_tokens + context.answer_tokens
            <= context.max_model_len
            <= model.max_position_embeddings
        )
        assert plan.settings.max_num_batched_tokens >= max(context.visual_tokens, context.concurrency)
        assert make_plan(device, model, wish) == plan


@given(model=MODELS, wish=WISHES, available=MEMORIES, more=MEMORIES)
def test_more_memory_never_gives_less(model: Model, wish: Wish, available: int, more: int) -> None:
    wish = fair(model, wish)
    for make in (cpu, jetson):
        less, greater = make_plan(make(available), model, wish), make_plan(make(available + more), model, wish)
        assert greater.fits or not less.fits
        if wish.concurrency is not None and less.concession is not None and greater.concession is None:
            continue  # the memory went into as many requests at once as were wished for
        assert greater.context.max_model_len >= less.context.max_model_len
        assert greater.context.concurrency >= less.context.concurrency
        assert (greater.context.image_max_pixels or 0) >= (less.context.image_max_pixels or 0)


@given(model=MODELS, wish=WISHES)
def test_one_byte_less_than_needed_does_not_fit(model: Model, wish: Wish) -> None:
    wish = fair(model, wish)
    short = make_plan(cpu(0), model, wish)
    needed = short.memory.total_bytes
    # The reserve is a share of what is available: look for the least that fits just above the bare need.
    low, high = 0, 2 * needed
    while low < high:
        middle = (low + high) // 2
        if make_plan(cpu(middle), model, wish).fits:
            high = middle
        else:
            low = middle + 1
    assert make_plan(cpu(low), model, wish).memory.total_bytes <= low
    below = make_plan(cpu(low - 1), model, wish)
    assert not below.fits
    assert below.shortfall_bytes >= 1


@given(model=MODELS, wish=WISHES, available=MEMORIES)
def test_wishes_are_kept(model: Model, wish: Wish, available: int) -> None:
    wish = fair(model, wish)
    plan = make_plan(jetson(available), model, wish)
    context = plan.context
    if plan.concession is not None:
        assert plan.concession.missing_bytes > 0
        assert plan.concession.wished != plan.concession.planned
        return
    if not plan.fits:
        return
    assert wish.concurrency in {None, context.concurrency}
    assert wish.max_model_len in {None, context.max_model_len}
    assert wish.answer_tokens in {None, context.answer_tokens}
    assert wish.prompt_tokens in {None, context.prompt_tokens}
    if model.vision and wish.images_per_request:
        assert context.images_per_request == wish.images_per_request


def test_the_shipped_model_on_a_small_machine() -> None:
    plan = make_plan(cpu(8 * GIB), TINY, Wish())
    assert plan.fits
    assert (plan.context.max_model_len, plan.context.concurrency) == (4096, 4)
    # A square takes 82 tokens, the thinnest picture that is not refused 151 at most.
    assert (plan.context.visual_tokens, plan.context.image_max_pixels) == (151, 81_920)
    assert (plan.settings.images_per_prompt, plan.settings.videos_per_prompt) == (2, 1)
    assert plan.settings.graphs is Graphs.EAGER
    assert plan.settings.gpu_memory_utilization is None
    assert plan.settings.reasoning_parser == "qwen3"
    # (4096 / 128 blocks x 4 requests + 1) x 128 tokens x 6 layers x 2 heads x (64 + 64) x 2 bytes
    assert plan.memory.kv_cache_bytes == 129 * 128 * 3072


def test_kv_bytes_and_position_cache_of_a_real_shape() -> None:
    plan = make_plan(device_named("agx-orin-64gb"), catalogue_model("cosmos-reason2-2b"), Wish())
    assert plan.fits
    assert plan.memory.kv_cache_bytes == (8192 // 16 * 4 + 1) * 16 * 114_688
    # The rotary tables end with the context, and deeper layers of the vision tower have three buffers for a step.
    assert plan.memory.weights_bytes == 4_255_064_064 + 4 * 8192 * 128 * 2 + 3 * 2048 * 2048 * 2 + 538_624
    assert plan.settings.hf_overrides == {"text_config": {"max_position_embeddings": 8192}}
    assert plan.settings.graphs is Graphs.GRAPHS
    assert plan.settings.capture_sizes == (1, 2, 4)
    assert plan.speed.decode_tokens_per_s_ceiling == pytest.approx(59.5, abs=0.1)


def test_what_is_given_up_first() -> None:
    model = catalogue_model("cosmos-reason2-2b")
    plans = [make_plan(jetson(available * GIB // 20), model, Wish()) for available in range(300, 100, -1)]
    contexts = [plan.context for plan in plans if plan.fits]
    comfortable = [context for context in contexts if context.max_model_len >= 2048]
    assert {context.concurrency for context in contexts if context.max_model_len > 2048} == {4}
    assert {context.concurrency for context in comfortable} == {4, 2, 1}
    assert {context.image_max_pixels for context in contexts if context.concurrency > 1} == {262_144}
    assert all(context.concurrency == 1 for context in contexts if context.max_model_len < 2048)
    least = make_plan(jetson(least_memory(model)), model, Wish()).context
    assert (least.max_model_len, least.concurrency, least.images_per_request) == (256, 1, 1)
    assert least.image_max_pixels == 256 * 256


def least_memory(model: Model) -> int:
    """Bytes that a Jetson needs to have available for any plan to fit."""
    low, high = 0, 64 * GIB
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if make_plan(jetson(middle), model, Wish()).fits else (middle, high)
    return high


def test_it_says_how_much_is_missing() -> None:
    plan = make_plan(device_named("orin-nano-8gb"), catalogue_model("cosmos-reason2-2b"), Wish())
    assert not plan.fits
    assert plan.shortfall_bytes == plan.memory.total_bytes - plan.memory.available_bytes
    assert 0 < plan.shortfall_bytes < 2 * GIB


def test_a_discrete_gpu_keeps_the_processes_in_ram() -> None:
    model = catalogue_model("cosmos-reason2-2b")
    plan = make_plan(gpu(79 * GIB, 16 * GIB), model, Wish())
    assert plan.memory.total_bytes < make_plan(jetson(79 * GIB), model, Wish()).memory.total_bytes
    without_ram = make_plan(gpu(79 * GIB, GIB), model, Wish())
    assert not without_ram.fits
    assert without_ram.shortfall_bytes == without_ram.memory.host_bytes - GIB


def test_pictures_can_be_switched_off() -> None:
    model = catalogue_model("cosmos-reason2-2b")
    plan = make_plan(jetson(8 * GIB), model, Wish(images_per_request=0))
    assert (plan.settings.images_per_prompt, plan.settings.videos_per_prompt) == (0, 0)
    assert (plan.context.visual_tokens, plan.context.image_max_pixels) == (0, None)
    assert plan.memory.vision_activation_bytes == 0
    with_pictures = make_plan(jetson(8 * GIB), model, Wish())
    assert with_pictures.memory.weights_bytes - plan.memory.weights_bytes >= model.vision_weights_bytes


def test_a_gate_that_a_fitting_plan_passes() -> None:
    for available in range(7 * GIB, 16 * GIB, GIB // 3):
        plan = make_plan(jetson(available), catalogue_model("cosmos-reason2-2b"), Wish())
        gate = plan.settings.gpu_memory_utilization
        assert gate is not None
        assert gate * (available + GIB) <= plan.memory.engine_bytes


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (Wish(max_model_len=-1), "A context of -1 tokens is not possible"),
        (Wish(concurrency=0), "A concurrency of 0"),
        (Wish(answer_tokens=1 << 40), "An answer of"),
        (Wish(max_model_len=5000), "no more than 4,096 positions"),
        (Wish(image_max_pixels=100), "too small for tiny"),
        (Wish(images_per_request=-2), "-2 pictures"),
        (Wish(max_model_len=256, answer_tokens=3000), "3,183 .* You asked for 256.* at least 3,183"),
        (Wish(prompt_tokens=4000, answer_tokens=4000), r"8,151 .*answer 4,000\)\. tiny has no more than 4,096"),
        (
            Wish(max_model_len=256, answer_tokens=5000),
            r"5,183 tokens \(one picture 151, prompt 32, answer 5,000\)\. tiny has no more than 4,096",
        ),
        (Wish(images_per_request=65), "65 pictures in one request"),
        (Wish(prompt_tokens=0), "A prompt of 0 tokens is not possible"),
        (Wish(max_model_len=1 << 24), "A context of 16,777,216 tokens is not possible.*1 to 16,777,215"),
        (Wish(image_max_pixels=1 << 32), "A picture of 4,294,967,296 pixels.*1 to 4,294,967,295"),
    ],
)
def test_impossible_wishes_are_refused(wish: Wish, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        make_plan(cpu(8 * GIB), TINY, wish)


@pytest.mark.parametrize(
    ("wish", "least"),
    [
        (Wish(max_model_len=256, answer_tokens=3000, prompt_tokens=100), 3251),
        (Wish(max_model_len=100, answer_tokens=50), 233),
        (Wish(max_model_len=100), 199),
        (Wish(max_model_len=64, prompt_tokens=3, images_per_request=2, image_max_pixels=70_000), 321),
    ],
)
def test_the_context_that_a_refusal_names_is_granted(wish: Wish, least: int) -> None:
    with pytest.raises(BadInputError, match=f"at least {least:,}, or for less"):
        make_plan(cpu(8 * GIB), TINY, wish)
    assert make_plan(cpu(8 * GIB), TINY, dataclasses.replace(wish, max_model_len=least)).fits
    with pytest.raises(BadInputError, match="at least"):
        make_plan(cpu(8 * GIB), TINY, dataclasses.replace(wish, max_model_len=least - 1))


@pytest.mark.parametrize("wish", [Wish(images_per_request=1), Wish(image_max_pixels=640 * 480)])
def test_pictures_cannot_be_wished_of_a_model_that_does_not_see(wish: Wish) -> None:
    with pytest.raises(BadInputError, match="takes no pictures"):
        make_plan(cpu(8 * GIB), catalogue_model("ernie-4.5-0.3b"), wish)
    unknown = dataclasses.replace(TINY, vision=None, unknown_vision=True)
    with pytest.raises(
        BadInputError, match="does not know how Qwen3VLForConditionalGeneration turns pictures into tokens"
    ):
        make_plan(cpu(8 * GIB), unknown, wish)


def test_a_wish_that_one_model_cannot_grant_chooses_another() -> None:
    small, large = TINY, dataclasses.replace(TINY, name="large", max_position_embeddings=32_768)
    found = [("small", small), ("large", large), ("blind", catalogue_model("smollm2-135m-instruct"))]
    assert choose_model(jetson(16 * GIB), found, Wish(max_model_len=16_384))[0] == "large"
    assert choose_model(jetson(16 * GIB), found[::-1], Wish(images_per_request=1))[0] == "large"
    with pytest.raises(BadInputError, match="no more than 32,768"):
        choose_model(jetson(16 * GIB), found, Wish(max_model_len=100_000))


def test_a_machine_without_a_gpu_gets_the_shipped_model() -> None:
    others = [(source.name, model) for source, model in candidates(Path("/nowhere")) if not source.installed]
    assert choose_model(cpu(64 * GIB), [*others, ("tiny", TINY)], Wish())[0] == "tiny"


@pytest.mark.parametrize(
    ("board", "name"), [("orin-nx-16gb", "nvidia/Cosmos-Reason2-2B"), ("agx-thor", "nvidia/Cosmos-Reason2-2B")]
)
def test_a_board_gets_the_best_that_sees_and_fits(board: str, name: str) -> None:
    assert choose_model(device_named(board), candidates(Path("/nowhere")), Wish())[1].name == name


def test_a_text_model_is_chosen_where_no_vision_model_fits() -> None:
    found = [("big", catalogue_model("cosmos-reason2-2b")), ("small", catalogue_model("ernie-4.5-0.3b"))]
    assert choose_model(jetson(5 * GIB), found, Wish())[0] == "small"


def test_nothing_fits() -> None:
    with pytest.raises(DoesNotFitError, match=r"nearest is tiny, which needs \d\.\d\d GiB more"):
        choose_model(cpu(GIB), [("tiny", TINY)], Wish())


def test_a_wish_that_does_not_fit_says_what_it_would_cost_and_gets_the_best_that_does() -> None:
    model = catalogue_model("cosmos-reason2-2b")
    wish = Wish(max_model_len=32_768, answer_tokens=4000)
    plan = make_plan(jetson(9 * GIB), model, wish)
    assert plan.fits
    assert plan.concession is not None
    assert say(plan.concession.wished) == "a context of 32,768, 4,000-token answers"
    assert plan.context.max_model_len < 32_768
    enough = jetson(9 * GIB + plan.concession.missing_bytes * 104 // 100)  # 3 % of more memory is reserve
    assert make_plan(enough, model, wish).concession is None


@pytest.mark.parametrize("wish", [Wish(max_model_len=131_072), Wish(prompt_tokens=100_000)])
def test_requests_at_once_that_nobody_asked_for_are_given_up_before_length_that_was(wish: Wish) -> None:
    device, model = device_named("orin-nx-16gb"), catalogue_model("cosmos-reason2-2b")
    plan = make_plan(device, model, wish)
    assert plan.fits
    assert plan.concession is not None
    assert plan.context.concurrency == 1
    assert plan.context.max_model_len > 16_384


def test_requests_at_once_that_were_asked_for_stay() -> None:
    wish = Wish(max_model_len=131_072, concurrency=4)
    context = make_plan(device_named("orin-nx-16gb"), catalogue_model("cosmos-reason2-2b"), wish).context
    assert context.concurrency == 4
    assert context.max_model_len < 131_072 // 4


def test_a_prompt_that_only_fewer_requests_leave_room_for_is_granted() -> None:
    plan = make_plan(device_named("orin-nx-16gb"), catalogue_model("cosmos-reason2-2b"), Wish(prompt_tokens=20_000))
    assert plan.fits
    assert plan.concession is None
    assert plan.context.prompt_tokens == 20_000
    assert plan.context.concurrency < 4


def test_of_many_wishes_as_many_are_granted_as_fit() -> None:
    wish = Wish(images_per_request=8, image_max_pixels=1920 * 1080, answer_tokens=4000, concurrency=8)
    context = make_plan(device_named("orin-nx-16gb"), catalogue_model("cosmos-reason2-2b"), wish).context
    assert (context.images_per_request, context.answer_tokens, context.concurrency) == (8, 4000, 1)


def test_another_programs_context_is_as_long_as_the_memory_allows() -> None:
    model = catalogue_model("ernie-4.5-0.3b")
    lengths = [make_plan(jetson(size * GIB // 4), model, Wish(Workload.API)).context for size in range(14, 80)]
    assert [context.max_model_len for context in lengths] == sorted(context.max_model_len for context in lengths)
    assert lengths[-1].max_model_len == model.max_position_embeddings
    assert lengths[-1].concurrency > lengths[0].concurrency == 1
    assert len({context.max_model_len for context in lengths}) > 10


@pytest.mark.parametrize("workload", [None, *Workload])
@pytest.mark.parametrize("name", ["vedette-tiny", "cosmos-reason2-2b", "ernie-4.5-0.3b"])
def test_every_workload_has_its_plan(name: str, workload: Workload | None) -> None:
    model = TINY if name == "vedette-tiny" else catalogue_model(name)
    plan = make_plan(jetson(12 * GIB), model, Wish(workload))
    assert plan.fits
    clips = workload not in (Workload.LIVE, Workload.CHAT) and model.vision is not None
    assert (plan.settings.videos_per_prompt > 0) == clips
    assert plan.settings.max_num_batched_tokens >= plan.context.visual_tokens


@pytest.mark.parametrize(
    ("workload", "context", "concurrency", "images", "pixels", "answer"),
    [
        (None, 8192, 4, 2, 512 * 512, 2048),
        (Workload.LIVE, 2048, 2, 1, 640 * 480, 512),
        (Workload.CLIP, 4096, 1, 1, 512 * 512, 512),
        (Workload.CHAT, 16_384, 4, 2, 512 * 512, 2048),
        (Workload.API, 262_144, 8, 2, 512 * 512, 2048),
    ],
)
def test_with_enough_memory_each_workload_gets_what_suits_it(
    workload: Workload | None, context: int, concurrency: int, images: int, pixels: int, answer: int
) -> None:
    model = catalogue_model("cosmos-reason2-2b")
    found = make_plan(jetson(400 * GIB), model, Wish(workload)).context
    assert (found.max_model_len, found.concurrency, found.images_per_request) == (context, concurrency, images)
    assert (found.image_max_pixels, found.answer_tokens) == (pixels, answer)


def test_a_large_tokenizer_is_paid_for_in_memory() -> None:
    small, large = (dataclasses.replace(TINY, tokenizer_bytes=size) for size in (1_000_000, 33_370_953))
    for make in (cpu, jetson):
        less, more = (make_plan(make(12 * GIB), model, Wish()).memory.host_bytes for model in (small, large))
        assert 38 * 32_370_953 <= more - less <= 50 * 32_370_953


def test_a_memory_cgroup_is_the_engine_s_own_to_the_last_byte() -> None:
    available = 1100 * MIB
    inside = dataclasses.replace(cpu(available), memory_limited=True)
    assert make_plan(inside, TINY, Wish()).fits
    assert not make_plan(cpu(available), TINY, Wish()).fits


def test_one_core_is_left_to_the_server() -> None:
    for cores, threads in ((1, 1), (2, 1), (8, 7)):
        box = dataclasses.replace(cpu(8 * GIB), cpu_count=cores)
        assert make_plan(box, TINY, Wish()).settings.threads == threads
    assert make_plan(jetson(8 * GIB), TINY, Wish()).settings.threads is None


def test_memory_is_only_returned_where_it_is_tight() -> None:
    wish = Wish(max_model_len=2048, concurrency=4)
    for model in (TINY, catalogue_model("smollm2-135m-instruct")):
        needed = make_plan(cpu(0), model, wish).memory.total_bytes
        assert make_plan(cpu(needed + 4 * MIB), model, wish).settings.returns_memory
        assert not make_plan(cpu(8 * GIB), model, wish).settings.returns_memory
        assert not make_plan(jetson(needed + 4 * MIB), model, wish).settings.returns_memory


def test_few_small_pictures_need_a_small_cache() -> None:
    model = catalogue_model("cosmos-reason2-2b")
    small = make_plan(cpu(16 * GIB), model, Wish(concurrency=1, images_per_request=1, image_max_pixels=65_536))
    large = make_plan(cpu(16 * GIB), model, Wish(concurrency=8, image_max_pixels=81_920))
    assert small.settings.processor_cache_bytes == 8 * 65_536 * 24
    assert large.settings.processor_cache_bytes == 64 * MIB
    assert large.memory.host_bytes - small.memory.host_bytes == 64 * MIB - 8 * 65_536 * 24


def test_a_format_that_the_gpu_cannot_run_is_no_plan() -> None:
    model = dataclasses.replace(catalogue_model("ernie-4.5-0.3b"), quantization="nvfp4")
    plan = make_plan(dataclasses.replace(jetson(8 * GIB), compute_capability=(7, 2)), model, Wish())
    assert not plan.fits
    assert plan.unsupported is not None
    assert plan.shortfall_bytes == 0


def test_speed_follows_from_bandwidth_and_arithmetic() -> None:
    model = catalogue_model("cosmos-reason2-2b")
    speeds = [make_plan(device_named(name), model, Wish()).speed for name in ("agx-orin-64gb", "agx-thor")]
    ceilings = [speed.decode_tokens_per_s_ceiling for speed in speeds]
    assert ceilings == [204.8e9 / 3_441_149_952, 273e9 / 3_441_149_952]
    floors = [speed.first_token_ms_floor or 0 for speed in speeds]
    assert floors[0] > floors[1] > 1000 * 3.4e9 / 273e9 / 2


def test_the_first_token_takes_two_operations_for_each_weight() -> None:
    model = catalogue_model("ernie-4.5-0.3b")
    board = dataclasses.replace(jetson(8 * GIB), memory_bandwidth_bytes_per_s=10**15, peak_flops_per_s=1e12)
    plan = make_plan(board, model, Wish())
    weights = (model.decode_weights_bytes - 2 * model.vocabulary_size * model.hidden_size) / 2
    operations = 2 * plan.context.prompt_tokens * weights
    assert plan.speed.first_token_ms_floor == pytest.approx(operations / 1e12 * 1000, rel=0.01)
    slow = dataclasses.replace(board, memory_bandwidth_bytes_per_s=10**6)
    floor = make_plan(slow, model, Wish()).speed.first_token_ms_floor
    assert floor == pytest.approx(model.decode_weights_bytes / 1e6 * 1000)


def test_graphs_are_given_up_last() -> None:
    model = catalogue_model("cosmos-reason2-2b")
    least = make_plan(jetson(0), model, Wish()).memory.total_bytes
    found = [make_plan(jetson(least + more * MIB), model, Wish(max_model_len=4096)) for more in (0, 40, 80)]
    assert [plan.fits for plan in found] == [True] * 3
    assert [plan.settings.graphs for plan in found] == [Graphs.EAGER, Graphs.EAGER, Graphs.GRAPHS]
    assert [plan.settings.capture_sizes for plan in found] == [(), (), (1,)]
    assert len({plan.context.max_model_len for plan in found[:2]}) == 1


@pytest.mark.parametrize(
    ("wish", "wished"),
    [
        (Wish(max_model_len=131_072, concurrency=1), "a context of 131,072, one request at a time"),
        (Wish(max_model_len=131_072, concurrency=2), "a context of 131,072, 2 requests at once"),
        (Wish(max_model_len=131_072, images_per_request=1), "a context of 131,072, one picture in a request"),
        (
            Wish(prompt_tokens=100_000, images_per_request=3, image_max_pixels=262_144),
            "pictures of 262,144 pixels, 3 pictures in a request, 100,000-token prompts",
        ),
    ],
)
def test_a_wish_in_words(wish: Wish, wished: str) -> None:
    concession = make_plan(device_named("orin-nx-16gb"), catalogue_model("cosmos-reason2-2b"), wish).concession
    assert concession is not None
    assert say(concession.wished) == wished


def test_an_answer_gets_half_of_what_the_prompt_leaves() -> None:
    wish = Wish(max_model_len=2048, prompt_tokens=1000, images_per_request=0)
    context = make_plan(cpu(8 * GIB), TINY, wish).context
    assert (context.prompt_tokens, context.answer_tokens) == (1000, 524)


@pytest.mark.parametrize(
    ("device", "reserve_bytes"),
    [
        (jetson(40 * GIB), 40 * GIB * 3 // 100),
        (jetson(8 * GIB), 256 * MIB),
        (cpu(40 * GIB), 40 * GIB * 3 // 100),
        (gpu(40 * GIB, 16 * GIB), 32 * MIB),
        (dataclasses.replace(cpu(40 * GIB), memory_limited=True), 0),
        (dataclasses.replace(jetson(40 * GIB), memory_limited=True), 64 * MIB),
    ],
)
def test_the_reserve_depends_on_who_else_uses_the_memory(device: Device, reserve_bytes: int) -> None:
    assert make_plan(device, TINY, Wish()).memory.reserve_bytes == reserve_bytes


def test_figures_of_cuda_are_assumed_except_on_the_gpu_where_they_were_measured() -> None:
    hopper, orin = (
        {reason.subject: reason.basis for reason in make_plan(device, TINY, Wish()).reasons}
        for device in (gpu(40 * GIB, 16 * GIB), jetson(40 * GIB))
    )
    assert hopper["cuda_graph"] is hopper["runtime"] is Basis.COMPUTED
    assert orin["cuda_graph"] is orin["runtime"] is Basis.ASSUMED


def test_settings_are_shown_in_the_reasons() -> None:
    plan = make_plan(cpu(8 * GIB), TINY, Wish())
    values = {reason.subject: say(reason.value) for reason in plan.reasons}
    assert (values["kv_cache_dtype"], values["dtype"], values["threads"]) == ("bfloat16", "bfloat16", "1")
    assert (values["graphs"], values["reasoning_parser"], values["processor_cache"]) == ("eager", "qwen3", "64 MiB")
    assert values["max_num_batched_tokens"] == f"{plan.settings.max_num_batched_tokens:,}"


def test_pictures_at_once_are_limited_by_the_tokens_of_a_step() -> None:
    model = catalogue_model("cosmos-reason2-2b")
    few, more, most = (
        make_plan(jetson(200 * GIB), model, Wish(concurrency=concurrency, images_per_request=4)).memory
        for concurrency in (1, 4, 8)
    )
    assert few.vision_activation_bytes < more.vision_activation_bytes == most.vision_activation_bytes


@pytest.mark.parametrize("make", [cpu, jetson])
def test_without_pictures_the_encoder_takes_nothing(make: Callable[[int], Device]) -> None:
    model = catalogue_model("cosmos-reason2-2b")
    seeing, blind = (make_plan(make(16 * GIB), model, Wish(images_per_request=images)) for images in (1, 0))
    assert blind.memory.vision_activation_bytes == 0 < seeing.memory.vision_activation_bytes
    weights = [
        next(say(reason.why) for reason in plan.reasons if reason.subject == "weights") for plan in (seeing, blind)
    ]
    assert ["of vision tower not loaded" in why for why in weights] == [False, True]


def test_position_tables_of_fixed_length_are_not_cut() -> None:
    fixed = dataclasses.replace(
        TINY, rotary=tuple(dataclasses.replace(each, follows_context=False) for each in TINY.rotary)
    )
    long = dataclasses.replace(
        TINY, rotary=tuple(dataclasses.replace(each, positions=4 * 131_072) for each in TINY.rotary)
    )
    plan = make_plan(jetson(8 * GIB), dataclasses.replace(fixed, max_position_embeddings=131_072), Wish())
    assert plan.settings.hf_overrides == {}
    cut = make_plan(jetson(8 * GIB), dataclasses.replace(long, max_position_embeddings=131_072), Wish())
    assert cut.settings.hf_overrides == {"text_config": {"max_position_embeddings": cut.context.max_model_len}}
