// The page: what is looked at, what is asked, and the one session with the server that joins them.

import { EnginePanel } from "./engine.js";
import { Feed } from "./feed.js";
import { askForSwap, ModelMenu, wantedModel, wantModel } from "./models.js";
import { LiveSocket } from "./socket.js";
import { acceptDrops, CameraSource, FileSource, SceneSource } from "./sources.js";
import { onLanguage, presets, setLanguage, t, told, translate, withCode } from "./strings.js";

const SETTLE_MS = 400;
const SENT_KEPT = 4;

const $ = (id) => document.getElementById(id);
const tabs = document.querySelectorAll('input[name="source"]');

const engine = new EnginePanel($("pill"), $("pill-text"), $("engine"));
const feed = new Feed({
  list: $("answers"), empty: $("empty"), spoken: $("spoken"), caption: $("caption"), pace: $("pace"), clear: $("clear"),
});
const menu = new ModelMenu({
  root: $("standing"), button: $("model"), name: $("model-name"), popup: $("models"), list: $("model-list"),
  hint: $("models-hint"), onLook: lookAt, onSwap: swapTo,
});
const sources = {
  camera: new CameraSource(
    (sentence) => { stop(); notice(sentence, "tryAgain", openCamera); },
    (sentence) => { if (sentence) notice(sentence, "tryAgain", openCamera); else hideNotice(); },
  ),
  file: new FileSource(),
  scene: new SceneSource((sentence) => notice(sentence, "tryAgain", showSource)),
};

let chosen = "camera";
let byHand = false; // whether the person has chosen a source or pressed Start
let running = false;
let server = null; // the last status message: the engine, limits, thinks
let sees = true; // whether the model does; taken to be so while it is not known
let source = "none"; // of what was last asked for
let isNew = true; // whether this connection's first status is still to come
const sent = new Map(); // frames by the number of their ask, until their answer begins

// ---- The session ----

const socket = new LiveSocket({
  open: () => { isNew = true; },
  lost: () => {
    engine.update(null);
    feed.breakOff("broken", t("broken"));
    sent.clear();
    showGo();
  },
  status: showStatus,
  ask: answerAsk,
  frame: (id, picture) => keep(id, picture),
  begin: ({ id, prompt, truth }) => {
    hideFault();
    feed.begin(prompt, sent.get(id), truth, server.engine.model);
    for (const number of sent.keys()) if (number <= id) sent.delete(number);
  },
  words: (message) => feed.add(message),
  done: (message) => feed.finish(message),
  stopped: () => {
    feed.breakOff("stopped", t("stopped"));
    feed.rest();
    running = false;
    showGo();
  },
  error: (error) => {
    feed.breakOff("broken", t("broken"));
    // While the engine is down its panel says why, and who has stopped knows why; again below it would only be noise.
    if (engine.isReady && running) showFault(told(error).join(" "));
  },
}, wantedModel());

function showStatus(message) {
  const before = isNew ? null : server?.engine.model;
  const { model, state } = message.engine;
  // Who looks at a model by its name goes on with the one that takes its place.
  if (before && model && model !== before && wantedModel() === before) wantModel(model);
  server = message;
  engine.update(message);
  menu.update(model, engine.changing);
  const saw = sees;
  if (state === "ready") sees = message.sees;
  if (sees !== saw) showSource();
  if (running && !sees && source !== "none") stop();
  if (running && isNew) sendStart();
  isNew = false;
  showLimits();
  showGo();
}

async function answerAsk({ id, max_pixels: maxPixels }) {
  const began = performance.now();
  const frame = await sources[chosen].grab?.(maxPixels);
  if (!frame) {
    socket.send({ type: "no_frame", id });
    return;
  }
  const picture = await frame.blob.arrayBuffer();
  const readMs = performance.now() - began;
  keep(id, frame.blob);
  socket.sendFrame(id, readMs, Math.max(frame.ageMs, 0), picture);
}

/** Keeps a frame until its answer begins, and shows that it was taken. */
function keep(id, picture) {
  sent.set(id, picture);
  for (const number of sent.keys()) if (sent.size > SENT_KEPT) sent.delete(number);
  const stage = $("stage");
  stage.classList.remove("caught");
  requestAnimationFrame(() => stage.classList.add("caught"));
}

function sendStart() {
  source = !sees ? "none" : chosen === "scene" ? "scene" : "page";
  socket.send({
    type: "start",
    source,
    prompt: $("prompt").value,
    system: $("system").value,
    max_tokens: Number($("length").value),
    thinking: $("think").checked,
    once: isOnce(),
  });
}

/** A still picture, or no picture at all, is asked about once; everything that moves again and again. */
function isOnce() {
  return !sees || (chosen === "file" && sources.file.still);
}

async function start() {
  byHand = true;
  if (sees) {
    if (chosen === "camera" && !sources.camera.isOpen && !(await openCamera())) return;
    if (chosen === "file" && !sources.file.isOpen) {
      $("file").click();
      return;
    }
  }
  hideFault();
  running = true;
  sendStart();
  showGo();
}

function stop() {
  if (!running) return;
  running = false;
  socket.send({ type: "stop" });
  showGo();
}

function toggle() {
  if (running) stop();
  else start();
}

let settling = null;

/** New wishes count from the next frame on, once the person has stopped typing; a single answer has no next frame. */
function wishesChanged() {
  clearTimeout(settling);
  settling = setTimeout(() => { if (running && !isOnce()) sendStart(); }, SETTLE_MS);
}

// ---- Which model ----

/** Looks at another of the served models; what runs goes on with it. */
function lookAt(name) {
  wantModel(name);
  hideRefusal();
  feed.breakOff("stopped", t("stopped"));
  feed.rest();
  sent.clear();
  socket.look(name);
}

/** Has another model take the place of the one looked at. Status messages tell how far that is. */
async function swapTo(name) {
  hideRefusal();
  showAsked(name);
  const refused = await askForSwap(name, server.engine.model);
  showAsked(null);
  if (!refused) return;
  $("refusal-text").replaceChildren(...withCode(told(refused).join(" ")));
  $("refusal").hidden = false;
}

function showAsked(name) {
  engine.asked = name;
  engine.show();
  menu.update(server.engine.model, engine.changing);
}

function hideRefusal() {
  $("refusal").hidden = true;
}

// ---- What is looked at ----

function showSource() {
  hideNotice();
  const shown = sees ? chosen : null;
  const { element } = sources[chosen];
  if (shown === "scene") sources.scene.open();
  else sources.scene.close();
  if (shown !== "camera") sources.camera.close();
  $("view").replaceChildren(...(shown && element ? [element] : []));
  $("about-scene").hidden = shown !== "scene";
  $("chooser").hidden = shown !== "file" || !sources.file.isOpen;
  $("file-name").textContent = sources.file.name;
  $("devices").hidden = true;
  $("tabs").toggleAttribute("data-idle", !sees);
  for (const tab of tabs) tab.disabled = !sees;
  if (!sees) $("caption").textContent = "";
  if (!sees) notice(t("blind", { model: server.engine.model }), null, null, "i-eye");
  if (shown === "file" && !sources.file.isOpen) notice(t("noFile"), "choose", () => $("file").click(), "i-file");
  if (shown === "camera") {
    if (sources.camera.isOpen) showDevices();
    else notice(t("cameraOff"), "turnOn", openCamera);
  }
}

function choose(name) {
  if (name !== chosen) stop();
  chosen = name;
  byHand = true;
  document.querySelector(`input[name="source"][value="${name}"]`).checked = true;
  $("caption").textContent = "";
  showSource();
  showGo();
}

/** Opens the camera and says whether that went well; if not, the stage says why. */
async function openCamera(deviceId = null) {
  try {
    await sources.camera.open(typeof deviceId === "string" ? deviceId : null);
  } catch (error) {
    notice(error.message, "tryAgain", openCamera);
    return false;
  }
  showSource();
  return true;
}

async function showDevices() {
  const devices = await sources.camera.devices();
  $("device").replaceChildren(...devices.map((device, index) =>
    new Option(device.label || `${t("camera")} ${index + 1}`, device.deviceId)));
  $("device").value = sources.camera.deviceId ?? "";
  $("turn").hidden = !matchMedia("(pointer: coarse)").matches || devices.length < 2;
  $("devices").hidden = chosen !== "camera" || (devices.length < 2 && $("turn").hidden);
}

async function openFile(file) {
  try {
    await sources.file.open(file);
  } catch (error) {
    choose("file");
    notice(error.message, "choose", () => $("file").click(), "i-alert");
    return;
  }
  stop();
  choose("file");
}

/** `action`: the words of its button; null: it has none. */
function notice(sentence, action, onAction, picture = "i-camera") {
  $("notice").querySelector("use").setAttribute("href", `#${picture}`);
  $("notice-text").replaceChildren(...withCode(sentence));
  $("notice-action").hidden = action === null;
  $("notice-action").textContent = action && t(action);
  $("notice-action").onclick = () => onAction();
  $("notice").hidden = false;
}

function hideNotice() {
  $("notice").hidden = true;
}

// ---- What is asked ----

function showPresets() {
  const all = presets(server?.engine.model);
  if (!$("prompt").value) $("prompt").value = all[0][1];
  $("presets").replaceChildren(...all.map(([label, question]) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: label, title: question });
    button.setAttribute("aria-pressed", String(question === $("prompt").value));
    button.addEventListener("click", () => {
      $("prompt").value = question;
      markPreset();
      wishesChanged();
    });
    return button;
  }));
}

function markPreset() {
  for (const button of $("presets").children) {
    button.setAttribute("aria-pressed", String(button.title === $("prompt").value));
  }
}

let limit = null;

function showLimits() {
  $("think-row").hidden = !server.thinks;
  $("empty").querySelector("p").textContent = t(sees ? "empty" : "emptyText");
  showPresets();
  if (!server.limits || server.limits.answer_tokens === limit) return;
  limit = server.limits.answer_tokens;
  Object.assign($("length"), { min: Math.min(8, limit), max: limit, step: 1, value: Math.min(limit, 256) });
  showLength();
}

function showLength() {
  $("length-text").textContent = t("tokens", { n: $("length").value });
}

function showGo() {
  const waits = running && !engine.isReady;
  $("go").dataset.running = String(running);
  $("go-icon").setAttribute("href", running ? "#i-stop" : "#i-play");
  $("go-text").textContent = t(waits ? "waiting" : running ? "stop" : isOnce() ? "ask" : "start");
  $("badge").hidden = !running || waits;
}

function showFault(sentence) {
  $("fault").replaceChildren(...withCode(sentence));
  $("fault").hidden = false;
}

function hideFault() {
  $("fault").hidden = true;
}

// ---- Hands on the page ----

$("go").addEventListener("click", toggle);
$("refusal-close").addEventListener("click", hideRefusal);
$("prompt").addEventListener("input", () => { markPreset(); wishesChanged(); });
$("system").addEventListener("input", wishesChanged);
$("think").addEventListener("change", wishesChanged);
$("length").addEventListener("input", () => { showLength(); wishesChanged(); });
$("device").addEventListener("change", () => openCamera($("device").value));
$("turn").addEventListener("click", async () => { await sources.camera.turn().catch(() => {}); showDevices(); });
$("choose").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => {
  const [file] = $("file").files;
  $("file").value = "";
  if (file) openFile(file);
});
for (const tab of tabs) {
  tab.addEventListener("change", () => choose(tab.value));
}
for (const button of document.querySelectorAll("[data-language]")) {
  button.addEventListener("click", () => setLanguage(button.dataset.language));
}

document.addEventListener("keydown", (event) => {
  const busy = event.target.closest("input:not([type=radio]), textarea, select, button, summary, a");
  if (busy || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === " ") toggle();
  else if (event.key === "/") $("prompt").focus();
  else if ("123".includes(event.key) && sees) choose(["camera", "file", "scene"][Number(event.key) - 1]);
  else return;
  event.preventDefault();
});

acceptDrops((file) => { if (sees) openFile(file); });

// ---- Beginning ----

/** Where there is no camera, begins with the scene, which needs none, unless the person was quicker. */
async function begin() {
  choose("camera");
  byHand = false;
  const devices = (await navigator.mediaDevices?.enumerateDevices().catch(() => null)) ?? [];
  if (!byHand && !devices.some((device) => device.kind === "videoinput")) choose("scene");
}

function showKeys() {
  const keys = t("keys", { space: "{space}", slash: "{slash}", digits: "{digits}" }).split(/(\{\w+\})/).map((part) => {
    const names = { "{space}": [t("space")], "{slash}": ["/"], "{digits}": ["1", "2", "3"] }[part];
    return names ? names.map((name) => Object.assign(document.createElement("kbd"), { textContent: name })) : [part];
  });
  $("keys").replaceChildren(...keys.flat());
}

onLanguage(() => {
  engine.show();
  showPresets();
  showLength();
  showGo();
  if (server) showLimits();
  showSource();
  showKeys();
});
translate();
begin();
