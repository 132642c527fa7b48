// Sentences at the lower right: what went wrong, what was done and can be undone.

import { $, el, iconButton, short } from "./dom.js";

const MOST = 4;

export function say(text, { bad = false, undo = null, label = "Undo" } = {}) {
  const box = el("div", { class: bad ? "message bad" : "message" }, el("p", {}, short(text, 600)));
  const close = () => box.remove();
  if (undo) box.append(el("button", { type: "button", onclick: () => { close(); undo(); } }, label));
  box.append(iconButton("close", "Close this message", close));
  const all = $("messages");
  all.append(box);
  while (all.children.length > MOST) all.firstChild.remove();
  setTimeout(close, bad || undo ? 12000 : 5000);
}

export const complain = (error) => say(error.message, { bad: true });
