// The list: places of what is being made, then the sounds, the newest first; search and the older ones.

import { api } from "../api.js";
import { jobs } from "../jobs.js";
import { player } from "../sound/player.js";
import { store } from "../store.js";
import { cardOf, makeCard, pendingCard } from "./card.js";
import { setCaption } from "./compose.js";
import { $, el } from "./dom.js";
import { complain } from "./messages.js";

const PAGE = 48;
const IDEAS = ["a dog barking", "rain on a tin roof", "glass breaking", "footsteps on gravel", "a church bell"];
const cards = new Map(); // id -> element
const places = new Map(); // "key/index" -> element
let next = null, turn = 0, loaded = false;

const asked = () => {
  const query = $("search").value.trim(), starred = $("only-starred").getAttribute("aria-pressed") === "true";
  return { limit: PAGE, ...(query && { query }), ...(starred && { starred: "true" }) };
};
const narrowed = () => Object.keys(asked()).length > 1;

export async function load(more = false) {
  const mine = ++turn;
  try {
    const found = await api.history({ ...asked(), ...(more && next && { before: next }) });
    if (mine !== turn) return;
    next = found.next;
    store.total = found.total;
    loaded = true;
    store.fill(found.items, more);
    if (!store.current) store.choose(found.items[0]?.id || null);
  } catch (error) {
    complain(error);
  }
}

function render() {
  const stream = $("stream");
  const wanted = [];
  for (const job of jobs.values()) {
    for (let index = 0; index < job.count; index++) {
      const key = `${job.key}/${index}`;
      if (job.done.has(index)) continue;
      if (!places.has(key)) places.set(key, el("li", {}, pendingCard(job, index, job.cancel)));
      wanted.push(places.get(key));
    }
  }
  for (const key of [...places.keys()]) if (!wanted.includes(places.get(key))) places.delete(key);
  for (const id of [...cards.keys()]) if (!store.items.has(id)) cards.delete(id);
  for (const item of store.items.values()) {
    if (!cards.has(item.id)) {
      const card = makeCard(item);
      if (item.fresh) card.classList.add("fresh");
      cards.set(item.id, el("li", {}, card));
    }
    wanted.push(cards.get(item.id));
  }
  const focused = document.activeElement?.closest?.(".card")?.dataset.id;
  const inside = document.activeElement;
  let at = stream.firstChild;
  for (const place of wanted) {
    if (place === at) at = at.nextSibling;
    else stream.insertBefore(place, at);
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
  if (focused && document.activeElement !== inside && inside.isConnected) inside.focus({ preventScroll: true });
  $("older").hidden = !next;
  $("total").textContent = store.total ? String(store.total) : "";
  showEmpty(!wanted.length && loaded);
  rove();
}

function showEmpty(empty) {
  const box = $("empty");
  box.hidden = !empty;
  if (!empty) return;
  if (narrowed()) {
    box.replaceChildren(el("strong", {}, "Nothing found"), "No sound has all of these words.");
    return;
  }
  box.replaceChildren(
    el("strong", {}, "No sounds yet"), "Write a caption and press Enter. Or begin with one of these:",
    el("div", { class: "ideas" }, ...IDEAS.map((text) =>
      el("button", { type: "button", class: "plain", onclick: () => setCaption(text, true) }, text))),
  );
}

// One card is in the order of the Tab key; arrows go to the others.
function rove() {
  const chosen = store.chosen && cards.has(store.chosen) ? store.chosen : cards.keys().next().value;
  for (const [id, place] of cards) place.firstChild.tabIndex = id === chosen ? 0 : -1;
}

// Choose the card that lies so many columns and rows away.
export function move(columns, rows) {
  const ids = [...store.items.keys()];
  if (!ids.length) return;
  const width = getComputedStyle($("stream")).gridTemplateColumns.split(" ").length;
  const now = ids.indexOf(store.chosen);
  const to = now < 0 ? 0 : Math.min(Math.max(now + columns + rows * width, 0), ids.length - 1);
  const card = cardOf(ids[to]);
  store.choose(ids[to]);
  card?.focus({ preventScroll: true });
  card?.scrollIntoView({ block: "nearest" });
}

export function start() {
  store.on("items", render);
  store.on("jobs", render);
  store.on("progress", (job) => {
    for (const [key, place] of places) if (key.startsWith(`${job.key}/`)) place.firstChild.progress(job);
  });
  const refresh = () => cards.forEach((place) => place.firstChild.refresh());
  for (const name of ["chosen", "compare", "item"]) store.on(name, refresh);
  store.on("chosen", rove);
  player.addEventListener("state", refresh);
  player.addEventListener("time", () => cards.get(player.id)?.firstChild.showTime());
  let timer = 0;
  $("search").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => load(), 180);
  });
  $("search").addEventListener("keydown", (event) => {
    if (event.key === "Escape" && $("search").value) {
      event.stopPropagation();
      $("search").value = "";
      load();
    } else if (event.key === "Enter" || event.key === "ArrowDown") {
      event.preventDefault();
      move(0, 0);
    }
  });
  $("only-starred").addEventListener("click", ({ currentTarget }) => {
    currentTarget.setAttribute("aria-pressed", String(currentTarget.getAttribute("aria-pressed") !== "true"));
    load();
  });
  $("older").addEventListener("click", () => load(true));
  let width = 0;
  new ResizeObserver(([entry]) => {
    if (Math.abs(entry.contentRect.width - width) < 2) return;
    width = entry.contentRect.width;
    cards.forEach((place) => place.firstChild.draw());
  }).observe($("stream"));
  store.on("theme", () => cards.forEach((place) => place.firstChild.draw()));
}
