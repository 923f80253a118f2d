"""An engine environment that vedette has made, and the manifest that shows whether it is intact."""

import io
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from vedette.engine.hosts.recipes import Recipe
from vedette.files import open_regular, writing_whole
from vedette.language.message import Message

_MANIFEST = "vedette-manifest.txt"
_LONGEST_LINE = 8192


@dataclass(frozen=True)
class Environment:
    """A Python environment made by one recipe."""

    root: Path
    recipe: Recipe

    @property
    def python(self) -> Path:
        return self.root / "bin" / "python"

    @property
    def program(self) -> tuple[str, ...]:
        """The words that run vLLM; without the interpreter, a long path would exceed the limit of a shebang line."""
        return (str(self.python), str(self.root / "bin" / "vllm"))


def find_damage(environment: Environment) -> Message | None:
    """The first damage found, or None: the manifest names each installed file and its size."""
    try:
        with io.TextIOWrapper(open_regular(environment.root / _MANIFEST), encoding="utf-8") as manifest:
            if manifest.readline(_LONGEST_LINE) != _recipe_line(environment.recipe):
                return Message("engine.damage_other_recipe")
            while line := manifest.readline(_LONGEST_LINE):  # not all at once: they would fill vedette's memory
                size, _, name = line.rstrip("\n").partition(" ")
                try:
                    if (environment.root / name).stat().st_size != int(size):
                        return Message("engine.damage_changed_file", file=name)
                except OSError:
                    return Message("engine.damage_missing_file", file=name)
    except FileNotFoundError:
        return Message("engine.damage_unfinished")
    except (OSError, ValueError):
        return Message("engine.damage_unreadable_manifest")
    return None


def mark_broken(environment: Environment) -> None:
    """Make the next `installer.ensure` make the environment again: its files are there and do not work."""
    (environment.root / _MANIFEST).unlink(missing_ok=True)


def write_manifest(environment: Environment) -> None:
    """Write the recipe and the size in bytes of every installed file, whole or not at all.

    Line by line: the text would fill vedette's memory.
    """
    root = environment.root
    with writing_whole(root / _MANIFEST) as manifest:
        manifest.write(_recipe_line(environment.recipe).encode())
        for directory, names, files in os.walk(root):
            names[:] = [name for name in names if name != "__pycache__"]
            for path in (Path(directory, name) for name in files):
                if not path.name.startswith(f".{_MANIFEST}."):  # what is being written
                    manifest.write(f"{path.stat().st_size} {path.relative_to(root)}\n".encode())


def _recipe_line(recipe: Recipe) -> str:
    return json.dumps(asdict(recipe)) + "\n"
