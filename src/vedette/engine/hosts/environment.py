"""An engine environment that vedette has made, and the manifest that shows whether it is whole."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from vedette.engine.hosts.recipes import Recipe

_MANIFEST = "vedette-manifest.txt"


@dataclass(frozen=True)
class Environment:
    """A checked engine environment."""

    root: Path
    recipe: Recipe

    @property
    def python(self) -> Path:
        return self.root / "bin" / "python"

    @property
    def program(self) -> tuple[str, ...]:
        """What starts vLLM; the script is named so that no shebang limits the path's length."""
        return (str(self.python), str(self.root / "bin" / "vllm"))


def find_damage(environment: Environment) -> str | None:
    """What is wrong with an environment, or None: every file it was made with must be there in its size."""
    try:
        with (environment.root / _MANIFEST).open(encoding="utf-8") as manifest:
            if manifest.readline() != _recipe_line(environment.recipe):
                return "it was made for another version of vedette"
            for line in manifest:  # tens of thousands: read one by one, so that they never fill vedette's memory
                size, _, name = line.rstrip("\n").partition(" ")
                try:
                    if (environment.root / name).stat().st_size != int(size):
                        return f"{name} has changed"
                except OSError:
                    return f"{name} is missing"
    except FileNotFoundError:
        return "it was not finished"
    except (OSError, ValueError):
        return "its manifest cannot be read"
    return None


def mark_broken(environment: Environment) -> None:
    """Makes the next `ensure` remake an environment whose files are there but do not work."""
    (environment.root / _MANIFEST).unlink(missing_ok=True)


def write_manifest(environment: Environment) -> None:
    """Notes the recipe and the size in bytes of every file that stays as installed; whole or not at all."""
    root = environment.root
    unfinished = root / f"{_MANIFEST}.part"
    with unfinished.open("w", encoding="utf-8") as manifest:
        manifest.write(_recipe_line(environment.recipe))
        for directory, names, files in os.walk(root):
            names[:] = [name for name in names if name != "__pycache__"]
            for path in (Path(directory, name) for name in files):
                if path != unfinished:
                    manifest.write(f"{path.stat().st_size} {path.relative_to(root)}\n")
    unfinished.rename(root / _MANIFEST)


def _recipe_line(recipe: Recipe) -> str:
    return json.dumps(asdict(recipe)) + "\n"
