// The chosen sound, large: waveform with regions over the spectrogram with its axes, and the tools below.

import { act } from "../actions.js";
import { listen, pictureOf } from "../sound/listening.js";
import { player } from "../sound/player.js";
import { store } from "../store.js";
import RegionsPlugin from "../../vendor/wavesurfer/regions.esm.js";
import WaveSurfer from "../../vendor/wavesurfer/wavesurfer.esm.js";
import { facts } from "./card.js";
import { takeOver } from "./compose.js";
import { Curve } from "./curve.js";
import { $, el, iconButton, setIcon, short } from "./dom.js";
import { complain } from "./messages.js";
import { colour, drawMel, peaksOf, spread, times } from "./pictures.js";
import { Tools } from "./tools.js";

const nonce = document.documentElement.dataset.nonce;
const HEIGHT = 77; // of the waveform
const LINES = [-60, -40, -20, 0]; // dB, of the axis of a curve

class Stage {
  constructor(box) {
    this.box = box;
    this.name = el("h2", { dir: "auto" });
    this.facts = el("p", { class: "facts" });
    this.star = iconButton("star", "Star", () => act.star(store.chosen), { key: "S" });
    this.waveAxis = el("div", { class: "wave-axis", "aria-hidden": "true" });
    this.melAxis = el("div", { class: "mel-axis", "aria-hidden": "true" });
    this.timeAxis = el("div", { class: "time-axis", "aria-hidden": "true" });
    this.wave = el("div", { class: "wave-box" });
    this.mel = el("canvas", { role: "img" });
    this.head = el("div", { class: "head" });
    this.melBox = el("div", { class: "mel-box", onclick: (event) => this.seek(event) }, this.mel, this.head);
    this.tools = new Tools(this);
    box.append(
      el("div", { class: "title" }, this.name, this.facts,
        el("button", { type: "button", class: "plain", title: "Put its settings in the form (U)", onclick: () => this.current && takeOver(this.current) }, "Use settings"),
        this.star),
      el("div", { class: "view" }, this.waveAxis, this.wave, this.melAxis, this.melBox, this.timeAxis),
      this.tools.element,
    );
    this.curve = new Curve(this.wave, () => this.tools.render());
    this.makeWave();
    new ResizeObserver(() => this.draw()).observe(this.melBox);
  }

  makeWave() {
    this.regions = RegionsPlugin.create();
    this.surfer = WaveSurfer.create({
      container: this.wave, height: HEIGHT, cspNonce: nonce, cursorWidth: 0, barWidth: 2, barGap: 1, barRadius: 1,
      normalize: false, dragToSeek: false, autoScroll: false, hideScrollbar: true, plugins: [this.regions],
    });
    this.paint();
    this.regions.enableDragSelection({ color: colour("--region"), minLength: 0.02 });
    this.surfer.on("interaction", (time) => store.chosen && listen(store.chosen, time));
    this.regions.on("region-created", (region) => {
      region.setOptions({ color: colour("--region") });
      this.tools.select("inpaint");
    });
    for (const name of ["region-created", "region-updated", "region-removed"]) {
      this.regions.on(name, () => this.tools.render());
    }
  }

  paint() {
    this.surfer.setOptions({ waveColor: colour("--wave"), progressColor: colour("--accent") });
    for (const region of this.regions.getRegions()) region.setOptions({ color: colour("--region") });
  }

  get current() {
    return store.current;
  }

  // Selected parts in seconds, in their order, those that overlap as one.
  selected() {
    const found = this.regions.getRegions().map(({ start, end }) => [start, end]).sort((one, other) => one[0] - other[0]);
    const joined = [];
    for (const [start, end] of found) {
      const last = joined.at(-1);
      if (last && start <= last[1]) last[1] = Math.max(last[1], end);
      else joined.push([start, end]);
    }
    return joined;
  }

  // A region around the playhead, for those who do not drag.
  addRegion() {
    const length = this.picture?.seconds || 0;
    const width = Math.min(0.4, length / 4);
    const at = player.id === store.chosen ? player.time : length / 2;
    const start = Math.min(Math.max(at - width / 2, 0), length - width);
    this.regions.addRegion({ start, end: start + width, color: colour("--region") });
  }

  async show(id) {
    const item = store.get(id);
    this.box.hidden = !item;
    if (!item) return;
    this.refresh();
    if (this.shown === id) return;
    this.shown = id;
    this.picture = null;
    this.regions.clearRegions();
    try {
      const picture = await pictureOf(id);
      if (this.shown !== id) return;
      this.picture = picture;
      await this.surfer.load("", [peaksOf(picture)], picture.seconds);
      if (this.shown !== id) return;
      this.curve.fit(picture.seconds);
      this.draw();
      this.tools.show(item, picture);
    } catch (error) {
      complain(error);
    }
  }

  refresh() {
    const item = this.current;
    if (!item) return;
    this.name.textContent = short(item.caption, 300);
    this.name.title = short(item.caption, 1000);
    const told = item.kind === "made" ? [facts(item), `omega ${item.omega}`, item.sampler, item.file] : [facts(item), item.file];
    this.facts.textContent = told.map((text) => short(text, 120)).join(" · ");
    this.facts.title = this.facts.textContent;
    setIcon(this.star, item.starred ? "starred" : "star");
    this.star.setAttribute("aria-pressed", String(item.starred));
    this.mel.setAttribute("aria-label", `Mel spectrogram of ${short(item.caption, 80)}`);
  }

  draw() {
    const picture = this.picture;
    if (!picture || !this.melBox.clientWidth) return;
    drawMel(this.mel, picture);
    const height = this.melBox.clientHeight;
    this.melAxis.replaceChildren(...spread(picture.ticks, height, 20).map(({ text, place }) => {
      const label = el("span", {}, text);
      label.style.top = `${Math.max(height * (1 - place), 7)}px`;
      return label;
    }));
    const width = this.melBox.clientWidth;
    this.timeAxis.replaceChildren(...times(picture.seconds, width, 70).map(({ text, place }) => {
      const label = el("span", {}, text);
      label.style.left = `${width * place}px`;
      return label;
    }));
    const lines = this.tools.chosen === "curve" ? LINES : [];
    this.waveAxis.replaceChildren(...lines.map((level) => {
      const label = el("span", {}, level === 0 ? "0 dB" : String(level));
      label.style.top = `${Math.min(Math.max(this.curve.y(level, HEIGHT), 7), HEIGHT - 7)}px`;
      return label;
    }));
    this.curve.draw();
    this.showTime();
  }

  seek(event) {
    if (!this.picture) return;
    const box = this.melBox.getBoundingClientRect();
    listen(store.chosen, ((event.clientX - box.left) / box.width) * this.picture.seconds);
  }

  showTime() {
    const picture = this.picture;
    if (!picture) return;
    const time = player.id === this.shown ? player.time : 0;
    this.head.style.transform = `translateX(${(time / picture.seconds) * this.melBox.clientWidth}px)`;
    this.head.hidden = time === 0;
    this.surfer.setTime(time);
  }
}

export let stage = null;

export function start() {
  stage = new Stage($("stage"));
  store.on("chosen", (id) => stage.show(id));
  store.on("items", () => stage.show(store.chosen));
  store.on("item", () => stage.refresh());
  store.on("model", () => stage.tools.render());
  store.on("theme", () => { stage.paint(); stage.draw(); });
  player.addEventListener("time", () => stage.showTime());
  player.addEventListener("state", () => stage.showTime());
}
