"""`vedette gc`: parse, call, print, exit code."""

from vedette.cli.console.bilingual import Option
from vedette.cli.console.options import command
from vedette.cli.console.speech import Speech
from vedette.language.message import Message
from vedette.settings.home import read_home


@command(
    "gc",
    Message("cli.gc"),
    Option("--dry-run", is_flag=True, about=Message("cli.gc.dry_run")),
    examples=("vedette gc --dry-run", "vedette gc"),
)
def gc_command(speech: Speech, dry_run: bool) -> None:
    from vedette.models.store.upkeep import clear_up

    freed = clear_up(read_home().models, nothing=dry_run)
    document = {"removed": not dry_run, "freed_bytes": freed}
    total_bytes = sum(freed.values())
    if not freed:
        speech.tell(document, Message("cli.gc.nothing"))
    elif dry_run:
        speech.tell(document, Message("cli.gc.would_remove", names=list(freed), freed_bytes=total_bytes))
    else:
        speech.tell(document, Message("cli.gc.removed", names=list(freed), freed_bytes=total_bytes))
