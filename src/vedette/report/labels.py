"""Short names of a plan's numbers and settings."""

from vedette.language.message import Message

LABELS = {
    "architecture": Message("report.label.architecture"),
    "weights": Message("report.label.weights"),
    "kv_cache": Message("report.label.kv_cache"),
    "activation": Message("report.label.activation"),
    "vision_activation": Message("report.label.vision_activation"),
    "cuda_graph": Message("report.label.cuda_graph"),
    "runtime": Message("report.label.runtime"),
    "host": Message("report.label.host"),
    "reserve": Message("report.label.reserve"),
    "total": Message("report.label.total"),
    "available": Message("report.label.available"),
    "shortfall": Message("report.label.shortfall"),
    "other_processes": Message("report.label.other_processes"),
    "swap": Message("report.label.swap"),
    "max_model_len": Message("report.label.max_model_len"),
    "concurrency": Message("report.label.concurrency"),
    "images_per_request": Message("report.label.images_per_request"),
    "image_max_pixels": Message("report.label.image_max_pixels"),
    "visual_tokens": Message("report.label.visual_tokens"),
    "own_code": Message("report.label.own_code"),
    "video_frames": Message("report.label.video_frames"),
    "video_max_pixels": Message("report.label.video_max_pixels"),
    "prompt_tokens": Message("report.label.prompt_tokens"),
    "answer_tokens": Message("report.label.answer_tokens"),
    "graphs": Message("report.label.graphs"),
    "threads": Message("report.label.threads"),
    "freed_memory": Message("report.label.freed_memory"),
    "dtype": Message("report.label.dtype"),
    "weights_format": Message("report.label.weights_format"),
    "kv_cache_dtype": Message("report.label.kv_cache_dtype"),
    "attention_backend": Message("report.label.attention_backend"),
    "chunked_prefill": Message("report.label.chunked_prefill"),
    "max_num_batched_tokens": Message("report.label.max_num_batched_tokens"),
    "prefix_caching": Message("report.label.prefix_caching"),
    "gpu_memory_utilization": Message("report.label.gpu_memory_utilization"),
    "processor_cache": Message("report.label.processor_cache"),
    "reasoning_parser": Message("report.label.reasoning_parser"),
    "decode_tokens_per_s_ceiling": Message("report.label.decode_tokens_per_s_ceiling"),
    "decode_tokens_per_s": Message("report.label.decode_tokens_per_s"),
    "first_token_ms_floor": Message("report.label.first_token_ms_floor"),
    "model": Message("report.label.model"),
    "device": Message("report.label.device"),
    "fits": Message("report.label.fits"),
    "version": Message("report.label.version"),
}
"""By name in the JSON, without `_bytes`."""


def label(name: str) -> Message:
    """Return the label of a number or setting, or its name where it has no label."""
    return LABELS.get(name.removesuffix("_bytes")) or Message("plan.value.name", name=name.replace("_", " "))
