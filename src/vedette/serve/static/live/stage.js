// What the model sees: the source that the person has chosen, shown, with its devices, its file and its problems.

import { find, setIcon, withCode } from "../shared/dom.js";
import { t } from "../shared/language.js";
import { CameraSource } from "./camera_source.js";
import { FileSource } from "./file_source.js";
import { SourceError } from "./frames.js";
import { SceneSource } from "./scene_source.js";

/** @typedef {import("./page_state.js").SourceName} SourceName */

export class Stage {
  box = find("stage", HTMLElement);
  view = find("view", HTMLElement);
  badge = find("badge", HTMLElement);
  caption = find("caption", HTMLElement);
  notice = find("notice", HTMLElement);
  noticeText = find("notice-text", HTMLElement);
  noticeAction = find("notice-action", HTMLButtonElement);
  tabs = find("tabs", HTMLElement);
  devices = find("devices", HTMLElement);
  device = find("device", HTMLSelectElement);
  turn = find("turn", HTMLButtonElement);
  chooser = find("chooser", HTMLElement);
  fileName = find("file-name", HTMLElement);
  fileInput = find("file", HTMLInputElement);
  aboutScene = find("about-scene", HTMLElement);

  /**
   * @param {import("./page_state.js").PageState} state
   * @param {() => void} onLeave The source was changed or closed: nothing more may be asked about it.
   */
  constructor(state, onLeave) {
    this.state = state;
    this.onLeave = onLeave;
    this.shownSees = state.sees;
    this.camera = new CameraSource({
      onEnd: (sentence) => {
        onLeave();
        this.showCameraNotice(sentence);
      },
      onSilent: (sentence) => this.showCameraNotice(sentence),
      onBack: () => this.hideNotice(),
    });
    this.file = new FileSource();
    this.scene = new SceneSource((sentence) => this.showNotice(sentence, "camera", "tryAgain", () => this.show()));
    this.sources = { camera: this.camera, file: this.file, scene: this.scene };
    this.device.addEventListener("change", () => this.openCamera(this.device.value));
    this.turn.addEventListener("click", () => this.turnCamera());
    find("choose", HTMLButtonElement).addEventListener("click", () => this.fileInput.click());
    this.fileInput.addEventListener("change", () => {
      const file = this.fileInput.files?.[0];
      if (file) this.openFile(file);
      this.fileInput.value = "";
    });
    for (const tab of this.radios) {
      tab.addEventListener("change", () => this.choose(/** @type {SourceName} */ (tab.value)));
    }
  }

  get radios() {
    return this.tabs.querySelectorAll("input");
  }

  /** Shows what has changed in the state. */
  update() {
    const { state } = this;
    this.badge.hidden = !state.isRunning || state.isWaiting;
    if (state.sees === this.shownSees) return;
    this.shownSees = state.sees;
    this.show();
  }

  /** Shows the source from scratch, without the notice that stood there. */
  show() {
    const { sees, source, model } = this.state;
    const shown = sees ? source : null;
    const element = shown && this.sources[shown].element;
    this.hideNotice();
    if (shown === "scene") this.scene.open();
    else this.scene.close();
    if (shown !== "camera") this.camera.close();
    this.view.replaceChildren(...(element ? [element] : []));
    this.aboutScene.hidden = shown !== "scene";
    this.chooser.hidden = shown !== "file" || !this.file.isOpen;
    this.fileName.textContent = this.file.name;
    this.devices.hidden = true;
    this.tabs.toggleAttribute("data-idle", !sees);
    for (const tab of this.radios) tab.disabled = !sees;
    if (shown === null) {
      this.caption.textContent = "";
      this.showNotice(t("blind", { model }), "eye");
    }
    if (shown === "file" && !this.file.isOpen) this.showFileNotice(t("noFile"), "file");
    if (shown === "camera" && !this.camera.isOpen) this.showCameraNotice(t("cameraOff"), "turnOn");
    if (shown === "camera" && this.camera.isOpen) this.showDevices();
  }

  /**
   * @param {SourceName} source
   * @param {boolean} isByHand The person has chosen it, not the page.
   */
  choose(source, isByHand = true) {
    if (source !== this.state.source) this.onLeave();
    for (const tab of this.radios) tab.checked = tab.value === source;
    this.caption.textContent = "";
    this.state.chooseSource(source, isByHand);
    this.show();
  }

  /** Opens the chosen source if need be; false where it cannot be used yet. */
  async makeReady() {
    const { sees, source } = this.state;
    if (sees && source === "camera" && !this.camera.isOpen) return this.openCamera();
    if (sees && source === "file" && !this.file.isOpen) {
      this.fileInput.click();
      return false;
    }
    return true;
  }

  /** @param {number} maxPixels */
  grab(maxPixels) {
    return this.sources[this.state.source].grab(maxPixels);
  }

  /** Shows that a frame was taken. */
  flash() {
    this.box.classList.remove("caught");
    requestAnimationFrame(() => this.box.classList.add("caught"));
  }

  /**
   * Opens a camera; false where that failed, and a notice says why.
   * @param {string | null} deviceId
   */
  async openCamera(deviceId = null) {
    try {
      await this.camera.open(deviceId);
    } catch (error) {
      this.showCameraNotice(sentenceOf(error));
      return false;
    }
    this.show();
    return true;
  }

  async turnCamera() {
    await this.camera.turn().catch(() => {}); // a phone with one camera keeps its button
    this.showDevices();
  }

  async showDevices() {
    const devices = await this.camera.devices();
    const options = devices.map(
      ({ label, deviceId }, index) => new Option(label || `${t("camera")} ${index + 1}`, deviceId),
    );
    this.device.replaceChildren(...options);
    this.device.value = this.camera.deviceId ?? "";
    const isPhone = matchMedia("(pointer: coarse)").matches;
    this.turn.hidden = !isPhone || devices.length < 2;
    this.devices.hidden = this.state.source !== "camera" || devices.length < 2;
  }

  /** @param {File} file */
  async openFile(file) {
    try {
      await this.file.open(file);
    } catch (error) {
      this.choose("file");
      this.showFileNotice(sentenceOf(error), "alert");
      return;
    }
    this.onLeave();
    this.state.openFile(this.file.isStill);
    this.choose("file");
  }

  /**
   * @param {string} sentence
   * @param {"tryAgain" | "turnOn"} action
   */
  showCameraNotice(sentence, action = "tryAgain") {
    this.showNotice(sentence, "camera", action, () => this.openCamera());
  }

  /**
   * @param {string} sentence
   * @param {string} picture
   */
  showFileNotice(sentence, picture) {
    this.showNotice(sentence, picture, "choose", () => this.fileInput.click());
  }

  /**
   * @param {string} sentence
   * @param {string} picture The name of an icon.
   * @param {import("../shared/language.js").Key | null} action The words of the button; null: there is none.
   * @param {() => void} onAction
   */
  showNotice(sentence, picture, action = null, onAction = () => {}) {
    setIcon(this.notice, picture);
    this.noticeText.replaceChildren(...withCode(sentence));
    this.noticeAction.hidden = action === null;
    this.noticeAction.textContent = action && t(action);
    this.noticeAction.onclick = onAction;
    this.notice.hidden = false;
  }

  hideNotice() {
    this.notice.hidden = true;
  }
}

/** @param {unknown} error */
function sentenceOf(error) {
  if (error instanceof SourceError) return error.message;
  throw error;
}
