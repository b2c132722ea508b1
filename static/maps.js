// Heat maps on canvases: token × expert and layer × expert, in nine steps from surface to ink.
Playground.maps = (() => {
  'use strict';
  const { color } = Playground;
  const STEPS = 9, GAMMA = 0.8;

  const parse = (hex) => { const n = parseInt(hex.slice(1), 16); return [n >> 16, (n >> 8) & 255, n & 255]; };
  let ramps = {};
  document.addEventListener('pg-theme', () => { ramps = {}; });
  /** Nine colours from surface to ink of the mode in force. */
  const ramp = () => {
    const key = Playground.dark();
    if (!ramps[key]) {
      const from = parse(color('--pg-surface') || '#ffffff'), to = parse(color('--pg-ink') || '#18181b');
      ramps[key] = Array.from({ length: STEPS }, (_, i) => {
        const t = i / (STEPS - 1);
        return 'rgb(' + from.map((c, j) => Math.round(c + (to[j] - c) * t)).join(',') + ')';
      });
    }
    return ramps[key];
  };
  const step = (w) => Math.min(STEPS - 1, Math.round(Math.pow(Math.max(0, w), GAMMA) * (STEPS - 1)));

  /** Sizes a canvas in CSS pixels for the screen's density and clears it. */
  const prepare = (canvas, width, height) => {
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    const w = Math.max(1, Math.round(width * ratio)), h = Math.max(1, Math.round(height * ratio));
    if (canvas.width !== w || canvas.height !== h) {
      canvas.width = w; canvas.height = h;
      canvas.style.width = width + 'px'; canvas.style.height = height + 'px';
    }
    const pen = canvas.getContext('2d');
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    return pen;
  };

  const ROW = 22;
  /** Experts down, tokens across, newest at the right. `focus` is the column that is looked at, or null. */
  const tokens = (canvas, { rows, columns, weights, focus, room }) => {
    const cell = Math.max(7, Math.min(24, Math.floor(room / Math.max(columns, 1)) || 24));
    const width = Math.max(room, columns * cell), height = rows * ROW, pen = prepare(canvas, width, height), inks = ramp();
    pen.fillStyle = inks[0]; pen.fillRect(0, 0, width, height);
    for (let i = 0; i < columns; i++) {
      const column = weights(i);
      if (!column) continue;
      for (let e = 0; e < rows; e++) {
        const shade = step(column[e] / 255);
        if (shade) { pen.fillStyle = inks[shade]; pen.fillRect(i * cell, e * ROW, cell - (cell > 9 ? 1 : 0), ROW - 1); }
      }
    }
    pen.strokeStyle = color('--pg-line'); pen.lineWidth = 1;
    for (let e = 1; e < rows; e++) { pen.beginPath(); pen.moveTo(0, e * ROW - 0.5); pen.lineTo(width, e * ROW - 0.5); pen.stroke(); }
    if (focus != null && focus < columns) {
      pen.strokeStyle = color('--pg-focus'); pen.lineWidth = 2;
      pen.strokeRect(focus * cell + 1, 1, cell - 2, height - 2);
    }
    return { cell, row: ROW };
  };

  /** Layers up, the first at the bottom; experts across, their marks below. `flat` (E,) is drawn in every layer. */
  const layers = (canvas, { looks, count, weights, flat, room }) => {
    const left = 26, foot = 24, cellHeight = Math.max(7, Math.min(24, Math.floor(400 / Math.max(count, 1))));
    const cellWidth = Math.max(18, Math.min(56, Math.floor((room - left) / Math.max(looks.length, 1))));
    const width = left + cellWidth * looks.length, height = cellHeight * count + foot, pen = prepare(canvas, width, height), inks = ramp();
    pen.font = '11px system-ui, sans-serif'; pen.textBaseline = 'middle';
    for (let l = 0; l < count; l++) {
      const y = (count - 1 - l) * cellHeight;
      for (let e = 0; e < looks.length; e++) {
        const w = weights ? weights[l * looks.length + e] / 255 : flat[e];
        pen.fillStyle = inks[step(w)];
        pen.fillRect(left + e * cellWidth, y, cellWidth - 2, cellHeight - 1);
      }
      if (l === 0 || (l + 1) % 5 === 0) {
        pen.fillStyle = color('--pg-muted'); pen.textAlign = 'right';
        pen.fillText(String(l + 1), left - 6, y + cellHeight / 2);
      }
    }
    pen.strokeStyle = color('--pg-line'); pen.lineWidth = 1;
    for (let e = 0; e < looks.length; e++) pen.strokeRect(left + e * cellWidth - 0.5, -0.5, cellWidth - 1, cellHeight * count);
    pen.textAlign = 'center';
    looks.forEach((look, e) => {
      const x = left + e * cellWidth + (cellWidth - 2) / 2, y = cellHeight * count + foot / 2 + 2;
      if (look.slot >= 0) { pen.fillStyle = color('--x' + look.slot); pen.beginPath(); pen.roundRect(x - 11, y - 8, 22, 16, 4); pen.fill(); pen.fillStyle = color('--t' + look.slot); }
      else { pen.strokeStyle = color('--pg-ink'); pen.lineWidth = 1.5; pen.beginPath(); pen.roundRect(x - 11, y - 8, 22, 16, 4); pen.stroke(); pen.fillStyle = color('--pg-ink'); }
      pen.font = '600 10px system-ui, sans-serif';
      pen.fillText(look.mark, x, y + 0.5);
    });
    return { left, cellWidth, cellHeight };
  };

  /** One picture of several canvases and a line of text, as PNG. */
  const picture = (title, canvases, done) => {
    const pad = 16, shown = canvases.filter((canvas) => canvas && canvas.width > 1);
    const width = Math.max(480, ...shown.map((canvas) => canvas.width)) + 2 * pad;
    const height = shown.reduce((sum, canvas) => sum + canvas.height + pad, 56) + pad;
    const sheet = document.createElement('canvas'), pen = sheet.getContext('2d');
    sheet.width = width; sheet.height = height;
    pen.fillStyle = color('--pg-surface'); pen.fillRect(0, 0, width, height);
    pen.fillStyle = color('--pg-ink'); pen.font = '600 18px system-ui, sans-serif'; pen.fillText(title, pad, 34);
    let y = 56;
    for (const canvas of shown) { pen.drawImage(canvas, pad, y); y += canvas.height + pad; }
    sheet.toBlob(done, 'image/png');
  };
  return { prepare, tokens, layers, picture, ramp, step, ROW };
})();
