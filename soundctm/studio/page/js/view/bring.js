// Sounds of the user's own: opened, dropped, or recorded.

import { api } from "../api.js";
import { asWav } from "../sound/wav.js";
import { store } from "../store.js";
import RecordPlugin from "../../vendor/wavesurfer/record.esm.js";
import WaveSurfer from "../../vendor/wavesurfer/wavesurfer.esm.js";
import { $, short } from "./dom.js";
import { complain, say } from "./messages.js";
import { colour } from "./pictures.js";

const READ = /\.(wav|flac|ogg|oga|mp3)$/i;

async function add(file, name = file.name) {
  try {
    let item;
    if (READ.test(name)) item = await api.add(name, file);
    else {
      const wav = await asWav(file).catch(() => { throw new Error(`${short(name, 80)} is no sound that can be read.`); });
      item = await api.add(`${name.replace(/\.[^.]*$/, "")}.wav`, wav);
    }
    store.total += 1;
    store.insert({ ...item, fresh: true });
    store.choose(item.id);
  } catch (error) {
    complain(error);
  }
}

async function addAll(files) {
  for (const file of files) await add(file);
}

export function start() {
  $("open-file").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => {
    addAll([...$("file").files]);
    $("file").value = "";
  });

  let depth = 0;
  const carries = (event) => event.dataTransfer?.types.includes("Files");
  const show = (on) => { $("drop").hidden = !on; };
  addEventListener("dragenter", (event) => {
    if (!carries(event)) return;
    depth += 1;
    show(true);
  });
  addEventListener("dragleave", (event) => {
    if (!carries(event)) return;
    depth = Math.max(0, depth - 1);
    if (!depth) show(false);
  });
  addEventListener("dragover", (event) => carries(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    depth = 0;
    show(false);
    addAll([...event.dataTransfer.files]);
  });

  startRecording();
}

function startRecording() {
  const button = $("record");
  let surfer = null, recorder = null, opening = false;

  function end() {
    surfer?.destroy();
    surfer = recorder = null;
    $("record-wave").hidden = true;
    button.setAttribute("aria-pressed", "false");
    $("record-text").textContent = "Record";
  }

  async function begin() {
    $("record-wave").hidden = false;
    surfer = WaveSurfer.create({
      container: $("record-wave"), height: 46, cspNonce: document.documentElement.dataset.nonce, cursorWidth: 0,
      waveColor: colour("--bad"), progressColor: colour("--bad"), interact: false, barWidth: 2, barGap: 1,
    });
    recorder = surfer.registerPlugin(RecordPlugin.create({ renderRecordedAudio: false, scrollingWaveform: true }));
    recorder.on("record-progress", (time) => { $("record-text").textContent = `Stop, ${(time / 1000).toFixed(1)} s`; });
    recorder.on("record-end", async (blob) => {
      end();
      const now = new Date();
      const two = (value) => String(value).padStart(2, "0");
      const name = `recording ${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())} ${two(now.getHours())}.${two(now.getMinutes())}.${two(now.getSeconds())}.webm`;
      await add(blob, name);
    });
    await recorder.startRecording({ echoCancellation: false, noiseSuppression: false, autoGainControl: false });
    button.setAttribute("aria-pressed", "true");
    $("record-text").textContent = "Stop";
  }

  button.addEventListener("click", async () => {
    if (opening) return;
    if (recorder) return recorder.stopRecording();
    opening = true;
    try {
      await begin();
    } catch (error) {
      end();
      const why = {
        NotAllowedError: "The browser may not use the microphone; allow it beside the address.",
        NotFoundError: "There is no microphone.",
      }[error.name] || `The microphone cannot be used: ${error.message}`;
      say(why, { bad: true });
    } finally {
      opening = false;
    }
  });
}
