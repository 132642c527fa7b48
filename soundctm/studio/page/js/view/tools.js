// What can be done to the chosen sound: each tool has its few values and one button.

import { api } from "../api.js";
import { begin } from "../jobs.js";
import { store } from "../store.js";
import { requested } from "./compose.js";
import { SHAPES } from "./curve.js";
import { el, iconButton } from "./dom.js";
import { complain } from "./messages.js";

const TOOLS = {
  inpaint: { name: "Inpaint", what: "Drag over the waveform: what you select is made anew, the rest stays as it is." },
  vary: { name: "Vary", what: "Another take of it. Strength 0 is the sound itself, 1 is all new." },
  extend: { name: "Extend", what: "The sound goes on, behind or before it." },
  loop: { name: "Make a loop", what: "The join is made anew, so that its end runs into its beginning." },
  curve: { name: "Curve", what: "Draw over the waveform how loud it shall be: the same seed, following the curve." },
};

export class Tools {
  chosen = "inpaint";
  values = { strength: 1, vary: 0.2, seconds: 1, side: "after", seam: 0.5, variants: 1 };
  item = null;

  constructor(stage) {
    this.stage = stage;
    this.tabs = el("div", { class: "tabs", role: "tablist", "aria-label": "What to do with it" });
    this.body = el("div", { class: "tool", role: "tabpanel", id: "tool", "aria-label": "The tool's values" });
    this.caption = el("input", { type: "text", id: "edit-caption", maxlength: "1000" });
    this.what = el("p", { class: "what" });
    this.element = el("div", { class: "tools" }, el("div", { class: "choice" }, this.tabs, this.what), this.body);
    this.tabs.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      const names = this.offered();
      this.select(names[(names.indexOf(this.chosen) + step + names.length) % names.length]);
      this.tabs.querySelector("[aria-selected=true]").focus();
    });
  }

  // The tools that the model has.
  offered() {
    const { edits = Object.keys(TOOLS), control = [] } = store.model || {};
    return Object.keys(TOOLS).filter((name) => (name === "curve" ? control.includes("intensity") : edits.includes(name)));
  }

  show(item, picture) {
    this.item = item;
    this.length = picture.seconds;
    this.caption.value = item.kind === "made" ? item.caption : "";
    this.caption.placeholder = item.kind === "made" ? "" : "what shall be heard";
    this.render();
  }

  select(name) {
    if (this.chosen === name) return;
    this.chosen = name;
    this.render();
    this.stage.draw();
  }

  render() {
    const names = this.offered();
    if (!names.length) return;
    if (!names.includes(this.chosen)) this.chosen = names[0];
    this.tabs.replaceChildren(...names.map((name) => el("button", {
      type: "button", role: "tab", "aria-controls": "tool", "aria-selected": String(name === this.chosen),
      tabindex: name === this.chosen ? "0" : "-1", onclick: () => this.select(name),
    }, TOOLS[name].name)));
    this.stage.curve?.show(this.chosen === "curve");
    this.what.textContent = TOOLS[this.chosen].what;
    this.body.replaceChildren(...this[this.chosen]());
  }

  captioned() {
    return el("label", { class: "field caption" }, el("span", {}, "Caption"), this.caption);
  }

  number(label, name, low, high, step) {
    const input = el("input", { type: "number", min: low, max: high, step, value: String(this.values[name]), inputmode: "decimal" });
    input.addEventListener("input", () => { this.values[name] = Number(input.value); });
    return el("label", { class: "field narrow" }, el("span", {}, label), input);
  }

  slider(label, name) {
    const output = el("output", {}, this.values[name].toFixed(2));
    const input = el("input", { type: "range", min: "0", max: "1", step: "0.01", value: String(this.values[name]) });
    input.addEventListener("input", () => {
      this.values[name] = Number(input.value);
      output.textContent = this.values[name].toFixed(2);
    });
    return el("label", { class: "field slide" }, el("span", {}, label, output), input);
  }

  button(text, act, disabled = false) {
    return el("button", { type: "button", class: "primary", disabled, onclick: () => act().catch(complain) }, text);
  }

  inpaint() {
    const regions = this.stage.regions?.getRegions() || [];
    const list = el("div", { class: "regions" },
      ...regions.sort((one, other) => one.start - other.start).map((region, k) => this.region(region, k)),
      el("button", { type: "button", class: "plain", onclick: () => this.stage.addRegion() }, "Add a part"),
      regions.length ? el("button", { type: "button", class: "plain", onclick: () => this.stage.regions.clearRegions() }, "Clear") : null);
    return [list, this.captioned(), this.slider("Strength", "strength"), this.number("Variants", "variants", 1, 8, 1),
      this.button("Inpaint", () => this.edit({
        operation: "inpaint", regions: this.stage.selected(), strength: this.values.strength,
      }, `${regions.length} ${regions.length === 1 ? "part" : "parts"} anew`), !regions.length)];
  }

  region(region, k) {
    const part = (name, label) => {
      const input = el("input", { type: "number", step: "0.01", min: "0", max: String(this.length || 0), value: region[name].toFixed(2), "aria-label": `Part ${k + 1}, ${label}, seconds` });
      input.addEventListener("change", () => {
        const value = Math.min(Math.max(Number(input.value) || 0, 0), this.length);
        const next = { start: region.start, end: region.end, [name]: value };
        if (next.end - next.start >= 0.01) region.setOptions(next);
        this.render();
      });
      return input;
    };
    return el("span", { class: "region" }, part("start", "beginning"), "to", part("end", "end"), "s",
      iconButton("close", `Remove part ${k + 1}`, () => region.remove()));
  }

  vary() {
    return [this.captioned(), this.slider("Strength", "vary"), this.number("Variants", "variants", 1, 8, 1),
      this.button("Vary", () => this.edit({ operation: "vary", strength: this.values.vary }, `strength ${this.values.vary}`))];
  }

  extend() {
    const side = el("select", {}, el("option", { value: "after" }, "behind it"), el("option", { value: "before" }, "before it"));
    side.value = this.values.side;
    side.addEventListener("change", () => { this.values.side = side.value; });
    return [this.captioned(), this.number("Seconds", "seconds", 0.1, 60, 0.1),
      el("label", { class: "field" }, el("span", {}, "Where"), side), this.number("Variants", "variants", 1, 8, 1),
      this.button("Extend", () => this.edit({
        operation: "extend", seconds: this.values.seconds, side: this.values.side,
      }, `${this.values.seconds} s more`))];
  }

  loop() {
    return [this.captioned(), this.number("Seam, s", "seam", 0.05, 10, 0.05), this.number("Variants", "variants", 1, 8, 1),
      this.button("Make a loop", () => this.edit({ operation: "loop", seam: this.values.seam }, "as a loop"))];
  }

  curve() {
    const curve = this.stage.curve;
    const shapes = Object.keys(SHAPES).map((name) => el("button", {
      type: "button", class: "plain", onclick: () => { curve.shape(name); this.render(); },
    }, name));
    const drawn = Boolean(curve?.levels);
    return [el("div", { class: "regions" }, ...shapes,
      drawn ? el("button", { type: "button", class: "plain", onclick: () => { curve.clear(); this.render(); } }, "Clear") : null),
      this.captioned(), this.button("Make it follow", () => this.follow(), !drawn)];
  }

  text() {
    const text = this.caption.value.trim();
    if (!text) {
      this.caption.focus();
      throw new Error("Write in “Caption” what shall be heard.");
    }
    return text;
  }

  async edit(request, what) {
    const prompt = this.text(), { id } = this.item, { sampler, ...sampling } = requested.sampling();
    const variants = Math.min(Math.max(Math.round(this.values.variants) || 1, 1), 8);
    const whole = { prompt, ...sampling, ...(sampler && { sampler }), variants, ...request };
    const told = `${what} · ${sampling.steps} ${sampling.steps === 1 ? "step" : "steps"}`;
    await begin(() => api.edit(id, whole), { caption: prompt, count: variants, what: told });
  }

  async follow() {
    const sampling = requested.sampling();
    sampling.steps = Math.max(sampling.steps, requested.steps("refine")); // guidance needs some steps to act in
    const { trained } = store.model.seconds;
    const request = {
      prompt: this.text(), ...sampling, control: { measure: "intensity", points: this.stage.curve.points() },
      ...(Math.abs(this.length - trained) > 0.005 && { seconds: Number(this.length.toFixed(4)) }),
    };
    const told = { caption: request.prompt, count: 1, what: `along a curve · ${sampling.steps} steps` };
    const { id, kind } = this.item;
    await begin(() => (kind === "made" ? api.again(id, request) : api.generate(request)), told);
  }
}
