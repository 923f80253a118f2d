// Frames from a camera of this browser.

import { t } from "../shared/language.js";
import { SourceError, VideoFrames } from "./frames.js";

export class CameraSource {
  /**
   * @param {object} handlers
   * @param {(sentence: string) => void} handlers.onEnd The camera was unplugged or switched off.
   * @param {(sentence: string) => void} handlers.onSilent It sends no frames now.
   * @param {() => void} handlers.onBack It sends frames again.
   */
  constructor(handlers) {
    this.handlers = handlers;
    this.frames = new VideoFrames();
    this.element = this.frames.video;
    this.facing = "environment";
    /** @type {MediaStream | null} */
    this.stream = null;
  }

  get isOpen() {
    return this.stream !== null;
  }

  get track() {
    return this.stream?.getVideoTracks()[0] ?? null;
  }

  get deviceId() {
    return this.track?.getSettings().deviceId ?? null;
  }

  /**
   * Opens the camera with `deviceId`, or any. Throws SourceError.
   * @param {string | null} deviceId
   */
  async open(deviceId = null) {
    this.close();
    if (!navigator.mediaDevices?.getUserMedia) {
      const port = location.port || (location.protocol === "https:" ? "443" : "80");
      throw new SourceError(t("insecure", { host: location.host, name: location.hostname, port }));
    }
    const which = deviceId === null ? { facingMode: { ideal: this.facing } } : { deviceId: { exact: deviceId } };
    const video = { ...which, width: { ideal: 1280 }, height: { ideal: 720 } };
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ video, audio: false });
    } catch (error) {
      throw new SourceError(cameraSentence(error instanceof Error ? error.name : String(error)));
    }
    if (this.track) this.watch(this.track);
    this.element.srcObject = this.stream;
    await this.element.play().catch(() => {});
  }

  /** @param {MediaStreamTrack} track */
  watch(track) {
    track.onended = () => {
      this.close();
      this.handlers.onEnd(t("cameraEnded"));
    };
    track.onmute = () => this.handlers.onSilent(t("cameraSilent"));
    track.onunmute = () => this.handlers.onBack();
    // A camera that faces the person is shown as a mirror. Frames are sent as they are.
    this.element.classList.toggle("mirror", track.getSettings().facingMode === "user");
  }

  close() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
    this.element.srcObject = null;
  }

  async devices() {
    const all = await navigator.mediaDevices.enumerateDevices();
    return all.filter(({ kind }) => kind === "videoinput");
  }

  /** Opens the camera on the other side of a phone. Throws SourceError. */
  async turn() {
    this.facing = this.facing === "user" ? "environment" : "user";
    await this.open();
  }

  /** @param {number} maxPixels */
  async grab(maxPixels) {
    // A camera that sends nothing still shows its last frame, which is old.
    return this.track && !this.track.muted ? this.frames.grab(maxPixels) : null;
  }
}

/**
 * What to do about an error of getUserMedia.
 * @param {string} name
 */
function cameraSentence(name) {
  switch (name) {
    case "NotAllowedError":
    case "SecurityError":
      return t("denied");
    case "NotFoundError":
    case "OverconstrainedError":
      return t("noCamera");
    case "NotReadableError":
    case "AbortError":
      return t("cameraBusy");
    default:
      return t("cameraFailed", { reason: name });
  }
}
