// The keys, and where the sounds are.

import { $, el, iconButton } from "./dom.js";

const KEYS = [
  ["Enter", "in the caption: make it"], ["Space", "play, pause"], ["← → ↑ ↓", "another sound"], ["S", "star"],
  ["R", "refine at more steps"], ["G", "the same seed again"], ["L", "play as a loop"], ["A  B", "compare as A, as B"],
  ["X", "hear the other of A and B"], ["D", "download"], ["Delete", "delete"], ["Ctrl Z", "take back a deletion"],
  ["U", "use its settings"], ["C", "to the caption"], ["/", "search"], ["1 … 5", "a tool for the chosen sound"],
  ["Esc", "leave a field; stop"], ["T", "dark, light"], ["?", "this"],
];

export function start(folder) {
  const box = $("help");
  const list = el("dl", { class: "keys" }, ...KEYS.map(([key, what]) => el("div", {}, el("dt", {}, el("kbd", {}, key)), el("dd", {}, what))));
  const place = el("p", {});
  box.append(el("header", {}, el("h2", { id: "help-title" }, "Keys"), iconButton("close", "Close", () => box.close(), { key: "Esc" })), list, place);
  $("help-open").addEventListener("click", () => open());
  box.addEventListener("click", (event) => event.target === box && box.close());
  return {
    tell(path) {
      place.textContent = path ? `Your sounds are files in ${path}. Drag a card to a folder or a DAW, or find them there.` : "";
    },
  };
}

export function open() {
  const box = $("help");
  if (!box.open) box.showModal();
}
