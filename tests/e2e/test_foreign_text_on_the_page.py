"""What a model answers, and what a server calls a model, is text on the page: the browser runs and loads none of it."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.rig.browser import OpenPage
from tests.rig.stand_ins.app_on_a_thread import AppOnAThread
from tests.rig.stand_ins.app_stand_in import END, event

MARKUP = (
    '<img src=x onerror="window.obeyed=1"><script>window.obeyed=1</script>'
    '<svg onload="window.obeyed=1"><iframe srcdoc="<script>parent.obeyed=1</script>"></iframe>'
    "<a href='javascript:window.obeyed=1'>a</a> `code` &lt;b&gt; {{7*7}} **bold**"
)
NAME = "org/<img src=x onerror='window.obeyed=1'>"


@pytest.fixture
def stand_in() -> Iterator[AppOnAThread]:
    running = AppOnAThread()
    yield running
    running.close()


def elements(page: Page) -> int:
    """How many elements the page has that only markup in a text could have made."""
    return page.locator("main script, main iframe, main a[href^='javascript'], img[onerror], svg[onload]").count()


def test_an_answer_and_its_reasoning_are_text(stand_in: AppOnAThread, open_page_of: OpenPage) -> None:
    stand_in.upstream.events = [event(reasoning=MARKUP), event(content=MARKUP[:40]), event(content=MARKUP[40:]), *END]
    page = open_page_of(stand_in.port)
    page.get_by_role("radio", name="Scene").check()
    page.get_by_role("button", name="Start").click()
    answer = page.locator(".answer[data-state=done]").first
    answer.wait_for()
    expect(answer.locator(".said")).to_have_text(MARKUP)
    assert answer.locator(".reasoning p").text_content() == MARKUP
    assert page.evaluate("window.obeyed") is None
    assert elements(page) == 0


def test_an_engines_error_and_a_models_name_are_text(stand_in: AppOnAThread, open_page_of: OpenPage) -> None:
    stand_in.upstream.fails = MARKUP + "\x1b[2J\u202egpj"

    def rename() -> None:
        stand_in.fleet.names = [*stand_in.fleet.names, NAME]
        stand_in.second.name = NAME
        stand_in.second.changed()

    stand_in.run(rename)
    page = open_page_of(stand_in.port)
    page.get_by_role("radio", name="Scene").check()
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("onerror").first).to_be_visible()
    expect(page.get_by_text(r"\x1b[2J\u202egpj").first).to_be_visible()
    page.get_by_role("button", name="Model:").click()
    expect(page.get_by_role("option", name="onerror").first).to_contain_text(NAME)
    assert page.evaluate("window.obeyed") is None
    assert elements(page) == 0
