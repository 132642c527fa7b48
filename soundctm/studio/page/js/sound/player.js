// Playing: one sound at a time, or two of which one is heard (A/B). Loops have no gap, because samples are repeated.
//
// Events: "state" (what plays, or nothing), "time" (seconds; while something plays, every frame).

import { api } from "../api.js";
import { kept } from "../store.js";

const KEPT = 24; // decoded sounds
const FADE = 0.012; // seconds in which A and B cross

class Player extends EventTarget {
  context = null;
  volume = kept.get("volume", 0.9);
  loop = kept.get("loop", false);
  id = null; // of the sound that is heard
  playing = false;
  duration = 0;
  #buffers = new Map(); // id -> promise of an AudioBuffer
  #voices = []; // [{id, source, gain, level}]; the one that is heard is that of this.id
  #began = 0; // time of the context at which the sound's beginning was, or would have been
  #offset = 0; // seconds, while it does not play
  #master = null;
  #turn = 0;

  tell(name) {
    this.dispatchEvent(new Event(name));
  }

  #awake() {
    if (!this.context) {
      this.context = new AudioContext({ latencyHint: "interactive" });
      this.#master = new GainNode(this.context, { gain: this.volume });
      this.#master.connect(this.context.destination);
    }
    if (this.context.state === "suspended") this.context.resume();
  }

  // The decoded sound.
  buffer(id) {
    if (!this.#buffers.has(id)) {
      this.#awake();
      const found = (async () => {
        const answer = await fetch(api.audio(id));
        if (!answer.ok) throw new Error("This sound cannot be read any more; it may have been deleted or moved.");
        return this.context.decodeAudioData(await answer.arrayBuffer());
      })();
      found.catch(() => this.#buffers.delete(id));
      this.#buffers.set(id, found);
      for (const old of this.#buffers.keys()) {
        if (this.#buffers.size <= KEPT) break;
        if (!this.#voices.some((voice) => voice.id === old) && old !== id) this.#buffers.delete(old);
      }
    }
    return this.#buffers.get(id);
  }

  forget(id) {
    if (this.#voices.some((voice) => voice.id === id)) this.stop();
    this.#buffers.delete(id);
  }

  get time() {
    if (!this.playing) return this.#offset;
    const at = this.context.currentTime - this.#began;
    return this.loop ? at % this.duration : Math.min(at, this.duration);
  }

  // Play `id` from `from`; `levels` {id: gain} are those of a comparison, in which all of them run and `id` is heard.
  async play(id, from = null, levels = { [id]: 1 }) {
    this.#awake();
    const turn = ++this.#turn;
    const ids = Object.keys(levels);
    const buffers = await Promise.all(ids.map((each) => this.buffer(each)));
    if (turn !== this.#turn) return;
    const heard = buffers[ids.indexOf(id)];
    let offset = from ?? (this.id === id ? this.#offset : 0);
    if (offset >= heard.duration - 0.005 || offset < 0) offset = 0;
    this.#silence();
    const now = this.context.currentTime;
    this.#voices = ids.map((each, k) => {
      const source = new AudioBufferSourceNode(this.context, { buffer: buffers[k], loop: this.loop });
      const gain = new GainNode(this.context, { gain: each === id ? levels[each] : 0 });
      source.connect(gain).connect(this.#master);
      source.start(now, Math.min(offset, buffers[k].duration));
      if (each === id) source.onended = () => this.#ended(turn);
      return { id: each, source, gain, level: levels[each], duration: buffers[k].duration };
    });
    Object.assign(this, { id, playing: true, duration: heard.duration });
    this.#began = now - offset;
    this.tell("state");
    this.#tick(turn);
  }

  // Hear another of the sounds that run.
  swap(id) {
    const next = this.#voices.find((voice) => voice.id === id);
    if (!next || !this.playing) return false;
    const now = this.context.currentTime;
    for (const voice of this.#voices) {
      voice.gain.gain.cancelScheduledValues(now);
      voice.gain.gain.setValueAtTime(voice.gain.gain.value, now);
      voice.gain.gain.linearRampToValueAtTime(voice === next ? voice.level : 0, now + FADE);
      voice.source.onended = null;
    }
    const turn = this.#turn;
    next.source.onended = () => this.#ended(turn);
    Object.assign(this, { id, duration: next.duration });
    this.tell("state");
    return true;
  }

  pause() {
    if (!this.playing) return;
    this.#offset = this.time;
    this.#halt();
  }

  stop() {
    this.#offset = 0;
    this.#halt();
  }

  seek(id, seconds) {
    if (this.playing && this.id === id) {
      return this.play(id, seconds, Object.fromEntries(this.#voices.map((voice) => [voice.id, voice.level])));
    }
    if (!this.playing) {
      Object.assign(this, { id });
      this.#offset = seconds;
      this.tell("time");
    }
    return Promise.resolve();
  }

  setLoop(loop) {
    if (this.playing) {
      const at = this.time;
      this.loop = loop;
      this.#began = this.context.currentTime - at;
      for (const voice of this.#voices) voice.source.loop = loop;
    }
    this.loop = loop;
    kept.set("loop", loop);
    this.tell("state");
  }

  setVolume(volume) {
    this.volume = volume;
    kept.set("volume", volume);
    this.#master?.gain.setTargetAtTime(volume, this.context.currentTime, 0.01);
  }

  #silence() {
    for (const voice of this.#voices) {
      voice.source.onended = null;
      voice.source.stop();
      voice.gain.disconnect();
    }
    this.#voices = [];
  }

  #halt() {
    this.#turn++;
    this.#silence();
    this.playing = false;
    this.tell("state");
    this.tell("time");
  }

  #ended(turn) {
    if (turn !== this.#turn) return;
    this.#offset = 0;
    this.#halt();
  }

  #tick(turn) {
    if (turn !== this.#turn || !this.playing) return;
    this.tell("time");
    requestAnimationFrame(() => this.#tick(turn));
  }
}

export const player = new Player();
