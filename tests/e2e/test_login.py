"""The login page, and the owner's link, in a real browser in front of an app that asks for a key."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.rig.processes import run_vedette, vedette_running
from tests.rig.stand_ins.app_on_a_thread import AppOnAThread
from tests.rig.stand_ins.app_stand_in import OWNER_KEY
from vedette.serve.access.key_file import KeyFile
from vedette.serve.access.principal import Role


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[AppOnAThread]:
    app = AppOnAThread(Role.NOBODY, tmp_path)
    yield app
    app.close()


@pytest.fixture
def page(launch: Callable[[str], Browser]) -> Iterator[Page]:
    context = launch("camera").new_context(locale="en-US")
    page = context.new_page()
    page.set_default_timeout(20_000)
    yield page
    context.close()


def test_a_key_opens_the_page_and_stays_known(closed: AppOnAThread, page: Page) -> None:
    page.goto(f"http://127.0.0.1:{closed.port}/")
    expect(page).to_have_url(re.compile("/login$"))
    page.get_by_label("Key").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("This key is not known here.")
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_role("alert")).to_contain_text("此处没有这个密钥。")
    page.get_by_label("密钥").fill(OWNER_KEY)
    page.get_by_role("button", name="登录").click()
    page.locator("#pill[data-state=ready]").wait_for()
    page.reload()
    page.locator("#pill[data-state=ready]").wait_for()
    assert OWNER_KEY not in page.context.cookies()[0]["value"]
    assert page.context.cookies()[0]["httpOnly"]


@pytest.mark.parametrize("path", ["/", "/login"])
def test_the_owners_link_opens_the_page_and_leaves_no_key_in_the_address(
    closed: AppOnAThread, page: Page, path: str
) -> None:
    page.goto(f"http://127.0.0.1:{closed.port}{path}#key={OWNER_KEY}")
    page.locator("#pill[data-state=ready]").wait_for()
    assert OWNER_KEY not in page.url
    page.get_by_role("button", name="Model:").click()
    expect(page.get_by_role("option", name="org/other")).not_to_have_attribute("aria-disabled", "true")


def test_the_owners_link_works_over_https_with_vedettes_own_certificate(
    closed: AppOnAThread, launch: Callable[[str], Browser], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    arguments = ("--engine", closed.upstream.url, "--https", "--require-key")
    with vedette_running(home, *arguments) as running:
        running.wait_until_ready()
        opened = run_vedette(home, "open").stdout.strip()
        assert opened.startswith("https://127.0.0.1:")
        context = launch("camera").new_context(ignore_https_errors=True)
        page = context.new_page()
        page.goto(opened)
        page.locator("#pill[data-state=ready]").wait_for()
        (cookie,) = context.cookies()
        assert cookie["secure"]
        page.get_by_role("radio", name="Scene").check()
        page.get_by_role("button", name="Start").click()
        page.locator(".answer[data-state=done]").first.wait_for()
        context.close()


def test_a_page_whose_key_is_revoked_leads_to_the_login_page(closed: AppOnAThread, page: Page, tmp_path: Path) -> None:
    keys = KeyFile(tmp_path)
    page.goto(f"http://127.0.0.1:{closed.port}/#key={keys.add('anna', 'use')}")
    page.locator("#pill[data-state=ready]").wait_for()
    page.get_by_role("radio", name="Scene").check()
    page.get_by_role("button", name="Start").click()
    page.locator(".answer[data-state=done]").first.wait_for()
    keys.revoke("anna")
    expect(page).to_have_url(re.compile("/login$"))
