// A preview of the server's scene. The server draws the frames of answers itself.

import { make } from "../shared/dom.js";
import { t } from "../shared/language.js";

const PERIOD_MS = 150;
/** Between two previews at least, however long one takes. */
const LEAST_PAUSE_MS = 20;

export class SceneSource {
  /** @param {(sentence: string) => void} onError */
  constructor(onError) {
    this.element = make("div");
    this.onError = onError;
    this.isOpen = false;
    this.run = 0;
  }

  open() {
    this.isOpen = true;
    this.run += 1;
    this.show(this.run);
  }

  close() {
    this.isOpen = false;
    this.run += 1;
  }

  async grab() {
    return null;
  }

  /**
   * Shows picture after picture until the scene is closed or opened again.
   * @param {number} run
   */
  async show(run) {
    while (this.run === run) {
      const beganMs = performance.now();
      if (!document.hidden) await this.refresh();
      const pauseMs = Math.max(LEAST_PAUSE_MS, PERIOD_MS - (performance.now() - beganMs));
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  async refresh() {
    const image = Object.assign(new Image(), { src: `/api/scene.jpg?${Date.now()}`, alt: t("scene") });
    try {
      await image.decode();
      this.element.replaceChildren(image);
    } catch {
      this.close();
      this.onError(t("sceneFailed"));
    }
  }
}
