"""`vedette down`: parse, call, print, exit code."""

from vedette.cli.console.options import command
from vedette.cli.console.speech import Speech
from vedette.language.message import Message
from vedette.settings.home import read_home


@command("down", Message("cli.down"), examples=("vedette down",))
def down_command(speech: Speech) -> None:
    from vedette.instance.lock import stop

    stopped = stop(read_home())
    speech.tell({"stopped": True, "url": stopped.url}, Message("cli.stopped", url=stopped.url))
