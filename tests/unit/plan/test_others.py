"""What live facts of a machine a plan tells: swap, the page cache, and who else holds memory."""

import dataclasses
from pathlib import Path

import pytest

from tests.rig.devices import GIB, MIB, cpu, gpu, jetson
from tests.rig.models import TINY, catalogue_model
from tests.rig.plans import NEWEST, page, proposal_of
from vedette.deploy.planning import does_not_fit
from vedette.device.boards import boards, device_named
from vedette.device.device import Device, OtherProcess
from vedette.errors import DoesNotFitError
from vedette.events import Note
from vedette.language.message import say
from vedette.models.store.model_lookup import candidates
from vedette.plan.choose import choose_model
from vedette.plan.make import make_plan
from vedette.plan.plan import Plan, Wish

OTHERS = (OtherProcess("firefox", 812, 1229 * MIB), OtherProcess("Xorg", 640, 410 * MIB))
HELD = "firefox 1.20 GiB, Xorg 0.40 GiB hold memory that this plan could use"


def busy(device: Device, others: tuple[OtherProcess, ...] = OTHERS) -> Device:
    return dataclasses.replace(device, other_processes=others, assumed=False)


def reasons_of(plan: Plan) -> dict[str, str]:
    return {reason.subject: say(reason.why) for reason in plan.reasons}


def test_a_plan_that_does_not_fit_names_who_holds_memory() -> None:
    plan = make_plan(busy(jetson(5 * GIB)), catalogue_model("cosmos-reason2-2b"), Wish())
    assert not plan.fits
    assert reasons_of(plan)["other_processes"] == HELD
    assert does_not_fit(plan).hint.startswith(f"Free memory ({HELD}), choose")


def test_a_reduced_plan_names_them_too_and_a_full_plan_does_not() -> None:
    model = catalogue_model("cosmos-reason2-2b")
    tight, roomy = (make_plan(busy(jetson(size * GIB)), model, Wish()) for size in (8, 40))
    assert tight.fits
    assert reasons_of(tight)["other_processes"] == HELD
    assert roomy.fits
    assert "other_processes" not in reasons_of(roomy)


def test_a_single_process_is_named_in_the_singular() -> None:
    plan = make_plan(busy(cpu(GIB), OTHERS[:1]), TINY, Wish())
    assert reasons_of(plan)["other_processes"] == "firefox 1.20 GiB holds memory that this plan could use"


def test_a_wish_that_was_not_granted_is_noted_with_them() -> None:
    proposal = proposal_of("cosmos-reason2-2b", "orin-nx-16gb", context=200_000, concurrency=4, image=NEWEST)
    device = busy(proposal.device)
    plan = make_plan(device, proposal.model, proposal.wish)
    proposal = dataclasses.replace(proposal, device=device, plan=plan)
    notes = [say(event.message) for event in proposal.events if isinstance(event, Note)]
    assert plan.concession is not None
    assert f"{HELD}." in notes
    assert f"{HELD}." in " ".join(page(dataclasses.replace(proposal, plan=plan)).split("\n\n")[0].split())


def test_the_catalogue_without_a_model_that_fits_names_them_too() -> None:
    with pytest.raises(DoesNotFitError) as refused:
        choose_model(busy(jetson(GIB)), candidates(Path("/nowhere")), Wish())
    assert f"Free memory ({HELD})" in refused.value.hint


def test_ram_matters_to_a_model_in_a_gpus_own_memory_only_where_ram_is_short() -> None:
    model = catalogue_model("cosmos-reason2-2b")
    assert "other_processes" not in reasons_of(make_plan(busy(gpu(4 * GIB, 16 * GIB)), model, Wish()))
    assert "other_processes" in reasons_of(make_plan(busy(gpu(40 * GIB, GIB)), model, Wish()))


def test_processes_outside_do_not_use_a_cgroups_memory() -> None:
    limited = dataclasses.replace(busy(cpu(GIB // 2)), memory_limited=True)
    plan = make_plan(limited, TINY, Wish())
    assert not plan.fits
    assert "other_processes" not in reasons_of(plan)


@pytest.mark.parametrize("device", [cpu(6 * GIB), jetson(6 * GIB), gpu(6 * GIB, 4 * GIB)])
@pytest.mark.parametrize("zram", [0, 4 * GIB, None])
def test_swap_never_changes_a_number(device: Device, zram: int | None) -> None:
    swapping = dataclasses.replace(device, swap_total_bytes=4 * GIB, swap_free_bytes=4 * GIB, swap_zram_bytes=zram)
    with_swap, without = (make_plan(each, TINY, Wish()) for each in (swapping, device))
    swap = [reason for reason in with_swap.reasons if reason.subject == "swap"]
    assert len(swap) == 1
    rest = tuple(reason for reason in with_swap.reasons if reason.subject != "swap")
    assert dataclasses.replace(with_swap, reasons=rest) == without


def swap_story(device: Device, zram_bytes: int) -> str:
    swapping = dataclasses.replace(device, swap_total_bytes=4 * GIB, swap_zram_bytes=zram_bytes)
    return reasons_of(make_plan(swapping, TINY, Wish()))["swap"]


def test_why_swap_does_not_count() -> None:
    compressed = "is RAM, compressed (zram), which takes RAM and processor time from the model"
    assert f"it {compressed}; a GPU's memory cannot be swapped" in swap_story(jetson(6 * GIB), 4 * GIB)
    assert f"1.00 GiB of it {compressed}" in swap_story(cpu(6 * GIB), GIB)
    assert "swapped in each time" in swap_story(cpu(6 * GIB), 0)
    assert "GPU" not in swap_story(cpu(6 * GIB), 0)
    none = dataclasses.replace(cpu(6 * GIB), swap_total_bytes=0, swap_free_bytes=0, swap_zram_bytes=0)
    assert "swap" not in reasons_of(make_plan(none, TINY, Wish()))


def test_the_gate_is_low_for_the_page_cache_where_it_counts_as_used() -> None:
    board = dataclasses.replace(jetson(7 * GIB), page_cache_bytes=3 * GIB // 2)
    newer = dataclasses.replace(board, page_cache_counts_as_used=False)
    old, new = (reasons_of(make_plan(each, TINY, Wish()))["gpu_memory_utilization"] for each in (board, newer))
    assert "below L4T r39 the page cache (1.50 GiB now) counts as used for CUDA" in old
    assert "page cache" not in new


@pytest.mark.parametrize("name", sorted(boards()))
def test_a_board_of_the_catalogue_has_nothing_of_this_machine(name: str) -> None:
    board = device_named(name)
    assert board.other_processes == ()
    assert (board.swap_total_bytes, board.swap_free_bytes, board.swap_zram_bytes, board.page_cache_bytes) == (None,) * 4
    reasons = reasons_of(proposal_of("Qwen2-7B-Instruct", name).plan)
    assert {"swap", "other_processes"}.isdisjoint(reasons)
    assert "now)" not in reasons["gpu_memory_utilization"]
    on_jetson = boards()[name].l4t is not None
    assert ("below L4T r39" in reasons["gpu_memory_utilization"]) is on_jetson
