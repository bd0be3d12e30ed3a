// The waveform: audio that was heard in the accent colour, then audio that was received and not heard yet, which
// shows how far ahead the server is.

import { SAMPLE_RATE_HZ } from "./link.js";

const SAMPLES_A_BAR = 1200; // 50 ms.
const BAR_STEP = 4; // In CSS pixels, like the width.
const BAR_WIDTH = 2;
const HEAD_AT = 0.4; // Where the current moment stays, as a share of the width.

export class Trace {
  #canvas;
  #levels = []; // One per bar, 0 to 1.
  #filled = 0; // Samples in the last bar.
  #heardS = 0;
  #colours = null;
  #calm = matchMedia("(prefers-reduced-motion: reduce)");

  constructor(canvas) {
    this.#canvas = canvas;
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.#colours = null;
      this.draw(this.#heardS);
    });
    new ResizeObserver(() => this.draw(this.#heardS)).observe(canvas);
  }

  begin() {
    this.#levels = [];
    this.#filled = SAMPLES_A_BAR;
  }

  feed(samples) {
    for (const sample of samples) {
      if (this.#filled === SAMPLES_A_BAR) {
        this.#levels.push(0);
        this.#filled = 0;
      }
      this.#filled++;
      const last = this.#levels.length - 1;
      this.#levels[last] = Math.max(this.#levels[last], Math.abs(sample) / 32768);
    }
  }

  /** Drops the audio after `heardS`. */
  cutAt(heardS) {
    this.#levels.length = Math.min(this.#levels.length, this.#barAt(heardS));
  }

  draw(heardS) {
    this.#heardS = heardS;
    const { width, height, context } = this.#fitted();
    const { accent, faint, line } = (this.#colours ??= coloursOf(this.#canvas));
    const heard = this.#barAt(heardS);
    const nBars = Math.floor(width / BAR_STEP);
    const first = this.#firstBar((heardS * SAMPLE_RATE_HZ) / SAMPLES_A_BAR, nBars);
    context.clearRect(0, 0, width, height);
    for (let bar = Math.floor(first); bar <= first + nBars; bar++) {
      const level = this.#levels[bar];
      context.fillStyle = level === undefined ? line : bar < heard ? accent : faint;
      const tall = Math.max(2, Math.sqrt(level ?? 0) * (height - 16));
      context.fillRect((bar - first) * BAR_STEP, (height - tall) / 2, BAR_WIDTH, tall);
    }
  }

  /** The waveform scrolls; with reduced motion it turns like a page when it is full. */
  #firstBar(heard, nBars) {
    if (this.#calm.matches) return Math.floor(heard / nBars) * nBars;
    return Math.max(0, heard - nBars * HEAD_AT);
  }

  #barAt(heardS) {
    return Math.ceil((heardS * SAMPLE_RATE_HZ) / SAMPLES_A_BAR);
  }

  #fitted() {
    const canvas = this.#canvas;
    const { paddingLeft, paddingRight } = getComputedStyle(canvas);
    const width = canvas.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight);
    const height = canvas.clientHeight;
    const ratio = devicePixelRatio;
    const pixels = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== pixels[0]) canvas.width = pixels[0];
    if (canvas.height !== pixels[1]) canvas.height = pixels[1];
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    return { width, height, context };
  }
}

function coloursOf(element) {
  const style = getComputedStyle(element);
  const [accent, faint, line] = ["--accent", "--edge", "--line"].map((name) => style.getPropertyValue(name));
  return { accent, faint, line };
}
