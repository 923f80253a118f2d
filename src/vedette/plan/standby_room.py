"""Whether a plan leaves enough memory for a second engine process that waits with its libraries loaded. Pure."""

from vedette.plan.plan import Backend, Plan
from vedette.units import GIB

STANDBY_BYTES = {Backend.CPU: GIB // 2, Backend.CUDA: GIB}
"""What one holds while it waits, measured on a CPU, assumed with a GPU (bench/product/startup/results.md)."""
TIMES = 3
"""Of that must be free beside the plan: what it holds, and twice as much for whatever else the machine is for."""


def worth_it(plan: Plan) -> bool:
    """Whether the memory that this plan leaves free is plenty for a standby; of RAM, where a GPU has its own."""
    memory = plan.memory
    if memory.host_available_bytes is not None:
        free_bytes = memory.host_available_bytes - memory.host_bytes
    else:
        free_bytes = memory.available_bytes - memory.total_bytes
    return free_bytes >= TIMES * STANDBY_BYTES[plan.settings.backend]
