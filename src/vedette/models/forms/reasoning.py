"""Which of vLLM's parsers takes a model's reasoning apart, by its chat template. Pure.

Source: vLLM 0.32, reasoning/qwen3_reasoning_parser.py and deepseek_r1_reasoning_parser.py.
"""

import re

SWITCHED = "qwen3"
"""The parser of models whose template thinks or not as a request says (`enable_thinking`)."""
ALWAYS = "deepseek_r1"
"""The parser of models whose template always opens a thought: answers begin within it."""
_OPENED = re.compile(r"add_generation_prompt.*?<think>(?!.{0,20}</think>)", re.DOTALL)


def reasoning_parser(template: str) -> str | None:
    """The parser for a chat template; None for one that knows no thoughts."""
    if "<think>" not in template:
        return None
    return ALWAYS if "enable_thinking" not in template and _OPENED.search(template) else SWITCHED
