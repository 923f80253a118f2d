"""The kernel's count of kills for memory, as its files have it."""

from pathlib import Path

import pytest

from vedette.engine.process.oom_kills import KillWatch, parse_kills, read_machine_kills, read_out_of_memory_kills

VMSTAT = "nr_free_pages 512\noom_kill 7\ndrop_pagecache 0\n"


def write(root: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


@pytest.mark.parametrize(
    ("cgroup", "counter", "text", "kills"),
    [
        ("0::/box/own\n", "sys/fs/cgroup/box/own/memory.events", "low 0\noom 4\noom_kill 3\n", 3),
        ("4:memory:/box\n0::/\n", "sys/fs/cgroup/memory/box/memory.oom_control", "under_oom 0\noom_kill 2\n", 2),
        ("0::/\n", "sys/fs/cgroup/memory.events", "oom_kill 3\n", 7),
        ("0::/../other\n", "sys/fs/cgroup/other/memory.events", "oom_kill 3\n", 7),
        ("0::/box\n", "sys/fs/cgroup/box/memory.events", "oom 1\n", 7),
    ],
)
def test_the_nearest_count_is_taken(tmp_path: Path, cgroup: str, counter: str, text: str, kills: int) -> None:
    write(tmp_path, {"proc/self/cgroup": cgroup, "proc/vmstat": VMSTAT, counter: text})
    assert read_out_of_memory_kills(tmp_path) == kills
    assert read_machine_kills(tmp_path) == 7


def test_nothing_counts_where_there_is_nothing(tmp_path: Path) -> None:
    assert read_out_of_memory_kills(tmp_path) is None


def test_this_machine_counts() -> None:
    assert read_machine_kills() == parse_kills(Path("/proc/vmstat").read_text())
    assert read_out_of_memory_kills() is not None


def test_only_recent_kills_count() -> None:
    now, kills = 0.0, 4
    watch = KillWatch(lambda: kills, lambda: now)
    assert watch.recent() == 0
    now, kills = 15.0, 5
    watch.poll()
    assert watch.recent() == 1
    now = 25.0
    watch.poll()
    now = 50.0  # as long ago as nothing dies of
    watch.poll()
    assert watch.recent() == 0


def test_a_kill_is_remembered_for_a_while_whenever_it_came() -> None:
    for killed_at in range(1, 50, 3):
        now, kills = 0, 0
        watch = KillWatch(lambda: kills, lambda: now)  # noqa: B023 - called at once
        for now in range(killed_at + 20):
            kills = int(now >= killed_at)
            watch.poll()
        assert watch.recent() == 1


def test_where_nothing_counts_nothing_is_known() -> None:
    assert KillWatch(lambda: None).recent() is None
    for first, second in ((None, 4), (4, None)):
        counts = iter([first, second])
        assert KillWatch(lambda: next(counts)).recent() is None  # noqa: B023 - called at once


def test_another_counter_is_not_read() -> None:
    with pytest.raises(ValueError, match="no oom_kill"):
        parse_kills("oom_kill_disable 0\n")
