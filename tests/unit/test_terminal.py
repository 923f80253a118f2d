"""What a person reads while vedette comes up, on a terminal and in a file."""

import io
import os

import pytest

from vedette.terminal import JsonScreen, PersonScreen, describe_processes, gib, seconds


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def status(state: str, phase: str | None = None, **more: object) -> dict[str, object]:
    return {"event": "status", "state": state, "phase": phase, "detail": None, "done": None, "total": None} | more


START = [
    status("preparing", "installing engine", detail="downloading torch (190 MB)"),
    status("starting", "loading weights", done=1, total=2),
    {"event": "ready", "page_url": "http://h:1/", "api_url": "http://h:1/v1", "elapsed_ms": 61_000},
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
    screen.show(status("starting", "launching engine"))
    screen.show(status("draining"))
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


def test_sizes_and_times_are_for_people() -> None:
    assert (gib(3 * 1024**3), gib(32 * 1024**2)) == ("3.0 GiB", "32 MiB")
    assert (seconds(2.34), seconds(161)) == ("2.3 s", "2 min 41 s")


def test_who_else_holds_memory_is_told_with_where_to_find_it() -> None:
    firefox = {"name": "firefox", "pid": 812, "resident_bytes": 3 * 1024**3 // 2}
    xorg = {"name": "Xorg", "pid": 640, "resident_bytes": 1024**3 // 2}
    assert describe_processes([firefox, xorg]) == "firefox (812) 1.5 GiB, Xorg (640) 0.5 GiB"
    assert describe_processes([]) == "none"
