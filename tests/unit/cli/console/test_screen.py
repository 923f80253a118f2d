"""What a person reads while vedette comes up, on a terminal and in a file."""

import io
import os
from typing import Any

import click
import pytest

from vedette.cli.console.screen import JsonScreen, PersonScreen
from vedette.engine.state import Phase, State, Status
from vedette.events import Event, Note, Ready, StatusChanged, Stopped
from vedette.language.message import Message


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def status(state: State, phase: Phase | None = None, **more: Any) -> StatusChanged:
    return StatusChanged(Status(state, phase, **more), 0)


START: list[Event] = [
    status(State.PREPARING, Phase.INSTALLING, detail=Message("detail.verbatim", text="downloading torch (190 MB)")),
    status(State.STARTING, Phase.LOADING, done=1, total=2),
    Ready("http://h:1/", "http://h:1/v1", 61_000),
]


def test_a_terminal_shows_the_present_phase_moving_and_ends_with_the_addresses() -> None:
    out = Terminal()
    screen = PersonScreen(out)
    for event in START:
        screen.show(event)
        screen.tick()
    text = out.getvalue()
    assert "installing engine: downloading torch (190 MB)" in text
    assert "loading weights 1/2" in text
    assert text.count("\r\x1b[K") > 3, "nothing was redrawn"
    assert "Ready in 1 min 1 s." in text
    assert text.index("http://h:1/") < text.index("http://h:1/v1")


def test_a_file_gets_plain_lines_without_escapes() -> None:
    out = io.StringIO()
    screen = PersonScreen(out)
    for event in START:
        screen.show(event)
    assert "\x1b" not in out.getvalue()
    assert "\r" not in out.getvalue()
    assert "  … loading weights\n" in out.getvalue()


def test_what_was_not_finished_gets_no_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter(range(0, 1000, 5))
    monkeypatch.setattr("time.monotonic", lambda: float(next(moments)))
    out = io.StringIO()
    screen = PersonScreen(out)
    screen.show(status(State.STARTING, Phase.LAUNCHING))
    screen.show(status(State.DRAINING))
    assert "✗ launching engine" in out.getvalue()
    assert "✓" not in out.getvalue()
    assert out.getvalue().count("Stopping") == 1


@pytest.mark.parametrize("screen", [JsonScreen, PersonScreen])
def test_a_full_disk_does_not_stop_what_is_shown(screen: "type[JsonScreen | PersonScreen]") -> None:
    out = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w")
    for event in START:
        screen(out).show(event)
    empty = os.open(os.devnull, os.O_WRONLY)
    os.dup2(empty, out.fileno())  # what was never written would else fail again at closing
    os.close(empty)
    out.close()


def test_a_note_has_its_next_step_below_it() -> None:
    out = io.StringIO()
    screen = PersonScreen(out)
    screen.show(Note(Message("errors.verbatim", sentence="The clocks are low.", hint="`sudo jetson_clocks`"), "clocks"))
    screen.show(Note(Message("errors.verbatim", sentence="Let go of 1.00 GiB.", hint="")))
    screen.show(Note(Message("phase.planning")))
    assert out.getvalue().splitlines() == [
        "note    The clocks are low.",
        "        → `sudo jetson_clocks`",
        "note    Let go of 1.00 GiB.",
        "note    planning",
    ]


def test_a_start_is_told_in_chinese_too() -> None:
    out = io.StringIO()
    screen = PersonScreen(out, "zh")
    for event in [*START, Note(Message("device.page_cache_dropped", freed_bytes=2**30, l4t_version="36.4")), Stopped()]:
        screen.show(event)
    text = out.getvalue()
    assert "  … 安装引擎\n" in text
    assert "已就绪，用时 1 min 1 s。\n  页面    http://h:1/\n  API     http://h:1/v1\n" in text
    assert "\n提示    " in text
    assert text.endswith("已停止。\n")


def test_the_owners_link_is_shown_on_a_terminal_and_in_no_file() -> None:
    for out, url in ((Terminal(), "http://h:1/#key=k"), (io.StringIO(), "http://h:1/\n")):
        screen = PersonScreen(out, owner_link=lambda page_url: f"{page_url}#key=k")
        for event in START:
            screen.show(event)
        assert url in click.unstyle(out.getvalue())
        assert ("#key" in out.getvalue()) == out.isatty()
