// In Chinese, what vedette's server says in English: causes of an engine's death, errors, and what to do about them.

// Sentences and hints as the server has them, to the letter, with {values} in the places of names and figures.
const SAID = [
  // Around other sentences, and so before them
  ["{story} {old} is brought back.", "{story}正在恢复 {old}。"],
  ["{model} did not come up: {cause}", "{model} 未能启动:{cause}"],
  ["{cause} So ended {count} starts in a row.", "{cause}连续 {count} 次启动都这样结束。"],
  ["The engine started but does not answer. {error}", "引擎已启动,但没有回答。{error}"],
  // Why an engine ended (engine/causes.py)
  ["The kernel killed the engine for lack of memory.", "内存不足,内核终止了引擎。"],
  ["The engine was killed without a word, as the kernel does when memory runs out.", "引擎突然被终止,没有留下任何信息;内存耗尽时内核会这样做。"],
  ["No memory was left for the KV cache after the weights were loaded.", "加载权重之后,没有剩余内存可用于 KV 缓存。"],
  ["The engine ran out of memory ({what}).", "引擎内存耗尽({what})。"],
  ["Free memory (`vedette device` shows what there is) or choose a smaller model.", "请释放内存(`vedette device` 显示现有内存),或选择更小的模型。"],
  ["The engine took requests and answered none of them for minutes.", "引擎接受了请求,但几分钟内没有回答任何一个。"],
  ["vedette starts it again; see `vedette logs` if it goes on.", "vedette 会重新启动它;如果仍然如此,请查看 `vedette logs`。"],
  ["The engine said nothing for a quarter of an hour and is not ready: it may be short of memory, or of a fast disk.", "引擎一刻钟没有任何输出,也没有就绪:可能内存不足,或磁盘太慢。"],
  ["Ask for less (`--context`, `--concurrency`) or free memory, and see `vedette logs`.", "请降低要求(`--context`、`--concurrency`)或释放内存,并查看 `vedette logs`。"],
  ["The engine does not know these arguments: {what}.", "引擎不认识这些参数:{what}。"],
  ["Its version is not the one planned for: remove its directory under the vedette home and start again.", "它的版本与计划的不同:请删除 vedette 主目录下它的目录,然后重新启动。"],
  ["The KV cache is too small for the planned context; the engine could serve {what} tokens.", "KV 缓存容不下计划的上下文;引擎只能提供 {what} 个词元。"],
  ["Start again with `--context {what}`.", "请用 `--context {what}` 重新启动。"],
  ["Another program took memory between the plan and the engine's start.", "在规划之后、引擎启动之前,其他程序占用了内存。"],
  ["Stop it or wait for it, then start again.", "请停止该程序或等它结束,然后重新启动。"],
  ["Another program gave memory back while the engine measured what it takes itself, which vLLM does not bear.", "引擎测量自身内存用量时,其他程序释放了内存,vLLM 无法应对这种情况。"],
  ["vedette starts it again; let the machine come to rest if it goes on.", "vedette 会重新启动它;如果仍然如此,请让机器先空闲下来。"],
  ["The model's weights cannot be read ({what}).", "无法读取模型的权重({what})。"],
  ["Fetch or copy the model again.", "请重新获取或复制模型。"],
  ["The engine's environment is broken: {what}.", "引擎的环境已损坏:{what}。"],
  ["Start again: vedette remakes what it has made itself; one of your own (VEDETTE_ENGINE) is yours to mend.", "请重新启动:vedette 会重建它自己制作的环境;您自己的环境(VEDETTE_ENGINE)需要您来修复。"],
  ["The container cannot use the GPU: {what}.", "容器无法使用 GPU:{what}。"],
  ["Set up nvidia-container-toolkit, or name an image that this driver runs (VEDETTE_IMAGE).", "请配置 nvidia-container-toolkit,或指定此驱动能运行的镜像(VEDETTE_IMAGE)。"],
  ["The engine's port was taken by another program.", "引擎的端口被其他程序占用。"],
  ["Start again: another port is chosen.", "请重新启动:会选用另一个端口。"],
  ["Another program killed the engine (SIGKILL): the kernel did not do it for lack of memory.", "其他程序终止了引擎(SIGKILL),并非内核因内存不足所为。"],
  ["vedette starts it again; see who did that if it goes on.", "vedette 会重新启动它;如果再次发生,请查明是谁所为。"],
  ["The engine stopped with {error}", "引擎因错误停止:{error}"],
  ["See `vedette logs` for the whole story.", "详情见 `vedette logs`。"],
  ["The engine ended {how}.", "引擎已结束({how})。"],
  ["by signal {name}", "信号 {name}"],
  ["with exit status {status}", "退出状态 {status}"],
  ["See `vedette logs` for what it last said.", "它最后的输出见 `vedette logs`。"],
  ["Out of memory while {doing}", "{doing}时内存不足"],
  ["starting", "启动"],
  ["serving", "服务"],
  ["{told}: the engine took more than the {planned} planned for it.", "{told}:引擎用了比计划的 {planned} 更多的内存。"],
  ["{told}: something else took it for a moment; {free} are free again, {needed} are needed.", "{told}:其他程序一时占用了内存;现在又有 {free} 可用,需要 {needed}。"],
  ["{told}: another program held part of the {planned} planned, and has let go of it.", "{told}:其他程序曾占用计划的 {planned} 的一部分,现已释放。"],
  ["{told}: {left} were left of the {planned} planned, because {why}.", "{told}:计划的 {planned} 只剩 {left},因为 {why}。"],
  ["all there is went from {total} to {less}", "总内存从 {total} 变为 {less}"],
  ["{name} (process {pid}) took {size}", "{name}(进程 {pid})占用了 {size}"],
  ["others took {size}", "其他程序占用了 {size}"],
  ["From now on plans keep {size} below that.", "今后的计划会比它少用 {size}。"],
  // Staying up, and the change to another model (deploy.py, fleet.py, attach.py, proposal.py)
  ["vedette stops, or the engine died for good.", "vedette 正在停止,或引擎已彻底停止。"],
  ["See `vedette status`.", "请查看 `vedette status`。"],
  ["{model} does not fit: it needs {more} more than the {available} available.", "{model} 放不下:比可用的 {available} 还多需要 {more}。"],
  ["{free}, choose a smaller model, or ask for less (`--context`, `--concurrency`).", "{free},选择更小的模型,或降低要求(`--context`、`--concurrency`)。"],
  ["Free memory ({others})", "请释放内存({others})"],
  ["Free memory", "请释放内存"],
  ["{model} cannot run on {device}. {why}", "{model} 无法在 {device} 上运行。{why}"],
  ["Choose a checkpoint in another format, or another model.", "请选择其他格式的权重,或其他模型。"],
  ["{model} is not served, so nothing can take its place.", "{model} 没有在服务,因此无法接替它。"],
  ["Served: {models}.", "正在服务:{models}。"],
  ["The server at {address} is gone.", "{address} 的服务器已离线。"],
  ["Wait for it.", "请等待它恢复。"],
  ["The server at {address} has no model {model}.", "{address} 的服务器没有模型 {model}。"],
  ["The server at {address} has no model that one can talk to.", "{address} 的服务器没有可以对话的模型。"],
  ["Load one there, then start again.", "请在那里加载一个模型,然后重新启动。"],
  ["The server at {address} has changed what it serves.", "{address} 的服务器更换了模型。"],
  ["It is asked again.", "会再次询问它。"],
  ["Nobody answers at {address}.", "{address} 没有回应。"],
  ["Start the server there, or check VEDETTE_ENGINE.", "请启动那里的服务器,或检查 VEDETTE_ENGINE。"],
  // The engine's answers (engine/client.py, engine/engine.py)
  ["The engine does not answer ({error}).", "引擎没有回应({error})。"],
  ["Wait until `vedette status` says ready, then try again.", "请等到 `vedette status` 显示 ready,然后重试。"],
  ["The engine failed on this request ({status}): {message}", "引擎处理此请求时出错({status}):{message}"],
  ["Try again, or see `vedette logs`.", "请重试,或查看 `vedette logs`。"],
  ["The engine refused the request ({status}): {message}", "引擎拒绝了请求({status}):{message}"],
  ["Change the request as it says.", "请按提示修改请求。"],
  ["The engine answered a test request with nothing.", "引擎对测试请求没有给出任何回答。"],
  ["See `vedette logs`.", "请查看 `vedette logs`。"],
  // The page's session and its wishes (serve/)
  ["There is no question.", "没有问题。"],
  ["Write one, or choose a source of pictures.", "请写一个问题,或选择图像来源。"],
  ["The engine ended in the middle of an answer.", "引擎在回答中途停止了。"],
  ["The engine is not ready: {state}.", "引擎尚未就绪:{state}。"],
  ["Try again in a few seconds; `vedette status` shows how far it is.", "请几秒后重试;`vedette status` 显示进度。"],
  ["This model cannot see.", "这个模型不能看图像。"],
  ["Ask it without a picture, or start one that sees.", "请不带图像提问,或启动能看图像的模型。"],
  ["vedette met a fault of its own.", "vedette 自身出现了故障。"],
  ["The engine has just been stopped.", "引擎刚刚停止。"],
  ["Ask again in a moment.", "请稍后再试。"],
  ["No model is served any more.", "已经没有模型在服务。"],
  ["{name} was given up.", "{name} 已经放弃。"],
  ["Its log has the details.", "详情见它的日志。"],
  ["Its log has the details; please report it.", "详情见它的日志;请报告此问题。"],
  ["The page sends too many messages.", "本页发送的消息太多。"],
  ["Reload the page.", "请重新加载本页。"],
  ["A frame came that nobody asked for.", "收到了没有索取的画面。"],
  ["The frame is empty.", "画面是空的。"],
  ["The message has a wrong field: {error}.", "消息中有错误的字段:{error}。"],
  ["The message is no valid JSON: {error}.", "消息不是有效的 JSON:{error}。"],
  ["What was sent is no JPEG, PNG or WebP picture.", "发送的不是 JPEG、PNG 或 WebP 图片。"],
  ["Send one of these.", "请发送这几种格式的图片。"],
  ["The picture has {width} × {height} pixels, more than the {most} asked for.", "图片有 {width} × {height} 像素,超过了要求的 {most}。"],
  ["Scale it down before sending it.", "请缩小后再发送。"],
  ["Another machine may not change what is served.", "其他机器不能更换模型。"],
  ["Allow it with `vedette up --allow-swap`.", "可以用 `vedette up --allow-swap` 允许。"],
  ["There is no model named {model} here.", "这里没有名为 {model} 的模型。"],
  ["See /api/models.", "请查看 /api/models。"],
  ["The wish is missing or too long.", "请求内容缺失或太长。"],
  ["The wish cannot be read: {error}.", "无法读取请求内容:{error}。"],
  ["Send {\"model\": \"NAME\"}.", "请发送 {\"model\": \"NAME\"}。"],
];

// What a code speaks of, for sentences that are not above: those follow it as they are.
const ABOUT = {
  out_of_memory: "引擎内存不足", memory_taken: "内存被其他程序占用", memory_returned: "测量内存时受到其他程序干扰",
  silent: "引擎长时间没有输出", stuck: "引擎没有回应", killed: "引擎被其他程序终止", port_in_use: "端口被占用",
  engine_broken: "引擎的环境已损坏", unknown_flag: "引擎不认识某些参数", context_too_large: "上下文太大",
  model_corrupt: "模型文件已损坏", container_gpu: "容器无法使用 GPU", engine_error: "引擎因错误停止", engine_ended: "引擎已结束",
  error: "出错", config: "设置有误", device: "设备有误", model_not_found: "找不到模型", does_not_fit: "内存放不下", engine_version: "引擎版本不合",
  disk_full: "磁盘空间不足", engine_install: "无法安装引擎", engine_failed: "引擎未能启动", swap_failed: "更换模型失败",
  engine_unavailable: "引擎暂时无法回答", request_refused: "引擎拒绝了请求", bad_input: "输入无法使用", too_large: "输入太大",
  already_running: "vedette 已在运行", not_running: "vedette 没有运行", service: "系统服务出错", forbidden: "不允许",
  no_such_page: "没有这个地址",
};

const VALUE = /\{(\w+)\}/;
const ONE_WORD = ["model", "old", "address", "doing"];
const PATTERNS = SAID.map(([english, chinese]) => {
  const parts = english.split(VALUE); // words and names of values in turn
  const source = parts.map((part, index) => {
    if (index % 2) return `(?<${part}>${ONE_WORD.includes(part) ? "\\S+" : ".+?"})`;
    return part.replace(/[$()*+.?[\\\]^{|}]/g, "\\$&");
  });
  return [new RegExp(`^${source.join("")}$`, "s"), chinese];
});

const SENTENCE = /.+?\.(?= |$)|.+$/gs;

/** English sentences in Chinese, so far as there is any, and what they name too; null where there is none at all. */
export function inChinese(text) {
  const sentences = (text.match(SENTENCE) ?? []).map((sentence) => sentence.trim());
  const known = sentences.length > 1 ? sentences.map(inChinese) : [];
  if (known.length && known.every(Boolean)) return known.join("");
  for (const [pattern, chinese] of PATTERNS) {
    const found = text.match(pattern);
    if (found) return chinese.replace(/\{(\w+)\}/g, (_, name) => inChinese(found.groups[name]) ?? found.groups[name]);
  }
  return known.some(Boolean) ? known.map((chinese, index) => chinese ?? sentences[index]).join("") : null;
}

/** A cause or an error as [sentence, hint]: in Chinese so far as there is any, the rest as it was said. */
export function toldInChinese({ code, sentence, hint }) {
  const about = ABOUT[code] ? `${ABOUT[code]}:` : "";
  return [inChinese(sentence) ?? `${about}${sentence}`, inChinese(hint) ?? hint];
}
