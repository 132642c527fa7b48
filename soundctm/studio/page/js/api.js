// What the page asks of the service. Every failure is an Error whose message is a sentence to show.

async function call(method, path, body, type) {
  const options = { method, headers: {} };
  if (body !== undefined) {
    options.body = type ? body : JSON.stringify(body);
    options.headers["Content-Type"] = type || "application/json";
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The studio does not answer. Is its window still open in the terminal?");
  }
  const text = await answer.text();
  let found = null;
  try {
    found = text ? JSON.parse(text) : null;
  } catch {
    found = null;
  }
  if (!answer.ok) {
    const error = new Error(sentence(found?.error || `The studio answered with ${answer.status}.`));
    error.field = found?.field || null;
    error.status = answer.status;
    throw error;
  }
  return found;
}

// Sentences of the service begin small and have no full stop, as in a terminal.
export function sentence(text) {
  const said = String(text).trim();
  return said.charAt(0).toUpperCase() + said.slice(1) + (/[.!?]$/.test(said) ? "" : ".");
}

const at = (id, rest = "") => `/studio/history/${encodeURIComponent(id)}${rest}`;

export const api = {
  health: () => call("GET", "/health"),
  models: () => call("GET", "/v1/models"),
  pick: (name) => call("POST", `/v1/models/${name.split("/").map(encodeURIComponent).join("/")}`),
  generate: (request) => call("POST", "/v1/generate", { ...request, wait: false }),
  edit: (id, request) => call("POST", at(id, "/edit"), { ...request, wait: false }),
  refine: (id, steps) => call("POST", at(id, "/refine"), { steps }),
  again: (id, request) => call("POST", at(id, "/again"), { ...request, wait: false }),
  job: (id) => call("GET", `/v1/jobs/${encodeURIComponent(id)}`),
  cancel: (id) => call("DELETE", `/v1/jobs/${encodeURIComponent(id)}`),
  history: (asked) => call("GET", `/studio/history?${new URLSearchParams(asked)}`),
  item: (id) => call("GET", at(id)),
  star: (id, starred) => call("PATCH", at(id), { starred }),
  remove: (id) => call("DELETE", at(id)),
  restore: (id) => call("POST", at(id, "/restore")),
  picture: (id) => call("GET", at(id, "/spectrogram")),
  add: (name, blob) => call("POST", `/studio/history?${new URLSearchParams({ name })}`, blob, "application/octet-stream"),
  audio: (id, format, bits) => at(id, "/audio") + (format ? `?${new URLSearchParams({ format, bits })}` : ""),
};

// Follow a job until its end. `on` has progress(job), clip(clip), over(job); returns a function that stops following.
export function follow(id, on) {
  const source = new EventSource(`/v1/jobs/${encodeURIComponent(id)}/events`);
  let ended = false;
  const end = (job) => {
    if (ended) return;
    ended = true;
    source.close();
    on.over(job);
  };
  const read = (act) => (event) => act(JSON.parse(event.data));
  source.addEventListener("progress", read((job) => on.progress(job)));
  source.addEventListener("clip", read((clip) => on.clip(clip)));
  for (const name of ["done", "failed", "cancelled"]) source.addEventListener(name, read(end));
  source.addEventListener("error", async () => {
    if (ended || source.readyState === EventSource.CONNECTING) return; // it tries again by itself
    try {
      end(await api.job(id));
    } catch (error) {
      end({ id, status: "failed", error: error.message, clips: [] });
    }
  });
  return () => {
    ended = true;
    source.close();
  };
}
