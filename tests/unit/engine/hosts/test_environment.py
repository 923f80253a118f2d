"""Damage to an engine environment, which its manifest shows."""

from dataclasses import replace
from pathlib import Path

from vedette.engine.hosts.environment import Environment, find_damage, mark_broken, write_manifest
from vedette.engine.hosts.recipes import CPU_RECIPE
from vedette.language.message import Message


def made_environment(root: Path) -> Environment:
    (root / "lib").mkdir(parents=True)
    (root / "lib" / "engine.py").write_text("x = 1\n")
    environment = Environment(root, CPU_RECIPE)
    write_manifest(environment)
    return environment


def test_a_whole_environment_has_no_damage(tmp_path: Path) -> None:
    environment = made_environment(tmp_path / "e")
    (environment.root / "lib" / "__pycache__").mkdir()
    (environment.root / "lib" / "__pycache__" / "engine.pyc").write_text("compiled later")
    assert find_damage(environment) is None


def test_damage_is_named(tmp_path: Path) -> None:
    environment = made_environment(tmp_path / "e")
    newer = replace(environment, recipe=replace(CPU_RECIPE, revision=99))
    assert find_damage(newer) == Message("engine.damage_other_recipe")
    (environment.root / "lib" / "engine.py").write_text("")
    assert find_damage(environment) == Message("engine.damage_changed_file", file="lib/engine.py")
    (environment.root / "lib" / "engine.py").unlink()
    assert find_damage(environment) == Message("engine.damage_missing_file", file="lib/engine.py")
    manifest = environment.root / "vedette-manifest.txt"
    manifest.write_text(manifest.read_text() + "many lib/engine.py\n")
    (environment.root / "lib" / "engine.py").write_text("x = 1\n")
    assert find_damage(environment) == Message("engine.damage_unreadable_manifest")
    manifest.write_bytes(b"\xff")
    assert find_damage(environment) == Message("engine.damage_unreadable_manifest")
    manifest.unlink()
    assert find_damage(environment) == Message("engine.damage_unfinished")


def test_an_environment_that_is_marked_is_made_again(tmp_path: Path) -> None:
    environment = made_environment(tmp_path / "e")
    mark_broken(environment)
    mark_broken(environment)
    assert find_damage(environment) == Message("engine.damage_unfinished")
