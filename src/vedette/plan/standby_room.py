"""Whether a plan leaves enough memory for a standby, a second engine process with its libraries loaded. Pure."""

from vedette.plan.plan import Backend, Plan
from vedette.units import GIB

STANDBY_BYTES = {Backend.CPU: GIB // 2, Backend.CUDA: GIB}
"""Memory of a standby (bench/product/startup/results.md): measured on a CPU, assumed with a GPU's libraries."""
FREE_STANDBYS = 3
"""The free memory must hold this many standbys: one, and twice as much for the other work of the machine."""


def has_room_for_standby(plan: Plan) -> bool:
    """Return whether the plan leaves enough free memory for a standby: RAM, where a GPU has memory of its own."""
    memory = plan.memory
    if memory.host_available_bytes is not None:
        free_bytes = memory.host_available_bytes - memory.host_bytes
    else:
        free_bytes = memory.available_bytes - memory.total_bytes
    return free_bytes >= FREE_STANDBYS * STANDBY_BYTES[plan.settings.backend]
