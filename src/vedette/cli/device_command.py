"""`vedette device`: parse, call, print, exit code."""

from vedette.cli.console.options import command
from vedette.cli.console.speech import Speech
from vedette.language.message import Message
from vedette.settings.home import read_home


@command("device", Message("cli.device"), examples=("vedette device", "vedette device --json"))
def device_command(speech: Speech) -> None:
    import msgspec

    from vedette.cli.console.facts import device_message, fact_lines
    from vedette.deploy.proposing import read_machine

    device = read_machine(read_home())
    lines = [speech.say(device_message(device)), *fact_lines(device, speech.language)]
    speech.tell(msgspec.to_builtins(device), "\n".join(lines))
