// A sound as a card: its picture, what made it, and everything that can be done with it.

import { act } from "../actions.js";
import { api } from "../api.js";
import { listen, pictureOf, toggle } from "../sound/listening.js";
import { player } from "../sound/player.js";
import { store } from "../store.js";
import { $, el, iconButton, seconds, setIcon, short } from "./dom.js";
import { drawMel, drawOutline } from "./pictures.js";

const seen = new IntersectionObserver(
  (entries) => entries.forEach((entry) => entry.isIntersecting && entry.target.draw?.()),
  { rootMargin: "300px" },
);

export const EDITED = { vary: "varied", inpaint: "inpainted", extend: "extended", loop: "looped", bands: "bands" };

// "1 step, 2.56 s, seed 7".
export function facts(item) {
  if (item.kind === "own") return "your sound";
  const told = [`${item.steps} ${item.steps === 1 ? "step" : "steps"}`, seconds(item.seconds)];
  if (item.operation !== "generate") told.unshift(EDITED[item.operation] || item.operation);
  if (item.control) told.push("curve");
  if (item.loop && item.operation === "generate") told.push("loop");
  told.push(`seed ${item.seed}`);
  return told.join(" · ");
}

export function makeCard(item) {
  const id = item.id;
  const name = el("h3", { id: `name-${id}`, title: short(item.caption, 300), dir: "auto" }, short(item.caption, 160));
  const wave = el("canvas", { class: "wave" }), mel = el("canvas", { class: "mel" });
  const head = el("div", { class: "head" });
  const badges = el("div", { class: "badges" });
  const picture = el("div", { class: "picture", "aria-hidden": "true", onclick: seek }, wave, mel, head, badges);
  const play = iconButton("play", "Play", () => { store.choose(id); toggle(id); }, { key: "Space" });
  const loop = iconButton("loop", "Play as a loop", () => { store.choose(id); act.loop(id); }, { key: "L" });
  const a = letter("a"), b = letter("b");
  const star = iconButton("star", "Star", () => act.star(id), { key: "S", class: "star" });
  const again = iconButton("again", "The same seed again, as the form says", () => act.again(id), { key: "G" });
  const refine = iconButton("refine", "Refine at more steps", () => act.refine(id), { key: "R" });
  const save = iconButton("save", "Download", openMenu, { key: "D", "aria-haspopup": "true", "aria-expanded": "false" });
  const saves = el("div", { class: "saves" }, save);
  const remove = iconButton("bin", "Delete", () => act.remove(id), { key: "Delete" });
  const made = item.kind === "made" ? [again, refine] : [];
  const card = el(
    "article",
    { class: "card", tabindex: "-1", "aria-labelledby": `name-${id}`, draggable: "true", "data-id": id },
    picture, name, el("p", { class: "facts", title: facts(item) }, facts(item)),
    el("div", { class: "acts" }, play, loop, a, b, el("span", { class: "gap" }), star, ...made, saves, remove),
  );

  function letter(side) {
    const large = side.toUpperCase();
    return el("button", {
      type: "button", class: `icon letter ${side}`, "aria-label": `Compare as ${large}`, title: `Compare as ${large} (${large})`,
      "aria-pressed": "false", onclick: () => act.compare(side, id),
    }, large);
  }

  function seek(event) {
    const box = picture.getBoundingClientRect();
    const share = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
    store.choose(id);
    pictureOf(id).then((found) => listen(id, share * found.seconds));
  }

  function openMenu() {
    if (card.closeMenu) return card.closeMenu();
    const links = [["wav", 16, "wav"], ["wav", 24, "wav, 24 bits"], ["flac", 16, "flac"], ["flac", 24, "flac, 24 bits"]];
    const menu = el("div", { class: "menu" }, ...links.map(([format, bits, text]) =>
      el("a", { href: `${api.audio(id, format, bits)}&save=1`, download: "" }, text)));
    const outside = (event) => {
      if (event.type === "keydown" ? event.key === "Escape" : !saves.contains(event.target)) card.closeMenu(event);
    };
    card.closeMenu = (event) => {
      menu.remove();
      save.setAttribute("aria-expanded", "false");
      card.classList.remove("has-menu");
      document.removeEventListener("pointerdown", outside, true);
      document.removeEventListener("keydown", outside, true);
      card.closeMenu = null;
      if (event?.type === "keydown") { event.stopPropagation(); save.focus(); }
    };
    menu.addEventListener("click", () => setTimeout(() => card.closeMenu?.()));
    saves.append(menu);
    card.classList.add("has-menu");
    save.setAttribute("aria-expanded", "true");
    document.addEventListener("pointerdown", outside, true);
    document.addEventListener("keydown", outside, true);
    menu.firstChild.focus();
  }
  card.openMenu = openMenu;

  card.addEventListener("focus", () => store.choose(id));
  card.addEventListener("pointerdown", (event) => {
    if (!event.target.closest("button, a")) store.choose(id);
  });
  card.addEventListener("dragstart", (event) => dragOut(event, store.get(id) || item));

  card.draw = () => {
    pictureOf(id).then((found) => {
      if (!card.isConnected) return;
      picture.classList.add("drawn");
      drawOutline(wave, found);
      drawMel(mel, found, { axes: true });
      card.seconds = found.seconds;
    }, () => name.append(" (cannot be read)"));
  };

  // What changes without the sound changing.
  card.refresh = () => {
    const now = store.get(id) || item;
    const plays = player.playing && player.id === id;
    setIcon(play, plays ? "pause" : "play");
    play.setAttribute("aria-label", plays ? "Pause" : "Play");
    setIcon(star, now.starred ? "starred" : "star");
    star.setAttribute("aria-pressed", String(now.starred));
    loop.setAttribute("aria-pressed", String(player.loop && player.id === id));
    card.classList.toggle("playing", plays);
    card.classList.toggle("chosen", store.chosen === id);
    badges.replaceChildren();
    for (const [side, button] of [["a", a], ["b", b]]) {
      const held = store.compare[side] === id;
      button.setAttribute("aria-pressed", String(held));
      if (held) badges.append(el("span", { class: `badge ${side}` }, side.toUpperCase()));
    }
  };
  card.showTime = () => {
    if (player.id !== id || !card.seconds) return;
    head.style.transform = `translateX(${(player.time / card.seconds) * picture.clientWidth}px)`;
  };
  card.refresh();
  seen.observe(card);
  return card;
}

// To a folder or a DAW: Chromium gives the file itself (DownloadURL), others its address.
function dragOut(event, item) {
  const address = new URL(`${api.audio(item.id, "wav", 24)}&save=1`, location.href).href;
  const name = `${item.file.split("/").pop().replace(/\.[^.]*$/, "").replace(/[:\\]/g, "_")}.wav`;
  event.dataTransfer.effectAllowed = "copy";
  event.dataTransfer.setData("DownloadURL", `audio/wav:${name}:${address}`);
  event.dataTransfer.setData("text/uri-list", address);
  event.dataTransfer.setData("application/x-soundctm", item.id);
}

// A place for a sound that is being made.
export function pendingCard(job, index, cancel) {
  const bar = el("progress", { max: "1", value: 0, "aria-label": `Progress of ${short(job.caption, 60)}` });
  const told = el("span", {}, store.model ? "waiting" : "waiting for the model");
  const card = el("article", { class: "card pending", "aria-label": `Being made: ${short(job.caption, 80)}` },
    el("div", { class: "glow" }),
    el("h3", { dir: "auto" }, short(job.caption, 160)),
    el("p", { class: "facts" }, job.what),
    el("div", { class: "acts" }, told, el("button", { type: "button", class: "plain", onclick: cancel }, "Cancel")),
    bar);
  card.progress = (found) => {
    bar.value = found.progress;
    told.textContent = found.status === "waiting" ? `waiting${found.position ? `, ${found.position} before it` : ""}`
      : `${Math.round(found.progress * 100)} %`;
  };
  return card;
}

export const cardOf = (id) => $("stream").querySelector(`[data-id="${CSS.escape(id)}"]`);
