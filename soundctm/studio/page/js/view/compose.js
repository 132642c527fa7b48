// The form: what a new sound shall be. Values that are the model's own are shown, and sent only where they are changed.

import { api } from "../api.js";
import { begin } from "../jobs.js";
import { kept, store } from "../store.js";
import { $, setIcon } from "./dom.js";
import { complain } from "./messages.js";

const NUMBERS = ["omega", "nu", "gamma"];
const KEPT = ["variants", "steps-draft", "steps-refine"];
let locked = kept.get("seed-locked", false);

const number = (id) => {
  const text = $(id).value.trim().replace(",", ".");
  return text === "" ? null : Number(text);
};

function wrong(id, text) {
  const field = $(id);
  field.setAttribute("aria-invalid", "true");
  const details = field.closest("details");
  if (details) details.open = true;
  field.focus();
  throw new Error(text);
}

function checked(id, name, low, high) {
  const value = number(id);
  if (value === null) return null;
  if (!Number.isFinite(value) || value < low || value > high) {
    wrong(id, `${name} must be a number from ${low} to ${high}.`);
  }
  return value;
}

const anySeed = () => String(crypto.getRandomValues(new Uint32Array(1))[0]);

export const requested = {
  mode: () => document.querySelector("input[name=mode]:checked").value,

  steps(mode = requested.mode()) {
    const value = checked(`steps-${mode}`, "Steps", 1, store.model?.steps?.max || 64);
    return Math.round(value ?? 1);
  },

  // What all requests say, beside the caption.
  sampling(mode) {
    const found = { steps: requested.steps(mode) };
    for (const name of NUMBERS) {
      if (name === "gamma" && $("sampler").value !== "gamma_multistep") continue;
      const value = checked(name, name, name === "gamma" ? 0 : -100, name === "gamma" ? 1 : 100);
      if (value !== null && value !== store.model?.defaults?.[name]) found[name] = value;
    }
    if ($("sampler").value) found.sampler = $("sampler").value;
    if ($("negative").value.trim()) found.negative_prompt = $("negative").value.trim();
    return found;
  },

  variants: () => Math.round(checked("variants", "Variants", 1, store.model?.variants?.max || 8) ?? 1),

  // A new sound; `caption` where the form has none.
  generate({ caption = "" } = {}) {
    const prompt = $("prompt").value.trim() || caption;
    if (!prompt) wrong("prompt", "Write what shall be heard.");
    const trained = store.model?.seconds?.trained;
    const length = checked("seconds", "The length", 0.1, store.model?.seconds?.max || 60);
    return {
      prompt, ...requested.sampling(), seed: requested.seed(), variants: requested.variants(),
      ...(length !== null && length !== trained && { seconds: length }),
      ...($("seamless").checked && { loop: true }),
    };
  },

  seed() {
    const text = $("seed").value.trim();
    if (!/^[0-9]*$/.test(text) || Number(text) > Number.MAX_SAFE_INTEGER) {
      wrong("seed", `A seed is a whole number from 0 to ${Number.MAX_SAFE_INTEGER}.`);
    }
    if (text === "") $("seed").value = anySeed();
    return Number($("seed").value);
  },
};

async function submit() {
  try {
    document.querySelectorAll("#compose [aria-invalid]").forEach((field) => field.removeAttribute("aria-invalid"));
    const request = requested.generate();
    const what = `${request.steps} ${request.steps === 1 ? "step" : "steps"} · seed ${request.seed}`;
    if (!locked) $("seed").value = anySeed();
    await begin(() => api.generate(request), { caption: request.prompt, count: request.variants, what, hear: true });
  } catch (error) {
    const field = { prompt: "prompt", negative_prompt: "negative", seconds: "seconds", seed: "seed" }[error.field];
    if (field) $(field).setAttribute("aria-invalid", "true");
    complain(error);
  }
}

// Put a caption in the form; with `now`, make it.
export function setCaption(text, now = false) {
  $("prompt").value = text;
  if (now) submit();
  else $("prompt").focus();
}

// The settings of a sound, so that more like it can be made.
export function takeOver(item) {
  $("prompt").value = item.caption;
  $("negative").value = item.negative_prompt || "";
  if (item.kind === "made") {
    $("omega").value = item.omega === "none" ? "" : item.omega;
    for (const name of ["nu", "gamma"]) if (item[name] !== null) $(name).value = String(item[name]);
    $("sampler").value = [...$("sampler").options].some((each) => each.value === item.sampler) ? item.sampler : "";
    if (item.asked_seconds !== null) $("seconds").value = String(item.asked_seconds);
    if (Number.isSafeInteger(Number(item.seed))) {
      $("seed").value = item.seed;
      lock(true);
    }
  }
  show();
  $("prompt").focus();
}

function lock(on) {
  locked = on;
  kept.set("seed-locked", on);
  setIcon($("seed-lock"), on ? "locked" : "unlocked");
  $("seed-lock").setAttribute("aria-pressed", String(on));
  $("seed-lock").title = on ? "The seed is kept" : "Each time another seed";
}

function reset() {
  const { defaults, seconds } = store.model || {};
  if (!defaults) return;
  for (const name of NUMBERS) $(name).value = defaults[name] ?? "";
  $("sampler").value = "";
  $("negative").value = "";
  $("seamless").checked = false;
  $("seconds").value = seconds.trained ? String(Number(seconds.trained.toFixed(3))) : "";
  $("steps-draft").value = "1";
  $("steps-refine").value = String(defaults.refine_steps || 4);
  show();
}

// What follows from the values: labels, hints, the button's word.
function show() {
  const { omega_range: range } = store.model || {};
  const omega = number("omega");
  const outside = range && omega !== null && (omega < range[0] || omega > range[1]);
  $("omega-hint").textContent = range ? `Trained with omega from ${range[0]} to ${range[1]}${outside ? "; this is outside." : "."}` : "";
  $("gamma-field").hidden = $("sampler").value !== "gamma_multistep";
  $("negative-hint").hidden = !($("negative").value.trim() && (number("nu") ?? 1) === 1);
  for (const mode of ["draft", "refine"]) $(`${mode}-steps`).textContent = $(`steps-${mode}`).value || "1";
  $("go-text").textContent = requested.mode() === "draft" ? "Draft" : "Generate";
  for (const id of KEPT) kept.set(id, $(id).value);
}

export function start() {
  const form = $("compose");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  form.addEventListener("input", (event) => {
    event.target.removeAttribute?.("aria-invalid");
    show();
  });
  $("prompt").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      submit();
    }
  });
  $("seed").value = anySeed();
  $("seed-new").addEventListener("click", () => { $("seed").value = anySeed(); });
  $("seed-lock").addEventListener("click", () => lock(!locked));
  lock(locked);
  $("reset").addEventListener("click", reset);
  for (const id of KEPT) $(id).value = kept.get(id, $(id).value);
  let first = true;
  store.on("model", () => {
    const mine = Object.fromEntries(KEPT.map((id) => [id, $(id).value]));
    reset();
    if (first) for (const id of KEPT) $(id).value = mine[id];
    first = false;
    show();
  });
  show();
}

export { submit };
