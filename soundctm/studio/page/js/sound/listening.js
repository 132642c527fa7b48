// What is heard: the chosen sound, or A and B at equal loudness (BS.1770, measured by the studio).

import { api } from "../api.js";
import { store } from "../store.js";
import { unpacked } from "../view/pictures.js";
import { complain } from "../view/messages.js";
import { player } from "./player.js";

const KEPT = 400;
const pictures = new Map(); // id -> promise

// The picture of a sound, asked for once.
export function pictureOf(id) {
  if (!pictures.has(id)) {
    const found = api.picture(id).then(unpacked);
    found.catch(() => pictures.delete(id));
    pictures.set(id, found);
    if (pictures.size > KEPT) pictures.delete(pictures.keys().next().value);
  }
  return pictures.get(id);
}

// Gains, at most 1, that make sounds of these loudnesses equally loud; null (silence) stays as it is.
export function equalGains(loudness) {
  const known = loudness.filter((value) => value !== null && value !== undefined);
  const target = Math.min(...known);
  return loudness.map((value) => (value === null || value === undefined ? 1 : 10 ** ((target - value) / 20)));
}

// {id: gain} for what is to run when `id` is heard: both of a comparison, or the sound alone.
export async function levelsFor(id) {
  const { a, b } = store.compare;
  if (!a || !b || a === b || (id !== a && id !== b)) return { [id]: 1 };
  const [first, second] = await Promise.all([pictureOf(a), pictureOf(b)]);
  const gains = equalGains([first.loudness, second.loudness]);
  return { [a]: gains[0], [b]: gains[1] };
}

export async function listen(id, from = null) {
  try {
    await player.play(id, from, await levelsFor(id));
  } catch (error) {
    complain(error);
  }
}

// Play or pause `id`.
export function toggle(id) {
  if (!id) return;
  if (player.playing && player.id === id) player.pause();
  else listen(id);
}

// Hear the other of A and B, at the same place.
export function other() {
  const { a, b } = store.compare;
  if (!a || !b) return;
  hear(player.id === a ? b : a);
}

export function hear(id) {
  const from = player.playing ? player.time : null;
  store.choose(id);
  if (!player.swap(id)) listen(id, from);
}
