import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import aiohttp
import pytest

from tests.rig.stand_ins.app_stand_in import OWNER, Deployment, Fleet, OpenPage, Serve, Upstream
from vedette.engine.client import EngineClient, generates
from vedette.engine.state import Phase, State
from vedette.errors import Cause, DoesNotFitError
from vedette.language.message import Message
from vedette.serve.app import create_app
from vedette.serve.connections.limits import ConnectionLimits
from vedette.serve.queue import MOST_PASSED_OVER


def chat(model: str | None) -> dict[str, object]:
    body: dict[str, object] = {"messages": [{"role": "user", "content": "hi"}], "stream": True}
    return body if model is None else body | {"model": model}


async def ask(http: aiohttp.ClientSession, url: str, model: str | None) -> tuple[int, dict[str, str], str]:
    async with http.post(f"{url}/v1/chat/completions", json=chat(model)) as answer:
        return answer.status, dict(answer.headers), await answer.text()


@pytest.fixture
async def second(fleet: Fleet, upstream: Upstream) -> AsyncIterator[Deployment]:
    """Another model beside the first."""
    client = EngineClient(upstream.url, "other")
    deployment = Deployment(client)
    deployment.name = "other"
    fleet.served = (*fleet.served, deployment)
    yield deployment
    await client.close()


async def test_a_request_goes_to_the_model_that_it_names(
    http: aiohttp.ClientSession, url: str, upstream: Upstream, fleet: Fleet, second: Deployment
) -> None:
    second.own_client.base_url = "http://127.0.0.1:9"
    assert (await ask(http, url, "vedette-tiny"))[0] == 200
    assert (await ask(http, url, None))[0] == 200
    assert len(upstream.bodies) == 2
    assert (await ask(http, url, "other"))[0] == 503  # it went to the one that nobody listens for
    assert len(upstream.bodies) == 2


async def test_a_model_that_is_not_served_is_404_and_named(
    http: aiohttp.ClientSession, url: str, upstream: Upstream
) -> None:
    status, _, text = await ask(http, url, "nobody")
    assert status == 404
    assert "vedette-tiny" in text
    assert not upstream.bodies


async def test_a_smaller_model_answers_to_the_name_of_the_one_that_it_stands_in_for(
    http: aiohttp.ClientSession, url: str, deployment: Deployment
) -> None:
    deployment.stands_in_for = ("vedette-large",)
    assert (await ask(http, url, "vedette-large"))[0] == 200


async def test_a_request_waits_for_an_engine_that_comes_back(
    http: aiohttp.ClientSession, url: str, deployment: Deployment
) -> None:
    deployment.enter(State.FAILED)
    asking = asyncio.ensure_future(ask(http, url, "vedette-tiny"))
    await asyncio.sleep(0.05)
    deployment.enter(State.READY)
    assert (await asking)[0] == 200


async def test_a_request_for_the_model_that_a_swap_replaces_waits_for_the_end_of_the_swap(
    http: aiohttp.ClientSession, fleet: Fleet, serve: Serve, deployment: Deployment
) -> None:
    url, _ = await serve(create_app(fleet, wait_s=5))
    deployment.name, deployment.next_model, deployment.leaving = "other", "other", ("vedette-tiny",)
    deployment.enter(State.STARTING)
    asking = [asyncio.ensure_future(ask(http, url, "vedette-tiny")) for _ in range(2)]
    await asyncio.sleep(0.05)
    assert not any(each.done() for each in asking)
    deployment.name, deployment.next_model, deployment.leaving = "vedette-tiny", None, ()
    deployment.enter(State.READY)  # the other has failed
    assert [status for status, _, _ in await asyncio.gather(*asking)] == [200, 200]
    deployment.name, deployment.leaving = "other", ("vedette-tiny",)
    deployment.enter(State.STARTING)
    replaced = asyncio.ensure_future(ask(http, url, "vedette-tiny"))
    await asyncio.sleep(0.05)
    deployment.leaving = ()
    deployment.enter(State.READY)
    assert (await replaced)[0] == 404


async def test_a_request_waits_no_longer_than_it_is_let(
    http: aiohttp.ClientSession, url: str, deployment: Deployment
) -> None:
    deployment.enter(State.STARTING, Phase.LOADING, done=3, total=7)
    status, headers, text = await ask(http, url, "vedette-tiny")
    assert status == 503
    assert int(headers["Retry-After"]) > 0
    assert "loading weights 3/7" in text


async def test_an_engine_that_died_unnoticed_is_waited_for(
    http: aiohttp.ClientSession, url: str, deployment: Deployment
) -> None:
    where = deployment.own_client.base_url
    deployment.own_client.base_url = "http://127.0.0.1:9"
    asking = asyncio.ensure_future(ask(http, url, "vedette-tiny"))
    await asyncio.sleep(0.1)
    deployment.own_client.base_url = where
    assert (await asking)[0] == 200


async def test_the_last_words_of_a_dying_engine_are_a_503(
    http: aiohttp.ClientSession, url: str, upstream: Upstream
) -> None:
    upstream.fails = "EngineCore encountered an issue. See stack trace (above) for the root cause."
    status, headers, _ = await ask(http, url, "vedette-tiny")
    assert status == 503
    assert "Retry-After" in headers


async def test_an_answer_ends_with_its_engine_even_where_that_is_stopped_by_vedette(
    http: aiohttp.ClientSession, url: str, upstream: Upstream, deployment: Deployment
) -> None:
    upstream.held = asyncio.Event()
    async with http.post(f"{url}/v1/chat/completions", json=chat("vedette-tiny")) as answer:
        await answer.content.readline()
        await deployment.own_client.close()
        rest = await asyncio.wait_for(answer.text(), 5)
    upstream.held.set()
    assert "engine_unavailable" in rest
    assert deployment.answering == 0


@pytest.mark.parametrize("headers", [OWNER, {}])
async def test_why_an_answer_breaks_off_names_places_to_the_owner_only(
    http: aiohttp.ClientSession, url: str, upstream: Upstream, deployment: Deployment, headers: dict[str, str]
) -> None:
    error = "OSError: /home/anna/private/model.safetensors: Input/output error"
    cause = Cause("engine_failed", Message("engine.stopped_with_error", error=error))
    upstream.held = asyncio.Event()
    async with http.post(f"{url}/v1/chat/completions", json=chat("vedette-tiny"), headers=headers) as answer:
        await answer.content.readline()
        await deployment.own_client.close(cause)
        rest = await asyncio.wait_for(answer.text(), 5)
    upstream.held.set()
    assert "model.safetensors" in rest
    assert ("/home/anna/private" in rest) == bool(headers)


async def test_an_engine_s_own_500_stays_one(http: aiohttp.ClientSession, url: str, upstream: Upstream) -> None:
    upstream.fails = "a fault of the engine's own"
    status, _, text = await ask(http, url, "vedette-tiny")
    assert status == 500
    assert "a fault of the engine's own" in text


async def test_an_answer_keeps_the_engine_busy_until_its_end(
    http: aiohttp.ClientSession, url: str, upstream: Upstream, deployment: Deployment
) -> None:
    upstream.held = asyncio.Event()
    async with http.post(f"{url}/v1/chat/completions", json=chat("vedette-tiny")) as answer:
        await answer.content.readline()
        assert deployment.answering == 1
        upstream.held.set()
        await answer.read()
    assert deployment.answering == 0


async def test_naming_an_installed_model_swaps_once_for_all_where_allowed(
    http: aiohttp.ClientSession, url: str, fleet: Fleet, deployment: Deployment
) -> None:
    fleet.names = ["vedette-tiny", "other"]
    assert (await ask(http, url, "other"))[0] == 404
    fleet.allow_swap = True

    async def swap(argument: str) -> None:
        deployment.enter(State.DRAINING)
        await asyncio.sleep(0.05)
        deployment.name = argument
        deployment.enter(State.READY)

    fleet.on_swap = swap
    answers = await asyncio.gather(*(ask(http, url, "other") for _ in range(3)))
    assert [status for status, _, _ in answers] == [200, 200, 200]
    assert fleet.swaps == [("other", None)]
    assert (await ask(http, url, "nobody"))[0] == 404


async def test_a_swap_that_is_refused_is_told_to_the_request(
    http: aiohttp.ClientSession, url: str, fleet: Fleet
) -> None:
    fleet.names, fleet.allow_swap = ["other"], True

    async def refuse(argument: str) -> None:
        raise DoesNotFitError(
            "errors.verbatim", sentence="other does not fit: it needs 3.0 GiB more.", hint="Choose a smaller one."
        )

    fleet.on_swap = refuse
    status, _, text = await ask(http, url, "other")
    assert status == 409
    assert "needs 3.0 GiB more" in text


async def test_a_request_for_the_coming_model_waits_for_it(
    http: aiohttp.ClientSession, url: str, deployment: Deployment
) -> None:
    deployment.next_model = "other"
    asking = asyncio.ensure_future(ask(http, url, "other"))
    await asyncio.sleep(0.05)
    deployment.name, deployment.next_model = "other", None
    deployment.enter(State.READY)
    assert (await asking)[0] == 200


async def test_models_are_those_that_answer_and_those_that_may_be_named(
    http: aiohttp.ClientSession, url: str, fleet: Fleet, upstream: Upstream
) -> None:
    fleet.names = ["vedette-tiny", "other"]
    upstream.models = [{"id": "vedette-tiny", "max_model_len": 2048}]
    async with http.get(f"{url}/v1/models") as answer:
        assert (await answer.json())["data"] == upstream.models
    fleet.allow_swap = True
    async with http.get(f"{url}/v1/models") as answer:
        assert [model["id"] for model in (await answer.json())["data"]] == ["vedette-tiny", "other"]
    async with http.get(f"{url}/api/models") as answer:
        found = {model["name"]: model["state"] for model in (await answer.json())["models"]}
    assert found == {"vedette-tiny": "ready", "other": "installed"}


async def test_a_slash_at_the_end_leads_to_the_same_answer(
    http: aiohttp.ClientSession, url: str, upstream: Upstream
) -> None:
    """vLLM would redirect the client to the engine's own address, and list models with their directories."""
    async with http.get(f"{url}/v1/models") as plain, http.get(f"{url}/v1/models/") as slashed:
        assert await slashed.json() == await plain.json()
    async with http.post(f"{url}/v1/chat/completions/?a=b", json=chat(None), allow_redirects=False) as answer:
        assert answer.status == 200
    assert len(upstream.bodies) == 1


@pytest.mark.parametrize("text", ["[]", '{"data": 7}', '{"data": [7]}', "\xff", "[" * 100_000, "x" * 5_000_000])
async def test_a_list_of_models_that_cannot_be_read_is_said(
    http: aiohttp.ClientSession, url: str, upstream: Upstream, text: str
) -> None:
    upstream.models_text = text
    async with http.get(f"{url}/v1/models") as answer:
        assert answer.status == 502
        assert (await answer.json())["error"]["detail"]["code"] == "engine.list_unreadable"


async def test_an_attached_server_cannot_act_on_vedettes_own_pages(
    http: aiohttp.ClientSession, url: str, upstream: Upstream
) -> None:
    upstream.answer_headers = {
        "Set-Cookie": "vedette=stolen; Path=/",
        "Clear-Site-Data": '"*"',
        "Refresh": "0; url=/v1/b",
        "Service-Worker-Allowed": "/",
        "Content-Security-Policy": "default-src *",
        "X-Frame-Options": "ALLOWALL",
        "Access-Control-Allow-Origin": "*",
    }
    async with http.get(f"{url}/v1/page.html") as answer:
        assert answer.headers["X-Engine"] == "yes"
        assert not {"Set-Cookie", "Clear-Site-Data", "Refresh", "Service-Worker-Allowed"} & set(answer.headers)
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert answer.headers.getall("Content-Security-Policy") == [
            "default-src 'none'; sandbox; frame-ancestors 'none'"
        ]
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_swap_is_ordered_and_answers_when_done(http: aiohttp.ClientSession, url: str, fleet: Fleet) -> None:
    async with http.post(
        f"{url}/api/swap", json={"model": "other", "replace": "vedette-tiny"}, headers=OWNER
    ) as answer:
        assert answer.status == 200
        assert (await answer.json())["model"] == "vedette-tiny"
    assert fleet.swaps == [("other", "vedette-tiny")]


@pytest.mark.parametrize("installed", [True, False])
async def test_a_swap_goes_on_without_the_page_that_asked_but_no_download_does(
    http: aiohttp.ClientSession, url: str, fleet: Fleet, installed: bool
) -> None:
    fleet.names = ["other"] if installed else []
    begun, go_on = asyncio.Event(), asyncio.Event()
    ended: asyncio.Queue[str] = asyncio.Queue()

    async def swap(_: str) -> None:
        begun.set()
        try:
            await go_on.wait()
        except asyncio.CancelledError:
            ended.put_nowait("cancelled")
            raise
        ended.put_nowait("served")

    fleet.on_swap = swap
    asking = asyncio.ensure_future(http.post(f"{url}/api/swap", json={"model": "other"}, headers=OWNER))
    await begun.wait()
    asking.cancel()
    await asyncio.sleep(0.2)
    go_on.set()
    assert await asyncio.wait_for(ended.get(), 5) == ("served" if installed else "cancelled")


@pytest.mark.parametrize(
    "body", ["", "{", "[]", '{"model": 7}', '{"model": "a", "more": 1}', '{"model": "' + "a" * 9000]
)
async def test_a_swap_that_makes_no_sense_is_refused(
    http: aiohttp.ClientSession, url: str, fleet: Fleet, body: str
) -> None:
    async with http.post(f"{url}/api/swap", data=body, headers=OWNER) as answer:
        assert answer.status == 400
    assert not fleet.swaps


async def test_large_requests_that_wait_are_bounded(
    http: aiohttp.ClientSession, fleet: Fleet, serve: Serve, deployment: Deployment
) -> None:
    url, _ = await serve(create_app(fleet, wait_s=0.2, limits=ConnectionLimits(held_bytes=3000)))
    deployment.enter(State.STARTING)
    body = chat("vedette-tiny") | {"padding": "x" * 2000}

    async def ask_large() -> str:
        async with http.post(f"{url}/v1/chat/completions", json=body) as answer:
            return await answer.text()

    texts = await asyncio.gather(ask_large(), ask_large())
    assert sum("Too many large requests" in text for text in texts) == 1


async def test_metrics_of_two_engines_are_one_page(http: aiohttp.ClientSession, url: str, second: Deployment) -> None:
    async with http.get(f"{url}/metrics") as answer:
        text = await answer.text()
    assert text.count('vllm:num_requests_running{engine="0"}') == 2
    assert text.count("# TYPE vllm:num_requests_running") == 1


async def test_a_page_may_look_at_the_second_model(http: aiohttp.ClientSession, second: Deployment, url: str) -> None:
    async with http.ws_connect(f"{url}/api/live?model=other") as socket:
        assert (await asyncio.wait_for(socket.receive_json(), 5))["engine"]["model"] == "other"
    async with http.ws_connect(f"{url}/api/live") as socket:
        assert (await asyncio.wait_for(socket.receive_json(), 5))["engine"]["model"] == "vedette-tiny"


async def test_a_page_finds_its_model_before_that_is_up(
    http: aiohttp.ClientSession, deployment: Deployment, second: Deployment, url: str
) -> None:
    async def looked_at(name: str) -> str | None:
        async with http.ws_connect(f"{url}/api/live?model={name}") as socket:
            model: str | None = (await asyncio.wait_for(socket.receive_json(), 5))["engine"]["model"]
            return model

    assert await looked_at("nobody") == "vedette-tiny"
    second.next_model = "new"
    assert await looked_at("new") == "other"
    second.name = None
    assert await looked_at("nobody") is None
    assert await looked_at("vedette-tiny") == "vedette-tiny"


@pytest.mark.parametrize(
    ("method", "path", "takes"),
    [
        ("POST", "/v1/chat/completions", True),
        ("POST", "/v1/completions", True),
        ("POST", "/v1/responses", True),
        ("POST", "/v1/messages", True),
        ("POST", "/v1/something/new", True),
        ("GET", "/v1/models", False),
        ("GET", "/v1/responses/resp_1", False),
        ("HEAD", "/v1/models", False),
        ("OPTIONS", "/v1/chat/completions", False),
        ("DELETE", "/v1/responses/resp_1", False),
        ("POST", "/v1/responses/resp_1/cancel", False),
        ("POST", "/v1/messages/count_tokens", False),
        ("POST", "/v1/messages/count_tokens/", False),
        ("POST", "/v1/tokenize", False),
        ("POST", "/v1/detokenize", False),
        ("POST", "/v1/chat/completions/render", False),
    ],
)
def test_only_requests_that_generate_take_a_slot(method: str, path: str, takes: bool) -> None:
    assert generates(method, path) is takes


async def test_requests_wait_here_beyond_what_the_engine_answers_and_prepares(
    http: aiohttp.ClientSession, url: str, upstream: Upstream, deployment: Deployment
) -> None:
    upstream.held = asyncio.Event()
    asking = [asyncio.ensure_future(ask(http, url, "vedette-tiny")) for _ in range(20)]
    await asyncio.wait_for(upstream.streaming.wait(), 5)
    async with http.get(f"{url}/v1/responses/1") as answer:  # meanwhile what needs no slot is answered
        assert answer.status == 200
    assert len(upstream.bodies) == 2
    assert deployment.answering == 2
    upstream.held.set()
    assert [status for status, _, _ in await asyncio.gather(*asking)] == [200] * 20
    assert deployment.most_answering == 3  # two with a slot, and the one that needs none


async def test_requests_to_somebody_s_server_do_not_wait_for_each_other(
    http: aiohttp.ClientSession, url: str, upstream: Upstream, fleet: Fleet, deployment: Deployment
) -> None:
    fleet.engine_is_shared = True
    upstream.held = asyncio.Event()
    asking = [asyncio.ensure_future(ask(http, url, "vedette-tiny")) for _ in range(20)]
    for _ in range(500):
        if len(upstream.bodies) == 20:
            break
        await asyncio.sleep(0.01)
    assert deployment.answering == 20
    upstream.held.set()
    await asyncio.gather(*asking)


async def test_64_clients_and_a_page_share_one_engine_and_some_hang_up(
    http: aiohttp.ClientSession, url: str, upstream: Upstream, deployment: Deployment, open_page: OpenPage
) -> None:
    page = await open_page()
    await page.start(source="none", prompt="page")

    async def client(number: int) -> int:
        headers = {"Authorization": f"Bearer {number}"}
        for turn in range(3):
            body = chat("vedette-tiny") | {"user": f"{number}"}
            async with http.post(f"{url}/v1/chat/completions", json=body, headers=headers) as answer:
                if (number + turn) % 4 == 0:
                    answer.close()
                    continue
                assert (await answer.text()).endswith("data: [DONE]\n\n")
        return number

    assert await asyncio.gather(*map(client, range(64))) == list(range(64))
    of_the_page = [place for place, body in enumerate(upstream.bodies) if "user" not in body]
    # The page asks again a moment after its answer, when two others may have entered.
    assert max(after - before for before, after in pairwise(of_the_page)) <= MOST_PASSED_OVER + 2 + 2
    await page.socket.close()
    for _ in range(500):
        if not deployment.answering:
            break
        await asyncio.sleep(0.01)
    assert deployment.answering == 0
    assert deployment.most_answering <= 2
    assert (await ask(http, url, "vedette-tiny"))[0] == 200


async def test_a_request_that_waits_for_its_turn_outlives_the_engine(
    http: aiohttp.ClientSession, url: str, upstream: Upstream, deployment: Deployment
) -> None:
    upstream.held = asyncio.Event()
    asking = [asyncio.ensure_future(ask(http, url, "vedette-tiny")) for _ in range(3)]
    await asyncio.wait_for(upstream.streaming.wait(), 5)
    upstream.dies = True
    deployment.enter(State.FAILED)
    upstream.dies = False
    upstream.held.set()
    await asyncio.gather(*asking[:2])
    assert not asking[2].done()
    deployment.enter(State.READY)
    assert (await asking[2])[0] == 200


async def test_a_request_for_no_model_in_particular_is_refused_when_all_were_given_up(
    http: aiohttp.ClientSession, url: str, deployment: Deployment, second: Deployment
) -> None:
    deployment.abandoned = True
    assert (await ask(http, url, None))[0] == 200  # the second answers
    second.abandoned = True
    status, _, text = await ask(http, url, None)
    assert status == 503
    assert "No model is served" in text
    assert (await ask(http, url, "vedette-tiny"))[0] == 404


async def test_a_request_for_a_model_whose_name_is_not_known_yet_waits_for_it(
    http: aiohttp.ClientSession, url: str, deployment: Deployment
) -> None:
    deployment.name = None
    deployment.enter(State.PREPARING)
    asking = asyncio.ensure_future(ask(http, url, "other"))
    await asyncio.sleep(0.05)
    deployment.name = "other"
    deployment.enter(State.READY)
    assert (await asking)[0] == 200


async def test_a_request_does_not_wait_for_a_model_that_has_left_meanwhile(
    http: aiohttp.ClientSession, url: str, deployment: Deployment
) -> None:
    deployment.enter(State.DRAINING)
    asking = asyncio.ensure_future(ask(http, url, "vedette-tiny"))
    await asyncio.sleep(0.05)
    deployment.name = "other"
    deployment.enter(State.STARTING)
    assert (await asyncio.wait_for(asking, 5))[0] == 404


async def test_a_model_that_was_replaced_again_is_swapped_in_once_more(
    http: aiohttp.ClientSession, url: str, fleet: Fleet, deployment: Deployment
) -> None:
    fleet.names, fleet.allow_swap = ["vedette-tiny", "other"], True
    swapped = asyncio.Event()

    async def swap(argument: str) -> None:
        if len(fleet.swaps) > 1:
            deployment.name = argument
        swapped.set()

    fleet.on_swap = swap
    asking = asyncio.ensure_future(ask(http, url, "other"))
    await swapped.wait()
    await asyncio.sleep(0.05)
    assert len(fleet.swaps) == 1  # nothing has changed since: it is not tried again and again
    deployment.enter(State.READY)
    assert (await asyncio.wait_for(asking, 5))[0] == 200
    assert fleet.swaps == [("other", None)] * 2


async def test_a_swap_that_takes_too_long_goes_on_without_those_who_waited(
    http: aiohttp.ClientSession, url: str, fleet: Fleet, deployment: Deployment
) -> None:
    fleet.names, fleet.allow_swap = ["vedette-tiny", "other"], True
    go_on, ended = asyncio.Event(), asyncio.Event()

    async def swap(argument: str) -> None:
        await go_on.wait()
        deployment.name = argument
        ended.set()

    fleet.on_swap = swap
    status, headers, _ = await ask(http, url, "other")
    assert (status, "Retry-After" in headers) == (503, True)
    go_on.set()
    await asyncio.wait_for(ended.wait(), 5)
    assert (await ask(http, url, "other"))[0] == 200


async def test_a_stopping_vedette_sends_away_who_waits(
    http: aiohttp.ClientSession, fleet: Fleet, serve: Serve, deployment: Deployment
) -> None:
    url, runner = await serve(create_app(fleet, wait_s=60))
    deployment.enter(State.STARTING)
    asking = asyncio.ensure_future(ask(http, url, "vedette-tiny"))
    await asyncio.sleep(0.1)
    await runner.cleanup()
    status, _, text = await asyncio.wait_for(asking, 5)
    assert status == 503
    assert "stopping" in text
