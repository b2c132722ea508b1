// Draws attention as pictures: one map, small maps of all heads, a sheet of every head of every layer.
import { drawFocus, prepare } from '../lib/canvas.js';
import { make } from '../lib/dom.js';
import { isDark } from '../lib/theme.js';
import { BYTE_COLOURS, shareColour } from './cividis.js';

const UNSEEN = [128, 128, 132, 40]; // the part of a small map that no query may see
const WIDEST = 620;

/** Return a row as it is shown. Without the first token the rest is rescaled to its own largest. */
export function shaped(row, withoutFirst) {
  const first = withoutFirst ? 1 : 0;
  let top = 0;
  for (let i = first; i < row.length; i++) top = Math.max(top, row[i]);
  const scale = withoutFirst ? top || 1 : 255;
  return Float32Array.from(row, (value, i) => (i < first ? 0 : Math.min(1, value / scale)));
}

/** Return a canvas of one pixel a cell. Cells that are not known are hatched. */
function pixelMap({ queries, keys, row, withoutFirst }) {
  const canvas = make('canvas');
  canvas.width = keys;
  canvas.height = queries;
  const pen = canvas.getContext('2d');
  const pixels = pen.createImageData(keys, queries);
  const hatch = isDark() ? [38, 38, 43] : [236, 236, 239];
  const other = hatch.map((channel) => channel + (isDark() ? -8 : 8));
  for (let i = 0; i < queries; i++) {
    const raw = row(i);
    const values = raw && shaped(raw, withoutFirst);
    for (let k = 0; k < keys; k++) {
      const isKnown = values && k < values.length && !(withoutFirst && k === 0);
      const colour = isKnown ? shareColour(values[k]) : (i + k) % 2 ? hatch : other;
      pixels.data.set([...colour, 255], 4 * (i * keys + k));
    }
  }
  pen.putImageData(pixels, 0, 0);
  return canvas;
}

/** Draw one map. Rows are queries, columns keys; `row(i)` gives bytes or null, `focus` is the row looked at. */
export function drawMap(canvas, drawing) {
  const { queries, keys, focus, room } = drawing;
  if (!queries || !keys) {
    prepare(canvas, 1, 1);
    return;
  }
  const isSquare = queries === keys;
  const across = Math.floor(Math.min(room, WIDEST) / keys);
  const cell = Math.max(1, Math.min(14, across, isSquare ? Math.floor(420 / queries) : 14));
  const high = isSquare ? cell : Math.max(cell, Math.min(16, Math.floor(260 / queries)));
  const pen = prepare(canvas, keys * cell, queries * high);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(pixelMap(drawing), 0, 0, keys * cell, queries * high);
  if (focus == null || focus < 0 || focus >= queries) return;
  drawFocus(pen, 1, focus * high + (high > 3 ? 1 : 0), keys * cell - 2, Math.max(high - 2, 3));
}

/** Return a small picture of one head's whole map, `data` (T·T) bytes. */
export function thumbnail(data, size) {
  const canvas = make('canvas');
  canvas.width = size;
  canvas.height = size;
  const pen = canvas.getContext('2d');
  const pixels = pen.createImageData(size, size);
  for (let i = 0; i < size * size; i++) {
    const query = Math.floor(i / size);
    const key = i % size;
    const seen = [...BYTE_COLOURS[key === 0 ? 0 : data[i]], 255];
    pixels.data.set(key > query ? UNSEEN : seen, 4 * i);
  }
  pen.putImageData(pixels, 0, 0);
  return canvas;
}

/** Return all heads of an overview in one picture at their own size, each scaled to its largest. */
export function headSheet({ layers, heads, small, data }, withoutFirst) {
  const canvas = make('canvas');
  canvas.width = heads * small;
  canvas.height = layers * small;
  const pen = canvas.getContext('2d');
  const first = withoutFirst ? 1 : 0;
  const cells = small * small;
  const queryOf = (i) => Math.floor(i / small);
  for (let head = 0; head < layers * heads; head++) {
    const image = pen.createImageData(small, small);
    const values = data.subarray(head * cells, (head + 1) * cells);
    let top = 1;
    for (let i = 0; i < cells; i++) {
      if (i % small >= first && i % small <= queryOf(i)) top = Math.max(top, values[i]);
    }
    for (let i = 0; i < cells; i++) {
      const byte = i % small < first ? 0 : Math.min(255, Math.round((255 * values[i]) / top));
      image.data.set(i % small > queryOf(i) ? UNSEEN : [...BYTE_COLOURS[byte], 255], 4 * i);
    }
    pen.putImageData(image, (head % heads) * small, Math.floor(head / heads) * small);
  }
  return canvas;
}
