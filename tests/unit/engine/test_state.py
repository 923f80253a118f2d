"""The states of a served model and the log lines that move them."""

import pytest

from vedette.engine.state import Life, Phase, State
from vedette.engine.vllm.log import LogFact, parse_line, reports_core_death
from vedette.language.message import Message

WEIGHTS = Message("detail.verbatim", text="weights")
CORE = "(EngineCore pid=812) INFO 11-22 02:41:07 [gpu_model_runner.py:3877] "


@pytest.mark.parametrize(
    ("line", "fact"),
    [
        (
            "Loading safetensors checkpoint shards:  50% Completed | 1/2 [00:00<00:00, 20.1it/s]",
            LogFact(Phase.LOADING, None, 1, 2),
        ),
        (
            "(APIServer pid=800) INFO 11-22 08:49:26 [api_utils.py:286] non-default args: {'model_tag': '/m/tiny'}",
            LogFact(Phase.LAUNCHING, Message("engine.reading_configuration")),
        ),
        (
            CORE + "Initializing a V1 LLM engine (v0.32.0) with config: model='/models/tiny'",
            LogFact(Phase.LAUNCHING, Message("engine.taking_device")),
        ),
        (CORE + "Starting to load model /models/tiny...", LogFact(Phase.LOADING)),
        (CORE + "Model loading took 0.0302 GiB and 0.5 seconds", LogFact(Phase.PROFILING)),
        (
            "Capturing CUDA graphs (decode, FULL):  67%|######6   | 2/3 [00:01<00:00]",
            LogFact(Phase.CAPTURING, None, 2, 3),
        ),
        (CORE + "Graph capturing finished in 3 secs, took 0.01 GiB", LogFact(Phase.WARMING)),
        ("(APIServer pid=800) INFO:     Application startup complete.", LogFact(Phase.WARMING)),
        ("something that a later version says", None),
    ],
)
def test_log_lines_are_read_as_phases(line: str, fact: LogFact | None) -> None:
    assert parse_line(line) == fact


def test_a_line_reports_that_the_core_has_died() -> None:
    line = "(APIServer pid=75) WARNING 11-22 10:00:02 [core_client.py:817] [shutdown] MPClient: engine core exited"
    assert reports_core_death(f"{line} unexpectedly; starting cleanup")
    assert not reports_core_death(CORE + "Starting to load model /models/tiny...")


def test_a_life_moves_only_along_its_states() -> None:
    life = Life()
    life.enter(State.PREPARING, Phase.DETECTING)
    life.enter(State.STARTING, Phase.LAUNCHING)
    with pytest.raises(RuntimeError, match="no way from starting to preparing"):
        life.enter(State.PREPARING)
    life.enter(State.READY)
    assert life.status.phase is None


async def test_a_watcher_sees_the_present_and_every_change_once() -> None:
    life = Life()
    life.enter(State.PREPARING, Phase.DETECTING)
    watcher = life.watch()
    assert (await anext(watcher)).phase is Phase.DETECTING
    life.progress(Phase.FETCHING, WEIGHTS, 1, 2)
    life.progress(Phase.FETCHING, WEIGHTS, 1, 2)
    life.progress(Phase.FETCHING, WEIGHTS, 2, 2)
    assert [(await anext(watcher)).done for _ in range(2)] == [1, 2]
    began = life.status.since
    life.progress(Phase.FETCHING, WEIGHTS, 2, 2)
    assert life.status.since == began
    await watcher.aclose()


def test_a_start_knows_how_long_each_phase_took() -> None:
    life = Life()
    life.enter(State.PREPARING, Phase.DETECTING)
    life.enter(State.STARTING, Phase.LAUNCHING)
    launching = life.status.since
    life.progress(Phase.LOADING, None, 1, 2)
    loading = life.status.since
    life.progress(Phase.LOADING, None, 2, 2)
    life.progress(Phase.PROFILING)
    profiling = life.status.since
    life.enter(State.READY)
    assert life.phase_s == {
        Phase.LAUNCHING: loading - launching,
        Phase.LOADING: profiling - loading,
        Phase.PROFILING: life.status.since - profiling,
    }
    life.enter(State.FAILED)
    life.enter(State.STARTING, Phase.LAUNCHING)
    assert set(life.phase_s) == {Phase.LAUNCHING}
