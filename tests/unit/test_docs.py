"""The documentation is true of the code: generated pages, commands, options, settings, links."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from vedette.cli.console.bilingual import Group, Speaking
from vedette.cli.console.speech import Speech
from vedette.cli.main import root_command
from vedette.settings.table import SETTINGS, VARIABLES

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "README.zh.md", *sorted((ROOT / "docs").glob("*.md"))]
OF_OTHERS = {
    "--user", "--create-home", "--gpu-memory-utilization", "--max-model-len", "--kv-cache-memory-bytes",
    "--reasoning-parser", "--disable-uvicorn-access-log",
}  # fmt: skip
"""Options of other programs that the documentation speaks of."""
OF_TESTS = {"VEDETTE_CHECK_HOME", "VEDETTE_CHROMIUM", "VEDETTE_SCREENSHOT"}


def commands(command: Speaking, words: tuple[str, ...] = ()) -> dict[str, Speaking]:
    found = {" ".join(words): command}
    if isinstance(command, Group):
        for name, each in command.members():
            found |= commands(each, (*words, name))
    return found


COMMANDS = commands(root_command())
OPTIONS = {
    name
    for command in COMMANDS.values()
    for option in command.options()
    for name in (*option.opts, *option.secondary_opts)
}


def test_generated_pages_are_up_to_date() -> None:
    result = subprocess.run([sys.executable, ROOT / "docs/generate.py", "--check"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("page", ["README.md", "README.zh.md"])
def test_the_readme_fits_two_screens_and_lists_every_command(page: str) -> None:
    text = (ROOT / page).read_text()
    assert len(text.splitlines()) <= 110
    listed = re.findall(r"^    vedette (\w+)", text, re.MULTILINE)
    assert set(listed) == {name.split()[0] for name in COMMANDS if name}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_and_variables_are_those_of_the_program(page: Path) -> None:
    text = page.read_text()
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
    assert options <= OPTIONS | OF_OTHERS | {"--check"}
    known = {each.variable for each in SETTINGS.values()} | set(VARIABLES) | OF_TESTS
    assert set(re.findall(r"VEDETTE_[A-Z_]*[A-Z]", text)) <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_command_lines_are_understood(page: Path) -> None:
    for line in re.findall(r"(?:^|`|sudo |\./)vedette ([a-z][^`\n#>|]*)", page.read_text(), re.MULTILINE):
        words = re.split(r"\s{2,}|…|\[", line)[0].split()
        if words[0] not in COMMANDS:
            continue
        name = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]
        if isinstance(COMMANDS[name], Group):
            continue
        given = [word for word in words[len(name.split()) :] if word not in ("--help", "-h")]
        COMMANDS[name].make_context(name, given, obj=Speech("en"), resilient_parsing=given == [])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        assert "://" in target or (page.parent / target).exists(), target


def test_a_mistake_in_the_documentation_would_be_noticed() -> None:
    with pytest.raises(click.UsageError):
        COMMANDS["up"].make_context("up", ["--nosuch"], obj=Speech("en"))
