import asyncio
import base64
import contextlib
import dataclasses
import json
import struct
import time
from dataclasses import dataclass, field

import aiohttp
import pytest

from tests.rig.hostile_pictures import large_png, png_header
from tests.rig.stand_ins.app_stand_in import (
    CONTEXT,
    Deployment,
    Fleet,
    OpenPage,
    Page,
    Serve,
    Upstream,
    jpeg_of_size,
)
from vedette.engine.state import Phase, State
from vedette.engine.vllm.causes import KERNEL_KILL
from vedette.events import model_status_json
from vedette.serve.app import create_app
from vedette.serve.connections.limits import ConnectionLimits
from vedette.serve.live.asking import PATIENCE_S
from vedette.sources.plain_picture import parse_plain
from vedette.sources.source import Frame


async def test_page_learns_the_state_and_its_limits(page: Page, deployment: Deployment) -> None:
    status = await page.next("status")
    assert status["engine"] == model_status_json(deployment.status)
    assert status["limits"] == {"answer_tokens": 128, "image_max_pixels": 320 * 240}
    deployment.enter(State.FAILED, cause=KERNEL_KILL)
    assert (await page.next("status"))["engine"]["cause"]["hint"] == KERNEL_KILL.hint


async def test_frame_is_asked_for_and_its_answer_streams(page: Page, upstream: Upstream, jpeg: bytes) -> None:
    await page.start(prompt="What do you see?")
    ask = await page.next("ask")
    assert ask["max_pixels"] == 320 * 240
    await page.send_frame(ask["id"], jpeg, held_us=900, age_us=800)
    assert await page.next("begin") == {
        "type": "begin",
        "id": ask["id"],
        "prompt": "What do you see?",
        "truth": None,
    }
    assert (await page.next("words"))["reasoning"] == "Look. "
    assert (await page.next("words"))["content"] == "A red"
    assert (await page.next("words"))["content"] == " star."
    done = await page.next("done")
    assert (done["tokens"], done["prompt_tokens"], done["finish_reason"]) == (3, 90, "stop")
    assert done["frame_to_request_ms"] >= 0.8
    assert 0 < done["first_token_ms"] <= done["total_ms"]
    (body,) = upstream.bodies
    image, text = body["messages"][0]["content"]
    assert base64.b64decode(image["image_url"]["url"].removeprefix("data:image/jpeg;base64,")) == jpeg
    assert text["text"] == "What do you see?"


async def test_request_keeps_to_the_plan(page: Page, upstream: Upstream) -> None:
    await page.start(max_tokens=10_000, thinking=True, system="Be brief.")
    await page.answer_ask()
    await page.next("done")
    (body,) = upstream.bodies
    assert body["max_tokens"] == 128
    assert body["chat_template_kwargs"] == {"enable_thinking": True}
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert body["model"] == "vedette-tiny"


async def test_model_that_does_not_think_is_not_told_to(page: Page, upstream: Upstream, deployment: Deployment) -> None:
    deployment.thinks = False
    await page.start(thinking=True)
    await page.answer_ask()
    await page.next("done")
    assert "chat_template_kwargs" not in upstream.bodies[0]
    assert upstream.bodies[0]["temperature"] == 0


async def test_next_frame_is_asked_for_when_the_answer_is_done(page: Page, upstream: Upstream) -> None:
    upstream.held = asyncio.Event()
    await page.start()
    first = await page.answer_ask()
    await page.next("words")
    upstream.held.set()
    kinds = [(await page.next("words", "done", "ask"))["type"] for _ in range(4)]
    assert kinds == ["words", "words", "done", "ask"]
    assert first == 1


async def test_new_prompt_counts_from_the_next_frame(page: Page, upstream: Upstream) -> None:
    await page.start(prompt="one")
    ask = await page.next("ask")
    await page.start(prompt="two")
    await page.send_frame(ask["id"], b"", 0, 0)  # an empty frame is refused, the ask stays open
    await page.next("error")
    await page.send(type="no_frame", id=ask["id"])
    await page.answer_ask()
    await page.next("done")
    assert upstream.bodies[0]["messages"][0]["content"][1]["text"] == "two"


async def test_stop_reaches_the_engine_at_once(page: Page, upstream: Upstream) -> None:
    upstream.held = asyncio.Event()
    await page.start()
    await page.answer_ask()
    await page.next("words")
    await page.send(type="stop")
    await asyncio.wait_for(upstream.hung_up.wait(), 5)
    await page.next("stopped")


async def test_closing_the_page_frees_its_slot(open_page: OpenPage, upstream: Upstream) -> None:
    upstream.held = asyncio.Event()
    leaving, staying = await open_page(), await open_page()
    await leaving.start()
    await leaving.answer_ask()
    await leaving.next("words")
    await staying.start()
    await leaving.socket.close()
    await asyncio.wait_for(upstream.hung_up.wait(), 5)
    upstream.held.set()
    await staying.answer_ask()
    await staying.next("done")


async def test_pages_take_turns(open_page: OpenPage, upstream: Upstream) -> None:
    pages = [await open_page(), await open_page()]
    for number, page in enumerate(pages):
        await page.start(prompt=f"page {number}")

    async def use(page: Page) -> None:
        for _ in range(4):
            await page.answer_ask()
            await page.next("done")

    await asyncio.gather(*map(use, pages))
    order = [body["messages"][0]["content"][1]["text"] for body in upstream.bodies][:8]
    assert order in (["page 0", "page 1"] * 4, ["page 1", "page 0"] * 4)


async def test_silent_page_does_not_hold_the_engine(open_page: OpenPage, upstream: Upstream) -> None:
    silent, lively = await open_page(), await open_page()
    await silent.start(prompt="silent")
    await silent.next("ask")
    await lively.start(prompt="lively")
    for _ in range(20):  # were each turn of the silent page waited for, this would outlast the test's patience
        await lively.answer_ask()
        await lively.next("done")
    assert {body["messages"][0]["content"][1]["text"] for body in upstream.bodies} == {"lively"}


async def test_slow_page_is_answered_all_the_same(page: Page, jpeg: bytes) -> None:
    await page.start()
    await page.next("ask")
    ask = await page.next("ask")  # the page is known to be slow by now: its frame is taken however late it comes
    await asyncio.sleep(2 * PATIENCE_S)
    await page.send_frame(ask["id"], jpeg)
    await page.next("done")


async def test_two_slots_answer_two_pages_at_once(
    open_page: OpenPage, upstream: Upstream, deployment: Deployment
) -> None:
    deployment.context = dataclasses.replace(CONTEXT, concurrency=2)
    upstream.held = asyncio.Event()
    pages = [await open_page(), await open_page()]
    for page in pages:
        await page.start()
        await page.answer_ask()
        await page.next("words")
    assert len(upstream.bodies) == 2
    upstream.held.set()


async def test_dead_engine_is_told_and_the_session_goes_on_when_it_is_back(
    page: Page, upstream: Upstream, deployment: Deployment
) -> None:
    upstream.dies = True
    await page.start()
    number = await page.answer_ask()
    error = await page.next("error")
    assert (error["code"], error["id"]) == ("engine_unavailable", number)
    deployment.enter(State.FAILED, cause=KERNEL_KILL)
    upstream.dies = False
    deployment.enter(State.READY)
    await page.answer_ask()
    await page.next("done")


async def test_stream_that_ends_unfinished_is_no_answer(page: Page, upstream: Upstream) -> None:
    upstream.events = upstream.events[:2]
    await page.start()
    await page.answer_ask()
    assert "middle of an answer" in (await page.next("error"))["sentence"]


async def test_start_before_the_engine_is_ready_waits_for_it(open_page: OpenPage, deployment: Deployment) -> None:
    deployment.enter(State.STARTING, Phase.LOADING)
    page = await open_page()
    await page.start()
    deployment.enter(State.READY)
    await page.answer_ask()
    await page.next("done")


async def test_refused_request_stops_instead_of_repeating(page: Page, upstream: Upstream) -> None:
    upstream.refuses = True
    await page.start()
    await page.answer_ask()
    assert "Input length (999)" in (await page.next("error"))["sentence"]
    await page.next("stopped")
    assert len(upstream.bodies) == 1


@pytest.mark.parametrize("chunk", [{"choices": 7}, {"choices": [{"delta": {"content": 7}}]}, {"error": []}])
async def test_an_answer_that_cannot_be_read_is_said_and_nothing_is_logged(
    page: Page, upstream: Upstream, caplog: pytest.LogCaptureFixture, chunk: dict[str, object]
) -> None:
    upstream.events = [chunk]
    await page.start(once=True)
    await page.answer_ask()
    error = await page.next("error")
    assert error["code"] in ("engine_answer", "engine_unavailable")
    assert 0 < len(error["sentence"]) < 500
    assert caplog.records == []


async def test_usage_without_numbers_leaves_the_figures_out(page: Page, upstream: Upstream) -> None:
    upstream.events[-1] = {"choices": [], "usage": {"prompt_tokens": "many", "completion_tokens": -3}}
    await page.start()
    await page.answer_ask()
    done = await page.next("done")
    assert (done["prompt_tokens"], done["tokens"], done["tokens_per_s"]) == (None, None, None)


async def test_once_answers_once(page: Page, upstream: Upstream) -> None:
    await page.start(once=True)
    await page.answer_ask()
    await page.next("done")
    await page.next("stopped")
    assert len(upstream.bodies) == 1


async def test_once_answers_even_if_the_question_changes_while_waiting(open_page: OpenPage, upstream: Upstream) -> None:
    upstream.held = asyncio.Event()
    first, second = await open_page(), await open_page()
    await first.start(source="none", once=True)
    await first.next("words")
    await second.start(source="none", once=True, prompt="one")
    await second.start(source="none", once=True, prompt="two")
    await second.socket.send_str("{")
    await second.next("error")  # so both wishes have arrived
    upstream.held.set()
    assert (await second.next("begin"))["prompt"] == "two"
    await second.next("done")
    await second.next("stopped")


async def test_question_without_a_picture(page: Page, upstream: Upstream) -> None:
    await page.start(source="none", once=True, prompt="Hello!")
    await page.next("done")
    assert [part["type"] for part in upstream.bodies[0]["messages"][0]["content"]] == ["text"]


async def test_question_without_picture_and_words_is_refused(page: Page) -> None:
    await page.start(source="none", prompt=" ")
    assert (await page.next("error"))["code"] == "bad_input"
    await page.next("stopped")


async def test_model_that_cannot_see_says_so(page: Page, deployment: Deployment) -> None:
    deployment.sees = False
    await page.start()
    assert "cannot see" in (await page.next("error"))["sentence"]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "null",
        '{"type": "dance"}',
        '{"type": "start"}',
        '{"type": "start", "source": "rtsp://x", "prompt": "", "max_tokens": 1}',
        '{"type": "start", "source": "page", "prompt": "", "max_tokens": 0}',
        '{"type": "start", "source": "page", "prompt": "", "max_tokens": 1, "url": "file:///etc"}',
        '{"type": "start", "source": "page", "prompt": 7, "max_tokens": 1}',
        json.dumps({"type": "start", "source": "page", "prompt": "x" * 9000, "max_tokens": 1}),
        "[" * 100_000,
    ],
)
async def test_bad_messages_are_answered_and_the_socket_lives(page: Page, text: str) -> None:
    await page.socket.send_str(text)
    error = await page.next("error")
    assert error["code"] == "bad_input"
    assert "Traceback" not in json.dumps(error)
    await page.start(source="none", once=True)
    await page.next("done")


@pytest.mark.parametrize("data", [b"", b"x", bytes(12), bytes(12) + b"x"])
async def test_frames_nobody_asked_for_are_refused(page: Page, data: bytes) -> None:
    await page.socket.send_bytes(b"\x00\x00\x00\x09" + data)
    assert (await page.next("error"))["code"] == "bad_input"


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"GIF89a" + bytes(100), "bad_input"), (b"\xff\xd8\xff\xe0", "bad_input"), (b"%PDF-1.7", "bad_input")],
)
async def test_frame_that_is_no_picture_stops_with_a_sentence(
    page: Page, upstream: Upstream, data: bytes, code: str
) -> None:
    await page.start()
    ask = await page.next("ask")
    await page.send_frame(ask["id"], data)
    assert (await page.next("error"))["code"] == code
    await page.next("stopped")
    assert not upstream.bodies


async def test_a_page_that_sends_a_frame_too_large_has_it_scaled(page: Page, upstream: Upstream) -> None:
    await page.start(once=True)
    ask = await page.next("ask")
    await page.send_frame(ask["id"], jpeg_of_size(4000, 3000))
    await page.next("done")
    url = upstream.bodies[0]["messages"][0]["content"][0]["image_url"]["url"]
    picture = parse_plain(base64.b64decode(url.removeprefix("data:image/jpeg;base64,")))
    assert picture is not None
    assert 0.95 * 320 * 240 < picture.width * picture.height <= 320 * 240


async def test_a_frame_whose_second_header_is_larger_does_not_reach_the_engine(page: Page, upstream: Upstream) -> None:
    await page.start()
    ask = await page.next("ask")
    two = large_png(16, 16)[:8] + png_header(16, 16) + png_header(13_000, 13_000) + large_png(16, 16)[33:]
    await page.send_frame(ask["id"], two)
    error = await page.next("error")
    assert error["code"] == "too_large"
    assert "13000 × 13000" in error["sentence"]
    await page.next("stopped")
    assert not upstream.bodies


async def test_fifty_megabytes_on_the_socket_close_it_and_nothing_else(open_page: OpenPage) -> None:
    page, other = await open_page(), await open_page()
    with contextlib.suppress(ConnectionError):
        await page.socket.send_bytes(bytes(50 * 2**20))
    while (await asyncio.wait_for(page.socket.receive(), 10)).type is aiohttp.WSMsgType.TEXT:
        pass
    assert page.socket.closed
    await other.start(source="none", once=True)
    await other.next("done")


async def test_flood_closes_the_socket(page: Page) -> None:
    for _ in range(300):
        await page.send(type="no_frame", id=1)
    assert "too many" in (await page.next("error"))["sentence"]
    message = await page.socket.receive()
    assert message.data == aiohttp.WSCloseCode.POLICY_VIOLATION


async def test_number_of_pages_is_bounded(open_page: OpenPage) -> None:
    for _ in range(32):
        await open_page()
    refused = await open_page()
    assert (await refused.next("error"))["sentence"] == "32 pages are open already."
    assert (await refused.socket.receive()).data == aiohttp.WSCloseCode.TRY_AGAIN_LATER


async def test_silent_page_makes_room_for_another(http: aiohttp.ClientSession, fleet: Fleet, serve: Serve) -> None:
    url, _ = await serve(create_app(fleet, limits=ConnectionLimits(pages=2, quiet_page_s=0)))
    silent = Page(await http.ws_connect(f"{url}/api/live"))
    used = Page(await http.ws_connect(f"{url}/api/live"))
    await used.start()
    await used.next("ask")
    another = Page(await http.ws_connect(f"{url}/api/live"))
    assert (await silent.next("error"))["code"] == "overloaded"
    assert (await silent.socket.receive()).data == aiohttp.WSCloseCode.TRY_AGAIN_LATER
    await another.next("status")
    assert not used.socket.closed


async def test_stopping_vedette_tells_the_pages(http: aiohttp.ClientSession, fleet: Fleet, serve: Serve) -> None:
    url, runner = await serve(create_app(fleet))
    async with http.ws_connect(f"{url}/api/live") as socket:
        await socket.receive()
        stopping = asyncio.create_task(runner.cleanup())
        assert (await socket.receive()).data == aiohttp.WSCloseCode.GOING_AWAY
        await stopping


async def test_figures_of_live_answers_are_counted(http: aiohttp.ClientSession, url: str, page: Page) -> None:
    await page.start(once=True)
    await page.answer_ask()
    await page.next("stopped")
    async with http.get(f"{url}/metrics") as answer:
        text = await answer.text()
    assert 'vedette_live_answers_total{outcome="complete"} 1.0' in text
    assert 'vedette_live_tokens_total{kind="answer"} 3.0' in text
    assert "vedette_live_frame_to_request_seconds_count 1.0" in text
    assert "vedette_live_pages 1.0" in text


@dataclass
class Still:
    """A source of one picture: what streams, USB cameras and files are to be like."""

    picture: bytes
    takes_s: float = 0.0
    asked: list[int] = field(default_factory=list)
    closed: bool = False

    async def newest(self, max_pixels: int, deadline: float) -> Frame | None:
        assert not self.closed
        self.asked.append(max_pixels)
        taken = time.monotonic()
        try:
            await asyncio.wait_for(asyncio.sleep(self.takes_s), deadline - taken)
        except asyncio.TimeoutError:
            return None
        return Frame(self.picture, "image/jpeg", taken, truth="A still.")

    def close(self) -> None:
        self.closed = True


async def test_a_registered_source_is_used_like_any_other(
    http: aiohttp.ClientSession, fleet: Fleet, serve: Serve, upstream: Upstream, jpeg: bytes
) -> None:
    opened: list[Still] = []

    def open_still() -> Still:
        opened.append(Still(jpeg))
        return opened[-1]

    url, _ = await serve(create_app(fleet, sources={"still": open_still}))
    async with http.ws_connect(f"{url}/api/live") as socket:
        page = Page(socket)
        await page.start(source="still", once=True)
        while (message := await asyncio.wait_for(socket.receive(), 5)).type is aiohttp.WSMsgType.TEXT:
            assert json.loads(message.data)["type"] == "status"
        assert message.data == struct.pack(">III", 1, 0, 0) + jpeg
        begin = await page.next("begin")
        assert (begin["id"], begin["truth"]) == (1, "A still.")
        await page.next("stopped")
        await page.start(source="still", once=True)
        await socket.receive()
        assert len(opened) == 1  # it stays open from one question to the next
        await page.next("stopped")
        await page.start(source="none", once=True)
        await page.next("stopped")
        assert opened[0].closed
        await page.start(source="still", once=True)
        await socket.receive()
        await page.next("stopped")
    for _ in range(100):
        if opened[1].closed:
            break
        await asyncio.sleep(0.01)
    assert [still.closed for still in opened] == [True, True]
    assert opened[0].asked == [320 * 240] * 2
    image = upstream.bodies[0]["messages"][0]["content"][0]["image_url"]["url"]
    assert base64.b64decode(image.removeprefix("data:image/jpeg;base64,")) == jpeg


async def test_a_slow_source_is_asked_before_its_turn(
    http: aiohttp.ClientSession, fleet: Fleet, serve: Serve, upstream: Upstream, jpeg: bytes
) -> None:
    slow = Still(jpeg, takes_s=1.5 * PATIENCE_S)
    url, _ = await serve(create_app(fleet, sources={"slow": lambda: slow}))
    upstream.held = asyncio.Event()
    async with http.ws_connect(f"{url}/api/live") as socket, http.ws_connect(f"{url}/api/live") as other:
        await Page(socket).start(source="slow", once=True)
        while not slow.asked:  # noqa: ASYNC110 - it is no event
            await asyncio.sleep(0.01)
        await Page(other).start(source="none", once=True)
        await Page(other).next("words")  # the first attempt took too long, and the other page has the slot
        while (await asyncio.wait_for(socket.receive(), 5)).type is not aiohttp.WSMsgType.BINARY:
            pass
        assert len(upstream.bodies) == 1
        upstream.held.set()
        await Page(socket).next("done")
    assert len(slow.asked) == 2


async def test_a_source_that_nobody_knows_is_refused_with_those_that_exist(page: Page) -> None:
    await page.start(source="rtsp://camera")
    error = await page.next("error")
    assert error["message"]["code"] == "sources.unknown"
    assert "scene, page" in error["hint"]
    await page.next("stopped")


async def test_a_page_that_changes_its_source_while_it_waits_is_asked_anew(
    open_page: OpenPage, upstream: Upstream
) -> None:
    upstream.held = asyncio.Event()
    first, second = await open_page(), await open_page()
    await first.start(source="none", once=True)
    await first.next("words")
    await second.start(source="page", once=True)
    await second.start(source="none", once=True, prompt="words only")
    await second.socket.send_str("{")
    await second.next("error")  # so both orders have arrived
    upstream.held.set()
    await second.next("done")
    assert [part["type"] for part in upstream.bodies[1]["messages"][0]["content"]] == ["text"]


async def test_a_person_who_types_goes_before_pages_that_watch(open_page: OpenPage, upstream: Upstream) -> None:
    upstream.held = asyncio.Event()
    pages = [await open_page() for _ in range(3)]
    for number, page in enumerate(pages):
        await page.start(source="none", prompt=f"page {number}")
    await pages[0].next("words")
    typing = await open_page()
    await typing.start(source="none", once=True, prompt="typed")
    await typing.socket.send_str("{")
    await typing.next("error")
    upstream.held.set()
    await typing.next("done")
    prompts = [body["messages"][0]["content"][0]["text"] for body in upstream.bodies]
    assert prompts[:2] == ["page 0", "typed"]
