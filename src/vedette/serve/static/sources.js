// Where pictures come from: the camera, a file, or the server's scene. Each shows itself in an element and gives,
// when asked, its newest picture as a JPEG of at most so many pixels.

import { t } from "./strings.js";

const QUALITY = 0.85;
const KEPT_PIXELS = 2048 * 2048;
const SCENE_EVERY_MS = 150;

/** An error whose message is a sentence for the person. */
export class SourceError extends Error {}

const canvas = document.createElement("canvas");
const brush = canvas.getContext("2d", { alpha: false });

/** `drawable`, of the given size, as a JPEG blob of at most `maxPixels`. */
function encode(drawable, width, height, maxPixels) {
  const scale = Math.min(1, Math.sqrt(maxPixels / (width * height)));
  canvas.width = Math.max(1, Math.floor(width * scale));
  canvas.height = Math.max(1, Math.floor(height * scale));
  brush.drawImage(drawable, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));
}

/** A video element's newest picture. */
class VideoFrames {
  constructor() {
    this.video = Object.assign(document.createElement("video"), { muted: true, playsInline: true, loop: true });
    this.video.setAttribute("playsinline", "");
    this.capturedAt = null;
    this.follow();
  }

  /** Notes when each picture was captured, where the browser tells. */
  follow() {
    this.video.requestVideoFrameCallback?.((now, picture) => {
      this.capturedAt = picture.captureTime ?? now;
      this.follow();
    });
  }

  async grab(maxPixels) {
    const { video } = this;
    if (video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA || !video.videoWidth) return null;
    // A hidden page is told of no pictures, so there the moment of drawing has to do.
    const taken = document.hidden || this.capturedAt === null ? performance.now() : this.capturedAt;
    const blob = await encode(video, video.videoWidth, video.videoHeight, maxPixels);
    return blob && { blob, ageMs: Math.max(0, performance.now() - taken) };
  }
}

export class CameraSource {
  /** `onEnd(sentence)`: the camera is gone. `onSilence(sentence)`: it sends nothing now; null when it does again. */
  constructor(onEnd, onSilence) {
    this.frames = new VideoFrames();
    this.element = this.frames.video;
    this.onEnd = onEnd;
    this.onSilence = onSilence;
    this.facing = "environment";
    this.stream = null;
  }

  get isOpen() {
    return this.stream !== null;
  }

  /** Opens the camera, or the one with `deviceId`. Throws SourceError. */
  async open(deviceId = null) {
    this.close();
    if (!navigator.mediaDevices?.getUserMedia) {
      const port = location.port || (location.protocol === "https:" ? "443" : "80");
      throw new SourceError(t("insecure", { host: location.host, name: location.hostname, port }));
    }
    const which = deviceId ? { deviceId: { exact: deviceId } } : { facingMode: { ideal: this.facing } };
    const video = { ...which, width: { ideal: 1280 }, height: { ideal: 720 } };
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ video, audio: false });
    } catch (error) {
      throw new SourceError(cameraSentence(error));
    }
    const [track] = this.stream.getVideoTracks();
    track.onended = () => {
      this.close();
      this.onEnd(t("cameraEnded"));
    };
    track.onmute = () => this.onSilence(t("cameraSilent"));
    track.onunmute = () => this.onSilence(null);
    // A camera that looks at the person is shown as a mirror; what is sent is not mirrored.
    const { facingMode } = track.getSettings();
    this.element.classList.toggle("mirror", facingMode === "user");
    this.element.srcObject = this.stream;
    await this.element.play().catch(() => {});
  }

  close() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = null;
    this.element.srcObject = null;
  }

  async devices() {
    const all = await navigator.mediaDevices.enumerateDevices();
    return all.filter((device) => device.kind === "videoinput");
  }

  get deviceId() {
    return this.stream?.getVideoTracks()[0]?.getSettings().deviceId ?? null;
  }

  async turn() {
    this.facing = this.facing === "user" ? "environment" : "user";
    await this.open();
  }

  grab(maxPixels) {
    // The last picture of a camera that has fallen silent is no news.
    return this.isOpen && !this.stream.getVideoTracks()[0].muted ? this.frames.grab(maxPixels) : null;
  }
}

function cameraSentence(error) {
  switch (error.name) {
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
      return t("cameraFailed", { reason: error.name });
  }
}

export class FileSource {
  constructor() {
    this.element = null;
    this.name = "";
    this.still = false;
  }

  get isOpen() {
    return this.element !== null;
  }

  /** Reads a picture or a video. Throws SourceError, and keeps what was there. */
  async open(file) {
    const picture = await createImageBitmap(file).catch(() => null);
    const video = picture ? null : await openVideo(file);
    if (!picture && !video) throw new SourceError(t("notMedia", { name: file.name }));
    this.close();
    this.name = file.name;
    this.still = picture !== null;
    if (picture) {
      // Kept no larger than any engine asks for: phones take pictures of a hundred megapixels.
      const blob = await encode(picture, picture.width, picture.height, KEPT_PIXELS);
      picture.close();
      this.element = Object.assign(new Image(), { src: URL.createObjectURL(blob), alt: file.name });
      await this.element.decode();
    } else {
      this.frames = video;
      this.element = video.video;
    }
  }

  close() {
    if (this.element) URL.revokeObjectURL(this.element.src);
    this.element = null;
  }

  async grab(maxPixels) {
    if (!this.element) return null;
    if (!this.still) return this.frames.grab(maxPixels);
    const began = performance.now();
    const { naturalWidth, naturalHeight } = this.element;
    const blob = await encode(this.element, naturalWidth, naturalHeight, maxPixels);
    return blob && { blob, ageMs: performance.now() - began };
  }
}

/** The file as a playing video, or null. */
async function openVideo(file) {
  const frames = new VideoFrames();
  frames.video.src = URL.createObjectURL(file);
  const playable = await new Promise((resolve) => {
    frames.video.onloadeddata = () => resolve(frames.video.videoWidth > 0);
    frames.video.onerror = () => resolve(false);
  });
  if (!playable) {
    URL.revokeObjectURL(frames.video.src);
    return null;
  }
  await frames.video.play().catch(() => {});
  return frames;
}

/** A preview of the scene; the frames that count are drawn by the server when their turn comes. */
export class SceneSource {
  constructor(onError) {
    this.element = document.createElement("div");
    this.onError = onError;
    this.opened = 0;
  }

  open() {
    this.opened += 1;
    this.show(this.opened);
  }

  close() {
    this.opened += 1;
  }

  /** Picture after picture, until closed or opened anew. */
  async show(opened) {
    while (this.opened === opened) {
      const began = performance.now();
      if (!document.hidden) await this.refresh();
      const tookMs = performance.now() - began;
      await new Promise((resolve) => setTimeout(resolve, Math.max(20, SCENE_EVERY_MS - tookMs)));
    }
  }

  async refresh() {
    const picture = Object.assign(new Image(), { src: `/api/scene.jpg?${Date.now()}`, alt: t("scene") });
    try {
      await picture.decode();
      this.element.replaceChildren(picture);
    } catch {
      this.close();
      this.onError(t("sceneFailed"));
    }
  }
}

/** Takes the files that are dropped anywhere on the page. */
export function acceptDrops(onFile) {
  let dragged = 0;
  const mark = (count) => {
    dragged = count;
    document.body.classList.toggle("dragging", count > 0);
  };
  document.addEventListener("dragenter", () => mark(dragged + 1));
  document.addEventListener("dragleave", () => mark(dragged - 1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    mark(0);
    const [file] = event.dataTransfer.files;
    if (file) onFile(file);
  });
}
