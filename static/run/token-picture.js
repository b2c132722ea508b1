// Draws experts down and tokens across, in nine steps from surface to ink.
import { drawFocus, inksOf, prepare, ramp, rampStep } from '../lib/canvas.js';
import { color } from '../lib/theme.js';

const ROW = 22;
const RIBBON = 9;
const STRIP = 20;

function measured({ looks, columns, strips, room }) {
  const cell = Math.max(7, Math.min(24, Math.floor(room / Math.max(columns, 1)) || 24));
  const top = columns && looks.length ? RIBBON + 2 : 0;
  const high = top + looks.length * ROW;
  const width = Math.max(room, columns * cell);
  return { cell, top, high, width, height: high + strips.length * STRIP };
}

/** Draw who leads in a column, with an edge where another expert takes over. */
function drawLeader(pen, { x, cell, top }, look, colour, isTurn) {
  const hasColour = look.slot >= 0;
  pen.fillStyle = colour;
  pen.fillRect(x, hasColour ? 0 : RIBBON - 3, cell, hasColour ? RIBBON : 3);
  if (!isTurn) return;
  pen.fillStyle = color('--pg-ink');
  pen.fillRect(x - 1, 0, 2, top + 1);
}

function drawLines(pen, { top, high, width }, rows, strips) {
  pen.strokeStyle = color('--pg-line');
  pen.lineWidth = 1;
  const last = strips ? rows + strips : rows - 1;
  for (let e = 1; e <= last; e++) {
    const y = e <= rows ? top + e * ROW : high + (e - rows) * STRIP;
    pen.beginPath();
    pen.moveTo(0, y - 0.5);
    pen.lineTo(width, y - 0.5);
    pen.stroke();
  }
}

/**
 * Draw a ribbon of who leads, then the weights with the newest token at the right, then bars of 0 to 1.
 *
 * `focus` is the column that is looked at, or null. `divider` is how many columns belong to the prompt.
 * Return the sizes of a cell, for the pointer.
 */
export function drawTokens(canvas, drawing) {
  const { looks, columns, divider, weights, leader, strips, focus } = drawing;
  const size = measured(drawing);
  const { cell, top, high, width, height } = size;
  const pen = prepare(canvas, width, height);
  const inks = ramp();
  const colours = inksOf(looks);
  const muted = color('--pg-muted');
  const wide = cell - (cell > 9 ? 1 : 0);
  pen.fillStyle = inks[0];
  pen.fillRect(0, 0, width, height);
  let before = null;
  for (let k = 0; k < columns; k++) {
    const column = weights(k);
    const lead = leader(k);
    const x = k * cell;
    if (!column) continue;
    drawLeader(pen, { x, cell, top }, looks[lead], colours[lead], before != null && before !== lead);
    before = lead;
    for (let e = 0; e < looks.length; e++) {
      const shade = rampStep(column[e] / 255);
      if (!shade) continue;
      pen.fillStyle = inks[shade];
      pen.fillRect(x, top + e * ROW, wide, ROW - 1);
    }
    pen.fillStyle = muted;
    strips.forEach((value, j) => {
      const tall = (STRIP - 5) * (value(k) || 0);
      pen.fillRect(x, high + (j + 1) * STRIP - tall, wide, tall);
    });
  }
  drawLines(pen, size, looks.length, strips.length);
  if (divider && divider < columns) {
    pen.fillStyle = color('--pg-ink');
    pen.fillRect(divider * cell - 1.5, 0, 2, height);
  }
  if (focus != null && focus >= 0 && focus < columns) drawFocus(pen, focus * cell + 1, 1, cell - 2, height - 2);
  return { cell, row: ROW, top };
}
