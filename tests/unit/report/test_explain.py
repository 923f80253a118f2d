"""A plan in words: what a person must be able to read off it."""

import dataclasses
import json
import re
import subprocess

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rig.plans import MODELS_ON_BOARDS, NEWEST, page, proposal_of
from vedette.deploy.planning import Proposal
from vedette.device.boards import boards
from vedette.errors import BadInputError
from vedette.language.columns import columns as columns_of
from vedette.language.message import Message, say
from vedette.models.store.model_catalogue import catalogue
from vedette.plan.plan import Basis, Concession, Speed
from vedette.report.explain import explain_plan
from vedette.report.labels import LABELS
from vedette.report.paper import Paper
from vedette.units import missing_size


@pytest.mark.parametrize(("model", "device"), MODELS_ON_BOARDS)
@pytest.mark.parametrize("columns", [80, 120])
def test_the_page_keeps_to_its_width(model: str, device: str, columns: int) -> None:
    proposal = proposal_of(model, device)
    for line in page(proposal, columns).splitlines():
        assert len(line) <= columns or str(proposal.ref.path) in line or proposal.ref.name in line, line


def test_the_page_begins_with_whether_the_plan_fits() -> None:
    roomy, tight = proposal_of("cosmos-reason2-2b", "orin-nx-16gb"), proposal_of("Qwen2-7B-Instruct", "orin-nano-8gb")
    memory = roomy.plan.memory
    left = (memory.available_bytes - memory.total_bytes) / 1024**3
    assert page(roomy).splitlines()[0].endswith(f"on Jetson Orin NX 16GB: fits, {left:.2f} GiB left")
    missing = f"does not fit, needs {missing_size(tight.plan.shortfall_bytes)} more"
    assert page(tight).splitlines()[0].endswith(missing)
    assert "available up to here ^" in page(tight)


@pytest.mark.parametrize(("model", "device"), MODELS_ON_BOARDS)
def test_the_command_can_be_taken_as_it_is_typed(model: str, device: str) -> None:
    """Without the numbers in the margin, a shell reads exactly the engine's arguments, JSON spacing apart."""
    proposal = proposal_of(model, device)
    section = page(proposal).split("\nFlags ")[1].split("\n\n")[0].splitlines()[1:]
    command = 'printf "%s\\0" ' + "\n".join(line[6:] for line in section)
    typed = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout.split("\0")[:-1]

    def meaning(word: str) -> object:
        return json.loads(word) if word.startswith("{") else word

    assert [meaning(word) for word in typed] == [meaning(word) for word in proposal.arguments]


@pytest.mark.parametrize("value", ["a, b", 'a", "b', "it's, \\", "1, 2, 3", ", " * 90, '", "' * 40, "é, ü"])
def test_json_is_never_broken_within_a_string(value: str) -> None:
    arguments = ("vllm", "serve", "m", "--hf-overrides", json.dumps({"x" * 30: value, "y" * 30: [value, 1, 2]}))
    text = click.unstyle(explain_plan(proposal_of("vedette-tiny", "orin-nx-8gb").plan, arguments, Paper(80)))
    section = text.split("\nFlags ")[1].split("\n\n")[0].splitlines()[1:]
    command = 'printf "%s\\0" ' + "\n".join(line[6:] for line in section)
    typed = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout.split("\0")
    assert json.loads(typed[4]) == json.loads(arguments[4])


def test_each_flag_has_the_number_of_a_reason_below() -> None:
    text = page(proposal_of("cosmos-reason2-2b", "orin-nx-16gb"))
    flags, why = text.split("\nFlags ")[1].split("\nWhy ")
    reasons = {match[1]: match[2] for match in re.finditer(r"^ {1,3}(\d+)  (.+)$", why, re.MULTILINE)}
    numbers = {flag: number for number, flag in re.findall(r"^ +(\d+)    (--[a-z-]+)", flags, re.MULTILINE)}
    assert len(numbers) == len(re.findall(r"^ +\d*    --", flags, re.MULTILINE)), "a flag without a reason"
    by_flag = {flag: reasons[number] for flag, number in numbers.items()}
    assert "context" in by_flag["--max-model-len"]
    assert "fetch addresses" in why
    assert by_flag["--allowed-media-domains"].startswith("--allowed-media-domains")


def test_each_figure_is_marked_with_its_basis() -> None:
    proposal = proposal_of("cosmos-reason2-2b", "orin-nx-16gb")
    first, *others = proposal.plan.reasons
    reasons = (dataclasses.replace(first, basis=Basis.CALIBRATED), *others)
    text = page(dataclasses.replace(proposal, plan=dataclasses.replace(proposal.plan, reasons=reasons)))
    assert re.search(rf"^   1  weights +\* +{re.escape(say(first.value))}", text, re.MULTILINE)
    assert re.search(r"^ +\d+  reserve +~ ", text, re.MULTILINE)
    assert "= computed   ~ assumed   * calibrated" in text


def test_speed_says_what_is_known_and_that_nothing_is() -> None:
    proposal = proposal_of("cosmos-reason2-2b", "orin-nx-16gb")
    known = dataclasses.replace(proposal.plan, speed=Speed(29.6, 24.2, 310.0))
    text = page(dataclasses.replace(proposal, plan=known))
    assert "at most 30 tokens/s" in text
    assert "about 24 tokens/s expected" in text
    assert "after at least 310 ms" in " ".join(text.split())
    assert "not known" in page(dataclasses.replace(proposal, plan=dataclasses.replace(proposal.plan, speed=Speed())))


def test_a_wish_that_was_not_granted_is_said_with_what_is_missing() -> None:
    proposal = proposal_of("cosmos-reason2-2b", "orin-nx-16gb")
    wished, planned = (Message("plan.wish.pixels", pixels=pixels) for pixels in (307_200, 168_960))
    given_up = Concession(wished, planned, 118_111_600)
    text = page(dataclasses.replace(proposal, plan=dataclasses.replace(proposal.plan, concession=given_up)))
    assert "pictures of 307,200 pixels would take 0.11 GiB more. Planned: pictures of 168,960 pixels." in " ".join(
        text.split()
    )


def test_a_plan_that_does_not_fit_promises_nothing() -> None:
    proposal = proposal_of("Qwen2-7B-Instruct", "orin-nano-8gb")
    wished, planned = Message("plan.wish.requests", requests=8), Message("plan.wish.request")
    given_up = Concession(wished, planned, 2 * 1024**3)
    text = page(dataclasses.replace(proposal, plan=dataclasses.replace(proposal.plan, concession=given_up)))
    summary = " ".join(text.split("\n\n")[0].split())
    assert "What you asked for (8 requests at once) needs 2.00 GiB more" in summary
    assert "Planned" not in summary
    assert "→ Free memory" in summary


def test_what_the_device_cannot_run_is_said_instead_of_a_number() -> None:
    proposal = proposal_of("cosmos-reason2-2b", "orin-nx-16gb")
    plan = dataclasses.replace(proposal.plan, fits=False, unsupported=Message("plan.format.fp8_needs_7_5"))
    lines = page(dataclasses.replace(proposal, plan=plan)).splitlines()
    assert lines[0].endswith("cannot run")
    assert lines[1] == "  8-bit floats need a GPU of compute capability 7.5 or newer"


@pytest.mark.parametrize(("model", "device"), MODELS_ON_BOARDS)
@pytest.mark.parametrize("columns", [80, 120])
def test_the_chinese_page_keeps_to_its_width_and_lines_up(model: str, device: str, columns: int) -> None:
    proposal = proposal_of(model, device)
    text = click.unstyle(explain_plan(proposal.plan, proposal.arguments, Paper(columns, language="zh")))
    names = (str(proposal.ref.path), proposal.ref.name)
    for line in text.splitlines():
        assert columns_of(line) <= columns or any(name in line for name in names), line
    section = text.split("\n理由 ")[1].splitlines()[1:]
    marks = {
        columns_of(line[: found.start(1)]) for line in section if (found := re.match(r" +\d+  \S.* ([=~*]) ", line))
    }
    assert len(marks) == 1, text
    assert "内存 " in text
    assert not re.search(r"[a-z] enough|as you asked|KV cache", text)


@pytest.mark.parametrize(("model", "device"), MODELS_ON_BOARDS)
def test_every_subject_has_a_label(model: str, device: str) -> None:
    assert {reason.subject for reason in proposal_of(model, device).plan.reasons} <= set(LABELS)


def test_the_context_is_shown_as_one_budget() -> None:
    proposal = proposal_of("cosmos-reason2-2b", "orin-nx-16gb")
    context = proposal.plan.context
    text = page(proposal)
    assert f"{context.max_model_len:,} tokens for each of" in text
    assert f"P prompt {context.prompt_tokens:,}" in text
    assert f"{context.visual_tokens:,}" in text


SIZES = st.none() | st.integers(1, 1_000_000)


@given(
    st.sampled_from(sorted(catalogue())),
    st.sampled_from(sorted(boards())),
    st.fixed_dictionaries(
        {
            "workload": st.none() | st.sampled_from(["live", "clip", "chat", "api"]),
            "picture": st.none()
            | st.tuples(st.integers(1, 65_535), st.integers(1, 65_535)).map("{0[0]}x{0[1]}".format),
            "images": st.none() | st.integers(0, 64),
            "context": st.none() | st.integers(64, 1_000_000),
            "prompt_tokens": SIZES,
            "answer_tokens": SIZES,
            "concurrency": st.none() | st.integers(1, 1024),
        }
    ),
)
def test_every_wish_ends_in_a_page_or_a_sentence(model: str, device: str, wishes: dict[str, object]) -> None:
    try:
        proposal = proposal_of(model, device, **wishes)
    except BadInputError:  # which is a sentence and a hint
        return
    assert proposal.plan.fits == (proposal.plan.shortfall_bytes == 0 and proposal.plan.unsupported is None)
    names = (str(proposal.ref.path), proposal.ref.name)
    assert all(len(line) <= 80 or any(name in line for name in names) for line in page(proposal).splitlines())
    assert json.dumps(proposal.as_json())


def why_of(proposal: Proposal) -> dict[str, str]:
    return {reason.subject: say(reason.why) for reason in proposal.plan.reasons}


def test_every_choice_of_the_engines_settings_has_a_reason() -> None:
    on_gpu = {
        reason.subject: reason for reason in proposal_of("cosmos-reason2-2b", "orin-nx-16gb", image=NEWEST).plan.reasons
    }
    assert say(on_gpu["prefix_caching"].value) == say(on_gpu["chunked_prefill"].value) == "on"
    assert "below sm_89" in say(on_gpu["kv_cache_dtype"].why)
    assert "W4A16" in say(on_gpu["weights_format"].why)
    assert {"attention_backend", "max_num_batched_tokens", "images_per_request", "video_frames"} <= set(on_gpu)


@pytest.mark.parametrize(
    ("workload", "why"),
    [
        (None, "enough for a live page and a conversation beside it"),
        ("live", "enough for a picture, a question and a short answer"),
        ("chat", "enough for a long conversation with pictures"),
        ("api", "all positions that the model has"),
    ],
)
def test_what_is_enough_is_said(workload: str | None, why: str) -> None:
    assert why_of(proposal_of("cosmos-reason2-2b", "agx-thor", workload=workload))["max_model_len"] == why


def test_what_was_given_up_is_said_once_with_what_all_of_it_would_need() -> None:
    reasons = why_of(proposal_of("cosmos-reason2-2b", "orin-nx-16gb", context=131_072))
    asked_for = r"less than the 131,072 that you asked for: with 4 requests at once that would need \d+\.\d\d GiB"
    assert re.fullmatch(asked_for, reasons["max_model_len"])
    assert reasons["concurrency"] == "less than 4, also for lack of memory"


def test_a_model_in_16_bits_that_does_not_fit_may_come_in_4() -> None:
    assert "a checkpoint in 4 bits" in " ".join(page(proposal_of("cosmos-reason2-2b", "orin-nano-8gb")).split())
    assert "a checkpoint in 4 bits" not in page(proposal_of("cosmos-reason2-2b", "orin-nx-16gb"))


def test_reasons_of_a_text_model_do_not_mention_pictures() -> None:
    reasons = why_of(proposal_of("ernie-4.5-0.3b", "agx-thor"))
    assert reasons["max_model_len"] == "enough for a conversation"
    assert "page" not in reasons["concurrency"]
