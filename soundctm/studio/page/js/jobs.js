// Jobs that run: places for their sounds in the list, progress, and the sounds as they come.

import { api, follow, sentence } from "./api.js";
import { listen } from "./sound/listening.js";
import { player } from "./sound/player.js";
import { kept, store } from "./store.js";
import { complain, say } from "./view/messages.js";

const OPEN = "open-jobs"; // kept, so that a reload goes on following
export const jobs = new Map(); // id -> {id, caption, what, count, done: Set, progress, status, stop}
const changed = () => store.tell("jobs");

// Follow the job that `asked` (a promise of {id}) begins. `told`: {caption, count, what}.
export async function begin(asked, told) {
  const { id } = await asked;
  remember({ id, ...told });
  watch({ id, ...told }, true);
}

// Those that ran when the page was left.
export async function resume() {
  for (const told of kept.get(OPEN, [])) {
    try {
      const job = await api.job(told.id);
      if (["waiting", "running"].includes(job.status)) watch(told, false);
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

function watch(told, asked) {
  const job = { ...told, done: new Set(), progress: 0, status: "waiting", position: null, cancelled: false };
  job.cancel = () => {
    job.cancelled = true;
    api.cancel(job.id).catch(complain);
  };
  jobs.set(job.id, job);
  job.stop = follow(job.id, {
    progress(found) {
      Object.assign(job, { progress: found.progress, status: found.status, position: found.position });
      store.tell("progress", job);
    },
    clip: (clip) => arrived(job, clip, asked),
    over(found) {
      for (const clip of found.clips || []) arrived(job, clip, asked);
      jobs.delete(job.id);
      forget(job.id);
      changed();
      if (found.status === "failed") say(sentence(found.error || "the job failed"), { bad: true });
    },
  });
  changed();
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
  if (first && asked) {
    store.choose(clip.item.id);
    if (kept.get("autoplay", true) && !player.playing) listen(clip.item.id, 0);
  }
}

const warned = new Set(); // sentences that were said already
