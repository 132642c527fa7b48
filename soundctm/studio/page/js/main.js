// The page's beginning: parts are started, the history is shown, the model is waited for.

import { api, sentence } from "./api.js";
import { jobs, resume } from "./jobs.js";
import * as keys from "./keys.js";
import { store } from "./store.js";
import * as theme from "./theme.js";
import * as bring from "./view/bring.js";
import * as compose from "./view/compose.js";
import { $, el, fillIcons, short } from "./view/dom.js";
import * as help from "./view/help.js";
import { complain, say } from "./view/messages.js";
import * as stage from "./view/stage.js";
import * as stream from "./view/stream.js";
import * as transport from "./view/transport.js";

const LOADING = 400, READY = 5000; // ms between two looks at the service

function status(state, text) {
  $("status").dataset.state = state;
  const place = $("status").querySelector(".text");
  if (place.textContent !== text) place.textContent = text;
}

async function look() {
  let wait = READY;
  try {
    const health = await api.health();
    if (health.status === "ok") {
      if (!store.model || store.model.name !== health.model) await showModels();
      ready = `Ready on ${health.device === "cpu" ? "the CPU" : health.device}`;
      showJobs();
    } else {
      if (health.fault) say(sentence(health.fault), { bad: true });
      status("loading", health.fault ? "No model" : health.status === "stopping" ? "Stopping" : "Loading the model");
      wait = health.fault ? READY : LOADING;
    }
  } catch {
    status("gone", "No answer");
    wait = 2000;
  }
  setTimeout(look, wait);
}

let ready = "Ready";

function showJobs() {
  if (!store.model) return;
  if (jobs.size) status("busy", jobs.size === 1 ? "Making sounds" : `Making sounds, ${jobs.size} jobs`);
  else status("ready", ready);
}

async function showModels() {
  const { models, current } = await api.models();
  const select = $("model");
  select.replaceChildren(...models.map((model) => el("option", { value: model.name }, short(model.name, 80))));
  select.value = current;
  select.disabled = models.length < 2;
  select.title = models.length < 2 ? "The only model that was found" : "Model";
  store.use(models.find((model) => model.name === current));
}

async function pick() {
  const select = $("model"), before = store.model?.name;
  select.disabled = true;
  status("loading", `Loading ${short(select.value, 40)}`);
  try {
    await api.pick(select.value);
    await showModels();
  } catch (error) {
    select.value = before;
    complain(error);
  }
  select.disabled = false;
}

async function begin() {
  fillIcons();
  theme.start();
  compose.start();
  stage.start();
  stream.start();
  transport.start();
  bring.start();
  const helped = help.start();
  keys.start();
  $("model").addEventListener("change", pick);
  store.on("jobs", showJobs);
  look();
  await stream.load();
  helped.tell(document.documentElement.dataset.folder);
  await resume();
  $("prompt").focus();
}

begin();
