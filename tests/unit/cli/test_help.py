"""Help in both languages: complete, within the terminal's width, with nothing left in the other language."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.rig.processes import run_vedette
from vedette.cli.console.bilingual import Group, Speaking
from vedette.cli.console.speech import Speech
from vedette.cli.main import root_command
from vedette.language.columns import columns
from vedette.language.message import Language

CHINESE = re.compile(r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]")
ENGLISH_PROSE = re.compile(r"\b(the|a|an|of|is|are|and|or|for|with|to|in|it|this|that|print|show|see|default)\b", re.I)


def contexts(command: Speaking, above: click.Context | None = None) -> Iterator[click.Context]:
    context = click.Context(command, above, info_name=command.name, obj=Speech("en"))
    yield context
    if isinstance(command, Group):
        for _, each in command.members():
            yield from contexts(each, context)


ALL = {context.command_path: context for context in contexts(root_command())}


def page(path: str, language: Language) -> str:
    context = ALL[path]
    context.obj = Speech(language)
    return context.command.get_help(context)


def test_the_commands_are_those_that_the_readme_names() -> None:
    names = ["up", "plan", "status", "open", "keys", "swap", "verify", "rm", "gc", "logs", "down", "service", "device"]
    names.append("settings")
    expected = {f"vedette {name}" for name in names}
    members = {"service": ("install", "remove", "status"), "keys": ("add", "list", "usage", "revoke")}
    expected |= {f"vedette {group} {name}" for group, names in members.items() for name in names}
    assert set(ALL) == {"vedette"} | expected


@pytest.mark.parametrize("path", ALL)
@pytest.mark.parametrize("width", [60, 80, 200])
def test_lines_keep_to_the_width(path: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for language in ("en", "zh"):
        for line in page(path, language).splitlines():
            example_or_option = re.match(r"  (sudo |vedette|-)", line)
            assert columns(line) <= min(width, 100) or example_or_option, line


@pytest.mark.parametrize("path", ALL)
def test_english_help_has_no_chinese_and_chinese_help_no_english(path: str) -> None:
    assert not CHINESE.search(page(path, "en"))
    text = "\n".join(
        line
        for line in page(path, "zh").replace("--diff A B", "").splitlines()
        if not re.match(r"  (sudo |vedette )", line)
    )
    left = re.sub(r"`[^`]*`|--?[a-z-]+|\[[^\]]*\]", " ", text)
    assert not ENGLISH_PROSE.search(left), ENGLISH_PROSE.search(left)
    assert "用法：" in text
    assert "选项：" in text


@pytest.mark.parametrize("path", ALL)
def test_each_command_has_examples_that_it_understands(path: str) -> None:
    command = ALL[path].command
    assert isinstance(command, Speaking)
    assert command.examples or isinstance(command, Group)
    for example in command.examples:
        words = example.split("|")[0].split()
        arguments = words[words.index("vedette") :][len(path.split()) :]
        assert " ".join(words[words.index("vedette") :]).startswith(path)
        command.make_context(path, arguments, obj=Speech("en"))


def test_help_speaks_the_language_that_is_named_wherever_it_is_named(tmp_path: Path) -> None:
    for arguments in (("status", "--help", "--lang", "zh"), ("--lang=zh", "status", "-h")):
        assert "用法：vedette status" in run_vedette(tmp_path, *arguments).stdout
    by_environment = run_vedette(tmp_path, "status", "--help", environment={"VEDETTE_LANG": "zh"})
    by_locale = run_vedette(tmp_path, "status", "--help", environment={"LC_ALL": "zh_CN.UTF-8"})
    assert by_environment.stdout == by_locale.stdout
    assert "示例：\n  vedette status\n" in by_locale.stdout
    assert "Usage" in run_vedette(tmp_path, "status", "--help").stdout


def test_errors_are_told_in_chinese_and_json_stays_english(tmp_path: Path) -> None:
    shown = run_vedette(tmp_path, "staus", environment={"VEDETTE_LANG": "zh"})
    assert shown.stderr == "✗ 没有命令“staus”。\n  → 是否想写 status？见 `vedette --help`。\n"
    found = run_vedette(tmp_path, "staus", "--json", environment={"VEDETTE_LANG": "zh"})
    assert "There is no command 'staus'." in found.stdout
