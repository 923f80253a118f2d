"""Shows the events of a running vedette on standard output: as text for a person, or as JSON with `--json`."""

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TextIO

import click

from vedette.cli.console.facts import device_message, dotted
from vedette.cli.console.speech import Speech
from vedette.engine.state import Phase, State, Status
from vedette.events import (
    DeviceRead,
    Event,
    Failed,
    Listening,
    ModelChosen,
    Note,
    PlanMade,
    Ready,
    StatusChanged,
    Stopped,
    event_json,
)
from vedette.language.columns import clip, pad
from vedette.language.foreign_text import plain_json, plain_page
from vedette.language.message import Language, Message, hint_of, say
from vedette.units import duration, size

_PLAIN_EVERY_S = 10.0
"""Seconds between two lines about the same phase, if the output is no terminal."""
_LEAST_SHOWN_S = 1.0
"""A finished phase that took fewer seconds gets no line."""
_SUBJECT_COLUMNS = 8
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class Screen(Protocol):
    """An output for events."""

    def show(self, event: Event) -> None: ...

    def tick(self) -> None:
        """Redraw the line of the present phase. Call this about five times a second."""


class JsonScreen:
    """Writes each event as one line of JSON."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def show(self, event: Event) -> None:
        _put(self._out, plain_json(event_json(event)) + "\n")

    def tick(self) -> None:
        """Do nothing: JSON has no line to redraw."""


class PersonScreen:
    """Writes lines for a person. On a terminal the line of the present phase is redrawn; elsewhere lines are added."""

    def __init__(
        self, out: TextIO, language: Language = "en", owner_link: Callable[[str], str] = lambda page_url: page_url
    ) -> None:
        """owner_link: adds the owner's key to the page's address. It is shown on a terminal only, and in no log."""
        self._out = out
        self._language = language
        self._owner_link = owner_link
        self._moving = out.isatty()
        self._phase: str | None = None
        """The name of the present phase in the screen's language; None between phases."""
        self._phase_began = time.monotonic()
        self._written_at = 0.0
        self._line = ""
        self._frame = 0

    def show(self, event: Event) -> None:  # noqa: C901 - one case for each event
        match event:
            case DeviceRead():
                self._write_subject(Message("cli.label.device"), device_message(event.device))
            case ModelChosen():
                message = Message("cli.model", name=event.name, weights_bytes=event.weights_bytes, why=event.why)
                self._write_subject(Message("cli.label.model"), message)
            case PlanMade():
                self._write_subject(Message("cli.label.plan"), plan_message(event.plan))
            case Note():
                self._write_subject(Message("cli.label.note"), event.message)
                if hint := hint_of(event.message, self._language):
                    self._write(f"{'':<{_SUBJECT_COLUMNS}}→ {hint}")
            case StatusChanged():
                self._show_status(event.status)
            case Listening():
                url = self._link(event.page_url)
                self._write_subject(Message("cli.label.page"), Message("cli.listening", url=url))
            case Ready():
                self._show_ready(event)
            case Failed():
                self._show_error(event.message)
            case Stopped():
                self._write(click.style(self._say(Message("cli.ended")), dim=True))

    def tick(self) -> None:
        if self._phase is None:
            return
        elapsed_s = time.monotonic() - self._phase_began
        if self._moving:
            self._frame += 1
            mark = click.style(_SPINNER[self._frame % len(_SPINNER)], fg="cyan")
            width = max(20, shutil.get_terminal_size().columns - len(duration(elapsed_s)) - 6)
            _put(self._out, f"\r\x1b[K  {mark} {clip(self._line, width)}  {duration(elapsed_s)}")
        elif time.monotonic() - self._written_at > _PLAIN_EVERY_S:
            self._write(f"  … {self._line}  {duration(elapsed_s)}")

    def _show_status(self, status: Status) -> None:
        phase = self._say(Message(f"phase.{status.phase.value}")) if status.phase else None
        if phase != self._phase:
            self._finish_phase(failed=status.state in (State.FAILED, State.DRAINING))
            self._phase, self._phase_began = phase, time.monotonic()
            if phase and not self._moving:
                self._write(f"  … {phase}")
        if status.phase:
            self._line = self._say(_phase_message(status.phase, status))
        if status.state is State.DRAINING:
            self._write(self._say(Message("cli.ending")))
        if status.cause:
            self._show_error(status.cause.message)
        self.tick()

    def _show_ready(self, event: Ready) -> None:
        self._finish_phase()
        message = Message("cli.ready", elapsed_s=event.elapsed_ms / 1000)
        self._write(click.style(self._say(message), fg="green", bold=True))
        self._write(f"  {self._subject(Message('cli.label.page'))}{click.style(self._link(event.page_url), bold=True)}")
        self._write(f"  {self._subject(Message('cli.label.api'))}{event.api_url}")

    def _link(self, page_url: str) -> str:
        return self._owner_link(page_url) if self._moving else page_url

    def _show_error(self, message: Message) -> None:
        self._finish_phase(failed=True)
        self._write(f"{click.style('✗', fg='red')} {self._say(message)}")
        if hint := hint_of(message, self._language):
            self._write(f"  → {hint}")

    def _finish_phase(self, failed: bool = False) -> None:
        if self._phase is None:
            return
        elapsed_s = time.monotonic() - self._phase_began
        if failed:
            self._write(f"  {click.style('✗', fg='red')} {self._phase}  {duration(elapsed_s)}")
        elif elapsed_s >= _LEAST_SHOWN_S:
            self._write(f"  {click.style('✓', fg='green')} {self._phase}  {duration(elapsed_s)}")
        self._phase = None

    def _write_subject(self, subject: Message, text: Message) -> None:
        self._write(f"{click.style(self._subject(subject), bold=True)}{self._say(text)}")

    def _subject(self, subject: Message) -> str:
        return pad(self._say(subject), _SUBJECT_COLUMNS)

    def _say(self, message: Message) -> str:
        return say(message, self._language)

    def _write(self, line: str) -> None:
        self._written_at = time.monotonic()
        start = "\r\x1b[K" if self._moving else ""
        _put(self._out, start + plain_page(line if self._moving else click.unstyle(line)) + "\n")


def make_screen(speech: Speech, owner_link: Callable[[str], str] = lambda page_url: page_url) -> Screen:
    """Return the screen for standard output. owner_link: as in `PersonScreen`."""
    out = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 - never closed; stdout is None if closed before start
    return JsonScreen(out) if speech.as_json else PersonScreen(out, speech.language, owner_link)


def state_message(status: Status) -> Message:
    """Return a state with its phase: `starting: loading weights 1/2`."""
    state = Message(f"state.{status.state.value}")
    return Message("cli.state", state=state, phase=_phase_message(status.phase, status)) if status.phase else state


def plan_message(plan: Mapping[str, Any]) -> Message:
    """Return a summary of a plan in one line, from the plan's JSON. `vedette plan` shows the whole plan."""
    memory, context = plan["memory"], plan["context"]
    parts = [
        Message("cli.plan.memory", total_bytes=memory["total_bytes"], available_bytes=memory["available_bytes"]),
        Message("cli.plan.context", tokens=context["max_model_len"]),
    ]
    if context["image_max_pixels"]:
        pixels, tokens = context["image_max_pixels"], context["visual_tokens"]
        parts.append(Message("cli.plan.pictures", pixels=pixels, tokens=tokens))
    parts.append(Message("cli.plan.answers", tokens=context["answer_tokens"]))
    return dotted(parts)


def _phase_message(phase: Phase, status: Status) -> Message:
    """Return the phase, with its progress and detail if they are known."""
    message = Message(f"phase.{phase.value}")
    done, total = status.done or 0, status.total
    if total:
        amount = f"{done}/{total}" if total < 10_000 else f"{size(done)}/{size(total)}"
        message = Message("cli.phase.amount", phase=message, amount=amount)
    return message if status.detail is None else Message("cli.phase.detail", phase=message, detail=status.detail)


def _put(out: TextIO, text: str) -> None:
    """Write and flush; ignore OSError, because a closed pipe or a full disk must not stop the service."""
    with contextlib.suppress(OSError):
        out.write(text)
        out.flush()
