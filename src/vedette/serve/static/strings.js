// Everything the page says, in English and Chinese. What the server says is English; chinese.js has the Chinese of it.

import { toldInChinese } from "./chinese.js";

const TABLES = {
  en: {
    language: "Language", skip: "Skip to the answers",
    look: "What the model looks at", source: "Source", camera: "Camera", file: "File", scene: "Scene",
    device: "Camera", turn: "Switch between front and back camera", live: "LIVE", drop: "Drop a picture or a video",
    choose: "Choose a picture or a video", noFile: "Drop a picture or a video here, or choose one.",
    aboutScene: "Drawn by vedette itself: no camera needed, and every answer can be checked.",
    question: "Question", promptHint: "What should the model look for?", presets: "Ready-made questions",
    start: "Start", stop: "Stop", ask: "Ask", waiting: "Stop waiting for the engine",
    think: "Think first", length: "Longest answer", tokens: "{n} tokens", more: "More",
    system: "System prompt", systemHint: "Who the model should be, in what form it should answer …",
    keys: "Keys: {space} start or stop, {slash} edit the question, {digits} choose the source.", space: "Space",
    answers: "Answers", clear: "Clear", empty: "Press Start, and what the model sees is said here, word by word.",
    emptyText: "This model reads but does not see. Ask it something.",
    pace: "{rate} answers/min · first word after {first} ms",
    thoughts: "Reasoning", thinking: "Thinking …", truth: "Really there: {text}", frameOf: "The picture that this answer speaks of",
    frameToRequest: "asked after *{n}* ms", firstToken: "first word *{n}* ms", total: "total *{n}* ms", count: "*{n}* tokens", speed: "*{n}* tokens/s",
    cutLength: "Cut at the longest answer; allow more tokens to read on.",
    cutThinking: "All tokens went into thinking. Allow a longer answer, or switch thinking off.",
    stopped: "Stopped.", broken: "Broken off.",
    connecting: "Connecting …", lost: "vedette does not answer. Trying again …",
    lostHint: "The connection to vedette is lost. This page goes on by itself when it is back; if it does not come back, run `vedette up` again.",
    ready: "Ready", preparing: "Preparing", starting: "Starting", draining: "Stopping", stoppedState: "Stopped", failed: "Failed",
    model: "Model:", models: "Models", served: "Served", installed: "Installed", textOnly: "text only", dismiss: "Close",
    takesPlace: "An installed model takes the place of {model}. Answers wait until it is ready.",
    noOthers: "No other model is installed. `vedette swap MODEL` fetches one and serves it.",
    swapForbidden: "Only the machine that vedette runs on may change what is served. `vedette up --allow-swap` lets others do so.",
    oneChange: "{model} is on its way. One change at a time.",
    changing: "Changing", changingTo: "Changing to {model}", changingHint: "Answers go on by themselves when it is ready.",
    blind: "{model} reads but does not see: no picture is taken or sent.",
    comingUp: "The engine is coming up", comingUpHint: "This page starts by itself when it is ready.",
    failedTitle: "The engine is not running", stoppedHint: "Start it with `vedette up`.",
    turnOn: "Turn on the camera", cameraOff: "The picture stays in this browser until the engine asks for a frame.",
    tryAgain: "Try again", takeScene: "Use the scene instead",
    denied: "This browser may not use the camera. Allow it in the site settings (left of the address), then try again.",
    noCamera: "No camera was found. Plug one in, or use a file or the scene.",
    cameraBusy: "The camera is in use by another program. Close that program, then try again.",
    cameraFailed: "The camera cannot be opened ({reason}). Try again, or use a file or the scene.",
    cameraEnded: "The camera was unplugged or switched off. Connect it, then try again.",
    cameraSilent: "The camera sends no picture now. It goes on by itself when the camera does.",
    insecure: "Browsers open cameras only on https pages and on localhost, and this page came from {host}. On the computer with the camera run `ssh -L {port}:127.0.0.1:{port} USER@{name}` and open `http://localhost:{port}`. File and scene work here.",
    notMedia: "“{name}” is neither a picture nor a video that this browser can read. Choose a JPEG, PNG, WebP, MP4 or WebM file.",
    sceneFailed: "The scene cannot be drawn. See vedette's log.",
    phases: {
      "draining": "Finishing the answers that are being given",
      "detecting device": "Looking at this machine", "choosing model": "Choosing a model", "fetching model": "Fetching the model",
      "installing engine": "Installing the engine", planning: "Planning memory", "launching engine": "Launching the engine",
      "loading weights": "Loading weights", profiling: "Measuring memory", compiling: "Compiling",
      "capturing graphs": "Capturing graphs", "warming up": "Answering a test picture",
    },
  },
  zh: {
    language: "语言", skip: "跳到回答",
    look: "模型看到的画面", source: "来源", camera: "摄像头", file: "文件", scene: "场景",
    device: "摄像头", turn: "切换前后摄像头", live: "实时", drop: "松开以使用此图片或视频",
    choose: "选择图片或视频", noFile: "把图片或视频拖到这里,或选择一个文件。",
    aboutScene: "由 vedette 自己绘制:不需要摄像头,而且每个回答都可以核对。",
    question: "问题", promptHint: "想让模型看什么?", presets: "常用问题",
    start: "开始", stop: "停止", ask: "提问", waiting: "停止等待引擎",
    think: "先思考", length: "最长回答", tokens: "{n} 个词元", more: "更多",
    system: "系统提示词", systemHint: "模型的角色、回答的形式……",
    keys: "按键:{space} 开始或停止,{slash} 编辑问题,{digits} 选择来源。", space: "空格",
    answers: "回答", clear: "清空", empty: "按下“开始”,模型看到的内容会逐词显示在这里。",
    emptyText: "这个模型只读文字,不看图像。可以直接提问。",
    pace: "每分钟 {rate} 个回答 · 首词 {first} 毫秒",
    thoughts: "思考过程", thinking: "思考中……", truth: "实际内容:{text}", frameOf: "这个回答所描述的画面",
    frameToRequest: "取景到请求 *{n}* 毫秒", firstToken: "首词 *{n}* 毫秒", total: "总计 *{n}* 毫秒", count: "*{n}* 词元", speed: "*{n}* 词元/秒",
    cutLength: "已到最长回答限制;增加词元数可以读到更多。",
    cutThinking: "所有词元都用于思考。请增加回答长度,或关闭思考。",
    stopped: "已停止。", broken: "已中断。",
    connecting: "正在连接……", lost: "vedette 没有回应,正在重试……",
    lostHint: "与 vedette 的连接已断开。恢复后本页会自动继续;如果一直没有恢复,请重新运行 `vedette up`。",
    ready: "就绪", preparing: "准备中", starting: "启动中", draining: "正在停止", stoppedState: "已停止", failed: "失败",
    model: "模型:", models: "模型", served: "正在服务", installed: "已安装", textOnly: "仅文字", dismiss: "关闭",
    takesPlace: "已安装的模型会接替 {model}。就绪之前,回答会等待。",
    noOthers: "没有安装其他模型。`vedette swap MODEL` 会获取并启用一个。",
    swapForbidden: "只有运行 vedette 的机器可以更换模型。`vedette up --allow-swap` 允许其他机器更换。",
    oneChange: "正在换成 {model}。一次只能更换一个。",
    changing: "更换中", changingTo: "正在换成 {model}", changingHint: "就绪后会自动继续回答。",
    blind: "{model} 只读文字,不看图像:不会获取或发送画面。",
    comingUp: "引擎正在启动", comingUpHint: "就绪后本页会自动开始。",
    failedTitle: "引擎没有运行", stoppedHint: "请运行 `vedette up` 启动。",
    turnOn: "打开摄像头", cameraOff: "在引擎索取画面之前,图像只留在本浏览器中。",
    tryAgain: "重试", takeScene: "改用场景",
    denied: "浏览器不允许使用摄像头。请在网站设置(地址栏左侧)中允许,然后重试。",
    noCamera: "没有找到摄像头。请接上摄像头,或使用文件或场景。",
    cameraBusy: "摄像头正被其他程序占用。请关闭该程序后重试。",
    cameraFailed: "无法打开摄像头({reason})。请重试,或使用文件或场景。",
    cameraEnded: "摄像头已被拔出或关闭。请重新连接后重试。",
    cameraSilent: "摄像头目前没有画面。恢复后会自动继续。",
    insecure: "浏览器只允许 https 页面和 localhost 使用摄像头,而本页来自 {host}。请在带摄像头的电脑上运行 `ssh -L {port}:127.0.0.1:{port} USER@{name}`,然后打开 `http://localhost:{port}`。文件和场景在这里可以使用。",
    notMedia: "“{name}”不是本浏览器能读取的图片或视频。请选择 JPEG、PNG、WebP、MP4 或 WebM 文件。",
    sceneFailed: "无法绘制场景。请查看 vedette 的日志。",
    phases: {
      "draining": "完成正在给出的回答",
      "detecting device": "识别设备", "choosing model": "选择模型", "fetching model": "获取模型",
      "installing engine": "安装引擎", planning: "规划内存", "launching engine": "启动引擎",
      "loading weights": "加载权重", profiling: "测量内存", compiling: "编译",
      "capturing graphs": "捕获计算图", "warming up": "回答测试图片",
    },
  },
};

// Ready-made questions: [label, question] for each language. vedette-tiny knows English only.
const PRESETS = [
  { en: ["Describe", "What do you see?"], zh: ["描述", "你看到了什么?请简短回答。"], tiny: true },
  { en: ["Count", "How many objects are there?"], zh: ["计数", "画面中有多少个物体?"], tiny: true },
  { en: ["Leftmost", "What is on the left?"], zh: ["最左边", "最左边是什么?"], tiny: true },
  { en: ["Rightmost", "What is on the right?"], zh: ["最右边", "最右边是什么?"], tiny: true },
  { en: ["A dog?", "Is there a dog?"], zh: ["有狗吗", "有狗吗?"], tiny: true },
  { en: ["People", "How many people are there, and what is each of them doing?"], zh: ["人员", "有几个人?每个人在做什么?"] },
  { en: ["Read text", "Read all text in the picture, line by line."], zh: ["读文字", "逐行读出画面中的所有文字。"] },
  { en: ["Danger", "Is anything here dangerous for people? Begin with yes or no, then name it in one sentence."], zh: ["危险", "画面中有对人危险的情况吗?先回答是或否,再用一句话说明。"] },
  { en: ["Fire or smoke", "Is there fire or smoke? Begin with yes or no."], zh: ["烟火", "有火或烟吗?先回答是或否。"] },
  { en: ["Protective gear", "Is anyone here without a helmet or a safety vest? Begin with yes or no, then say who."], zh: ["防护装备", "有人没戴安全帽或没穿反光衣吗?先回答是或否,再说明是谁。"] },
  { en: ["Way clear?", "Is the way ahead clear? Begin with yes or no, then name what is in the way."], zh: ["道路畅通?", "前方道路畅通吗?先回答是或否,再说明有什么障碍。"] },
];

let language = chosenBefore() ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
const listeners = [];

/** The words for `key`, with {names} filled in. */
export function t(key, values = {}) {
  return TABLES[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** What the server says of a cause or an error, as [sentence, hint]. */
export function told(error) {
  return language === "zh" ? toldInChinese(error) : [error.sentence, error.hint];
}

export function phaseName(phase) {
  return TABLES[language].phases[phase] ?? phase;
}

/** What happens on the way to a ready engine, in that order. Draining comes first where it takes another's place. */
export const PHASES = Object.keys(TABLES.en.phases);

/** [label, question] pairs for a model. */
export function presets(modelName) {
  const tiny = modelName === "vedette-tiny";
  return PRESETS.filter((preset) => preset.tiny || !tiny).map((preset) =>
    [preset[language][0], tiny ? preset.en[1] : preset[language][1]]);
}

/** The language chosen on an earlier visit; browsers that keep nothing for pages have none. */
function chosenBefore() {
  try {
    const name = localStorage.getItem("language");
    return name in TABLES ? name : null;
  } catch {
    return null;
  }
}

export function setLanguage(name) {
  language = name;
  try {
    localStorage.setItem("language", name);
  } catch {
    // Not kept, then: the page works all the same.
  }
  translate();
}

/** Calls `listener` now and whenever the language changes. */
export function onLanguage(listener) {
  listeners.push(listener);
  listener();
}

/** Puts words into everything marked with data-t… */
export function translate() {
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const element of document.querySelectorAll("[data-t-label]")) element.setAttribute("aria-label", t(element.dataset.tLabel));
  for (const element of document.querySelectorAll("[data-t-placeholder]")) element.placeholder = t(element.dataset.tPlaceholder);
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === language));
  }
  for (const listener of listeners) listener();
}

/** Text in which `backquoted` parts become code, as nodes. */
export function withCode(text) {
  return text.split("`").map((part, index) => {
    if (index % 2 === 0) return document.createTextNode(part);
    const code = document.createElement("code");
    code.textContent = part;
    return code;
  });
}
