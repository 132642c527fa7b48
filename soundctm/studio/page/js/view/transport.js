// The bar at the bottom: play, loop, time, A and B at equal loudness, volume.

import { act } from "../actions.js";
import { equalGains, hear, other, pictureOf, toggle } from "../sound/listening.js";
import { player } from "../sound/player.js";
import { kept, store } from "../store.js";
import { $, el, icon, iconButton, setIcon, short } from "./dom.js";

const clock = (value) => `${Math.floor(value / 60)}:${(value % 60).toFixed(2).padStart(5, "0")}`;

export function start() {
  const play = iconButton("play", "Play", () => toggle(store.chosen), { key: "Space", class: "play" });
  const loop = iconButton("loop", "Loop", () => player.setLoop(!player.loop), { key: "L" });
  const what = el("p", { class: "what", dir: "auto" });
  const time = el("span", { class: "time", role: "timer", "aria-label": "Time" });
  const sides = {};
  for (const side of ["a", "b"]) {
    sides[side] = el("button", { type: "button", class: side, "aria-pressed": "false", onclick: () => pick(side) },
      el("b", {}, side.toUpperCase()), el("span", { class: "name" }));
  }
  const level = el("span", { class: "level" });
  const compare = el("div", { class: "compare", role: "group", "aria-label": "A and B at equal loudness" }, sides.a, sides.b, level);
  const autoplay = el("input", { type: "checkbox", checked: kept.get("autoplay", true) });
  autoplay.addEventListener("change", () => kept.set("autoplay", autoplay.checked));
  const volume = el("input", { type: "range", min: "0", max: "1", step: "0.01", value: String(player.volume), "aria-label": "Volume" });
  volume.addEventListener("input", () => player.setVolume(Number(volume.value)));
  $("transport").append(play, loop, time, what, compare,
    el("label", { class: "check", title: "The first new sound plays as soon as it is there" }, autoplay, "Play new ones"),
    el("span", { class: "volume" }, icon("volume"), volume));

  function pick(side) {
    const id = store.compare[side];
    if (id) hear(id);
    else if (store.chosen) act.compare(side, store.chosen);
  }

  function refresh() {
    const id = player.playing ? player.id : store.chosen;
    const item = store.get(id);
    play.disabled = !store.chosen;
    setIcon(play, player.playing ? "pause" : "play", 20);
    play.setAttribute("aria-label", player.playing ? "Pause" : "Play");
    loop.setAttribute("aria-pressed", String(player.loop));
    what.textContent = item ? short(item.caption, 120) : "";
    showTime();
  }

  function showTime() {
    const id = player.playing ? player.id : store.chosen;
    const length = id === player.id && player.duration ? player.duration : store.get(id)?.seconds || 0;
    time.textContent = `${clock(id === player.id ? player.time : 0)} / ${clock(length)}`;
  }

  async function showCompare() {
    const { a, b } = store.compare;
    for (const side of ["a", "b"]) {
      const item = store.get(store.compare[side]);
      const name = item ? short(item.caption, 40) : "–";
      sides[side].querySelector(".name").textContent = name;
      sides[side].title = item ? `Hear ${side.toUpperCase()}: ${short(item.caption, 80)} (X hears the other)`
        : `Take the chosen sound as ${side.toUpperCase()} (${side.toUpperCase()})`;
      sides[side].setAttribute("aria-pressed", String(Boolean(item) && player.id === store.compare[side]));
    }
    level.textContent = "";
    if (!a || !b || a === b) return;
    const found = await Promise.all([pictureOf(a), pictureOf(b)]).catch(() => null);
    if (!found || store.compare.a !== a || store.compare.b !== b) return;
    const gains = equalGains(found.map((picture) => picture.loudness));
    const cut = gains.map((gain) => 20 * Math.log10(gain));
    const side = cut[0] < cut[1] ? 0 : 1;
    level.textContent = cut[side] > -0.05 ? "equal" : `${"AB"[side]} ${cut[side].toFixed(1)} dB`;
    level.title = "By how much the louder one is turned down";
  }

  player.addEventListener("state", () => { refresh(); showCompare(); });
  player.addEventListener("time", showTime);
  store.on("chosen", refresh);
  store.on("items", () => { refresh(); showCompare(); });
  store.on("compare", showCompare);
  refresh();
  showCompare();
}

export { other };
