"""The promises of vedette's API, tested with real vLLM that serves vedette-tiny."""

from typing import Any

import aiohttp
import pytest

from tests.rig.chat import ask, image_part, question, scene_jpeg, stream
from tests.rig.processes import Vedette
from vedette.scene import moving_scene


async def test_a_ready_vedette_names_its_plan_and_its_addresses(running_vedette: Vedette) -> None:
    ready = running_vedette.wait_until_ready()
    assert ready["page_url"] == f"{running_vedette.url}/"
    assert ready["api_url"] == f"{running_vedette.url}/v1"
    status = running_vedette.status()
    assert (status["state"], status["model"]) == ("ready", "vedette-tiny")
    memory = status["plan"]["memory"]
    assert 0 < memory["total_bytes"] <= memory["available_bytes"]
    assert "--kv-cache-memory-bytes" in status["plan"]["engine"]["argv"]


async def test_an_image_is_described_correctly(running_vedette: Vedette) -> None:
    for seed in (11, 12, 13):
        status, answer = await ask(running_vedette, question(image_part(seed)))
        assert status == 200
        assert answer["choices"][0]["message"]["content"].strip() == moving_scene(seed, 0.0).describe()


async def test_a_streamed_answer_comes_in_pieces_and_has_the_same_text(running_vedette: Vedette) -> None:
    body = question(image_part(14))
    chunks = await stream(running_vedette, body)
    pieces = [chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"]]
    assert len([piece for piece in pieces if piece]) > 3
    _, whole = await ask(running_vedette, body)
    assert "".join(pieces) == whole["choices"][0]["message"]["content"]


async def test_reasoning_is_separate_from_the_answer(running_vedette: Vedette) -> None:
    thinking: dict[str, Any] = {"chat_template_kwargs": {"enable_thinking": True}}
    _, answer = await ask(running_vedette, question(image_part(15), **thinking))
    message = answer["choices"][0]["message"]
    assert message["reasoning"].strip()
    assert message["content"].strip() == moving_scene(15, 0.0).describe()
    assert "<think>" not in message["content"] + message["reasoning"]
    chunks = await stream(running_vedette, question(image_part(15), **thinking))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    assert "".join(delta.get("reasoning") or "" for delta in deltas) == message["reasoning"]
    assert "".join(delta.get("content") or "" for delta in deltas) == message["content"]


async def test_a_clip_is_accepted(running_vedette: Vedette) -> None:
    frames = ",".join(scene_jpeg(16, second / 2, (320, 240)) for second in range(4))
    clip = {"type": "video_url", "video_url": {"url": f"data:video/jpeg;base64,{frames}"}}
    status, answer = await ask(running_vedette, question(clip, text="What moves?"))
    assert status == 200
    assert answer["choices"][0]["message"]["content"].strip()


async def test_two_images_and_a_follow_up_fit_the_context(running_vedette: Vedette) -> None:
    body = question(image_part(17), image_part(18), text="What is new in the second image?")
    status, answer = await ask(running_vedette, body)
    assert status == 200
    context = running_vedette.status()["plan"]["context"]
    assert answer["usage"]["prompt_tokens"] + context["answer_tokens"] <= context["max_model_len"]


async def test_the_planned_visual_tokens_are_what_the_engine_counts(running_vedette: Vedette) -> None:
    _, with_image = await ask(running_vedette, question(image_part(19)))
    _, without = await ask(running_vedette, question())
    seen = with_image["usage"]["prompt_tokens"] - without["usage"]["prompt_tokens"]
    assert 0 < seen <= running_vedette.status()["plan"]["context"]["visual_tokens"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (question(text="word " * 20_000), 400),
        (question(image_part(1), image_part(2), image_part(3)), 400),
        (question() | {"model": "another"}, 404),
        (question({"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/picture.jpg"}}), 400),
        ({"model": "vedette-tiny"}, 400),
    ],
)
async def test_requests_that_cannot_be_answered_are_refused(
    running_vedette: Vedette, body: dict[str, Any], status: int
) -> None:
    got, answer = await ask(running_vedette, body)
    assert got == status
    assert answer["error"]["message"]


async def test_models_health_and_metrics_answer(running_vedette: Vedette) -> None:
    async with aiohttp.ClientSession(running_vedette.url) as session:
        async with session.get("/v1/models") as response:
            assert [model["id"] for model in (await response.json())["data"]] == ["vedette-tiny"]
        async with session.get("/healthz") as response:
            assert response.status == 200
        async with session.get("/metrics") as response:
            assert "vedette_" in await response.text()
