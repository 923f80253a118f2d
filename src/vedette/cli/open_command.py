"""`vedette open`: the page's address with the owner's right in it. Parse, call, print, exit code."""

from vedette.cli.console.options import command
from vedette.cli.console.speech import Speech
from vedette.errors import NotRunningError
from vedette.language.message import Message
from vedette.settings.home import read_home


@command("open", Message("cli.open"), examples=("vedette open",))
def open_command(speech: Speech) -> None:
    from vedette.instance.lock import find
    from vedette.serve.access.owner_key import owner_link

    home = read_home()
    running = find(home)
    if running is None:
        raise NotRunningError("cli.open.not_running")
    page_url = f"{running.url}/"
    speech.tell({"page_url": page_url}, owner_link(home.access)(page_url))
