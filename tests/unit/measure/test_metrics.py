"""What passes from an engine's page of metrics into vedette's: its own figures, line by line, and nothing else."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from vedette.measure.metrics import Metrics, engine_families

RECORDED = (
    Path(__file__).parents[1].joinpath("engine", "recorded", "vllm-0.32.0-metrics.txt").read_text(encoding="utf-8")
)


def test_all_figures_of_a_recorded_page_pass() -> None:
    wanted = [line for line in RECORDED.splitlines() if "vllm:" in line]
    assert engine_families([RECORDED]).splitlines() == wanted
    assert len(wanted) > 500


@pytest.mark.parametrize(
    "page",
    [
        "# HELP \n# HELP\n# TYPE\n#\n",
        "# HELP vllm:a n\nvedette_engine_state 1\n",
        "# HELP vllm:a n\nvllm:a{x=\n",
        "# HELP vllm:a n\nvllm:a many\n",
        "# HELP vllm:a n\nvllm:a 1 2 3 4\n",
        "<html>hello</html>",
        "\x00\xff" * 1000,
    ],
)
def test_a_page_that_is_none_leaves_vedettes_own_readable(page: str) -> None:
    text = Metrics().expose("ready").decode() + engine_families([page])
    families = {family.name for family in text_string_to_metric_families(text)}
    assert "vedette_engine_state" in families
    assert text.count("vedette_engine_state{") == 1
    assert "\nvedette_engine_state 1\n" not in text


PART = "\n".join([line for line in RECORDED.splitlines() if "vllm:" in line][-30:]) + "\n"


@given(st.integers(0, len(PART)), st.integers(0, 60), st.text(max_size=12))
def test_a_page_with_a_mutation_can_be_read(at: int, length: int, replacement: str) -> None:
    page = PART[:at] + replacement + PART[at + length :]
    list(text_string_to_metric_families(engine_families([page])))
