// Frames: pictures as JPEG of at most so many pixels, with their age.

/** @typedef {{ blob: Blob, ageMs: number }} Frame */
/**
 * Where frames come from. `element` shows it, and is null where there is nothing to show.
 * @typedef {object} FrameSource
 * @property {HTMLElement | null} element
 * @property {boolean} isOpen
 * @property {(maxPixels: number) => Promise<Frame | null>} grab The newest frame; null where there is none now.
 */

const JPEG_QUALITY = 0.85;

/** An error whose message is a sentence for a person. */
export class SourceError extends Error {}

const canvas = document.createElement("canvas");

/**
 * A picture of the given size as a JPEG of at most `maxPixels`; null where the browser cannot make one.
 * @param {CanvasImageSource} picture
 * @param {number} width
 * @param {number} height
 * @param {number} maxPixels
 * @returns {Promise<Blob | null>}
 */
export function encodeJpeg(picture, width, height, maxPixels) {
  const scale = Math.min(1, Math.sqrt(maxPixels / (width * height)));
  canvas.width = Math.max(1, Math.floor(width * scale));
  canvas.height = Math.max(1, Math.floor(height * scale));
  canvas.getContext("2d", { alpha: false })?.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", JPEG_QUALITY));
}

/** Frames of a video element. */
export class VideoFrames {
  constructor() {
    this.video = Object.assign(document.createElement("video"), { muted: true, playsInline: true, loop: true });
    /** @type {number | null} */
    this.capturedAtMs = null;
    this.follow();
  }

  /** Notes when each frame was captured, where the browser tells. */
  follow() {
    this.video.requestVideoFrameCallback?.((now, frame) => {
      this.capturedAtMs = frame.captureTime ?? now;
      this.follow();
    });
  }

  /**
   * @param {number} maxPixels
   * @returns {Promise<Frame | null>}
   */
  async grab(maxPixels) {
    const { videoWidth: width, videoHeight: height, readyState } = this.video;
    if (readyState < HTMLMediaElement.HAVE_CURRENT_DATA || !width) return null;
    // A hidden page hears of no frames: there the time of drawing has to do.
    const takenMs = document.hidden || this.capturedAtMs === null ? performance.now() : this.capturedAtMs;
    const blob = await encodeJpeg(this.video, width, height, maxPixels);
    return blob && { blob, ageMs: Math.max(0, performance.now() - takenMs) };
  }
}
