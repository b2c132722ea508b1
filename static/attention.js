// What the observed head looks at: over the text as tint, and as a map. Cividis; square root scale, so small shares show.
Playground.attention = (() => {
  'use strict';
  const STOPS = [[0, 34, 78], [18, 53, 112], [59, 73, 108], [87, 93, 109], [112, 113, 115], [138, 134, 120], [165, 156, 116], [195, 179, 105], [225, 204, 85], [254, 232, 56]];
  const cividis = (t) => {
    const x = Math.max(0, Math.min(1, t)) * (STOPS.length - 1), i = Math.min(STOPS.length - 2, Math.floor(x)), f = x - i;
    return STOPS[i].map((c, j) => Math.round(c + (STOPS[i + 1][j] - c) * f));
  };
  const LUT = Array.from({ length: 256 }, (_, i) => cividis(Math.sqrt(i / 255)));
  const LINEAR = Array.from({ length: 256 }, (_, i) => cividis(i / 255));

  /** A row as it is shown: without the first token the rest is rescaled to its own largest. */
  const shaped = (row, withoutFirst) => {
    const out = new Float32Array(row.length);
    let top = 0;
    for (let i = withoutFirst ? 1 : 0; i < row.length; i++) top = Math.max(top, row[i]);
    for (let i = 0; i < row.length; i++) out[i] = withoutFirst && i === 0 ? 0 : Math.min(1, row[i] / (withoutFirst ? top || 1 : 255));
    return out;
  };

  /** Fills `box` with all token texts once; `paint` then tints them for one query row. */
  const strip = (box, texts, promptTokens) => {
    if (box._count === texts.length && box._first === texts[0]) return;
    const from = box._first === texts[0] && box._count < texts.length ? box._count : 0;
    if (!from) box.replaceChildren();
    for (let i = from; i < texts.length; i++) {
      const span = Playground.el('span', i < promptTokens ? 'k p' : 'k', texts[i]);
      span.dataset.k = i;
      box.append(span);
    }
    box._count = texts.length; box._first = texts[0];
  };
  const paint = (box, row, query, withoutFirst) => {
    const values = row ? shaped(row, withoutFirst) : [];
    for (let i = 0; i < box.children.length; i++) {
      const span = box.children[i], value = values[i];
      const shown = value !== undefined && !(withoutFirst && i === 0);
      if (shown) {
        const [r, g, b] = cividis(Math.sqrt(value));
        span.style.background = `rgb(${r},${g},${b})`;
        span.style.color = 0.299 * r + 0.587 * g + 0.114 * b > 118 ? '#000' : '#fff';
        span.title = 'token ' + (i + 1) + ' · attention ' + (row[i] / 255).toFixed(3);
      } else { span.style.background = ''; span.style.color = ''; span.title = ''; }
      span.classList.toggle('q', i === query);
    }
    // the token that asks stays in sight, without moving the page
    const asking = box.children[Math.min(query, box.children.length - 1)];
    if (asking && box._asked !== query) { box._asked = query; box.scrollTop = asking.offsetTop - box.clientHeight + 2 * asking.offsetHeight; }
  };

  /** Rows are queries, columns keys; the part no query may see stays hatched. `row(i)` gives bytes or null. */
  const map = (canvas, { queries, keys, row, focus, room, withoutFirst }) => {
    if (!queries || !keys) { Playground.maps.prepare(canvas, 1, 1); return 1; }
    const cell = Math.max(1, Math.min(14, Math.floor(Math.min(room, 620) / keys), queries === keys ? Math.floor(420 / queries) : 14));
    const high = queries === keys ? cell : Math.max(cell, Math.min(16, Math.floor(260 / queries)));
    const off = document.createElement('canvas');
    off.width = keys; off.height = queries;
    const pixels = off.getContext('2d').createImageData(keys, queries), dim = Playground.dark() ? [38, 38, 43] : [236, 236, 239];
    for (let i = 0; i < queries; i++) {
      const raw = row(i), values = raw && shaped(raw, withoutFirst);
      for (let k = 0; k < keys; k++) {
        const at = 4 * (i * keys + k), known = values && k < values.length && !(withoutFirst && k === 0);
        const c = known ? cividis(Math.sqrt(values[k])) : (i + k) % 2 ? dim : dim.map((x) => x + (Playground.dark() ? -8 : 8));
        pixels.data[at] = c[0]; pixels.data[at + 1] = c[1]; pixels.data[at + 2] = c[2]; pixels.data[at + 3] = 255;
      }
    }
    off.getContext('2d').putImageData(pixels, 0, 0);
    const pen = Playground.maps.prepare(canvas, keys * cell, queries * high);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(off, 0, 0, keys * cell, queries * high);
    if (focus != null && focus >= 0 && focus < queries) {
      pen.strokeStyle = Playground.color('--pg-focus'); pen.lineWidth = 2;
      pen.strokeRect(1, focus * high + (high > 3 ? 1 : 0), keys * cell - 2, Math.max(high - 2, 3));
    }
    return cell;
  };

  /** A small picture of one head's whole map, (T, T) bytes. */
  const thumbnail = (data, size) => {
    const canvas = document.createElement('canvas');
    canvas.width = canvas.height = size;
    const pen = canvas.getContext('2d'), pixels = pen.createImageData(size, size);
    for (let i = 0; i < size * size; i++) {
      const q = Math.floor(i / size), k = i % size, c = k > q ? [128, 128, 132] : k === 0 ? LUT[0] : LUT[data[i]];
      pixels.data.set([c[0], c[1], c[2], k > q ? 40 : 255], 4 * i);
    }
    pen.putImageData(pixels, 0, 0);
    return canvas;
  };
  /** All heads of an overview in one picture at their own size, each scaled to its largest. */
  const sheet = ({ layers, heads, small, data }, withoutFirst) => {
    const canvas = document.createElement('canvas');
    canvas.width = heads * small; canvas.height = layers * small;
    const pen = canvas.getContext('2d');
    for (let l = 0; l < layers; l++) for (let h = 0; h < heads; h++) {
      const image = pen.createImageData(small, small), from = (l * heads + h) * small * small, first = withoutFirst ? 1 : 0;
      let top = 1;
      for (let i = 0; i < small * small; i++) if (i % small >= first && i % small <= Math.floor(i / small)) top = Math.max(top, data[from + i]);
      for (let i = 0; i < small * small; i++) {
        const q = Math.floor(i / small), k = i % small, c = k < first ? LUT[0] : LUT[Math.min(255, Math.round(255 * data[from + i] / top))];
        image.data.set(k > q ? [128, 128, 132, 40] : [c[0], c[1], c[2], 255], 4 * i);
      }
      pen.putImageData(image, h * small, l * small);
    }
    return canvas;
  };
  return { strip, paint, map, thumbnail, sheet, LINEAR };
})();
