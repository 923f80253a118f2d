"""The one table of settings. From each row come its layers, its option, its error messages and its documentation.

A new setting is one row in `Settings` and a sentence in each of the two language tables. Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from vedette.language.message import Language, Message
from vedette.settings.kinds import Choice, Kind, Names, Number, PictureSize, Switch, Text

WorkloadName = Literal["live", "clip", "chat", "api"]
StandbyName = Literal["auto", "on", "off"]

SERVE = ("up", "service install")
"""The commands that take a setting of how something is served."""
PLAN = ("plan", *SERVE)
"""The commands that take a wish of what is planned."""
EVERY = ("*",)
"""All commands."""


@dataclass(frozen=True)
class Setting:
    """One row of the table."""

    name: str
    """In the configuration file, in Python and, in capitals after VEDETTE_, in the environment."""
    kind: Kind
    default: Any
    """None where vedette decides each time anew."""
    help: Message
    option: str | None
    """On the command line; None for a setting that is given as MODEL, or only in the file and the environment."""
    commands: tuple[str, ...]
    """That take the option."""

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"VEDETTE_{self.name.upper()}"


def _row(
    kind: Kind, help: Message, default: Any = None, *, option: str | None = None, commands: tuple[str, ...] = ()
) -> Any:
    return field(default=default, metadata={"kind": kind, "help": help, "option": option, "commands": commands})


@dataclass(frozen=True)
class Settings:
    """What holds after all layers. Each field with a row is a setting."""

    model: str | None = _row(Text("MODEL", "vedette-tiny"), Message("settings.model"), commands=PLAN)
    beside: tuple[str, ...] = _row(
        Names("MODELS", "ernie-4.5-0.3b, vedette-tiny"), Message("settings.beside"), (), commands=PLAN
    )
    workload: WorkloadName | None = _row(
        Choice(("live", "clip", "chat", "api")), Message("settings.workload"), option="--for", commands=PLAN
    )
    picture: tuple[int, int] | None = _row(
        PictureSize(), Message("settings.picture"), option="--picture", commands=PLAN
    )
    """Width and height in pixels."""
    images: int | None = _row(Number(0, 64), Message("settings.images"), option="--images", commands=PLAN)
    audio: int | None = _row(Number(0, 16), Message("settings.audio"), option="--audio", commands=PLAN)
    trust_remote_code: bool = _row(
        Switch(), Message("settings.trust_remote_code"), False, option="--trust-remote-code", commands=PLAN
    )
    context: int | None = _row(
        Number(64, 10_000_000, "TOKENS"), Message("settings.context"), option="--context", commands=PLAN
    )
    prompt_tokens: int | None = _row(
        Number(1, 1_000_000, "TOKENS"), Message("settings.prompt_tokens"), option="--prompt-tokens", commands=PLAN
    )
    answer_tokens: int | None = _row(
        Number(1, 1_000_000, "TOKENS"), Message("settings.answer_tokens"), option="--answer-tokens", commands=PLAN
    )
    concurrency: int | None = _row(
        Number(1, 1024), Message("settings.concurrency"), option="--concurrency", commands=PLAN
    )
    port: int = _row(Number(1, 65_535, "PORT"), Message("settings.port"), 8090, option="--port", commands=SERVE)
    host: str = _row(
        Text("ADDRESS", "127.0.0.1"), Message("settings.host"), "127.0.0.1", option="--host", commands=SERVE
    )
    engine: str = _row(
        Text("ENGINE", "container"), Message("settings.engine"), "auto", option="--engine", commands=SERVE
    )
    allow_swap: bool = _row(Switch(), Message("settings.allow_swap"), False, option="--allow-swap", commands=SERVE)
    require_key: bool = _row(Switch(), Message("settings.require_key"), False, option="--require-key", commands=SERVE)
    https: bool = _row(Switch(), Message("settings.https"), False, option="--https", commands=SERVE)
    tls_cert: str | None = _row(
        Text("FILE", "/etc/ssl/jetson.pem"), Message("settings.tls_cert"), option="--tls-cert", commands=SERVE
    )
    tls_key: str | None = _row(
        Text("FILE", "/etc/ssl/jetson.key"), Message("settings.tls_key"), option="--tls-key", commands=SERVE
    )
    insecure: bool = _row(Switch(), Message("settings.insecure"), False, option="--insecure", commands=SERVE)
    allowed_hosts: tuple[str, ...] = _row(
        Names("NAMES", "jetson.lan, host.docker.internal"),
        Message("settings.allowed_hosts"),
        (),
        option="--allowed-hosts",
        commands=SERVE,
    )
    allowed_origins: tuple[str, ...] = _row(
        Names("ORIGINS", "https://app.lan, http://localhost:3000"),
        Message("settings.allowed_origins"),
        (),
        option="--allowed-origins",
        commands=SERVE,
    )
    requests_per_minute: int | None = _row(Number(1, 1_000_000), Message("settings.requests_per_minute"))
    tokens_per_minute: int | None = _row(Number(1, 1_000_000_000), Message("settings.tokens_per_minute"))
    requests_at_once: int | None = _row(Number(1, 100_000), Message("settings.requests_at_once"))
    allow_smaller: bool = _row(
        Switch(), Message("settings.allow_smaller"), False, option="--allow-smaller", commands=SERVE
    )
    wait_s: int = _row(
        Number(0, 3600, "SECONDS"), Message("settings.wait_s"), 60, option="--wait", commands=SERVE
    )  # client libraries wait longer, and on most machines an engine is back before
    standby: StandbyName = _row(
        Choice(("auto", "on", "off")), Message("settings.standby"), "auto", option="--standby", commands=SERVE
    )
    log_mib: int = _row(Number(4, 100_000, "MIB"), Message("settings.log_mib"), 64, option="--log-mib", commands=SERVE)
    image: str | None = _row(Text("IMAGE", "vllm/vllm-openai:v0.26.0"), Message("settings.image"))
    torch_index: str = _row(
        Text("URL", "https://download.pytorch.org/whl/cpu"),
        Message("settings.torch_index"),
        "https://download.pytorch.org/whl/cpu",
    )
    lang: Language | None = _row(Choice(("en", "zh")), Message("settings.lang"), option="--lang", commands=EVERY)
    origins: Mapping[str, str] = field(default_factory=dict)
    """For each setting, the layer that its value comes from."""

    def for_another_model(self, model: str) -> "Settings":
        """The settings for a model that takes this one's place. Trust in the code of one is not trust in another's."""
        return replace(self, model=model, trust_remote_code=False)


SETTINGS = {
    each.name: Setting(name=each.name, default=each.default, **each.metadata)
    for each in fields(Settings)
    if each.metadata
}
"""Every setting by its name, in the order in which they are shown."""

VARIABLES = {
    "VEDETTE_HOME": Message("settings.variable.home"),
    "VEDETTE_CONFIG": Message("settings.variable.config"),
    "VEDETTE_ENGINE_KEY": Message("settings.variable.engine_key"),
}
"""What only the environment can set."""


def settings_of(command: str) -> list[Setting]:
    """The settings that a command takes as options."""
    return [each for each in SETTINGS.values() if each.option and command in each.commands]


def command_arguments(flags: Mapping[str, Any]) -> list[str]:
    """The command line's words for settings as they were given there; None is not given.

    Models come first; with a name like an option among them they come last, after `--`.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    models = [given["model"]] if "model" in given else []
    models += SETTINGS["beside"].kind.parse(given["beside"], is_text=True) if "beside" in given else ()
    words: list[str] = []
    for name, value in given.items():
        option = SETTINGS[name].option
        if option is None:
            continue
        if isinstance(value, bool):
            words.append(option if value else off_option(option))
        else:
            words += [option, str(value)]
    if any(model.startswith("-") for model in models):
        return [*words, "--", *models]
    return [*models, *words]


def off_option(option: str) -> str:
    """How a switch is turned off: `--no-allow-swap`."""
    return f"--no-{option.removeprefix('--')}"


def named_models(models: Sequence[str]) -> dict[str, str | None]:
    """MODEL arguments as settings: the first, and those beside it."""
    return {"model": models[0] if models else None, "beside": ", ".join(models[1:]) or None}
