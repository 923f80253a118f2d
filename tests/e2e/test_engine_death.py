"""The page while the engine crashes and restarts. In a file of its own, because it leaves a new engine behind."""

import os
import signal

from playwright.sync_api import expect

from tests.rig.browser import OpenPage
from tests.rig.processes import Vedette


def test_the_page_shows_a_crash_of_the_engine_and_continues_by_itself(
    open_page: OpenPage, running_vedette: Vedette
) -> None:
    page = open_page()
    page.get_by_role("radio", name="Scene").check()
    page.get_by_role("button", name="Start").click()
    page.locator(".answer[data-state=done]").first.wait_for()
    pid = running_vedette.status()["engine_pid"]
    os.kill(pid, signal.SIGKILL)
    expect(page.locator("#pill")).not_to_have_attribute("data-state", "ready")
    page.get_by_text("The engine is starting").wait_for()
    page.get_by_text("Loading weights").wait_for()
    page.get_by_role("button", name="Clear", exact=True).click()
    page.locator("#pill[data-state=ready]").wait_for(timeout=300_000)
    page.locator(".answer[data-state=done]").first.wait_for()
    page.get_by_role("button", name="Stop").click()
    assert running_vedette.status()["engine_pid"] != pid
