"""What the servers of vLLM, llama.cpp and Ollama answer when asked for their models."""

VLLM_MODELS = {
    "object": "list",
    "data": [
        {
            "id": "vedette-tiny",
            "object": "model",
            "created": 1795337519,
            "owned_by": "vllm",
            "root": "/models/vedette-tiny",
            "parent": None,
            "max_model_len": 4096,
            "permission": [{"id": "modelperm-1", "object": "model_permission"}],
        }
    ],
}

# As its build 1-0c1e570 answered for a model without a projector, but for the model's picture and thinking template.
LLAMA_MODELS = {
    "models": [{"name": "smollm2", "model": "smollm2", "capabilities": ["completion"], "parameters": ""}],
    "object": "list",
    "data": [
        {
            "id": "smollm2",
            "aliases": ["smollm2"],
            "object": "model",
            "created": 1795338659,
            "owned_by": "llamacpp",
            "meta": {"n_vocab": 49152, "n_ctx": 1024, "n_ctx_train": 8192, "size": 96576768, "ftype": "Q4_1"},
        }
    ],
}

LLAMA_PROPS = {
    "default_generation_settings": {"params": {"n_predict": -1, "temperature": 0.8}, "n_ctx": 1024},
    "total_slots": 2,
    "model_alias": "smollm2",
    "modalities": {"vision": True, "video": False, "audio": False},
    "chat_template": "{% if enable_thinking %}<think>{% endif %}",
    "build_info": "b1-0c1e570",
    "is_sleeping": False,
}

# As its README has the list of a newer build.
LLAMA_MODELS_NEWER = {
    "data": [{"id": "a.gguf", "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]}}]
}

OLLAMA_MODELS = {
    "object": "list",
    "data": [
        {"id": "nomic-embed-text:latest", "object": "model", "created": 1795337519, "owned_by": "library"},
        {"id": "qwen3-vl:2b", "object": "model", "created": 1795337519, "owned_by": "library"},
    ],
}

OLLAMA_SHOW = {
    "parameters": 'temperature                    0.7\nstop                           "<|im_end|>"',
    "details": {"format": "gguf", "family": "qwen3vl", "parameter_size": "2.1B"},
    "model_info": {"general.architecture": "qwen3vl", "qwen3vl.context_length": 262144},
    "capabilities": ["completion", "vision", "thinking"],
}

OLLAMA_RUNNING = {
    "models": [{"name": "qwen3-vl:2b", "model": "qwen3-vl:2b", "size_vram": 5137025024, "context_length": 4096}]
}
