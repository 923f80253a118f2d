"""Writes on_gpu.py's results as a table.

python -m bench.product.plan.gpu_table RESULTS.jsonl [PROBE.jsonl]
"""

import json
import sys
from pathlib import Path
from typing import Any

GIB = 1 << 30
COLUMNS = (
    "model", "board, GB", "budget, GiB", "weights planned", "measured", "error", "KV planned, GiB", "KV possible more",
    "context planned", "of the largest", "first time", "over-committed", "least free, MiB", "ready, s",
)  # fmt: skip


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file; none if it is not there."""
    return [json.loads(text) for text in path.read_text().splitlines() if text] if path.exists() else []


def exact_weights(probe: Path | None) -> dict[str, int]:
    """Bytes that each shape's weights took when probe.py loaded them; with `:text`, without its vision tower."""
    found = lines(probe) if probe else []
    return {line["case"]: line["load"]["weights"] for line in found if "load" in line}


def row(found: dict[str, Any], exact: dict[str, int]) -> list[str]:
    """One case's cells."""
    cells = [found["shape"], str(found["board"])]
    if "error" in found:
        return [*cells, found["error"][:80]] + [""] * (len(COLUMNS) - 3)
    budget, memory = found["budget"], found["memory"]
    cells.append(f"{budget / GIB:.2f}")
    planned = memory["weights_bytes"]
    first = found.get("first")
    if first is None:
        missing = f"does not fit: {found['shortfall'] / GIB:.2f} GiB short"
        return [*cells, f"{planned / GIB:.3f}", missing] + [""] * (len(COLUMNS) - 5)
    measured = first["reported"].get("model_weights_bytes") or exact.get(found["shape"])
    cells.append(f"{planned / GIB:.3f}")
    cells.append(f"{measured / GIB:.3f}" if measured else "-")
    cells.append(f"{(planned - measured) / measured * 100:+.2f} %" if measured else "-")
    cells.append(f"{memory['kv_cache_bytes'] / GIB:.3f}")
    cells.append(f"{first['least_free'] / budget * 100:.1f} %")
    cells.append(f"{found['max_model_len']:,}")
    cells.append(_share(found.get("search")))
    cells.append("yes" if first["ok"] else f"NO: {(first.get('failed') or first.get('log') or '?')[-80:]}")
    cells.append("YES" if first["out_of_memory"] or not first["least_free"] else "no")
    cells.append(f"{first['least_free'] / (1 << 20):.0f}")
    cells.append(str(first.get("ready_s")))
    return [cell.replace("\n", " ").replace("|", "/") for cell in cells]


def _share(search: dict[str, Any] | None) -> str:
    """The planned context as a share of the largest, which is below the shortest that failed."""
    if search is None or search.get("share") is None:
        return "-"
    if "served" not in search:
        return "all of the model's"
    if search["too_long"] is None:
        return f"at most {search['share'] * 100:.1f} %: {search['served']:,} works"
    return f"> {search['share'] * 100:.1f} %: {search['too_long']:,} fails"


def markdown(results: Path, probe: Path | None) -> str:
    """The whole table, and a sentence that counts."""
    exact = exact_weights(probe)
    found = lines(results)
    body = "\n".join("| " + " | ".join(row(case, exact)) + " |" for case in found)
    head = "| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS)
    ran = [case for case in found if "first" in case]
    started = sum(1 for case in ran if case["first"]["ok"])
    over = sum(1 for case in ran if case["first"]["out_of_memory"])
    near = sum(1 for case in ran if (case.get("search", {}).get("share") or 0) >= 0.95)
    said = f"{len(ran)} planned starts: {started} served their full context the first time, {over} ran out of memory, "
    return f"{head}\n{body}\n\n{said}{near} planned at least 95 % of the largest context that works.\n"


if __name__ == "__main__":
    print(markdown(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None))
