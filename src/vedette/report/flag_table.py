"""The flags that vLLM is given: what each does, and what decides its value."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from vedette.errors import BadInputError
from vedette.language.message import Message


@dataclass(frozen=True)
class FlagFacts:
    """What is known of one flag."""

    does: Message
    """Its effect in vLLM, a sentence."""
    subjects: tuple[str, ...] = ()
    """Subjects of the plan's reasons that decide its value, the nearest first."""
    always: Message | None = None
    """Why vedette sets it like this, where no number of the plan decides."""
    wish: str | None = None
    """Field of `Wish` that changes it."""


FLAGS: Mapping[str, FlagFacts] = {
    "--served-model-name": FlagFacts(
        Message("report.flag.served_model_name"), always=Message("report.always.served_model_name")
    ),
    "--host": FlagFacts(Message("report.flag.host"), always=Message("report.always.host")),
    "--port": FlagFacts(Message("report.flag.port"), always=Message("report.always.port")),
    "--uds": FlagFacts(Message("report.flag.uds"), always=Message("report.always.uds")),
    "--dtype": FlagFacts(Message("report.flag.dtype"), ("dtype",)),
    "--max-model-len": FlagFacts(Message("report.flag.max_model_len"), ("max_model_len",), wish="max_model_len"),
    "--max-num-seqs": FlagFacts(Message("report.flag.max_num_seqs"), ("concurrency",), wish="concurrency"),
    "--max-num-batched-tokens": FlagFacts(
        Message("report.flag.max_num_batched_tokens"), ("max_num_batched_tokens",), wish="max_model_len"
    ),
    "--kv-cache-memory-bytes": FlagFacts(
        Message("report.flag.kv_cache_memory_bytes"), ("kv_cache",), wish="max_model_len"
    ),
    "--gpu-memory-utilization": FlagFacts(Message("report.flag.gpu_memory_utilization"), ("gpu_memory_utilization",)),
    "--kv-cache-dtype": FlagFacts(Message("report.flag.kv_cache_dtype"), ("kv_cache_dtype",)),
    "--limit-mm-per-prompt": FlagFacts(
        Message("report.flag.limit_mm_per_prompt"),
        ("images_per_request", "visual_tokens"),
        always=Message("report.always.limit_mm_per_prompt"),
        wish="images_per_request",
    ),
    "--media-io-kwargs": FlagFacts(Message("report.flag.media_io_kwargs"), ("video_frames",)),
    "--mm-processor-kwargs": FlagFacts(
        Message("report.flag.mm_processor_kwargs"), ("image_max_pixels", "visual_tokens"), wish="image_max_pixels"
    ),
    "--mm-processor-cache-gb": FlagFacts(
        Message("report.flag.mm_processor_cache_gb"),
        ("processor_cache",),
        always=Message("report.always.mm_processor_cache_gb"),
    ),
    "--reasoning-parser": FlagFacts(Message("report.flag.reasoning_parser"), ("reasoning_parser",)),
    "--default-chat-template-kwargs": FlagFacts(
        Message("report.flag.default_chat_template_kwargs"),
        always=Message("report.always.default_chat_template_kwargs"),
    ),
    "--enforce-eager": FlagFacts(Message("report.flag.enforce_eager"), ("graphs",)),
    "--compilation-config": FlagFacts(Message("report.flag.compilation_config"), ("graphs", "cuda_graph")),
    "--attention-backend": FlagFacts(Message("report.flag.attention_backend"), ("attention_backend",)),
    "--hf-overrides": FlagFacts(Message("report.flag.hf_overrides"), ("weights",)),
    "--trust-remote-code": FlagFacts(Message("report.flag.trust_remote_code"), ("own_code",)),
    "--quantization": FlagFacts(Message("report.flag.quantization"), ("weights_format",)),
    "--block-size": FlagFacts(Message("report.flag.block_size"), ("kv_cache",)),
    "--enable-prefix-caching": FlagFacts(
        Message("report.flag.enable_prefix_caching"),
        ("prefix_caching",),
        always=Message("report.always.enable_prefix_caching"),
    ),
    "--no-enable-prefix-caching": FlagFacts(Message("report.flag.no_enable_prefix_caching"), ("prefix_caching",)),
    "--enable-chunked-prefill": FlagFacts(Message("report.flag.enable_chunked_prefill"), ("chunked_prefill",)),
    "--no-enable-chunked-prefill": FlagFacts(Message("report.flag.no_enable_chunked_prefill"), ("chunked_prefill",)),
    "--skip-mm-profiling": FlagFacts(Message("report.flag.skip_mm_profiling")),
    "--language-model-only": FlagFacts(Message("report.flag.language_model_only"), ("visual_tokens",)),
    "--disable-uvicorn-access-log": FlagFacts(
        Message("report.flag.disable_uvicorn_access_log"), always=Message("report.always.disable_uvicorn_access_log")
    ),
    "--allowed-media-domains": FlagFacts(
        Message("report.flag.allowed_media_domains"), always=Message("report.always.allowed_media_domains")
    ),
}
OWN_OPTIONS: Mapping[str, str] = {
    "--context": "--max-model-len",
    "--concurrency": "--max-num-seqs",
    "--images": "--limit-mm-per-prompt",
    "--picture": "--mm-processor-kwargs",
}
"""vedette's own options, and the flag of vLLM that each one sets first of all."""


def find_flag(written: str) -> str:
    """Return the flag that a person means, with or without dashes, or by vedette's own option.

    Raises BadInputError, which suggests the nearest flag.
    """
    name = "--" + written.strip().lower().lstrip("-").replace("_", "-").replace(" ", "-")
    name = OWN_OPTIONS.get(name, name)
    if name in FLAGS:
        return name
    near = difflib.get_close_matches(name, FLAGS, n=1, cutoff=0.6)
    if near:
        raise BadInputError("report.unknown_flag_with_suggestion", flag=name, suggestion=near[0])
    raise BadInputError("report.unknown_flag", flag=name)
