// What the page knows: the sounds by id in the order in which they are shown, the chosen one, the model. Parts of the
// page listen to its events: "items" (the list), "item" (one has changed; detail is its id), "chosen", "model", "compare".

class Store extends EventTarget {
  items = new Map(); // id -> item, the newest first
  chosen = null; // id
  model = null; // as /v1/models has it
  compare = { a: null, b: null }; // ids
  total = 0;

  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
  on(name, act) {
    this.addEventListener(name, (event) => act(event.detail));
  }
  get(id) {
    return this.items.get(id) || null;
  }
  get current() {
    return this.get(this.chosen);
  }
  fill(items, more = false) {
    if (!more) this.items = new Map();
    for (const item of items) this.items.set(item.id, item);
    this.tell("items");
  }
  // A new sound, where its time puts it.
  insert(item) {
    const all = [...this.items.values()].filter((other) => other.id !== item.id);
    const place = all.findIndex((other) => other.made < item.made);
    all.splice(place < 0 ? all.length : place, 0, item);
    this.items = new Map(all.map((each) => [each.id, each]));
    this.tell("items");
  }
  change(item) {
    if (!this.items.has(item.id)) return;
    this.items.set(item.id, item);
    this.tell("item", item.id);
  }
  drop(id) {
    const ids = [...this.items.keys()];
    const next = ids[ids.indexOf(id) + 1] || ids[ids.indexOf(id) - 1] || null;
    this.items.delete(id);
    for (const side of ["a", "b"]) if (this.compare[side] === id) this.set(side, null);
    this.tell("items");
    if (this.chosen === id) this.choose(next === id ? null : next);
  }
  choose(id) {
    if (this.chosen === id) return;
    this.chosen = id;
    this.tell("chosen", id);
  }
  set(side, id) {
    this.compare[side] = id;
    this.tell("compare");
  }
  use(model) {
    this.model = model;
    this.tell("model", model);
  }
}

export const store = new Store();

// A setting that is kept in this browser.
export const kept = {
  get(name, otherwise) {
    try {
      const text = localStorage.getItem(`soundctm.${name}`);
      return text === null ? otherwise : JSON.parse(text);
    } catch {
      return otherwise;
    }
  },
  set(name, value) {
    try {
      localStorage.setItem(`soundctm.${name}`, JSON.stringify(value));
    } catch {
      // private windows may keep nothing
    }
  },
};
