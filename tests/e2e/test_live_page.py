"""A person's actions on the live page and its reactions."""

import base64
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.rig.browser import OpenPage, jpeg
from tests.rig.processes import Vedette
from vedette.scene.world import Scene


def choose(page: Page, source: str) -> None:
    page.get_by_role("radio", name=source).check()


def finished(page: Page, number: int = 1) -> Locator:
    """The newest complete answer once there are at least `number` of them."""
    answers = page.locator(".answer[data-state=done]")
    answers.nth(number - 1).wait_for()
    return answers.first


def said(answer: Locator) -> str:
    return answer.locator(".said").inner_text()


def drop(page: Page, name: str, kind: str, data: bytes) -> None:
    """Drops a file on the page with the browser's drag events."""
    page.evaluate(
        """([name, type, text]) => {
            const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([bytes], name, { type }));
            for (const event of ["dragenter", "dragover", "drop"])
                document.body.dispatchEvent(new DragEvent(event, { dataTransfer, bubbles: true, cancelable: true }));
        }""",
        [name, kind, base64.b64encode(data).decode()],
    )


def recording(page: Page, picture: bytes) -> bytes:
    """A WebM video of a picture, recorded by the browser."""
    text: str = page.evaluate(
        """async (picture) => {
            const image = Object.assign(new Image(), { src: `data:image/jpeg;base64,${picture}` });
            await image.decode();
            const { width, height } = image;
            const canvas = Object.assign(document.createElement("canvas"), { width, height });
            const options = { mimeType: "video/webm", videoBitsPerSecond: 4e6 };
            const recorder = new MediaRecorder(canvas.captureStream(10), options);
            const parts = [];
            recorder.ondataavailable = ({ data }) => parts.push(data);
            const stopped = new Promise((resolve) => (recorder.onstop = resolve));
            recorder.start();
            for (let i = 0; i < 15; i += 1) {
                canvas.getContext("2d").drawImage(image, 0, 0);
                await new Promise((resolve) => setTimeout(resolve, 100));
            }
            recorder.stop();
            await stopped;
            const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
            return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
        }""",
        base64.b64encode(picture).decode(),
    )
    return base64.b64decode(text)


def test_answers_name_the_objects_that_the_camera_shows(page: Page, scene: Scene) -> None:
    choose(page, "Camera")
    page.get_by_role("button", name="Turn on the camera").click()
    page.get_by_role("button", name="Start").click()
    answer = finished(page)
    assert said(answer) == scene.describe()
    assert answer.locator("img").evaluate("image => image.naturalWidth * image.naturalHeight") > 0
    expect(answer.locator(".figures")).to_contain_text("first word")
    expect(answer.locator(".figures")).to_contain_text("tokens/s")
    finished(page, 3)  # the session continues by itself
    page.get_by_role("button", name="Stop").click()


def test_answers_name_the_objects_of_the_scene(page: Page) -> None:
    choose(page, "Scene")
    page.get_by_role("button", name="Start").click()
    finished(page, 5)
    page.get_by_role("button", name="Stop").click()
    answers = page.locator(".answer[data-state=done]")
    expect(answers.locator(".truth").first).to_contain_text("In the scene:")
    # The scene moves, so an object may be half hidden for a moment: one answer may be wrong.
    assert page.locator(".answer[data-state=done] .truth.same").count() >= answers.count() - 1


def test_dropped_picture_is_described_once(page: Page, scene: Scene) -> None:
    drop(page, "scene.jpg", "image/jpeg", jpeg(scene, 1280, 960))
    page.get_by_role("button", name="Ask").click()
    assert said(finished(page)) == scene.describe()
    page.get_by_role("button", name="Ask").wait_for()
    page.get_by_role("textbox", name="Question").fill("How many objects are there?")
    page.get_by_role("button", name="Ask").click()
    assert said(finished(page, 2)) == "There are 3 objects."


def test_dropped_video_is_described(page: Page, scene: Scene) -> None:
    drop(page, "scene.webm", "video/webm", recording(page, jpeg(scene)))
    expect(page.locator("#view video")).to_be_visible()
    page.get_by_role("button", name="Start").click()
    assert said(finished(page, 2)) == scene.describe()


def test_thinking_is_shown_apart_from_the_answer(page: Page, scene: Scene) -> None:
    drop(page, "scene.jpg", "image/jpeg", jpeg(scene))
    page.get_by_role("switch", name="Think first").check()
    page.get_by_role("button", name="Ask").click()
    answer = finished(page)
    assert said(answer) == scene.describe()
    thoughts = answer.locator(".reasoning p").text_content() or ""
    assert all(thing.kind in thoughts for thing in scene.things)
    assert "think>" not in thoughts
    expect(answer.locator(".reasoning p")).not_to_be_visible()
    answer.locator(".reasoning summary").click()
    expect(answer.locator(".reasoning p")).to_be_visible()


def test_short_limit_cuts_the_answer_and_says_so(page: Page, scene: Scene) -> None:
    drop(page, "scene.jpg", "image/jpeg", jpeg(scene))
    slider = page.get_by_role("slider", name="Longest answer")
    plan_limit = int(slider.get_attribute("max") or 0)
    slider.press("End")
    assert int(slider.input_value()) == plan_limit
    slider.press("Home")
    page.get_by_role("button", name="Ask").click()
    answer = finished(page)
    expect(answer.locator(".note")).to_contain_text("Cut at the longest answer")
    expect(answer.locator(".figures")).to_contain_text(f"{slider.input_value()} tokens")


def test_the_stop_button_stops_the_session(page: Page) -> None:
    choose(page, "Scene")
    page.get_by_role("button", name="Start").click()
    page.locator(".answer").first.wait_for()
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Start").wait_for()
    expect(page.locator(".answer[data-state=streaming]")).to_have_count(0)
    count = page.locator(".answer").count()
    page.wait_for_timeout(1500)
    assert page.locator(".answer").count() == count


def test_a_new_question_is_used_while_the_session_runs(page: Page) -> None:
    choose(page, "Scene")
    page.get_by_role("button", name="Start").click()
    finished(page)
    page.get_by_role("button", name="Count").click()
    page.locator(".answer .question", has_text="How many objects are there?").wait_for()
    answer = page.locator(".answer[data-state=done]:has(.question:text-is('How many objects are there?'))")
    answer.wait_for()
    assert said(answer).startswith(("There is", "There are"))


def test_two_pages_are_both_answered(open_page: OpenPage) -> None:
    pages = [open_page(), open_page()]
    for page in pages:
        choose(page, "Scene")
        page.get_by_role("button", name="Start").click()
    for page in pages:
        finished(page, 2)


def test_a_file_that_is_neither_picture_nor_video_is_refused(page: Page) -> None:
    drop(page, "notes.txt", "text/plain", b"hello")
    expect(page.get_by_role("alert").filter(has_text="notes.txt")).to_contain_text("cannot read")


def test_a_forbidden_camera_is_reported(open_page: OpenPage) -> None:
    page = open_page("forbidden")
    choose(page, "Camera")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#notice-text")).to_contain_text("may not use the camera")
    expect(page.get_by_role("button", name="Start")).to_be_visible()


def test_the_scene_is_offered_without_a_camera(open_page: OpenPage) -> None:
    page = open_page("none")
    expect(page.get_by_role("radio", name="Scene")).to_be_checked()
    choose(page, "Camera")
    page.get_by_role("button", name="Turn on the camera").click()
    expect(page.locator("#notice-text")).to_contain_text("No camera was found")


def test_a_page_that_is_not_on_localhost_explains_how_to_use_a_camera(
    open_page: OpenPage, running_vedette: Vedette
) -> None:
    page = open_page(host=socket.gethostname())
    choose(page, "Camera")
    page.get_by_role("button", name="Start").click()
    port = running_vedette.port
    expect(page.locator("#notice-text code").first).to_contain_text(f"ssh -L {port}:127.0.0.1:{port}")


def test_the_page_can_be_used_with_the_keyboard_alone(page: Page) -> None:
    page.keyboard.press("3")
    expect(page.get_by_role("radio", name="Scene")).to_be_checked()
    page.keyboard.press("/")
    expect(page.get_by_role("textbox", name="Question")).to_be_focused()
    page.keyboard.press("Control+A")
    page.keyboard.type("How many objects are there?")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "go":
            break
    ring = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert ring == "solid"
    page.keyboard.press("Enter")
    finished(page)
    page.keyboard.press("Space")
    page.get_by_role("button", name="Start").wait_for()
    expect(page.locator("#spoken")).not_to_be_empty()


def test_space_starts_and_stops_except_in_the_question(page: Page) -> None:
    page.keyboard.press("3")
    page.locator("body").press("Space")
    page.get_by_role("button", name="Stop").wait_for()
    page.get_by_role("textbox", name="Question").press("Space")
    page.get_by_role("button", name="Stop").wait_for()
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Space")
    page.get_by_role("button", name="Start").wait_for()


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_is_wider_than_the_screen(open_page: OpenPage, width: int) -> None:
    page = open_page(viewport={"width": width, "height": 740}, is_mobile=width < 800, has_touch=width < 800)
    choose(page, "Scene")
    page.get_by_role("switch", name="Think first").check()
    page.get_by_role("button", name="Start").click()
    finished(page, 2)
    page.get_by_text("More", exact=True).click()
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    page.get_by_role("button", name="Stop").click()


def test_the_page_is_chinese_in_a_chinese_browser(open_page: OpenPage) -> None:
    page = open_page(locale="zh-CN")
    expect(page.get_by_role("button", name="开始")).to_be_visible()
    assert page.evaluate("document.documentElement.lang") == "zh-Hans"
    page.get_by_role("button", name="EN").click()
    expect(page.get_by_role("button", name="Start")).to_be_visible()


def test_the_page_follows_the_light_and_dark_scheme(open_page: OpenPage) -> None:
    brightness: dict[str, Any] = {}
    for scheme in ("light", "dark"):
        page = open_page(color_scheme=scheme)
        red = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/[0-9]+/)[0]")
        brightness[scheme] = int(red)
    assert brightness["light"] > 200
    assert brightness["dark"] < 40


def test_the_page_is_drawn_as_in_the_readme(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page(color_scheme="light")
    choose(page, "Scene")
    page.get_by_role("switch", name="Think first").check()
    page.get_by_role("button", name="Start").click()
    finished(page, 4)
    page.locator(".answer[data-state=streaming] .said", has_text="I see").wait_for()
    picture = page.screenshot()
    page.get_by_role("button", name="Stop").click()
    assert len(picture) > 20_000
    wanted = os.environ.get("VEDETTE_SCREENSHOT")  # VEDETTE_SCREENSHOT=docs/screenshot.png writes the README's picture
    (Path(wanted) if wanted else tmp_path / "page.png").write_bytes(picture)


@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
def test_no_translation_is_missing(open_page: OpenPage, locale: str) -> None:
    page = open_page(locale=locale)
    page.locator("details.more summary").click()
    text = page.locator("body").inner_text()
    assert not [word for word in ("undefined", "null", "NaN", "{", "}") if word in text]


def test_a_camera_that_ends_or_sends_no_pictures_is_reported(page: Page) -> None:
    choose(page, "Camera")
    page.get_by_role("button", name="Start").click()
    finished(page)
    event = "document.querySelector('#view video').srcObject.getVideoTracks()[0].dispatchEvent(new Event('%s'))"
    page.evaluate(event % "mute")
    expect(page.locator("#notice-text")).to_contain_text("sends no picture")
    page.evaluate(event % "unmute")
    expect(page.locator("#notice")).to_be_hidden()
    page.evaluate(event % "ended")
    expect(page.locator("#notice-text")).to_contain_text("unplugged or switched off")
    page.get_by_role("button", name="Start").wait_for()
