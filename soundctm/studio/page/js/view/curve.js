// A curve of intensity, drawn over the waveform: dB below full scale from 0 at the top to -60 at the bottom.

import { el } from "./dom.js";
import { colour } from "./pictures.js";

const BINS = 48;
const HIGHEST = 0, LOWEST = -60;
const LOUD = -15, SOFT = -50; // of the named shapes, as in `soundctm generate --curve`
export const SHAPES = { // (share of the clip, share of the way from soft to loud)
  rise: [[0, 0], [1, 1]],
  fall: [[0, 1], [1, 0]],
  swell: [[0, 0], [0.5, 1], [1, 0]],
  "two hits": [[0, 0], [0.2, 0], [0.25, 1], [0.5, 0], [0.6, 0], [0.65, 1], [0.9, 0], [1, 0]],
};

export class Curve {
  constructor(box, changed) {
    this.canvas = el("canvas", { class: "curve", hidden: true, role: "img", "aria-label": "Curve of intensity; draw with the pointer" });
    this.levels = null; // dB of BINS places
    this.seconds = 1;
    this.changed = changed;
    box.append(this.canvas);
    let before = null;
    const draw = (event) => {
      const box = this.canvas.getBoundingClientRect();
      const at = {
        bin: Math.round(Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1) * (BINS - 1)),
        level: this.level(Math.min(Math.max(event.clientY - box.top, 0), box.height), box.height),
      };
      this.levels ||= Array(BINS).fill(at.level);
      const from = before || at;
      const [first, last] = from.bin <= at.bin ? [from, at] : [at, from];
      for (let bin = first.bin; bin <= last.bin; bin++) {
        const share = last.bin === first.bin ? 1 : (bin - first.bin) / (last.bin - first.bin);
        this.levels[bin] = first.level + (last.level - first.level) * share;
      }
      this.levels[at.bin] = at.level;
      before = at;
      this.draw();
    };
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      before = null;
      draw(event);
    });
    this.canvas.addEventListener("pointermove", (event) => before && draw(event));
    for (const name of ["pointerup", "pointercancel"]) {
      this.canvas.addEventListener(name, () => {
        before = null;
        this.changed();
      });
    }
  }

  y = (level, height) => ((HIGHEST - level) / (HIGHEST - LOWEST)) * height;
  level = (y, height) => HIGHEST - (y / height) * (HIGHEST - LOWEST);

  fit(seconds) {
    this.seconds = seconds;
  }

  show(on) {
    this.canvas.hidden = !on;
    if (on) this.draw();
  }

  clear() {
    this.levels = null;
    this.draw();
  }

  shape(name) {
    const points = SHAPES[name].map(([place, share]) => [place, SOFT + share * (LOUD - SOFT)]);
    this.levels = Array.from({ length: BINS }, (_, bin) => {
      const place = bin / (BINS - 1);
      const right = Math.max(1, points.findIndex(([each]) => each >= place));
      const [[x0, y0], [x1, y1]] = [points[right - 1], points[right]];
      return y0 + (y1 - y0) * ((place - x0) / (x1 - x0));
    });
    this.draw();
  }

  // [[second, dB], ...]
  points() {
    return this.levels.map((level, bin) => [
      Number(Math.min((bin / (BINS - 1)) * this.seconds, this.seconds).toFixed(4)), Number(level.toFixed(1)),
    ]);
  }

  draw() {
    if (this.canvas.hidden) return;
    const ratio = window.devicePixelRatio || 1, { clientWidth: width, clientHeight: height } = this.canvas;
    this.canvas.width = width * ratio;
    this.canvas.height = height * ratio;
    const context = this.canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.strokeStyle = colour("--line");
    for (const level of [-20, -40]) {
      context.beginPath();
      context.moveTo(0, this.y(level, height));
      context.lineTo(width, this.y(level, height));
      context.stroke();
    }
    if (!this.levels) {
      context.fillStyle = colour("--dim");
      context.font = "12px system-ui, sans-serif";
      context.textAlign = "center";
      context.fillText("Draw how loud it shall be", width / 2, 16);
      return;
    }
    context.strokeStyle = colour("--star");
    context.lineWidth = 2;
    context.lineJoin = "round";
    context.beginPath();
    this.levels.forEach((level, bin) => context.lineTo((bin / (BINS - 1)) * width, this.y(level, height)));
    context.stroke();
  }
}
