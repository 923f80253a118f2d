"""The command line: parse, call, print, exit code. Heavy rooms are imported by the command that needs them."""

import asyncio
import contextlib
import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from vedette import __version__
from vedette.cli.options import json_flag, named_models, serve_options, wish_options
from vedette.cli.plan_command import plan
from vedette.cli.screen import Screen, describe_facts, make_screen
from vedette.cli.service_command import service
from vedette.cli.swap_command import swap
from vedette.errors import BadInputError, NotRunningError, VedetteError
from vedette.events import Event, Failed, Note, Ready, event_json, parse_event
from vedette.instance import lock as instance
from vedette.language.message import Message
from vedette.settings.home import Home, read_home
from vedette.settings.load import read_settings


def main() -> None:
    """Entry point: errors become one sentence and a hint, and exit code 1; bugs keep their traceback."""
    try:
        vedette(standalone_mode=False)
    except click.ClickException as error:
        if "--json" in sys.argv:
            _show_error(BadInputError(error.format_message(), f"See `{_command_path(error)} --help`."))
        else:
            error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    except VedetteError as error:
        _show_error(error)
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        where = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        _show_error(VedetteError(f"A file could not be written or read ({where}).", "Mend that, then try again."))
        sys.exit(1)


def _command_path(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"vedette {context.info_name}" if context and context.parent else "vedette"


def _show_error(error: VedetteError) -> None:
    if "--json" in sys.argv:
        click.echo(json.dumps(event_json(Failed.of(error)), ensure_ascii=False))
    else:
        click.echo(f"{click.style('✗', fg='red')} {error.sentence}\n  → {error.hint}", err=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", message="vedette %(version)s")
def vedette() -> None:
    """Makes a small machine see and speak: a vision-language model, served by vLLM, watched in a browser.

    \b
    Examples:
      vedette up                 choose a model that fits, prepare everything, serve it
      vedette plan               show what `up` would run, and why
      vedette status             is it serving?
      vedette swap MODEL         serve another model instead
      vedette down               stop it
    """


vedette.add_command(plan)
vedette.add_command(service)
vedette.add_command(swap)


@vedette.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--detach", is_flag=True, help="Return once it serves; stop it later with `vedette down`.")
@serve_options
@click.option("--print", "print_it", is_flag=True, help="Print the engine's command line instead of running it.")
@click.option("--device", "device_name", metavar="NAME", help="With --print: for a board of the catalogue.")
@wish_options
@json_flag
def up(
    models: tuple[str, ...], detach: bool, print_it: bool, device_name: str | None, as_json: bool, **flags: Any
) -> None:
    """Bring a model up and keep it up; several are served side by side, where they fit.

    MODEL is a name from the catalogue, a local directory or a Hugging Face id; without it vedette chooses.

    \b
    Examples:
      vedette up
      vedette up --detach --port 9000
      vedette up ./my-model --answer-tokens 300
      vedette up Qwen/Qwen3-VL-2B-Instruct
      vedette up cosmos-reason2-2b ernie-4.5-0.3b
      vedette up --engine http://127.0.0.1:11434
      vedette up --print --device orin-nx-16gb cosmos-reason2-2b
    """
    if device_name is not None and not print_it:
        raise click.UsageError("--device goes with --print: an engine only runs on this machine.")
    settings, home = read_settings({**named_models(models), **flags}), read_home()
    if print_it:
        from vedette.cli.print_command import engine_command

        click.echo(engine_command(settings, home, device_name, as_json))
        return
    if detach:
        _detach(home, as_json)
        return
    from vedette.instance import run

    asyncio.run(run.serve(settings, home, make_screen(as_json)))


@vedette.command()
@json_flag
def down(as_json: bool) -> None:
    """Stop the running vedette and its engine.

    \b
    Example:
      vedette down
    """
    stopped = instance.stop(read_home())
    click.echo(json.dumps({"stopped": True, "url": stopped.url}) if as_json else f"Stopped vedette on {stopped.url}.")


@vedette.command()
@json_flag
def status(as_json: bool) -> None:
    """Say whether vedette serves, what, and where. Exit code 0 when ready, 3 when not running, 4 otherwise.

    \b
    Examples:
      vedette status
      vedette status --json | jq .state
    """
    from vedette.instance import run

    running = instance.find(read_home())
    if running is None:
        nothing = dict.fromkeys(("phase", "cause", "model", "page_url", "api_url", "engine_pid", "plan"))
        click.echo(json.dumps({"state": "stopped", **nothing, "models": []}) if as_json else "vedette is not running.")
        sys.exit(3)
    found = asyncio.run(run.ask_status(running.url))
    if found is None:
        raise NotRunningError(
            f"vedette (process {running.pid}) does not answer on {running.url}.", "Stop it with `vedette down`."
        )
    click.echo(json.dumps(found, ensure_ascii=False) if as_json else _describe_status(found))
    sys.exit(0 if found["state"] == "ready" else 4)


@vedette.command()
@click.option("-f", "--follow", is_flag=True, help="Keep printing as it grows.")
@click.option("-n", "--lines", default=100, show_default=True, help="How many of the last lines.")
@click.option("--server", is_flag=True, help="vedette's own log of a detached start instead of the engine's.")
@json_flag
def logs(follow: bool, lines: int, server: bool, as_json: bool) -> None:
    """Print what the engine said.

    \b
    Examples:
      vedette logs -n 50
      vedette logs -f
    """
    home = read_home()
    path = home.server_log if server else home.engine_log
    if not path.exists():
        raise NotRunningError(f"There is no log yet at {path}.", "Start vedette with `vedette up`.")
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file.read().splitlines()[-lines:] if lines > 0 else []:
            _echo_line(line, as_json)
        position = file.tell()
    if follow:
        _follow_log(path, position, as_json)


def _follow_log(path: Path, position: int, as_json: bool) -> None:
    """Prints what is added to a log until interrupted; a log that was rotated goes on at its new beginning."""
    while True:
        time.sleep(0.3)
        size = path.stat().st_size if path.exists() else 0
        with contextlib.suppress(FileNotFoundError), path.open(encoding="utf-8", errors="replace") as file:
            file.seek(position if size >= position else 0)
            while (line := file.readline()).endswith("\n"):
                _echo_line(line.rstrip("\n"), as_json)
                position = file.tell()


def _echo_line(line: str, as_json: bool) -> None:
    click.echo(json.dumps({"line": line}, ensure_ascii=False) if as_json else line)


@vedette.command()
@json_flag
def device(as_json: bool) -> None:
    """Say what this machine is, as far as it is known.

    \b
    Example:
      vedette device --json
    """
    from vedette.deploy.proposal import read_machine

    facts = msgspec.to_builtins(read_machine(read_home()))
    click.echo(json.dumps(facts) if as_json else describe_facts(facts))


def _describe_status(found: Mapping[str, Any]) -> str:
    lines = []
    for each in found["models"]:
        lines.append(f"{each['state']}" + (f": {each['phase']}" if each["phase"] else ""))
        if each["cause"]:
            lines += [f"  ✗ {each['cause']['sentence']}", f"  → {each['cause']['hint']}"]
        rows = {"model": "model", "next model": "next_model", "engine": "engine_pid"}
        lines += [f"  {name:<7}{each[key]}" for name, key in rows.items() if each[key]]
    return "\n".join([*lines, f"  page   {found['page_url']}", f"  API    {found['api_url']}"])


def _detach(home: Home, as_json: bool) -> None:
    """Starts the same command without `--detach` in the background and shows its events until it serves or fails."""
    instance.refuse_second(home)  # whose log is not ours to overwrite
    arguments = [argument for argument in sys.argv[1:] if argument not in ("--detach", "--json")]
    log = home.server_log
    screen = make_screen(as_json)
    with log.open("w", encoding="utf-8") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "vedette", *arguments, "--json"],
            env={**os.environ, "PYTHONSAFEPATH": "1"},  # a module in the present directory is none of ours
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    try:
        last = _follow(process, log, screen)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    if not isinstance(last, Ready):
        sys.exit(process.wait() or 1)


def _follow(process: subprocess.Popen[bytes], log: Path, screen: Screen) -> Event | None:
    """Shows the events that a background vedette writes until it serves or ends; the last one."""
    last: Event | None = None
    line = ""
    with log.open(encoding="utf-8") as events:
        while not isinstance(last, (Ready, Failed)):
            ended = process.poll() is not None
            line += events.readline()
            if line.endswith("\n"):
                event = _event(line)
                screen.show(event)
                last, line = event, ""
            elif ended:
                break
            else:
                time.sleep(0.1)
                screen.tick()
    return last


def _event(line: str) -> Event:
    try:
        return parse_event(json.loads(line))
    except ValueError:  # a traceback of the background process: pass it on as it is
        return Note(Message("errors.verbatim", sentence=line.rstrip(), hint=""))
