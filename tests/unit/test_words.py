"""Words that have a plainer one (docs/design.md, "Words") stand nowhere in code, tests, benches and pages."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLAINER = {
    "coming": "next_model, starting",
    "gone": "stopped, abandoned, removed",
    "mend": "fix",
    "told": "shown, reported, stop_requested",
    "whoever": "the caller, the client",
    "Fall": "Crash",
    "Liking": "Preference",
    "Tell": "Notify",
}
FOLDERS = ("src", "tests", "bench", "docs", "examples", "README.md", "CONTRIBUTING.md", "SECURITY.md")
TRAINED = ("vedette-tiny/", "tests/unit/training/", "test_tiny_answers.py", "test_words.py")
"""Where the words are those that vedette-tiny was trained on."""


def lines() -> list[str]:
    words = "|".join(PLAINER)
    found = subprocess.run(
        ["git", "grep", "-nwIE", words, "--", *FOLDERS], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if found.returncode not in (0, 1):
        pytest.fail(found.stderr)
    return [line for line in found.stdout.splitlines() if not any(part in line.split(":")[0] for part in TRAINED)]


def test_plain_words_are_used() -> None:
    found = [f"{line} (write {PLAINER[word[0]]})" for line in lines() if (word := re.search("|".join(PLAINER), line))]
    assert found == []
