// What a browser has decoded or recorded, as a wav file of 16 bits, which the studio can read.

export function wavOf(buffer) {
  const channels = Math.min(buffer.numberOfChannels, 2), frames = buffer.length;
  const data = Array.from({ length: channels }, (_, channel) => buffer.getChannelData(channel));
  const size = frames * channels * 2;
  const view = new DataView(new ArrayBuffer(44 + size));
  const text = (at, letters) => [...letters].forEach((letter, k) => view.setUint8(at + k, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + size, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, channels, true);
  view.setUint32(24, buffer.sampleRate, true);
  view.setUint32(28, buffer.sampleRate * channels * 2, true);
  view.setUint16(32, channels * 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, size, true);
  let at = 44;
  for (let frame = 0; frame < frames; frame++) {
    for (let channel = 0; channel < channels; channel++) {
      const sample = Math.round(Math.max(-1, Math.min(1, data[channel][frame])) * 32768);
      view.setInt16(at, Math.min(sample, 32767), true);
      at += 2;
    }
  }
  return new Blob([view], { type: "audio/wav" });
}

// A file of a kind that the studio does not read (m4a, webm, ...) through the browser's own decoder.
export async function asWav(blob) {
  const context = new OfflineAudioContext(1, 1, 48000);
  return wavOf(await context.decodeAudioData(await blob.arrayBuffer()));
}
