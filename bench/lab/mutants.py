"""Change the code of a room at random places and print the changes that no test notices.

    python -m bench.lab.mutants COSMIC_RAY WORK src/vedette/plan --tests tests/unit/plan tests/unit/report --count 40

COSMIC_RAY is the program of that name in an environment of its own (`pip install cosmic-ray`). WORK is a directory for
the session and for a copy of the repository, which is changed instead of this one. Each place counts once, whatever the
number of its possible changes. The tests run with this interpreter. A survivor is either equivalent to the original or
a missing test.
"""

import argparse
import json
import random
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SKIPPED = ("BitOr_", "RemoveDecorator")
"""Skipped operators: the first changes only annotations, the second often makes a module that fails to import."""
TIMEOUT_S = 300


def copy_repository(work: Path) -> Path:
    tree = work / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(
        ROOT, tree, ignore=shutil.ignore_patterns(".git", ".*cache*", ".hypothesis", ".venv*", "__pycache__")
    )
    return tree


def write_configuration(path: Path, modules: list[str], tests: list[str]) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    path.write_text(
        "[cosmic-ray]\n"
        f"module-path = {json.dumps(modules)}\n"
        f"timeout = {TIMEOUT_S}\n"
        f"test-command = {json.dumps('env PYTHONPATH=src PYTHONDONTWRITEBYTECODE=1 ' + ' '.join(command))}\n"
        '[cosmic-ray.distributor]\nname = "local"\n'
    )


def keep_some(session: Path, count: int, seed: int) -> int:
    """Keep a change at each of `count` random places of the session; the number of places that there were."""
    database = sqlite3.connect(session)
    places: dict[tuple[str, int, int], list[str]] = {}
    query = "SELECT job_id, operator_name, module_path, start_pos_row, start_pos_col FROM mutation_specs"
    for job, operator, *place in database.execute(query):
        if not any(skipped in operator for skipped in SKIPPED):
            places.setdefault(tuple(place), []).append(job)
    rng = random.Random(seed)
    chosen = rng.sample(sorted(places), min(count, len(places)))
    jobs = [rng.choice(sorted(places[place])) for place in chosen]
    database.execute("CREATE TEMP TABLE kept (job TEXT)")
    database.executemany("INSERT INTO kept VALUES (?)", [(job,) for job in jobs])
    for table in ("mutation_specs", "work_items"):
        database.execute(f"DELETE FROM {table} WHERE job_id NOT IN (SELECT job FROM kept)")  # noqa: S608
    database.commit()
    return len(places)


def survivors(session: Path) -> list[str]:
    database = sqlite3.connect(session)
    query = "SELECT diff FROM work_results WHERE test_outcome = 'SURVIVED'"
    return [diff for (diff,) in database.execute(query)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cosmic_ray", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("modules", nargs="+", help="directories or files below src")
    parser.add_argument("--tests", nargs="+", default=["tests/unit"])
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    tree = copy_repository(options.work.absolute())
    configuration, session = tree / "mutants.toml", tree / "mutants.sqlite"
    write_configuration(configuration, options.modules, options.tests)
    for command in ("baseline", "init", "exec"):
        if command == "exec":
            places = keep_some(session, options.count, options.seed)
        files = [str(configuration)] if command == "baseline" else [str(configuration), str(session)]
        subprocess.run([str(options.cosmic_ray), command, *files], cwd=tree, check=True)
    alive = survivors(session)
    print(*alive, sep="\n")
    tried = min(options.count, places)
    print(f"{tried - len(alive)} of {tried} changes noticed, at random places of {places} (seed {options.seed})")


if __name__ == "__main__":
    main()
