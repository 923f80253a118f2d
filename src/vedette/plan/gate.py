"""The share of the memory that vLLM wants to see free before it starts. Pure."""

LOWEST_UTILIZATION = 0.01


def gate_utilization(total_bytes: int, free_bytes: int) -> float:
    """The lowest `--gpu-memory-utilization` to ask for beside an explicit KV cache.

    Every vLLM from 0.11.0 to 0.33.0 refuses to start when less than total × utilisation is free, explicit bytes or
    not (`request_memory` in v1/worker/utils.py, before 0.14 in gpu_worker.py), and with explicit bytes uses it for
    nothing else: not for the KV cache, not as a limit, not for the profile's assertion. So a high one only makes
    starts fail that would fit, as on integrated GPUs before 0.11.1, where the page cache counts as used. What the
    model really takes the plan has checked, against better figures.
    """
    share = min(LOWEST_UTILIZATION, free_bytes / total_bytes)
    return max(0.0001, int(share * 10_000) / 10_000)
