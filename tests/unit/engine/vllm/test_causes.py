"""Causes of death from what engines really said."""

import signal

import pytest

from vedette.engine.vllm.causes import SILENT, STUCK, Death, Outlook, find_cause, outlook_of

# Lines as vLLM 0.32.0 printed them on a CPU, shortened; the cause stands before what follows from it.
UNKNOWN_FLAG = ["usage: vllm serve [model_tag] [options]", "vllm serve: error: unrecognized arguments: --swap-space 4"]
TOO_LONG = [
    "ERROR [core.py:1001] EngineCore failed to start.",
    "ValueError: To serve at least one request with the models's max seq len (8192), (0.88 GiB KV cache is needed, "
    "which is larger than the available KV cache memory (0.25 GiB). Based on the available memory, the estimated "
    "maximum model length is 2336. Try increasing the available memory.",
    "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
]
CORRUPT = [
    "safetensors_rust.SafetensorError: Error while deserializing header: incomplete metadata, file not fully covered",
    "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
]
RETURNED = [
    "AssertionError: Error in memory profiling. Initial free memory 10.0 GiB, current free memory 11.0 GiB. This "
    "happens when other processes sharing the same container release GPU memory while vLLM is profiling.",
    "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
]
UNKNOWN = [
    "KeyError: 'layers.0.surprise'",
    "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
]


@pytest.mark.parametrize(
    ("status", "lines", "code", "says"),
    [
        (2, UNKNOWN_FLAG, "unknown_flag", "--swap-space 4"),
        (1, TOO_LONG, "context_too_large", "2,336"),
        (1, CORRUPT, "model_corrupt", "SafetensorError"),
        (1, RETURNED, "memory_returned", "freed memory"),
        (1, ["torch.OutOfMemoryError: CUDA out of memory. Tried to allocate"], "out_of_memory", "CUDA out of memory"),
        (1, ["ModuleNotFoundError: No module named 'zmq'"], "engine_broken", "zmq"),
        (1, UNKNOWN, "engine_error", "KeyError: 'layers.0.surprise'"),
        (-signal.SIGKILL, ["Loading safetensors checkpoint sha"], "out_of_memory", "killed"),
        (-signal.SIGSEGV, [], "engine_ended", "SIGSEGV"),
        (3, [], "engine_ended", "status 3"),
    ],
)
def test_the_cause_is_found(status: int, lines: list[str], code: str, says: str) -> None:
    cause = find_cause(Death(status, lines))
    assert cause.code == code
    assert says in cause.sentence
    assert cause.hint


def test_the_kernels_count_outweighs_the_log() -> None:
    assert find_cause(Death(1, CORRUPT, out_of_memory_kills=1)).code == "out_of_memory"


def test_a_kill_that_the_kernel_did_not_count_was_somebody_elses() -> None:
    cause = find_cause(Death(-signal.SIGKILL, [], out_of_memory_kills=0))
    assert cause.code == "killed"
    assert "Another program" in cause.sentence


def test_what_another_start_may_come_to() -> None:
    assert outlook_of(find_cause(Death(1, CORRUPT, out_of_memory_kills=1))) is Outlook.SMALLER
    assert outlook_of(find_cause(Death(-signal.SIGKILL, []))) is Outlook.SMALLER
    assert outlook_of(SILENT) is Outlook.SMALLER
    assert outlook_of(find_cause(Death(-signal.SIGKILL, [], out_of_memory_kills=0))) is Outlook.SAME
    assert outlook_of(STUCK) is Outlook.SAME
    assert outlook_of(find_cause(Death(1, RETURNED))) is Outlook.SAME
    assert outlook_of(find_cause(Death(1, CORRUPT))) is Outlook.HOPELESS
    assert outlook_of(find_cause(Death(2, UNKNOWN_FLAG))) is Outlook.HOPELESS
    assert outlook_of(find_cause(Death(1, ["ModuleNotFoundError: No module named 'zmq'"]))) is Outlook.REMADE
    assert outlook_of(find_cause(Death(1, UNKNOWN))) is Outlook.UNKNOWN


KILLED_CORE_SERVING = [
    "(APIServer pid=75) WARNING [shutdown] MPClient: engine core exited unexpectedly; starting cleanup",
    "(APIServer pid=75) ERROR vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue.",
]
KILLED_CORE_STARTING = [
    "(APIServer pid=75) RuntimeError: Engine core initialization failed. See root cause above. "
    "Failed core proc(s): {'EngineCore': -9}",
]


@pytest.mark.parametrize(("status", "lines"), [(-15, KILLED_CORE_SERVING), (1, KILLED_CORE_STARTING)])
def test_a_core_that_was_killed_without_a_word_was_killed(status: int, lines: list[str]) -> None:
    assert find_cause(Death(status, lines, out_of_memory_kills=0)).code == "killed"
    assert find_cause(Death(status, lines, out_of_memory_kills=None)).code == "out_of_memory"
    assert find_cause(Death(status, lines, out_of_memory_kills=1)).code == "out_of_memory"


def test_a_core_that_failed_by_itself_has_its_own_error() -> None:
    story = ["(EngineCore pid=80) ERROR [core.py:1001] EngineCore encountered a fatal error.", "KeyError: 'surprise'"]
    assert find_cause(Death(-15, [*story, *KILLED_CORE_SERVING], out_of_memory_kills=0)).code == "engine_error"


def test_a_kill_is_one_whatever_warnings_came_before() -> None:
    said = ["WARNING [interface.py:1] Failed to import from vllm._C with ImportError('libcuda.so.1: no such file')"]
    assert find_cause(Death(-signal.SIGKILL, said, out_of_memory_kills=0)).code == "killed"
    assert find_cause(Death(1, [*said, "KeyError: 'surprise'"])).code == "engine_error"


def test_a_long_cause_ends_after_a_word() -> None:
    line = "RuntimeError: the device said no because " + "of this and that " * 60
    cause = find_cause(Death(1, (line,)))
    error = str(cause.message.params["error"])
    assert len(error) <= 300
    assert error.endswith((" of …", " this …", " and …", " that …"))
