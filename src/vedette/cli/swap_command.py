"""`vedette swap`: another model in the place of one that is served. Parse, call, print, exit code."""

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import click

from vedette.cli.options import json_flag
from vedette.cli.screen import PersonScreen, Screen, make_screen
from vedette.errors import NotRunningError, VedetteError
from vedette.events import StatusChanged, parse_status
from vedette.instance import lock as instance
from vedette.instance.run import ask_status
from vedette.settings.home import read_home

_LOOK_EVERY_S = 0.3


class RefusedError(VedetteError):
    """What the running vedette said to the wish."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(str(error.get("sentence")), str(error.get("hint")))
        self._error = error

    def as_json(self) -> dict[str, object]:
        return dict(self._error)


@click.command()
@click.argument("model")
@click.option("--replace", metavar="MODEL", help="Of several that are served, the one to go; else the least used.")
@json_flag
def swap(model: str, replace: str | None, as_json: bool) -> None:
    """Serve another model in the place of one that is served, without touching whoever uses the API.

    What does not fit is refused while the old one goes on; what does not come up is replaced by the old one again.
    Answers that are being given are finished first, requests that come meanwhile wait.

    \b
    Examples:
      vedette swap ernie-4.5-0.3b
      vedette swap ./my-model --replace vedette-tiny
    """
    running = instance.find(read_home())
    if running is None:
        raise NotRunningError("vedette is not running.", f"Start it with `vedette up {model}`.")
    if model.startswith((".", "~")):  # the vedette that serves was started elsewhere
        model = str(Path(model).expanduser().absolute())
    screen = make_screen(as_json)
    answer = asyncio.run(_swap(running.url, {"model": model, "replace": replace}, screen))
    if as_json:
        click.echo(json.dumps(answer, ensure_ascii=False))
    else:
        click.echo(f"{answer['model']} serves after {answer['elapsed_ms'] / 1000:.1f} s.")


async def _swap(url: str, wish: Mapping[str, Any], screen: Screen) -> Mapping[str, Any]:
    """What the running vedette answers. Raises RefusedError, NotRunningError."""
    watching = asyncio.create_task(_watch(url, screen))
    try:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.post(f"{url}/api/swap", json=wish) as got:
            answer: dict[str, Any] = await got.json()
    except (aiohttp.ClientError, asyncio.TimeoutError, ValueError) as error:
        raise NotRunningError(f"vedette on {url} has gone away.", "See `vedette status`.") from error
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
    if "error" in answer:
        raise RefusedError(answer["error"])
    return answer


async def _watch(url: str, screen: Screen) -> None:
    """Shows a person how far it is, as often as it changes."""
    if not isinstance(screen, PersonScreen):
        return
    began, last = time.monotonic(), None
    while True:
        found = await ask_status(url)
        models = parse_status(found).models if found else ()
        changing = next((each for each in models if each.next_model), None)
        if changing is not None and changing.status != last:
            last = changing.status
            screen.show(StatusChanged(changing.status, round((time.monotonic() - began) * 1000)))
        await asyncio.sleep(_LOOK_EVERY_S)
