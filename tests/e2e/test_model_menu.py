"""The page's menu of models: choosing another served model, and swapping to an installed one."""

import asyncio
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.rig.browser import OpenPage
from tests.rig.processes import Vedette, vedette_running
from tests.rig.stand_ins.app_on_a_thread import AppOnAThread
from tests.rig.stand_ins.app_stand_in import OWNER_KEY
from vedette.engine.vllm.causes import KERNEL_KILL
from vedette.errors import Cause, DoesNotFitError, SwapFailedError
from vedette.language.english import ENGLISH
from vedette.language.message import Message, say
from vedette.models.store.model_lookup import packaged_path
from vedette.serve.access.owner_key import read_owner_key

COPY = "vedette/copy"


@pytest.fixture
def two_models(own_home: Path) -> Iterator[Vedette]:
    """A vedette that serves vedette-tiny and has a copy of it installed under another name."""
    shutil.copytree(packaged_path("vedette-tiny"), own_home / "models" / COPY.replace("/", "--"))
    with vedette_running(own_home, "vedette-tiny") as running:
        running.wait_until_ready()
        yield running


@pytest.fixture
def stand_in() -> Iterator[AppOnAThread]:
    running = AppOnAThread()
    yield running
    running.close()


def menu(page: Page) -> Locator:
    return page.get_by_role("button", name="Model:")


def option(page: Page, name: str) -> Locator:
    return page.get_by_role("option", name=name)


def start(page: Page) -> None:
    page.get_by_role("radio", name="Scene").check()
    page.get_by_role("button", name="Start").click()
    page.locator(".answer[data-state=done]").first.wait_for()


def asked_models(stand_in: AppOnAThread) -> list[object]:
    return [body["model"] for body in stand_in.upstream.bodies]


def test_the_menu_works_with_the_keyboard(stand_in: AppOnAThread, open_page_of: OpenPage) -> None:
    page = open_page_of(stand_in.port, key=OWNER_KEY)
    menu(page).press("Enter")
    expect(option(page, "vedette-tiny")).to_be_focused()
    expect(option(page, "vedette-tiny")).to_have_attribute("aria-selected", "true")
    expect(menu(page)).to_have_attribute("aria-expanded", "true")
    expect(page.get_by_role("group", name="Served").get_by_role("option")).to_have_count(2)
    expect(page.get_by_role("group", name="Installed").get_by_role("option")).to_have_count(2)
    page.keyboard.press("ArrowDown")
    expect(option(page, "org/second")).to_be_focused()
    page.keyboard.press("End")
    expect(option(page, "rather-long-name")).to_be_focused()
    page.keyboard.press("3")  # outside the menu this key chooses the scene
    page.keyboard.press("Escape")
    expect(menu(page)).to_be_focused()
    expect(page.get_by_role("listbox")).to_be_hidden()
    expect(page.get_by_role("radio", name="Scene")).not_to_be_checked()
    menu(page).press("ArrowDown")
    expect(option(page, "vedette-tiny")).to_be_focused()
    page.mouse.click(600, 700)
    expect(page.get_by_role("listbox")).to_be_hidden()
    assert not stand_in.fleet.swaps


def test_a_live_session_continues_with_another_served_model(stand_in: AppOnAThread, open_page_of: OpenPage) -> None:
    page = open_page_of(stand_in.port, key=OWNER_KEY)
    start(page)
    menu(page).click()
    option(page, "org/second").click()
    expect(menu(page)).to_have_text(re.compile("org/second"))
    page.locator(".answer[data-state=done] .question", has_text="org/second · What do you see?").wait_for()
    assert set(asked_models(stand_in)) == {"vedette-tiny", "org/second"}
    assert asked_models(stand_in)[-1] == "org/second"
    page.reload()
    expect(menu(page)).to_have_text(re.compile("org/second"))
    stand_in.run(lambda: stand_in.become(stand_in.second, "org/other"))
    stand_in.run(lambda: stand_in.enter(stand_in.second, "ready"))
    expect(page).to_have_url(re.compile("model=org%2Fother$"))  # the model that replaces the chosen one
    assert not stand_in.fleet.swaps


def test_a_swap_is_shown_step_by_step_and_the_session_continues(stand_in: AppOnAThread, open_page_of: OpenPage) -> None:
    page = open_page_of(stand_in.port, key=OWNER_KEY)
    first, served = stand_in.first, stand_in.run(asyncio.Event)

    async def swap(name: str) -> None:
        first.next_model = name
        stand_in.enter(first, "draining")
        await served.wait()
        first.next_model = None

    stand_in.fleet.on_swap = swap
    start(page)
    menu(page).click()
    option(page, "org/other").click()
    page.get_by_role("heading", name="Changing to org/other").wait_for()
    expect(page.locator(".steps [aria-current]")).to_contain_text("Finishing running answers")
    expect(page.locator("#pill-text")).to_contain_text("Changing")
    menu(page).click()
    expect(option(page, "rather-long-name")).to_have_attribute("aria-disabled", "true")
    expect(page.locator("#models-hint")).to_contain_text("Changing to org/other")
    option(page, "rather-long-name").click(force=True)
    page.keyboard.press("Escape")
    stand_in.run(lambda: stand_in.become(first, "org/other"))
    stand_in.run(lambda: stand_in.enter(first, "starting", "loading_weights", done=1, total=3))
    expect(page.locator(".steps [aria-current]")).to_contain_text("Loading weights1/3")
    page.reload()
    page.get_by_role("heading", name="Changing to org/other").wait_for()  # a swap does not need its page
    page.get_by_role("radio", name="Scene").check()
    page.get_by_role("button", name="Start").click()
    stand_in.run(served.set)
    stand_in.run(lambda: stand_in.enter(first, "ready"))
    page.locator(".answer[data-state=done]").first.wait_for()
    expect(page.locator("#pill-text")).to_have_text("Ready · org/other")
    expect(menu(page)).to_have_attribute("aria-busy", "false")
    assert stand_in.fleet.swaps == [("org/other", "vedette-tiny")]
    assert asked_models(stand_in)[-1] == "org/other"


def test_a_refused_swap_is_reported_and_the_old_model_keeps_serving(
    stand_in: AppOnAThread, open_page_of: OpenPage
) -> None:
    page = open_page_of(stand_in.port, key=OWNER_KEY)

    async def refuse(_: str) -> None:
        raise DoesNotFitError(
            "errors.verbatim",
            sentence="org/other does not fit: it needs 2.10 GiB more.",
            hint="Choose a smaller model.",
        )

    stand_in.fleet.on_swap = refuse
    start(page)
    menu(page).click()
    option(page, "org/other").click()
    alert = page.get_by_role("alert").filter(has_text="org/other")
    expect(alert).to_have_text("org/other does not fit: it needs 2.10 GiB more. Choose a smaller model.")
    count = page.locator(".answer").count()
    page.locator(".answer[data-state=done]").nth(count).wait_for()
    expect(alert).to_be_visible()
    page.get_by_role("button", name="Close").click()
    expect(alert).to_be_hidden()
    expect(menu(page)).to_have_attribute("aria-busy", "false")


def test_a_page_that_may_not_swap_models_explains_why(stand_in: AppOnAThread, open_page_of: OpenPage) -> None:
    page = open_page_of(stand_in.port)
    menu(page).click()
    other = option(page, "org/other")
    expect(other).to_have_attribute("aria-disabled", "true")
    expect(other).to_have_accessible_description(re.compile("vedette open"))
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(option(page, "org/second")).not_to_have_attribute("aria-disabled", "true")
    assert not stand_in.fleet.swaps


def test_no_picture_is_sent_to_a_model_that_reads_text_only(stand_in: AppOnAThread, open_page_of: OpenPage) -> None:
    page = open_page_of(stand_in.port, key=OWNER_KEY)
    first = stand_in.first
    page.get_by_role("button", name="Turn on the camera").click()
    page.get_by_role("button", name="Start").click()
    page.locator(".answer[data-state=done]").first.wait_for()

    def change(name: str, sees: bool) -> None:
        def drain() -> None:
            first.next_model = name
            stand_in.enter(first, "draining")

        def start_next() -> None:
            stand_in.become(first, name, sees)
            stand_in.enter(first, "starting", "loading_weights")

        def serve_next() -> None:
            first.next_model = None
            stand_in.enter(first, "ready")

        for step in (drain, start_next, serve_next):
            stand_in.run(step)

    change("org/text", sees=False)
    expect(page.locator("#notice-text")).to_contain_text("org/text reads text only")
    expect(page.locator("#view video")).to_have_count(0)
    expect(page.get_by_role("radio", name="Camera")).to_be_disabled()
    expect(page.locator("#fault")).to_be_hidden()
    page.get_by_role("button", name="Ask").click()
    page.locator(".answer[data-state=done] .question", has_text="org/text").wait_for()
    assert "image_url" not in str(stand_in.upstream.bodies[-1])
    change("vedette-tiny", sees=True)
    expect(page.get_by_role("radio", name="Camera")).to_be_enabled()
    page.get_by_role("button", name="Turn on the camera").wait_for()


def test_causes_and_errors_are_chinese_on_the_chinese_page(
    stand_in: AppOnAThread, open_page_of: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page_of(stand_in.port, key=OWNER_KEY, locale="zh-CN")
    stand_in.run(lambda: stand_in.enter(stand_in.first, "failed", cause=KERNEL_KILL))
    expect(page.locator("#engine")).to_contain_text(say(KERNEL_KILL.message, "zh"))
    stand_in.run(lambda: stand_in.enter(stand_in.first, "starting", "loading_weights"))
    expect(page.locator(".steps [aria-current]")).to_contain_text("加载权重")
    # A vedette newer than the page, whose table of Chinese sentences lacks this cause.
    monkeypatch.setitem(
        cast(dict[str, object], ENGLISH), "engine.new", ("A cause of a newer vedette.", "See its notes.")
    )
    cause = Cause("new", Message("engine.new"))
    stand_in.run(lambda: stand_in.enter(stand_in.first, "failed", cause=cause))
    expect(page.locator("#engine")).to_contain_text("A cause of a newer vedette.See its notes.")
    stand_in.run(lambda: stand_in.enter(stand_in.first, "ready"))

    async def fail(_: str) -> None:
        raise SwapFailedError(KERNEL_KILL.message.code)

    stand_in.fleet.on_swap = fail
    page.get_by_role("button", name="模型：").click()
    option(page, "org/other").click()
    alert = page.get_by_role("alert").filter(has_text="内核终止了引擎")
    expect(alert).to_contain_text(say(KERNEL_KILL.message, "zh"))
    page.get_by_role("button", name="EN", exact=True).click()
    expect(page.locator("#pill-text")).to_contain_text("Ready")


@pytest.mark.parametrize("width", [360, 1280])
def test_the_menu_fits_at_any_width(stand_in: AppOnAThread, open_page_of: OpenPage, width: int) -> None:
    page = open_page_of(stand_in.port, key=OWNER_KEY, viewport={"width": width, "height": 740})
    menu(page).click()
    expect(page.get_by_role("option")).to_have_count(4)
    for box in (page.locator("#models").bounding_box(), option(page, "rather-long-name").bounding_box()):
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    page.keyboard.press("End")
    stand_in.run(lambda: stand_in.become(stand_in.first, stand_in.fleet.names[2]))
    stand_in.run(lambda: stand_in.enter(stand_in.first, "starting", "loading_weights"))
    expect(menu(page)).to_have_text(re.compile("rather-long-name"))
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width


def test_a_real_swap(two_models: Vedette, open_page_of: OpenPage) -> None:
    page = open_page_of(two_models.port, key=read_owner_key(two_models.home / "access"))
    start(page)
    menu(page).press("Enter")
    option(page, COPY).focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name=f"Changing to {COPY}").wait_for()
    page.locator("#pill[data-state=starting]").wait_for(timeout=120_000)
    page.locator("#pill[data-state=ready]").wait_for(timeout=300_000)
    page.locator(".answer[data-state=done] .question", has_text=f"{COPY} · What do you see?").wait_for()
    expect(menu(page)).to_have_text(re.compile(COPY))
    page.locator(".truth.same").first.wait_for()
    expect(page.locator("#refusal")).to_be_hidden()
    expect(menu(page)).to_have_attribute("aria-busy", "false")
    menu(page).click()
    expect(page.get_by_role("group", name="Installed").get_by_role("option", name="vedette-tiny")).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Stop").click()
    assert two_models.status()["model"] == COPY
