// Making elements. Texts become text nodes: nothing here reads markup.

export function el(tag, given = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") element.className = value;
    else if (name === "icon") element.append(icon(value));
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "disabled") element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// A button that is an icon. `label` is what it is called, `key` the key that does the same.
export function iconButton(name, label, act, { key, ...given } = {}) {
  return el("button", {
    type: "button",
    icon: name,
    "aria-label": label,
    title: key ? `${label} (${key})` : label,
    onclick: act,
    ...given,
    class: `icon ${given.class || ""}`.trim(),
  });
}

export const $ = (id) => document.getElementById(id);

const PATHS = {
  mark: "M3 12h1.5M7 8v8M12 4v16M17 7v10M19.5 12H21",
  play: "f M8 5.2v13.6a.6.6 0 0 0 .92.5l10.4-6.8a.6.6 0 0 0 0-1L8.92 4.7a.6.6 0 0 0-.92.5z",
  pause: "f M7 5h3.4v14H7zM13.6 5H17v14h-3.4z",
  loop: "M17 3l3 3-3 3M20 6H8a4 4 0 0 0-4 4v1M7 21l-3-3 3-3M4 18h12a4 4 0 0 0 4-4v-1",
  star: "M12 3.8l2.5 5.2 5.7.8-4.1 4 1 5.7-5.1-2.7-5.1 2.7 1-5.7-4.1-4 5.7-.8z",
  starred: "f M12 3.2l2.7 5.6 6.1.9-4.4 4.3 1 6.1-5.4-2.9-5.4 2.9 1-6.1-4.4-4.3 6.1-.9z",
  again: "M4 12a8 8 0 1 0 2.6-5.9M4 4v4.5h4.5",
  refine: "M12 3v4M12 17v4M3 12h4M17 12h4M6 6l2.4 2.4M15.6 15.6L18 18M18 6l-2.4 2.4M8.4 15.6L6 18",
  save: "M12 4v11M7.5 11L12 15.5 16.5 11M5 20h14",
  bin: "M5 7h14M10 7V5h4v2M7 7l.8 12.5h8.4L17 7M10.3 11v5M13.7 11v5",
  dice: "M4 8.5l8-4 8 4v8l-8 4-8-4zM4 8.5l8 4 8-4M12 12.5v8",
  locked: "M6 11h12v9H6zM9 11V8a3 3 0 0 1 6 0v3",
  unlocked: "M6 11h12v9H6zM9 11V7.5a3 3 0 0 1 5.8-1",
  theme: "M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5z",
  help: "M9 9a3 3 0 1 1 4.3 2.7c-.9.5-1.3 1.1-1.3 2.1M12 17.6v.2",
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM15.5 15.5L20 20",
  open: "M4 7h6l2 2h8v10H4z",
  record: "f M12 6.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11z",
  close: "M6 6l12 12M18 6L6 18",
  volume: "M4 10v4h3.5L12 18V6L7.5 10zM15.5 9a4.2 4.2 0 0 1 0 6M18 6.5a8 8 0 0 1 0 11",
  plus: "M12 5v14M5 12h14",
  form: "M4 6h16M4 12h10M4 18h7M17 15v6M14 18h6",
};

export function icon(name, size = 18) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  const filled = PATHS[name].startsWith("f ");
  for (const [key, value] of Object.entries({
    viewBox: "0 0 24 24", width: size, height: size, "aria-hidden": "true", focusable: "false",
    fill: filled ? "currentColor" : "none", stroke: filled ? "none" : "currentColor", "stroke-width": 1.7,
    "stroke-linecap": "round", "stroke-linejoin": "round",
  })) svg.setAttribute(key, value);
  path.setAttribute("d", filled ? PATHS[name].slice(2) : PATHS[name]);
  svg.append(path);
  return svg;
}

// Put another icon in an element.
export function setIcon(element, name, size = 18) {
  if (element.dataset.shown === name) return;
  element.dataset.shown = name;
  element.replaceChildren(icon(name, size));
}

// Elements of the page that say data-icon get it.
export function fillIcons() {
  for (const place of document.querySelectorAll("[data-icon]")) {
    place.prepend(icon(place.dataset.icon, place.classList.contains("mark") ? 22 : place.matches("button") ? 18 : 15));
  }
}

// For people: 2.56 s, 12.0 s.
export const seconds = (value) => (value === null || value === undefined ? "" : `${Number(value.toFixed(2))} s`);

// A text as a line can hold it. Characters that steer instead of being seen (control, direction) are shown as ones that
// cannot be shown, so that no name looks like another.
export function short(text, most = 120) {
  const seen = text.replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g, "\ufffd");
  return seen.length > most ? `${seen.slice(0, most - 1)}…` : seen;
}
