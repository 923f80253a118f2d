"""Figures for Prometheus, in base units (seconds, bytes) as it expects them."""

import re
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_FAST_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0)
_ANSWER_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0)


_LABEL = r'[A-Za-z_][A-Za-z0-9_]*="(?:[^"\\\r]|\\.)*"'
_METRIC_LINE = re.compile(
    r"# HELP (?P<help>vllm:[A-Za-z0-9_:]+)( [^\r]*)?"
    r"|# TYPE vllm:[A-Za-z0-9_:]+ (counter|gauge|histogram|summary|untyped)"
    rf"|vllm:[A-Za-z0-9_:]+(\{{({_LABEL}(,{_LABEL})*,?)?\}})? "
    r"([+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?Inf|NaN)"
)
"""A line of an engine's own figure. Any other line would make Prometheus refuse the whole page."""


class Metrics:
    """All figures of one vedette; their names are stable."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.engine_state = Gauge(
            "vedette_engine_state", "1 for the engine's current state", ["state"], registry=registry
        )
        self.pages = Gauge("vedette_live_pages", "Pages connected to the live socket", registry=registry)
        self.answers = Counter("vedette_live_answers", "Live answers by how they ended", ["outcome"], registry=registry)
        self.frames_missed = Counter(
            "vedette_live_frames_missed", "Frames asked for that did not come in time", registry=registry
        )
        self.tokens = Counter("vedette_live_tokens", "Tokens of live requests", ["kind"], registry=registry)
        self.frame_to_request = Histogram(
            "vedette_live_frame_to_request_seconds",
            "From a frame's capture to its request",
            buckets=_FAST_S,
            registry=registry,
        )
        self.first_token = Histogram(
            "vedette_live_first_token_seconds", "From request to first token", buckets=_ANSWER_S, registry=registry
        )
        self.total = Histogram(
            "vedette_live_answer_seconds", "From request to the answer's end", buckets=_ANSWER_S, registry=registry
        )
        self.api_requests = Counter(
            "vedette_api_requests", "Requests passed through to the engine", ["status"], registry=registry
        )

    def expose(self, state: str) -> bytes:
        """All figures in Prometheus' text format; `state` is the engine's current state."""
        self.engine_state.clear()
        self.engine_state.labels(state=state).set(1)
        return generate_latest(self._registry)


def engine_families(pages: Sequence[str]) -> str:
    """The engines' own figures (`vllm:…`) out of their pages of metrics, each family once.

    Figures that every process has are left out: vedette's own have the same names.
    """
    families: dict[str, list[str]] = {}
    for page in pages:
        family: list[str] = []
        for line in page.split("\n"):
            found = _METRIC_LINE.fullmatch(line)
            if found is None:
                continue
            if found["help"]:
                family = families.setdefault(found["help"], [])
            if not (line.startswith("#") and line in family):
                family.append(line)
    return "".join(f"{line}\n" for lines in families.values() for line in lines)
