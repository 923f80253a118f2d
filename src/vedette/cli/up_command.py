"""`vedette up`: parse, call, print, exit code."""

from typing import Any

import click

from vedette.cli.console.bilingual import Option
from vedette.cli.console.options import command, models_argument, setting_options
from vedette.cli.console.speech import Speech
from vedette.cli.console.usage import WrongUseError
from vedette.errors import BadInputError
from vedette.language.message import Message
from vedette.settings.home import read_home
from vedette.settings.load import read_settings
from vedette.settings.table import command_arguments, named_models


@command(
    "up",
    Message("cli.up"),
    models_argument(),
    Option("--detach", is_flag=True, about=Message("cli.up.detach")),
    *setting_options("up"),
    Option("--print", "print_it", is_flag=True, about=Message("cli.up.print")),
    Option("--device", "device_name", metavar="NAME", about=Message("cli.up.device")),
    examples=(
        "vedette up",
        "vedette up --detach --port 9000",
        "vedette up ./my-model --answer-tokens 300",
        "vedette up Qwen/Qwen3-VL-2B-Instruct",
        "vedette up cosmos-reason2-2b ernie-4.5-0.3b",
        "vedette up --engine http://127.0.0.1:11434",
        "vedette up --print --device orin-nx-16gb cosmos-reason2-2b",
    ),
)
def up_command(
    speech: Speech, models: tuple[str, ...], detach: bool, print_it: bool, device_name: str | None, **flags: Any
) -> None:
    if device_name is not None and not print_it:
        raise WrongUseError(BadInputError("cli.device_without_print", command="vedette up"))
    flags = {**named_models(models), **flags}
    settings, home = read_settings(flags), read_home()
    if print_it:
        from vedette.cli.print_command import engine_command

        click.echo(engine_command(settings, home, device_name, speech.as_json))
    elif detach:
        from vedette.cli.detach import start_detached

        start_detached(home, command_arguments(flags), speech)
    else:
        import asyncio

        from vedette.cli.console.screen import make_screen
        from vedette.instance.log_lines import show_log_lines
        from vedette.instance.run import serve
        from vedette.serve.access.owner_key import owner_link

        show_log_lines()
        asyncio.run(serve(settings, home, make_screen(speech, owner_link(home.access))))
