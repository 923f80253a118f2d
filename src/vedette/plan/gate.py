"""The share of the memory that must be free before vLLM starts. Pure."""

LOWEST_UTILIZATION = 0.01


def gate_utilization(total_bytes: int, free_bytes: int) -> float:
    """Return the lowest useful `--gpu-memory-utilization` beside an explicit KV cache size.

    Every vLLM from 0.11.0 to 0.33.0 refuses to start when less than total × utilisation is free, with or without
    explicit bytes (`request_memory` in v1/worker/utils.py, before 0.14 in gpu_worker.py). With explicit bytes it has
    no other use: not for the KV cache, not as a limit, not for the profile's assertion. A higher value would only
    refuse starts that fit, as on integrated GPUs before 0.11.1, where the page cache counts as used. The plan has
    checked the memory that the model needs against better figures.
    """
    share = min(LOWEST_UTILIZATION, free_bytes / total_bytes)
    return max(0.0001, int(share * 10_000) / 10_000)
