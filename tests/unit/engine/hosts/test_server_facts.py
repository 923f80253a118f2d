"""What somebody's server says of itself: documents of vLLM, llama.cpp's server and Ollama, and the budget they give."""

import dataclasses

import pytest

from tests.rig.server_documents import (
    LLAMA_MODELS,
    LLAMA_MODELS_NEWER,
    LLAMA_PROPS,
    OLLAMA_MODELS,
    OLLAMA_RUNNING,
    OLLAMA_SHOW,
    VLLM_MODELS,
)
from vedette.engine.hosts.server_facts import (
    PICTURE_PIXELS,
    UNKNOWN_CONTEXT,
    Facts,
    ProbeResult,
    context_of,
    find_name,
    parse_base,
    parse_models,
    parse_props,
    parse_running,
    parse_show,
)
from vedette.plan.plan import Wish


def test_vllm_gives_its_context() -> None:
    assert parse_models(VLLM_MODELS) == {"vedette-tiny": Facts(max_model_len=4096, concurrency=4)}


def test_llama_cpp_gives_the_context_of_one_slot_and_whether_it_takes_pictures() -> None:
    assert parse_models(LLAMA_MODELS) == {"smollm2": Facts()}
    assert parse_models(LLAMA_MODELS_NEWER) == {"a.gguf": Facts(sees=True)}
    assert parse_props(LLAMA_PROPS) == Facts(max_model_len=1024, sees=True, thinks=True, concurrency=2)


def test_ollama_gives_the_abilities_of_a_model_and_the_context_once_it_is_loaded() -> None:
    assert list(parse_models(OLLAMA_MODELS)) == ["nomic-embed-text:latest", "qwen3-vl:2b"]
    assert parse_show(OLLAMA_SHOW) == Facts(sees=True, thinks=True, chats=True, efforts=True)
    assert parse_show({**OLLAMA_SHOW, "capabilities": ["embedding"]}).chats is False
    assert parse_show({**OLLAMA_SHOW, "parameters": "num_ctx                        2048"}).max_model_len == 2048
    assert parse_running(OLLAMA_RUNNING, "qwen3-vl:2b") == Facts(max_model_len=4096)
    assert parse_running(OLLAMA_RUNNING, "another") == Facts()


@pytest.mark.parametrize(
    "document", [None, [], "text", {"data": 3}, {"data": [None, {"id": 7}]}, {"models": [None]}, {"error": "not found"}]
)
def test_other_documents_give_no_facts(document: object) -> None:
    assert parse_models(document) == {}
    assert parse_props(document) == parse_show(document) == parse_running(document, "a") == Facts()


def test_invalid_figures_are_ignored() -> None:
    wrong = {"default_generation_settings": {"n_ctx": True}, "total_slots": -1, "modalities": {"vision": "yes"}}
    assert parse_props(wrong) == Facts()
    assert parse_models({"data": [{"id": "a", "max_model_len": "4096"}]}) == {"a": Facts()}


@pytest.mark.parametrize(
    "address", ["http://gpu:8000", "http://gpu:8000/", "http://gpu:8000/v1", " http://gpu:8000/v1/ "]
)
def test_an_address_is_taken_as_people_write_it(address: str) -> None:
    assert parse_base(address) == "http://gpu:8000"


def test_a_path_before_v1_belongs_to_the_server() -> None:
    assert parse_base("https://host/llm/v1") == "https://host/llm"


def test_a_model_is_found_by_its_name() -> None:
    names = ["llama3:latest", "qwen3:8b"]
    assert find_name(None, names) == "llama3:latest"
    assert find_name("llama3", names) == "llama3:latest"
    assert find_name("qwen3:8b", names) == "qwen3:8b"
    assert find_name("qwen3", names) is None
    assert find_name(None, []) is None


SEEING = Facts(max_model_len=4096, sees=True)
ANSWERED = ProbeResult(has_reasoning=False, visual_tokens=256)


@pytest.mark.parametrize(
    ("facts", "asked", "wish"),
    [
        (SEEING, ANSWERED, Wish()),
        (Facts(), ProbeResult(has_reasoning=False, visual_tokens=None), Wish()),
        (Facts(max_model_len=300, sees=True), ANSWERED, Wish()),
        (Facts(max_model_len=100, sees=True), ANSWERED, Wish(images_per_request=3)),
        (dataclasses.replace(SEEING, thinks=True), ANSWERED, Wish(answer_tokens=100_000)),
        (SEEING, ProbeResult(has_reasoning=True, visual_tokens=None), Wish(image_max_pixels=1920 * 1080)),
    ],
)
def test_a_budget_adds_up(facts: Facts, asked: ProbeResult, wish: Wish) -> None:
    context = context_of(facts, asked, wish)
    pictures = context.images_per_request * context.visual_tokens
    assert pictures + context.prompt_tokens + context.answer_tokens == context.max_model_len
    assert pictures <= context.max_model_len // 2
    assert context.prompt_tokens > 0
    assert context.answer_tokens > 0
    assert context.concurrency > 0


def test_pictures_are_smaller_where_the_context_is_short() -> None:
    context = context_of(Facts(max_model_len=256, sees=True), ANSWERED, Wish(image_max_pixels=400 * 400))
    assert (context.visual_tokens, context.image_max_pixels) == (128, 400 * 400 // 2)


def test_the_wish_holds_within_the_limits_of_the_server() -> None:
    wish = Wish(max_model_len=2048, answer_tokens=100, image_max_pixels=320 * 240, concurrency=2)
    context = context_of(SEEING, ANSWERED, wish)
    assert (context.max_model_len, context.answer_tokens, context.concurrency) == (2048, 100, 2)
    assert (context.image_max_pixels, context.visual_tokens, context.prompt_tokens) == (320 * 240, 256, 1692)
    assert context_of(SEEING, ANSWERED, Wish(max_model_len=100_000)).max_model_len == 4096
    unsaid = ProbeResult(has_reasoning=False, visual_tokens=None)
    assert context_of(Facts(), unsaid, Wish(max_model_len=100_000)).max_model_len == 100_000
    assert context_of(Facts(), unsaid, Wish()).max_model_len == UNKNOWN_CONTEXT
    blind = context_of(Facts(max_model_len=4096), unsaid, Wish())
    assert (blind.image_max_pixels, blind.visual_tokens, blind.images_per_request) == (None, 0, 0)


@pytest.mark.parametrize(("length", "visual"), [(512, 256), (511, 255), (600, 256)])
def test_pictures_keep_their_size_if_they_take_half_of_the_context(length: int, visual: int) -> None:
    context = context_of(Facts(max_model_len=length, sees=True), ANSWERED, Wish())
    assert context.visual_tokens == visual
    pixels = PICTURE_PIXELS if visual == 256 else PICTURE_PIXELS * 255 // 256
    assert context.image_max_pixels == pixels


def test_a_server_that_does_not_count_is_assumed_to_take_a_token_for_a_patch() -> None:
    unknown = ProbeResult(has_reasoning=False, visual_tokens=None)
    context = context_of(SEEING, unknown, Wish(image_max_pixels=28 * 28 * 10 + 1))
    assert context.visual_tokens == 11
    several = context_of(SEEING, unknown, Wish(image_max_pixels=28 * 28 * 10, images_per_request=3))
    assert (several.images_per_request, several.visual_tokens, several.prompt_tokens) == (3, 10, 4096 - 30 - 1024)
    assert context_of(SEEING, unknown, Wish(images_per_request=0)).images_per_request == 0


def test_a_model_that_reasons_gets_half_of_the_context_for_its_answer() -> None:
    reasons = ProbeResult(has_reasoning=True, visual_tokens=None)
    plain = ProbeResult(has_reasoning=False, visual_tokens=None)
    blind = Facts(max_model_len=4096)
    assert context_of(blind, reasons, Wish()).answer_tokens == 2048
    assert context_of(dataclasses.replace(blind, thinks=True), plain, Wish()).answer_tokens == 2048
    assert context_of(blind, plain, Wish()).answer_tokens == 1024
    assert context_of(blind, plain, Wish()).concurrency == 1
    assert context_of(dataclasses.replace(blind, concurrency=3), plain, Wish()).concurrency == 3
