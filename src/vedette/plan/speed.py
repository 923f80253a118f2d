"""Limits of speed, set by memory bandwidth and arithmetic. Pure."""

from vedette.models.model import Model
from vedette.plan.ladder import Rung
from vedette.plan.memory import Site
from vedette.plan.plan import Backend, Speed


def plan_speed(site: Site, rung: Rung) -> Speed:
    """Return the ceiling of the decoding speed, the expected speed, and the minimum time to the first token."""
    bandwidth = site.device.memory_bandwidth_bytes_per_s
    if bandwidth is None or site.backend is Backend.CPU:
        return Speed()
    ceiling = bandwidth / bytes_per_token(site.model)
    share = site.calibration.decode_share if site.calibration else None
    return Speed(
        decode_tokens_per_s_ceiling=ceiling,
        decode_tokens_per_s=ceiling * share if share is not None else None,
        first_token_ms_floor=_first_token_ms(site, rung, bandwidth),
    )


def bytes_per_token(model: Model) -> int:
    """Return the bytes of weights read for one token: all but the vision tower's and those of idle experts."""
    experts = model.experts
    if experts is None:
        return model.decode_weights_bytes
    idle = experts.weights_bytes * (experts.count - experts.per_token) // experts.count
    return model.decode_weights_bytes - idle


def _first_token_ms(site: Site, rung: Rung, bandwidth: int) -> float | None:
    """Return the minimum time to the first token: two operations for each weight and token or patch, each weight read
    once.

    For a request of one largest picture and a short question; for a text model, of a prompt of full length.
    """
    model, peak = site.model, site.device.peak_flops_per_s
    if peak is None:
        return None
    reads_s = bytes_per_token(model) / bandwidth
    tokens = rung.visual_tokens + 32 if rung.images else rung.prompt_tokens
    operations = 2 * tokens * _weights_used(model)
    if model.vision is not None and rung.images:
        operations += 2 * model.vision.encoder_patches(rung.image_max_pixels) * model.vision_weights_bytes // 2
        reads_s += model.vision_weights_bytes / bandwidth
    return max(reads_s, operations / peak) * 1000


def _weights_used(model: Model) -> int:
    """Return the number of weights of the language model that one token is multiplied with."""
    hidden, heads = model.hidden_size, model.attention_heads + 2 * model.kv_heads
    feed_forward = model.intermediate_size * 3
    if model.experts is not None:
        feed_forward = model.experts.per_token * model.experts.intermediate_size * 3
    return model.layers * hidden * (heads * model.head_size + model.attention_heads * model.head_size + feed_forward)
