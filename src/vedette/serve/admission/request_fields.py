"""The fields of a request by which it asks for more than one answer's time and memory. Pure.

The names are those of vLLM's protocols (entrypoints/openai/**/protocol.py and sampling_params.py, 0.11 to 0.32). A
field that is missing costs what the plan counts with: without `max_tokens`, vLLM answers until the context is full.
"""

from collections.abc import Mapping
from typing import Any

from vedette.errors import BadInputError
from vedette.serve.admission.request_limits import RequestLimits

_MOST_LOGPROBS = 20
"""vLLM's own limit (`--max-logprobs`)."""
_MOST_IN_LIST = {
    "stop": 64,
    "stop_sequences": 64,
    "bad_words": 256,
    "logit_bias": 1024,
    "stop_token_ids": 1024,
    "logprob_token_ids": 128,
    "allowed_token_ids": 262_144,
    "tools": 128,
    "functions": 128,
}
"""Each entry is looked at for every token of the answer, or is compiled."""
_MOST_CHARACTERS = {
    "stop": 8192,
    "stop_sequences": 8192,
    "bad_words": 8192,
    "request_id": 256,
    "session_id": 256,
    "cache_salt": 1024,
    "prompt_cache_key": 1024,
    "user": 1024,
}
"""Of all texts of a field: they are searched for, or repeated in the answer and the log."""
_MOST_PATTERN_TOKENS = 256
"""Of `repetition_detection`, which compares that many tokens after each token."""
_CHARACTERS_PER_TRUNCATED_TOKEN = 8
_RESOURCES = ("mm_processor_kwargs", "media_io_kwargs", "chat_template")
"""Fields that set how much the engine takes for a request."""
_TEMPLATE_RESOURCES = frozenset({"chat_template", "tokenize", "conversation", "continue_final_message", "return_dict"})
"""Arguments of the tokenizer's own function, which a request's template arguments would replace (CVE-2025-62426)."""
_ANSWER_TOKENS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "min_tokens")


def check_fields(document: Mapping[str, Any], limits: RequestLimits) -> int:
    """How many answers the request asks for at once. Raises BadInputError if any field asks for too much."""
    for name in _RESOURCES:
        if document.get(name):
            raise BadInputError("serve.field_refused", field=name)
    template = document.get("chat_template_kwargs")
    if isinstance(template, dict) and (names := _TEMPLATE_RESOURCES & template.keys()):
        raise BadInputError("serve.field_refused", field=f"chat_template_kwargs.{min(names)}")
    for name, most in _MOST_IN_LIST.items():
        value = document.get(name)
        if isinstance(value, (list, dict)) and len(value) > most:
            raise BadInputError("serve.list_too_long", field=name, entries=len(value), most=most)
    for name, most in _MOST_CHARACTERS.items():
        characters = _characters(document.get(name))
        if characters > most:
            raise BadInputError("serve.field_too_long", field=name, characters=characters, most=most)
    if document.get("truncate_prompt_tokens") is not None:  # the engine would tokenize all before it cuts
        _check_truncated(document.get("prompt"), limits)
    _check_tokens(document, limits)
    _check_logprobs(document)
    _check_repetition(document.get("repetition_detection"))
    _check_messages(document.get("messages"))
    return _sequences(document, limits)


def _characters(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    return sum(len(each) for each in value if isinstance(each, str)) if isinstance(value, list) else 0


def _check_truncated(prompt: Any, limits: RequestLimits) -> None:
    characters, most = _characters(prompt), _CHARACTERS_PER_TRUNCATED_TOKEN * limits.context.max_model_len
    if characters > most:
        raise BadInputError("serve.field_too_long", field="prompt", characters=characters, most=most)


def _number(document: Mapping[str, Any], name: str, least: int) -> int:
    """A whole number of the request; `least` where it is missing. vLLM would also take "2000" for one."""
    value = document.get(name)
    if value is None:
        return least
    if not isinstance(value, int):
        raise BadInputError("serve.no_number", field=name)
    return max(least, int(value))


def _check_tokens(document: Mapping[str, Any], limits: RequestLimits) -> None:
    most = limits.context.max_model_len
    for name in _ANSWER_TOKENS:
        tokens = _number(document, name, 0)
        if tokens > most:
            raise BadInputError("serve.too_many_tokens", field=name, tokens=tokens, context_tokens=most)
    # vLLM 0.26 uses the ids as indices of its scores, unchecked: one beyond the vocabulary ends the engine.
    if document.get("stop_token_ids") and _number(document, "min_tokens", 0):
        raise BadInputError("serve.stop_ids_with_least")


def _check_logprobs(document: Mapping[str, Any]) -> None:
    for name in ("logprobs", "top_logprobs"):
        value = _number(document, name, -1)
        if value > _MOST_LOGPROBS or (value < 0 and document.get(name) is not None):  # -1 is the whole vocabulary
            raise BadInputError("serve.too_many_logprobs", field=name, given=value, most=_MOST_LOGPROBS)
    # The engine would compute a number for every word of the vocabulary at every token of the prompt, all at once.
    of_prompt = document.get("prompt_logprobs")
    if of_prompt is not None and of_prompt is not False:
        raise BadInputError("serve.no_prompt_logprobs", field="prompt_logprobs")
    if document.get("echo") and document.get("logprobs") is not None and "messages" not in document:
        raise BadInputError("serve.no_prompt_logprobs", field="echo")


def _check_repetition(value: Any) -> None:
    if isinstance(value, dict):
        for name in ("max_pattern_size", "min_pattern_size", "min_count"):
            size = _number(value, name, 0)
            if size > _MOST_PATTERN_TOKENS:
                raise BadInputError(
                    "serve.list_too_long", field=f"repetition_detection.{name}", entries=size, most=_MOST_PATTERN_TOKENS
                )


def _check_messages(messages: Any) -> None:
    """Raises BadInputError for shapes at which the engine fails instead of refusing them."""
    if not isinstance(messages, list):
        return
    if not messages:
        raise BadInputError("serve.no_messages")
    batch = all(isinstance(each, list) for each in messages)
    for conversation in messages if batch else [messages]:
        for place, message in enumerate(conversation):
            if not isinstance(message, dict):
                raise BadInputError("serve.message_not_object", place=place)
        if not conversation:
            raise BadInputError("serve.no_messages")


def _sequences(document: Mapping[str, Any], limits: RequestLimits) -> int:
    """The number of answers: choices of each prompt, or the width of a beam, times the number of prompts."""
    choices = max(_number(document, "n", 1), _number(document, "best_of", 1))
    prompts = max(prompts_in(document.get("prompt")), prompts_in(document.get("messages")))
    sequences = choices * prompts
    if sequences > limits.sequences:
        raise BadInputError(
            "serve.too_many_answers", answers=sequences, choices=choices, prompts=prompts, most=limits.sequences
        )
    return sequences


def prompts_in(value: Any) -> int:
    """How many prompts a field holds: a text or a list of token ids is one, a list of those is a batch."""
    if isinstance(value, list) and value and all(isinstance(each, (str, list)) for each in value):
        return len(value)
    return 1
