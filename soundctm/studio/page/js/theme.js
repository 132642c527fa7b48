// Dark or light: as the system says, until the user says otherwise.

import { kept, store } from "./store.js";

const light = matchMedia("(prefers-color-scheme: light)");

function current() {
  const chosen = kept.get("theme", null);
  return chosen === "light" || chosen === "dark" ? chosen : light.matches ? "light" : "dark";
}

function show() {
  document.documentElement.dataset.theme = current();
  store.tell("theme");
}

export function toggleTheme() {
  kept.set("theme", current() === "light" ? "dark" : "light");
  show();
}

export function start() {
  show();
  light.addEventListener("change", show);
  document.getElementById("theme").addEventListener("click", toggleTheme);
}
