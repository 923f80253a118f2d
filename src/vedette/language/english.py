"""The English sentences, by code: a sentence, or a sentence and a hint that says what to do next.

language/message.py says how values are shown. One section a room; the other language has the same codes.
"""

from vedette.language.message import Table

ENGLISH: Table = {
    # ---- errors, phases, states ----
    "errors.verbatim": ("{sentence}", "{hint}"),
    "phase.detecting_device": "detecting device",
    "phase.choosing_model": "choosing model",
    "phase.fetching_model": "fetching model",
    "phase.installing_engine": "installing engine",
    "phase.planning": "planning",
    "phase.launching_engine": "launching engine",
    "phase.loading_weights": "loading weights",
    "phase.profiling": "profiling",
    "phase.compiling": "compiling",
    "phase.capturing_graphs": "capturing graphs",
    "phase.warming_up": "warming up",
    "state.stopped": "stopped",
    "state.preparing": "preparing",
    "state.starting": "starting",
    "state.ready": "ready",
    "state.draining": "stopping",
    "state.failed": "failed",
    # ---- settings ----
    # ---- device ----
    # ---- models ----
    # ---- plan ----
    # ---- report ----
    # ---- engine ----
    "engine.killed_by_kernel": (
        "The kernel killed the engine because memory ran out.",
        "Free memory (`vedette device` shows the use) or choose a smaller model.",
    ),
    "engine.killed_silently": (
        "The engine was killed without a message, as the kernel does when memory runs out.",
        "Free memory (`vedette device` shows the use) or choose a smaller model.",
    ),
    "engine.killed_by_another": (
        "Another program killed the engine (SIGKILL). The kernel did not: memory had not run out.",
        "vedette restarts the engine. If it is killed again, find out which program does it.",
    ),
    "engine.stuck": (
        "The engine accepted requests and answered none of them for minutes.",
        "vedette restarts the engine. If this happens again, see `vedette logs`.",
    ),
    "engine.silent": (
        "The engine printed nothing for 15 minutes and is not ready. Memory may be short, or the disk slow.",
        "Ask for less (`--context`, `--concurrency`) or free memory, and see `vedette logs`.",
    ),
    "engine.unknown_flag": (
        "The engine does not know these arguments: {flags}.",
        "Its version is not the planned one: remove its directory under the vedette home and start again.",
    ),
    "engine.context_too_large": (
        "The KV cache is too small for the planned context. The engine could serve {tokens} tokens.",
        "Start again with `--context {tokens:d}`.",
    ),
    "engine.no_memory_for_cache": (
        "No memory was left for the KV cache after the weights were loaded.",
        "Free memory (`vedette device` shows the use) or choose a smaller model.",
    ),
    "engine.out_of_memory": (
        "The engine ran out of memory ({error}).",
        "Free memory (`vedette device` shows the use) or choose a smaller model.",
    ),
    "engine.memory_taken": (
        "Another program took memory between the plan and the start of the engine.",
        "Stop that program or wait until it ends, then start again.",
    ),
    "engine.memory_returned": (
        "Another program freed memory while the engine measured its own use, which makes vLLM's memory profiling fail.",
        "vedette starts the engine again. If this happens again, wait until other programs are idle.",
    ),
    "engine.weights_unreadable": ("The model's weights cannot be read ({error}).", "Fetch or copy the model again."),
    "engine.environment_broken": (
        "The engine's environment is broken: {error}.",
        "Start again: vedette reinstalls an environment of its own. Your own environment (VEDETTE_ENGINE) you must repair yourself.",
    ),
    "engine.container_without_gpu": (
        "The container cannot use the GPU: {error}.",
        "Install and configure nvidia-container-toolkit, or name an image that this driver can run (VEDETTE_IMAGE).",
    ),
    "engine.port_taken": ("Another program took the engine's port.", "Start again: vedette then chooses another port."),
    "engine.stopped_with_error": ("The engine stopped with {error}", "See `vedette logs` for the details."),
    "engine.ended_by_signal": ("The engine was ended by signal {signal}.", "See `vedette logs` for its last lines."),
    "engine.ended_with_status": (
        "The engine ended with exit status {status}.",
        "See `vedette logs` for its last lines.",
    ),
    # ---- deploy ----
    "deploy.same_end": ("{cause} {starts} starts in a row ended like this.", "{hint}"),
    # ---- sources, serve ----
    # ---- instance, systemd ----
    # ---- cli ----
}
