"""What a person (or a program, with `--json`) reads while vedette comes up: events in, lines out."""

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import click

from vedette.events import Event, event_json
from vedette.units import duration, size

_PLAIN_EVERY_S = 10.0
"""How often a phase that takes long says so where lines cannot be rewritten."""
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class JsonScreen:
    """One JSON object a line."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def show(self, event: Event) -> None:
        _put(self._out, json.dumps(event_json(event), ensure_ascii=False) + "\n")

    def tick(self) -> None:
        """Nothing moves between events."""


class PersonScreen:
    """Lines for a person; on a terminal the present phase moves, elsewhere every line stays."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._moving = out.isatty()
        self._phase: str | None = None
        self._phase_began = time.monotonic()
        self._said = 0.0
        self._line = ""
        self._frame = 0

    def show(self, event: Event) -> None:
        told = event_json(event)
        known: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "device": lambda e: self._say("device", describe_device(e)),
            "model": lambda e: self._say("model", f"{e['name']} · {size(e['weights_bytes'])} of weights · {e['why']}"),
            "plan": lambda e: self._say("plan", describe_plan(e["plan"])),
            "note": self._show_note,
            "status": self._show_status,
            "listening": lambda e: self._say("page", f"{e['page_url']} (it follows the start)"),
            "ready": self._show_ready,
            "error": self._show_error,
            "stopped": lambda _: self._write(click.style("Stopped.", dim=True)),
        }
        known[told["event"]](told)

    def tick(self) -> None:
        """Call about five times a second; redraws what moves."""
        if self._phase is None:
            return
        elapsed = time.monotonic() - self._phase_began
        if self._moving:
            self._frame += 1
            mark = click.style(_SPINNER[self._frame % len(_SPINNER)], fg="cyan")
            width = max(20, _width() - len(duration(elapsed)) - 6)
            _put(self._out, f"\r\x1b[K  {mark} {self._line[:width]}  {duration(elapsed)}")
        elif time.monotonic() - self._said > _PLAIN_EVERY_S:
            self._write(f"  … {self._line}  {duration(elapsed)}")

    def _show_status(self, event: Mapping[str, Any]) -> None:
        phase = event.get("phase")
        if phase != self._phase:
            self._finish_phase(failed=event["state"] in ("failed", "draining"))
            self._phase, self._phase_began = phase, time.monotonic()
            if phase and not self._moving:
                self._write(f"  … {phase}")
        done, total, detail = event.get("done"), event.get("total"), event.get("detail")
        parts = [str(phase)]
        if total:
            parts.append(f"{done}/{total}" if total < 10_000 else f"{size(done or 0)} of {size(total)}")
        self._line = " ".join(parts) + (f": {detail}" if detail else "")
        if event["state"] == "draining":
            self._write("Stopping …")
        cause = event.get("cause")
        if cause:
            self._show_error(cause)
        self.tick()

    def _show_note(self, event: Mapping[str, Any]) -> None:
        self._say("note", event["sentence"])
        if event.get("hint"):
            self._write(f"{'':<8}→ {event['hint']}")

    def _show_ready(self, event: Mapping[str, Any]) -> None:
        self._finish_phase()
        self._phase = None
        self._write(click.style(f"Ready in {duration(event['elapsed_ms'] / 1000)}.", fg="green", bold=True))
        self._write(f"  Page  {click.style(event['page_url'], bold=True)}")
        self._write(f"  API   {event['api_url']}")

    def _show_error(self, event: Mapping[str, Any]) -> None:
        self._finish_phase(failed=True)
        self._phase = None
        self._write(click.style("✗ ", fg="red") + event["sentence"])
        self._write(f"  → {event['hint']}")

    def _say(self, subject: str, text: str) -> None:
        self._write(f"{click.style(f'{subject:<8}', bold=True)}{text}")

    def _finish_phase(self, failed: bool = False) -> None:
        if self._phase is None:
            return
        elapsed = time.monotonic() - self._phase_began
        if failed:
            self._write(f"  {click.style('✗', fg='red')} {self._phase}  {duration(elapsed)}")
        elif elapsed >= 1:  # what took no time is not worth a line
            self._write(f"  {click.style('✓', fg='green')} {self._phase}  {duration(elapsed)}")
        self._phase = None

    def _write(self, line: str) -> None:
        self._said = time.monotonic()
        start = "\r\x1b[K" if self._moving else ""
        _put(self._out, start + (line if self._moving else click.unstyle(line)) + "\n")


Screen = JsonScreen | PersonScreen


def make_screen(as_json: bool) -> Screen:
    """The screen for standard output."""
    out = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 - for good; None where it was closed before the start
    return JsonScreen(out) if as_json else PersonScreen(out)


def _put(out: TextIO, text: str) -> None:
    """Writes what can be written: a reader that is gone, or a full disk, is no reason to stop serving."""
    with contextlib.suppress(OSError):
        out.write(text)
        out.flush()


def describe_device(device: Mapping[str, Any]) -> str:
    """One line on a device; what is not known is called so, where it matters."""
    parts = [device["name"]]
    if device["gpu_name"] and device["gpu_name"] != device["name"]:
        parts.append(device["gpu_name"])
    if device["l4t_version"]:
        parts.append(f"L4T {device['l4t_version']} (JetPack {device['jetpack_version'] or 'unknown'})")
    parts.append(f"{device['cpu_count']} cores")
    parts.append(f"{size(device['memory_available_bytes'])} of {size(device['memory_total_bytes'])} memory available")
    return " · ".join(parts)


def describe_facts(facts: Mapping[str, Any]) -> str:
    """All that is known of a device, a line each, below the line that names it."""
    known: dict[str, Callable[[Any], str]] = {
        "other_processes": describe_processes,
        "gpu_processes": describe_processes,
        "swap_areas": _describe_swap_areas,
        "power_modes": lambda modes: ", ".join(mode["name"] for mode in modes) or "none",
    }
    unknown = click.style("unknown", dim=True)
    width = max(map(len, facts))
    rows = (
        f"  {name:<{width}}  {unknown if value is None else known.get(name, str)(value)}"
        for name, value in facts.items()
    )
    return "\n".join([describe_device(facts), *rows])


def describe_processes(processes: Sequence[Mapping[str, Any]]) -> str:
    """Who else holds memory, with the number to find each by."""
    held = ((each, each.get("gpu_bytes", each.get("resident_bytes", 0))) for each in processes)
    return ", ".join(f"{each['name']} ({each['pid']}) {size(size_bytes)}" for each, size_bytes in held) or "none"


def _describe_swap_areas(areas: Sequence[Mapping[str, Any]]) -> str:
    told = (f"{area['path']} {size(area['total_bytes'])} ({area['storage'] or 'storage unknown'})" for area in areas)
    return ", ".join(told) or "none"


def describe_plan(plan: Mapping[str, Any]) -> str:
    """One line on a plan; `vedette plan` tells the whole."""
    memory, context = plan["memory"], plan["context"]
    parts = [
        f"{size(memory['total_bytes'])} of {size(memory['available_bytes'])}",
        f"context {context['max_model_len']}",
    ]
    if context["image_max_pixels"]:
        parts.append(f"pictures up to {context['image_max_pixels']:,} pixels ({context['visual_tokens']} tokens)")
    parts.append(f"answers up to {context['answer_tokens']} tokens")
    return " · ".join(parts)


def _width() -> int:
    return shutil.get_terminal_size().columns
