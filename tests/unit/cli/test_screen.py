"""What a person reads while vedette comes up, on a terminal and in a file."""

import io
import os
from typing import Any

import click
import pytest

from vedette.cli.screen import JsonScreen, PersonScreen, describe_facts, describe_processes
from vedette.engine.state import Phase, State, Status
from vedette.events import Event, Note, Ready, StatusChanged
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
    assert "installing_engine: downloading torch (190 MB)" in text
    assert "loading_weights 1/2" in text
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
    assert "  … loading_weights\n" in out.getvalue()


def test_what_was_not_finished_gets_no_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter(range(0, 1000, 5))
    monkeypatch.setattr("time.monotonic", lambda: float(next(moments)))
    out = io.StringIO()
    screen = PersonScreen(out)
    screen.show(status(State.STARTING, Phase.LAUNCHING))
    screen.show(status(State.DRAINING))
    assert "✗ launching_engine" in out.getvalue()
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


def test_who_else_holds_memory_is_told_with_where_to_find_it() -> None:
    firefox = {"name": "firefox", "pid": 812, "resident_bytes": 3 * 1024**3 // 2}
    xorg = {"name": "Xorg", "pid": 640, "resident_bytes": 1024**3 // 2}
    assert describe_processes([firefox, xorg]) == "firefox (812) 1.50 GiB, Xorg (640) 0.50 GiB"
    assert describe_processes([]) == "none"


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


def test_the_facts_of_a_board_are_told_a_line_each() -> None:
    facts = {
        "name": "Jetson Orin Nano 8GB",
        "gpu_name": None,
        "l4t_version": "36.4.3",
        "jetpack_version": "6.2",
        "cpu_count": 6,
        "memory_available_bytes": 5 * 1024**3,
        "memory_total_bytes": 7 * 1024**3,
        "other_processes": (),
        "gpu_processes": ({"name": "llama-server", "pid": 7, "gpu_bytes": 3 * 1024**3, "run_by": None},),
        "swap_areas": (
            {"path": "/swapfile", "total_bytes": 4 * 1024**3, "storage": "sd"},
            {"path": "/x", "total_bytes": 1024**3, "storage": None},
        ),
        "power_modes": ({"number": 0, "name": "15W", "gpu_max_hz": 612_000_000, "memory_max_hz": None},),
        "clocks_locked": None,
    }
    told = dict(line.strip().split(maxsplit=1) for line in click.unstyle(describe_facts(facts)).splitlines()[1:])
    assert told["other_processes"] == "none"
    assert told["gpu_processes"] == "llama-server (7) 3.00 GiB"
    assert told["swap_areas"] == "/swapfile 4.00 GiB (sd), /x 1.00 GiB (storage unknown)"
    assert told["power_modes"] == "15W"
    assert told["clocks_locked"] == "unknown"
    assert told["cpu_count"] == "6"
