// Dark or light: as the system says, until the user says otherwise.

import { kept, store } from "./store.js";

const light = matchMedia("(prefers-color-scheme: light)");

function show() {
  const chosen = kept.get("theme", null);
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  else delete document.documentElement.dataset.theme;
  store.tell("theme");
}

export function toggleTheme() {
  const now = kept.get("theme", null) || (light.matches ? "light" : "dark");
  kept.set("theme", now === "light" ? "dark" : "light");
  show();
}

export function start() {
  show();
  light.addEventListener("change", () => store.tell("theme"));
  document.getElementById("theme").addEventListener("click", toggleTheme);
}
