// Drawing on canvases: the outline of a sound, its mel spectrogram, and the axes of both.

// Stops of the colour map magma (Smith and van der Walt), from silence to the loudest.
const MAGMA = ["000004", "180f3e", "451077", "721f81", "9f2f7f", "cd4071", "f1605d", "fd9567", "fec98d", "fcfdbf"];

const colours = (() => {
  const stops = MAGMA.map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  return Array.from({ length: 256 }, (_, level) => {
    const place = (level / 255) * (stops.length - 1);
    const left = Math.min(Math.floor(place), stops.length - 2);
    return stops[left].map((value, k) => Math.round(value + (stops[left + 1][k] - value) * (place - left)));
  });
})();

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

// A picture as the service sends it, unpacked once.
export function unpacked(picture) {
  return { ...picture, outline: new Int8Array(bytes(picture.outline).buffer), levels: bytes(picture.levels) };
}

// The outline as wavesurfer takes it: highest and lowest of each part, from -1 to 1.
export const peaksOf = (picture) => Float32Array.from(picture.outline, (value) => value / 127);

function fitted(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const { clientWidth, clientHeight } = canvas;
  canvas.width = Math.max(1, Math.round(clientWidth * ratio));
  canvas.height = Math.max(1, Math.round(clientHeight * ratio));
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return { context, width: clientWidth, height: clientHeight };
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function drawOutline(canvas, picture, share = 0) {
  const { context, width, height } = fitted(canvas);
  const points = picture.outline.length / 2;
  const middle = height / 2, scale = (height / 2 - 3) / 127;
  context.clearRect(0, 0, width, height);
  const bars = Math.max(1, Math.floor(width / 2));
  for (let bar = 0; bar < bars; bar++) {
    const from = Math.floor((bar * points) / bars), to = Math.max(from + 1, Math.floor(((bar + 1) * points) / bars));
    let low = 0, high = 0;
    for (let k = from; k < to; k++) {
      low = Math.min(low, picture.outline[2 * k]);
      high = Math.max(high, picture.outline[2 * k + 1]);
    }
    const top = middle - Math.max(high * scale, 0.5), bottom = middle - Math.min(low * scale, -0.5);
    context.fillStyle = bar / bars < share ? colour("--wave-played") : colour("--wave");
    context.fillRect(bar * 2, top, 1.4, bottom - top);
  }
}

export function drawMel(canvas, picture, { axes = false } = {}) {
  const { rows, columns, levels } = picture;
  const image = new ImageData(columns, rows);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const [red, green, blue] = colours[levels[(rows - 1 - row) * columns + column]];
      const at = 4 * (row * columns + column);
      image.data[at] = red;
      image.data[at + 1] = green;
      image.data[at + 2] = blue;
      image.data[at + 3] = 255;
    }
  }
  const small = new OffscreenCanvas(columns, rows);
  small.getContext("2d").putImageData(image, 0, 0);
  const { context, width, height } = fitted(canvas);
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, width, height);
  if (axes) drawAxes(context, picture, width, height);
}

// Within the picture, for cards: Hz at the left, seconds at the bottom.
function drawAxes(context, picture, width, height) {
  context.font = "9px ui-monospace, 'DejaVu Sans Mono', monospace";
  context.textBaseline = "middle";
  const label = (text, x, y, align) => {
    context.textAlign = align;
    context.fillStyle = "#f1eef3";
    context.fillText(text, x, y);
  };
  const shade = (x, y) => {
    const dark = context.createLinearGradient(0, height * (y ? 1 : 0), x, y ? height - y : 0);
    dark.addColorStop(0, "rgba(0,0,4,.62)");
    dark.addColorStop(1, "rgba(0,0,4,0)");
    context.fillStyle = dark;
    context.fillRect(0, y ? height - y : 0, x || width, y || height);
  };
  shade(44, 0);
  shade(0, 18);
  for (const { text, place } of spread(picture.ticks, height, 17)) {
    const y = height * (1 - place);
    context.fillStyle = "rgba(255,255,255,.55)";
    context.fillRect(0, y, 4, 1);
    label(text, 7, Math.min(Math.max(y, 6), height - 7), "left");
  }
  for (const { text, place } of times(picture.seconds, width, 64)) {
    if (place === 0) continue;
    const x = width * place;
    context.fillStyle = "rgba(255,255,255,.55)";
    context.fillRect(x, height - 4, 1, 4);
    label(text, x - 4, height - 7, "right");
  }
}

// The frequencies that have room, [{text, place}]; the unit stands with the highest.
export function spread(ticks, height, least) {
  const found = [];
  let last = Infinity;
  for (const [hz, place] of [...ticks].reverse()) {
    const y = place * height;
    if (last - y < least || y < least * 0.8) continue;
    found.push({ text: hz >= 1000 ? `${hz / 1000}k` : String(hz), place });
    last = y;
  }
  if (found.length) found[0].text += " Hz";
  return found;
}

// The times that have room, [{text, place}]; each has its unit.
export function times(length, width, least) {
  const wanted = (length * least) / Math.max(width, 1);
  const steps = [0.05, 0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300];
  const step = steps.find((each) => each >= wanted) || 600;
  const found = [];
  for (let k = 0; k * step < length - step * 0.15; k++) {
    found.push({ text: `${Number((k * step).toFixed(2))} s`, place: (k * step) / length });
  }
  return found;
}

export { colour };
