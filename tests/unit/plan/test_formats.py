"""What each GPU makes of each format, as vLLM's sources have it, written down apart from the code."""

import pytest

from vedette.language.message import say
from vedette.plan.formats import Verdict, advice, best_formats, kv_dtype, weights_format

ORIN, ADA, HOPPER, B200, THOR, RTX50, TURING, XAVIER = (8, 7), (8, 9), (9, 0), (10, 0), (11, 0), (12, 0), (7, 5), (7, 2)
NATIVE, FALLBACK, REFUSED, UNKNOWN = Verdict.NATIVE, Verdict.FALLBACK, Verdict.REFUSED, Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("quantization", "orin", "ada", "thor", "cpu"),
    [
        (None, NATIVE, NATIVE, NATIVE, NATIVE),
        ("fp8", FALLBACK, NATIVE, NATIVE, UNKNOWN),
        ("w8a8-fp8", FALLBACK, NATIVE, NATIVE, REFUSED),
        ("w8a8-int8", NATIVE, NATIVE, REFUSED, NATIVE),
        ("w8a16", NATIVE, NATIVE, NATIVE, NATIVE),
        ("w4a16", NATIVE, NATIVE, NATIVE, NATIVE),
        ("awq", NATIVE, NATIVE, NATIVE, NATIVE),
        ("gptq", NATIVE, NATIVE, NATIVE, NATIVE),
        ("nvfp4", FALLBACK, FALLBACK, NATIVE, REFUSED),
        ("mxfp4", FALLBACK, FALLBACK, NATIVE, REFUSED),
        ("bitsandbytes", UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN),
    ],
)
def test_verdicts(quantization: str | None, orin: Verdict, ada: Verdict, thor: Verdict, cpu: Verdict) -> None:
    devices = (ORIN, ADA, THOR, None)
    assert [weights_format(quantization, device).verdict for device in devices] == [orin, ada, thor, cpu]


def test_blackwell_of_every_kind_multiplies_4_bit_floats() -> None:
    assert {weights_format("nvfp4", device).verdict for device in (B200, (10, 3), THOR, RTX50, (12, 1))} == {NATIVE}
    assert weights_format("nvfp4", HOPPER).verdict is FALLBACK


def test_old_gpus_run_only_weights_that_are_not_packed() -> None:
    assert {found.quantization for found in best_formats(XAVIER) if found.verdict is not REFUSED} == {None}
    assert weights_format("mxfp4", TURING).verdict is REFUSED
    assert "0.16" in say(weights_format("fp8", TURING).why)


@pytest.mark.parametrize(
    ("quantization", "first", "before"),
    [
        ("nvfp4", (7, 5), (7, 2)),
        ("mxfp4", (8, 0), (7, 5)),
        ("fp8", (7, 5), (7, 2)),
        ("w8a8-fp8", (7, 5), (7, 2)),
    ],
)
def test_from_which_gpu_on_a_format_is_widened(
    quantization: str, first: tuple[int, int], before: tuple[int, int]
) -> None:
    assert weights_format(quantization, first).verdict is FALLBACK
    assert weights_format(quantization, before).verdict is REFUSED


@pytest.mark.parametrize(("quantization", "bits"), [("nvfp4", 4), ("mxfp4", 4), ("fp8", 8), ("w8a8-fp8", 8)])
def test_widened_weights_keep_their_bits(quantization: str, bits: int) -> None:
    assert f"stay {bits}-bit in memory" in say(weights_format(quantization, ORIN).why)


@pytest.mark.parametrize("quantization", ["w4a16", "awq", "gptq", "w8a16", "w8a8-int8"])
def test_integers_run_from_turing_on(quantization: str) -> None:
    assert weights_format(quantization, TURING).verdict is NATIVE
    assert weights_format(quantization, XAVIER).verdict is REFUSED


def test_fp8_on_orin_says_what_it_means_and_what_was_reported() -> None:
    why = say(weights_format("fp8", ORIN).why)
    assert "weight-only" in why
    assert "wrong answers" in why
    assert "0.27" in why
    assert "wrong answers" not in say(weights_format("fp8", (8, 6)).why)
    assert "caveat" not in say(weights_format("w8a8-fp8", ORIN).why)


def test_the_best_formats_are_native_and_small() -> None:
    order = {NATIVE: 0, FALLBACK: 1, UNKNOWN: 2, REFUSED: 3}
    for device in (ORIN, ADA, THOR, TURING, None):
        ranks = [order[found.verdict] for found in best_formats(device)]
        assert ranks == sorted(ranks)
    assert [found.quantization for found in best_formats(ORIN)][:3] == ["w4a16", "awq", "gptq"]
    assert [found.quantization for found in best_formats(THOR)][:2] == ["mxfp4", "nvfp4"]


def test_advice_names_every_format_once() -> None:
    assert say(advice(ORIN)) == (
        "This GPU (sm_87) runs W4A16, AWQ, GPTQ, W8A8 INT8, W8A16, plain 16-bit weights natively; "
        "it widens MXFP4, NVFP4, FP8, W8A8 FP8 in the kernel"
    )
    assert say(advice(None)) == (
        "This CPU runs W4A16, AWQ, GPTQ, W8A8 INT8, W8A16, plain 16-bit weights natively; it may run FP8; "
        "it cannot run MXFP4, NVFP4, W8A8 FP8"
    )
    assert say(advice(TURING), "zh").startswith("此 GPU（sm_75）原生支持 W4A16、AWQ、GPTQ")
    for device in (ORIN, THOR, XAVIER, None):
        assert all(say(advice(device)).count(f" {say(found.title)}") >= 1 for found in best_formats(device))


def test_every_judgement_has_a_reason_and_a_source() -> None:
    for device in (XAVIER, TURING, ORIN, ADA, HOPPER, THOR, None):
        for found in best_formats(device):
            assert say(found.why)
            assert say(found.why, "zh") != say(found.why)
            assert "(0.32.0)" in found.source


def test_8_bit_keys_and_values_where_a_backend_reads_them() -> None:
    assert kv_dtype(TURING, 128).dtype is None
    assert (kv_dtype(ORIN, 128).dtype, kv_dtype(ORIN, 128).attention_backend) == ("fp8", "FLASHINFER")
    assert kv_dtype(ORIN, 96).dtype is None
    assert kv_dtype(ORIN, 256, bidirectional_pictures=True).dtype is None
    for device in (ADA, HOPPER, B200, THOR, RTX50):
        found = kv_dtype(device, 256, bidirectional_pictures=True)
        assert (found.dtype, found.attention_backend) == ("fp8", None)


def test_8_bit_keys_and_values_on_a_cpu_take_known_instructions() -> None:
    assert kv_dtype(None, 128, avx512=True).dtype == "fp8"
    assert kv_dtype(None, 80, avx512=True).dtype is None
    assert kv_dtype(None, 128, avx512=False).dtype is None
    assert kv_dtype(None, 128).dtype is None
