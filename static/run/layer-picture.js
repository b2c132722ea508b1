// Draws experts by layers: of the whole run, large, and of one token, small.
import { drawFocus, drawMark, FONT, inksOf, prepare, ramp, rampStep } from '../lib/canvas.js';
import { color } from '../lib/theme.js';

const LEFT = 26;
const FOOT = 24;
const ENTROPY_WIDTH = 50;

const between = (low, high, value) => Math.max(low, Math.min(high, value));

function drawEntropyFrame(pen, across, bottom) {
  const width = ENTROPY_WIDTH - 9;
  pen.strokeRect(across + 7.5, -0.5, width, bottom);
  pen.textAlign = 'center';
  pen.fillStyle = color('--pg-muted');
  pen.fillText('entropy', across + 7 + width / 2, bottom + FOOT / 2 + 2);
}

/**
 * Draw layers up, the first at the bottom, and experts across with their marks below.
 *
 * `entropy` has a bar in 0…1 for each layer. `flat` (E,) is drawn in every layer when there are no `weights`.
 * `focus` is the layer that is looked at, or null. Return the sizes of a cell, for the pointer.
 */
export function drawLayers(canvas, { looks, count, weights, flat, entropy, focus, room }) {
  const aside = entropy ? ENTROPY_WIDTH : 0;
  const cellHeight = between(7, 24, Math.floor(400 / Math.max(count, 1)));
  const cellWidth = between(18, 56, Math.floor((room - LEFT - aside) / Math.max(looks.length, 1)));
  const across = LEFT + cellWidth * looks.length;
  const bottom = cellHeight * count;
  const pen = prepare(canvas, across + aside, bottom + FOOT);
  const inks = ramp();
  const muted = color('--pg-muted');
  pen.font = `11px ${FONT}`;
  pen.textBaseline = 'middle';
  for (let layer = 0; layer < count; layer++) {
    const y = (count - 1 - layer) * cellHeight;
    for (let e = 0; e < looks.length; e++) {
      const weight = weights ? weights[layer * looks.length + e] / 255 : flat[e];
      pen.fillStyle = inks[rampStep(weight)];
      pen.fillRect(LEFT + e * cellWidth, y, cellWidth - 2, cellHeight - 1);
    }
    pen.fillStyle = muted;
    if (entropy) pen.fillRect(across + 8, y + 1, (aside - 10) * entropy[layer], cellHeight - 3);
    if (layer !== 0 && (layer + 1) % 5) continue;
    pen.textAlign = 'right';
    pen.fillText(String(layer + 1), LEFT - 6, y + cellHeight / 2);
  }
  pen.strokeStyle = color('--pg-line');
  pen.lineWidth = 1;
  for (let e = 0; e < looks.length; e++) pen.strokeRect(LEFT + e * cellWidth - 0.5, -0.5, cellWidth - 1, bottom);
  if (entropy) drawEntropyFrame(pen, across, bottom);
  looks.forEach((look, e) => {
    drawMark(pen, look, LEFT + e * cellWidth + (cellWidth - 2) / 2, bottom + FOOT / 2 + 2, cellWidth);
  });
  if (focus != null && focus < count) {
    drawFocus(pen, LEFT - 1, (count - 1 - focus) * cellHeight, across + aside - LEFT, cellHeight);
  }
  return { left: LEFT, cellWidth, cellHeight, count };
}

/** Draw one token: layers across, experts down with their marks. */
export function drawInside(canvas, { looks, count, weights, focus }) {
  const left = 28;
  const foot = 13;
  const row = looks.length > 8 ? 11 : 14;
  const cell = count > 40 ? 5 : 8;
  const high = row * looks.length;
  const pen = prepare(canvas, left + cell * count + 2, high + foot);
  const inks = ramp();
  const colours = inksOf(looks);
  pen.textBaseline = 'middle';
  looks.forEach((look, e) => {
    pen.fillStyle = colours[e];
    pen.fillRect(0, e * row + 1, 4, row - 3);
    pen.fillStyle = color('--pg-ink');
    pen.font = `600 ${row > 11 ? 10 : 9}px ${FONT}`;
    pen.textAlign = 'left';
    pen.fillText(look.mark, 8, e * row + row / 2);
    for (let layer = 0; layer < count; layer++) {
      pen.fillStyle = inks[rampStep(weights[layer * looks.length + e] / 255)];
      pen.fillRect(left + layer * cell, e * row, cell - 1, row - 1);
    }
  });
  pen.strokeStyle = color('--pg-line');
  pen.lineWidth = 1;
  pen.strokeRect(left - 0.5, -0.5, cell * count, high);
  pen.fillStyle = color('--pg-muted');
  pen.font = `9px ${FONT}`;
  pen.textAlign = 'center';
  for (let layer = 0; layer < count; layer++) {
    if (layer !== 0 && (layer + 1) % 10) continue;
    pen.fillText(String(layer + 1), left + layer * cell + cell / 2, high + foot / 2 + 1);
  }
  if (focus != null && focus < count) drawFocus(pen, left + focus * cell - 1, 0, cell + 1, high);
}
