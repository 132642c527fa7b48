// Jobs that run: places for their sounds in the list, progress, and the sounds as they come.

import { api, follow, sentence } from "./api.js";
import { listen } from "./sound/listening.js";
import { player } from "./sound/player.js";
import { kept, store } from "./store.js";
import { complain, say } from "./view/messages.js";

const OPEN = "open-jobs"; // kept, so that a reload goes on following
export const jobs = new Map(); // key -> {key, id, caption, what, count, done: Set, progress, status}
let number = 0;
const changed = () => store.tell("jobs");

// Begin a job: `ask` asks the service for it and gives {id}. Its places are there at once, while the model is loaded,
// too. `told`: {caption, count, what, hear}; `hear`: what comes first is played even while something else plays.
export async function begin(ask, told) {
  const job = placed(told);
  try {
    await modelThere();
    if (job.cancelled) return finish(job);
    job.id = (await ask()).id;
  } catch (error) {
    finish(job);
    throw error;
  }
  remember({ id: job.id, ...told });
  if (job.cancelled) api.cancel(job.id).catch(complain);
  listenTo(job, true);
}

const modelThere = () => new Promise((there) => {
  if (store.model) there();
  else store.addEventListener("model", () => there(), { once: true });
});

// Those that ran when the page was left.
export async function resume() {
  for (const told of kept.get(OPEN, [])) {
    try {
      const job = await api.job(told.id);
      if (["waiting", "running"].includes(job.status)) listenTo(placed(told, told.id), false);
      else forget(told.id);
    } catch {
      forget(told.id);
    }
  }
}

function remember(told) {
  kept.set(OPEN, [...kept.get(OPEN, []), told].slice(-50));
}

function forget(id) {
  kept.set(OPEN, kept.get(OPEN, []).filter((told) => told.id !== id));
}

function placed(told, id = null) {
  const job = {
    ...told, id, key: `job ${++number}`, done: new Set(), progress: 0, status: "waiting", position: null, cancelled: false,
    from: store.chosen,
  };
  job.cancel = () => {
    job.cancelled = true;
    if (job.id) api.cancel(job.id).catch(complain);
    else finish(job);
  };
  jobs.set(job.key, job);
  changed();
  return job;
}

function finish(job) {
  jobs.delete(job.key);
  if (job.id) forget(job.id);
  changed();
}

function listenTo(job, asked) {
  follow(job.id, {
    progress(found) {
      Object.assign(job, { progress: found.progress, status: found.status, position: found.position });
      store.tell("progress", job);
    },
    clip: (clip) => arrived(job, clip, asked),
    over(found) {
      for (const clip of found.clips || []) arrived(job, clip, asked);
      finish(job);
      if (found.status === "failed") say(sentence(found.error || "the job failed"), { bad: true });
    },
  });
}

function arrived(job, clip, asked) {
  if (job.done.has(clip.index)) return;
  job.done.add(clip.index);
  for (const warning of clip.warnings || []) {
    if (!warned.has(warning)) say(sentence(warning), { bad: !clip.item });
    warned.add(warning);
  }
  if (!clip.item) return changed();
  const first = job.done.size === 1;
  if (!store.items.has(clip.item.id)) store.total += 1;
  clip.item.fresh = true;
  store.insert(clip.item);
  if (!first || !asked) return;
  if (store.chosen === job.from || job.hear) store.choose(clip.item.id);
  if (kept.get("autoplay", true) && (job.hear || !player.playing)) listen(clip.item.id, 0);
}

const warned = new Set(); // sentences that were said already
