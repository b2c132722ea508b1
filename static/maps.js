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

  /** Sizes a canvas in CSS pixels for the screen's density and clears it; the pen to draw with. */
  const prepare = (canvas, width, height) => {
    if (canvas.svg) return canvas.pen = new SvgPen(width, height);
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

  const ROW = 22, RIBBON = 9, STRIP = 20, FONT = 'system-ui, sans-serif';
  /** Colours looked up once for each drawing. */
  const inksOf = (looks) => looks.map((look) => look.slot >= 0 ? color('--x' + look.slot) : color('--pg-muted'));

  /** A ribbon of who leads, then experts down and tokens across, newest at the right, then bars of 0 to 1. `focus` is the
   *  column that is looked at, or null; `divider` is how many columns belong to the prompt. */
  const tokens = (canvas, { looks, columns, divider, weights, leader, strips, focus, room }) => {
    const cell = Math.max(7, Math.min(24, Math.floor(room / Math.max(columns, 1)) || 24)), rows = looks.length, top = columns && rows ? RIBBON + 2 : 0;
    const high = top + rows * ROW, width = Math.max(room, columns * cell), height = high + strips.length * STRIP, pen = prepare(canvas, width, height), inks = ramp(), colours = inksOf(looks);
    const ink = color('--pg-ink'), muted = color('--pg-muted');
    pen.fillStyle = inks[0]; pen.fillRect(0, 0, width, height);
    for (let k = 0, before = null; k < columns; k++) {
      const column = weights(k), lead = leader(k), x = k * cell, wide = cell - (cell > 9 ? 1 : 0);
      if (!column) continue;
      pen.fillStyle = colours[lead]; pen.fillRect(x, looks[lead].slot >= 0 ? 0 : RIBBON - 3, cell, looks[lead].slot >= 0 ? RIBBON : 3);
      if (before != null && before !== lead) { pen.fillStyle = ink; pen.fillRect(x - 1, 0, 2, top + 1); }
      before = lead;
      for (let e = 0; e < rows; e++) {
        const shade = step(column[e] / 255);
        if (shade) { pen.fillStyle = inks[shade]; pen.fillRect(x, top + e * ROW, wide, ROW - 1); }
      }
      pen.fillStyle = muted;
      strips.forEach((value, j) => { const tall = (STRIP - 5) * (value(k) || 0); pen.fillRect(x, high + (j + 1) * STRIP - tall, wide, tall); });
    }
    pen.strokeStyle = color('--pg-line'); pen.lineWidth = 1;
    for (let e = 1; e <= rows + strips.length - (strips.length ? 0 : 1); e++) {
      const y = e <= rows ? top + e * ROW : high + (e - rows) * STRIP;
      pen.beginPath(); pen.moveTo(0, y - 0.5); pen.lineTo(width, y - 0.5); pen.stroke();
    }
    if (divider && divider < columns) { pen.fillStyle = ink; pen.fillRect(divider * cell - 1.5, 0, 2, height); }
    if (focus != null && focus >= 0 && focus < columns) {
      pen.strokeStyle = color('--pg-focus'); pen.lineWidth = 2;
      pen.strokeRect(focus * cell + 1, 1, cell - 2, height - 2);
    }
    return { cell, row: ROW, top };
  };

  /** An expert's mark on its colour, centred on (x, y), not wider than `room`. */
  const mark = (pen, look, x, y, room = 24) => {
    const wide = Math.min(22, room - 2);
    pen.beginPath(); pen.roundRect(x - wide / 2, y - 8, wide, 16, 4);
    if (look.slot >= 0) { pen.fillStyle = color('--x' + look.slot); pen.fill(); pen.fillStyle = color('--t' + look.slot); }
    else { pen.strokeStyle = color('--pg-ink'); pen.lineWidth = 1.5; pen.stroke(); pen.fillStyle = color('--pg-ink'); }
    pen.textAlign = 'center'; pen.textBaseline = 'middle'; pen.font = `600 ${wide < 20 ? 9 : 10}px ` + FONT;
    pen.fillText(look.mark, x, y + 0.5);
  };

  /** Layers up, the first at the bottom; experts across, their marks below; the entropy of each layer (0 to 1) as a bar.
   *  `flat` (E,) is drawn in every layer, `focus` is the layer that is looked at, or null. */
  const layers = (canvas, { looks, count, weights, flat, entropy, focus, room }) => {
    const left = 26, foot = 24, aside = entropy ? 50 : 0, cellHeight = Math.max(7, Math.min(24, Math.floor(400 / Math.max(count, 1))));
    const cellWidth = Math.max(18, Math.min(56, Math.floor((room - left - aside) / Math.max(looks.length, 1))));
    const across = left + cellWidth * looks.length, width = across + aside, height = cellHeight * count + foot, pen = prepare(canvas, width, height), inks = ramp();
    pen.font = '11px ' + FONT; pen.textBaseline = 'middle';
    for (let l = 0; l < count; l++) {
      const y = (count - 1 - l) * cellHeight;
      for (let e = 0; e < looks.length; e++) {
        const w = weights ? weights[l * looks.length + e] / 255 : flat[e];
        pen.fillStyle = inks[step(w)];
        pen.fillRect(left + e * cellWidth, y, cellWidth - 2, cellHeight - 1);
      }
      pen.fillStyle = color('--pg-muted');
      if (entropy) pen.fillRect(across + 8, y + 1, (aside - 10) * entropy[l], cellHeight - 3);
      if (l === 0 || (l + 1) % 5 === 0) { pen.textAlign = 'right'; pen.fillText(String(l + 1), left - 6, y + cellHeight / 2); }
    }
    pen.strokeStyle = color('--pg-line'); pen.lineWidth = 1;
    for (let e = 0; e < looks.length; e++) pen.strokeRect(left + e * cellWidth - 0.5, -0.5, cellWidth - 1, cellHeight * count);
    if (entropy) { pen.strokeRect(across + 7.5, -0.5, aside - 9, cellHeight * count); pen.textAlign = 'center'; pen.fillStyle = color('--pg-muted'); pen.fillText('entropy', across + 7 + (aside - 9) / 2, cellHeight * count + foot / 2 + 2); }
    looks.forEach((look, e) => mark(pen, look, left + e * cellWidth + (cellWidth - 2) / 2, cellHeight * count + foot / 2 + 2, cellWidth));
    if (focus != null && focus < count) { pen.strokeStyle = color('--pg-focus'); pen.lineWidth = 2; pen.strokeRect(left - 1, (count - 1 - focus) * cellHeight, width - left, cellHeight); }
    return { left, cellWidth, cellHeight, count };
  };

  /** One token: layers across, experts down with their marks; small. */
  const inside = (canvas, { looks, count, weights, focus }) => {
    const left = 28, row = looks.length > 8 ? 11 : 14, cell = count > 40 ? 5 : 8, foot = 13, high = row * looks.length, pen = prepare(canvas, left + cell * count + 2, high + foot), inks = ramp(), colours = inksOf(looks);
    pen.textBaseline = 'middle';
    looks.forEach((look, e) => {
      pen.fillStyle = colours[e]; pen.fillRect(0, e * row + 1, 4, row - 3);
      pen.fillStyle = color('--pg-ink'); pen.font = `600 ${row > 11 ? 10 : 9}px ` + FONT; pen.textAlign = 'left'; pen.fillText(look.mark, 8, e * row + row / 2);
      for (let l = 0; l < count; l++) { pen.fillStyle = inks[step(weights[l * looks.length + e] / 255)]; pen.fillRect(left + l * cell, e * row, cell - 1, row - 1); }
    });
    pen.strokeStyle = color('--pg-line'); pen.lineWidth = 1; pen.strokeRect(left - 0.5, -0.5, cell * count, high);
    pen.fillStyle = color('--pg-muted'); pen.font = '9px ' + FONT; pen.textAlign = 'center';
    for (let l = 0; l < count; l++) if (l === 0 || (l + 1) % 10 === 0) pen.fillText(String(l + 1), left + l * cell + cell / 2, high + foot / 2 + 1);
    if (focus != null && focus < count) { pen.strokeStyle = color('--pg-focus'); pen.lineWidth = 2; pen.strokeRect(left + focus * cell - 1, 0, cell + 1, high); }
  };

  /** A pen that writes SVG: what the drawings above use of a canvas, and nothing else. */
  class SvgPen {
    constructor(width, height) { Object.assign(this, { width, height, parts: [], path: '', fillStyle: '#000', strokeStyle: '#000', lineWidth: 1, font: '11px ' + FONT, textAlign: 'left', textBaseline: 'alphabetic' }); }
    put(tag, values, text) { const node = Object.entries(values).map(([name, value]) => `${name}="${typeof value === 'number' ? +value.toFixed(2) : value}"`).join(' '); this.parts.push(`<${tag} ${node}` + (text === undefined ? '/>' : `>${text.replace(/&/g, '&amp;').replace(/</g, '&lt;')}</${tag}>`)); }
    fillRect(x, y, width, height) { this.put('rect', { x, y, width, height, fill: this.fillStyle }); }
    strokeRect(x, y, width, height) { this.put('rect', { x, y, width, height, fill: 'none', stroke: this.strokeStyle, 'stroke-width': this.lineWidth }); }
    beginPath() { this.path = ''; }
    moveTo(x, y) { this.path += `M${x} ${y}`; }
    lineTo(x, y) { this.path += `L${x} ${y}`; }
    roundRect(x, y, w, h, r) { this.path += `M${x + r} ${y}h${w - 2 * r}a${r} ${r} 0 0 1 ${r} ${r}v${h - 2 * r}a${r} ${r} 0 0 1 ${-r} ${r}h${2 * r - w}a${r} ${r} 0 0 1 ${-r} ${-r}v${2 * r - h}a${r} ${r} 0 0 1 ${r} ${-r}z`; }
    stroke() { this.put('path', { d: this.path, fill: 'none', stroke: this.strokeStyle, 'stroke-width': this.lineWidth }); }
    fill() { this.put('path', { d: this.path, fill: this.fillStyle }); }
    fillText(text, x, y) {
      const [, weight, size] = /^(?:(\d+) )?(\d+)px/.exec(this.font);
      this.put('text', { x, y, fill: this.fillStyle, 'font-family': FONT, 'font-size': size, 'font-weight': weight || 400, 'text-anchor': { center: 'middle', right: 'end' }[this.textAlign] || 'start', 'dominant-baseline': this.textBaseline === 'middle' ? 'central' : 'auto' }, text);
    }
  }
  /** Drawings as one SVG text, one below the other: each is called with a sheet in place of a canvas. */
  const svg = (title, drawings) => {
    const pad = 16, sheets = drawings.map((draw) => { const sheet = { svg: true }; draw(sheet); return sheet.pen; });
    const head = new SvgPen(0, 0); head.font = '600 15px ' + FONT; head.fillStyle = color('--pg-ink'); head.fillText(title, pad, 30);
    let y = 48;
    const groups = sheets.map((pen) => { const group = `<g transform="translate(${pad} ${y})">${pen.parts.join('')}</g>`; y += pen.height + pad; return group; });
    const width = Math.max(480, ...sheets.map((pen) => pen.width)) + 2 * pad;
    return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${y}" viewBox="0 0 ${width} ${y}"><rect width="100%" height="100%" fill="${color('--pg-surface')}"/>${head.parts.join('')}${groups.join('')}</svg>`;
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
  return { prepare, tokens, layers, inside, mark, picture, svg, ramp, step, inksOf };
})();
