// The keyboard. Letters act on the chosen sound, but not while something is written.

import { act } from "./actions.js";
import { other, toggle } from "./sound/listening.js";
import { player } from "./sound/player.js";
import { store } from "./store.js";
import { toggleTheme } from "./theme.js";
import { cardOf } from "./view/card.js";
import { takeOver } from "./view/compose.js";
import { $ } from "./view/dom.js";
import { open } from "./view/help.js";
import { stage } from "./view/stage.js";
import { move } from "./view/stream.js";

const onChosen = (work) => () => store.chosen && work(store.chosen);

const KEYS = {
  " ": () => toggle(store.chosen),
  ArrowLeft: () => move(-1, 0),
  ArrowRight: () => move(1, 0),
  ArrowUp: () => move(0, -1),
  ArrowDown: () => move(0, 1),
  s: onChosen(act.star),
  r: onChosen(act.refine),
  g: onChosen(act.again),
  l: onChosen(act.loop),
  a: onChosen((id) => act.compare("a", id)),
  b: onChosen((id) => act.compare("b", id)),
  x: other,
  d: onChosen((id) => cardOf(id)?.openMenu()),
  Delete: onChosen(act.remove),
  Backspace: onChosen(act.remove),
  u: onChosen(() => takeOver(store.current)),
  c: () => { $("prompt").focus(); $("prompt").select(); },
  "/": () => { $("search").focus(); $("search").select(); },
  t: toggleTheme,
  "?": open,
  Escape: () => player.stop(),
};
for (const number of [1, 2, 3, 4, 5]) {
  KEYS[number] = () => {
    const name = stage?.tools.offered()[number - 1];
    if (name) stage.tools.select(name);
  };
}

export function start() {
  addEventListener("keydown", (event) => {
    const target = event.target;
    if ($("help").open) return;
    const written = target.matches?.("textarea, select, input:not([type=range], [type=checkbox], [type=radio])");
    if (event.key === "Escape" && written) return target.blur();
    if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "z" && !written) {
      event.preventDefault();
      return act.restore();
    }
    if (event.ctrlKey || event.metaKey || event.altKey || written || event.defaultPrevented) return;
    const pressed = event.key === " " || event.key === "Enter";
    if (pressed && target.closest?.("button, a, summary, label, input")) return; // its own
    if (target.matches?.("input") && event.key.startsWith("Arrow")) return;
    if (event.repeat && !event.key.startsWith("Arrow")) return;
    const found = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!found) return;
    event.preventDefault();
    found();
  });
}
