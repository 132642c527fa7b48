// What can be done with a sound, whether a button, a key or a menu asks for it.

import { api } from "./api.js";
import { begin } from "./jobs.js";
import { listen } from "./sound/listening.js";
import { player } from "./sound/player.js";
import { store } from "./store.js";
import { requested } from "./view/compose.js";
import { short } from "./view/dom.js";
import { complain, say } from "./view/messages.js";

const guarded = (act) => (...given) => Promise.resolve().then(() => act(...given)).catch(complain);

export const act = {
  star: guarded(async (id) => {
    const item = store.get(id);
    if (!item) return;
    store.change({ ...item, starred: !item.starred });
    try {
      store.change(await api.star(id, !item.starred));
    } catch (error) {
      store.change(item);
      throw error;
    }
  }),

  remove: guarded(async (id) => {
    const item = store.get(id);
    if (!item) return;
    player.forget(id);
    store.total -= 1;
    store.drop(id);
    try {
      await api.remove(id);
    } catch (error) {
      store.total += 1;
      store.insert(item);
      throw error;
    }
    undone.push(id);
    say(`Deleted “${short(item.caption, 60)}”.`, { undo: () => act.restore(id) });
  }),

  restore: guarded(async (id = undone.at(-1)) => {
    if (!id) return;
    undone.splice(undone.lastIndexOf(id), 1);
    const item = await api.restore(id);
    store.total += 1;
    store.insert(item);
    store.choose(item.id);
  }),

  loop(id) {
    const here = player.id === id;
    player.setLoop(here && player.playing ? !player.loop : true);
    if (!(here && player.playing)) listen(id);
  },

  compare(side, id) {
    store.set(side, store.compare[side] === id ? null : id);
    const { a, b } = store.compare;
    if (a && b && a !== b && player.playing && (player.id === a || player.id === b)) listen(player.id, player.time);
  },

  refine: guarded(async (id) => {
    const item = store.get(id);
    if (!item || item.kind === "own") return;
    const steps = requested.steps("refine");
    await begin(() => api.refine(id, steps), { caption: item.caption, count: 1, what: `${steps} steps · seed ${item.seed}` });
  }),

  // The seed of a sound with what the form says now; without a caption there, the sound's own.
  again: guarded(async (id) => {
    const item = store.get(id);
    if (!item || item.kind === "own") return;
    const { seed, variants, ...request } = requested.generate({ caption: item.caption });
    await begin(() => api.again(id, request), {
      caption: request.prompt, count: 1, what: `${request.steps} steps · seed ${item.seed}`,
    });
  }),
};

const undone = []; // ids of what was deleted since the page was opened
