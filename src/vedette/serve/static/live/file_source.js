// Frames from a file of the person: a picture or a video.

import { t } from "../shared/language.js";
import { encodeJpeg, SourceError, VideoFrames } from "./frames.js";

/** Phones take pictures of a hundred megapixels; no engine asks for more than this. */
const KEPT_PIXELS = 2048 * 2048;

export class FileSource {
  constructor() {
    /** @type {HTMLImageElement | HTMLVideoElement | null} */
    this.element = null;
    /** @type {VideoFrames | null} Of a video. */
    this.video = null;
    this.name = "";
  }

  get isOpen() {
    return this.element !== null;
  }

  /** A picture, not a video. */
  get isStill() {
    return this.isOpen && this.video === null;
  }

  /**
   * Opens a picture or a video. Throws SourceError; the file before stays open then.
   * @param {File} file
   */
  async open(file) {
    const image = await openImage(file);
    const video = image ? null : await openVideo(file);
    const element = image ?? video?.video;
    if (!element) throw new SourceError(t("notMedia", { name: file.name }));
    this.close();
    this.name = file.name;
    this.video = video;
    this.element = element;
  }

  close() {
    if (this.element) URL.revokeObjectURL(this.element.src);
    this.element = null;
  }

  /**
   * @param {number} maxPixels
   * @returns {Promise<import("./frames.js").Frame | null>}
   */
  async grab(maxPixels) {
    if (this.video) return this.video.grab(maxPixels);
    if (!(this.element instanceof HTMLImageElement)) return null;
    const beganMs = performance.now();
    const { naturalWidth, naturalHeight } = this.element;
    const blob = await encodeJpeg(this.element, naturalWidth, naturalHeight, maxPixels);
    return blob && { blob, ageMs: performance.now() - beganMs };
  }
}

/**
 * The file as an image of at most KEPT_PIXELS, or null.
 * @param {File} file
 */
async function openImage(file) {
  const picture = await createImageBitmap(file).catch(() => null);
  const blob = picture && (await encodeJpeg(picture, picture.width, picture.height, KEPT_PIXELS));
  picture?.close();
  if (!blob) return null;
  const image = Object.assign(new Image(), { src: URL.createObjectURL(blob), alt: file.name });
  await image.decode();
  return image;
}

/**
 * The file as a playing video, or null.
 * @param {File} file
 */
async function openVideo(file) {
  const frames = new VideoFrames();
  const { video } = frames;
  video.src = URL.createObjectURL(file);
  const isPlayable = await new Promise((resolve) => {
    video.onloadeddata = () => resolve(video.videoWidth > 0);
    video.onerror = () => resolve(false);
  });
  if (!isPlayable) {
    URL.revokeObjectURL(video.src);
    return null;
  }
  await video.play().catch(() => {});
  return frames;
}

/**
 * Calls `onFile` with a file that is dropped anywhere on the page.
 * @param {(file: File) => void} onFile
 */
export function acceptDrops(onFile) {
  let entered = 0; // elements of the page that the file is over
  /** @param {number} count */
  const setEntered = (count) => {
    entered = count;
    document.body.classList.toggle("dragging", count > 0);
  };
  document.addEventListener("dragenter", () => setEntered(entered + 1));
  document.addEventListener("dragleave", () => setEntered(entered - 1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    setEntered(0);
    const file = event.dataTransfer?.files[0];
    if (file) onFile(file);
  });
}
