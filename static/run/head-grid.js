import { drawFocus, FONT, prepare } from '../lib/canvas.js';
import { color } from '../lib/theme.js';
import { headSheet } from './attention-picture.js';

const GAP = 3;
const LEFT = 26;
const TOP = 16;
const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

/** Return [layers, heads] to move by for an arrow key. */
export const moveOf = (key) => MOVES[key];

/** Every head of every layer as small maps, layer 1 on top. The chosen one is outlined. */
export class HeadGrid {
  constructor(canvas) {
    this.canvas = canvas;
    this.step = 0;
    this.sheet = {};
  }

  draw(overview, { layer, head, room, withoutFirst }) {
    const { layers, heads, small } = overview;
    const cell = Math.max(22, Math.min(46, Math.floor((room - LEFT) / heads) - GAP));
    const step = cell + GAP;
    if (this.sheet.of !== overview || this.sheet.withoutFirst !== withoutFirst) {
      this.sheet = { of: overview, withoutFirst, picture: headSheet(overview, withoutFirst) };
    }
    const pen = prepare(this.canvas, LEFT + heads * step, TOP + layers * step);
    pen.imageSmoothingEnabled = false;
    pen.font = `11px ${FONT}`;
    pen.fillStyle = color('--pg-muted');
    pen.textBaseline = 'middle';
    pen.textAlign = 'center';
    for (let h = 0; h < heads; h++) pen.fillText(String(h + 1), LEFT + h * step + cell / 2, TOP / 2);
    pen.textAlign = 'right';
    for (let l = 0; l < layers; l++) {
      pen.fillText(String(l + 1), LEFT - 6, TOP + l * step + cell / 2);
      for (let h = 0; h < heads; h++) {
        const place = [LEFT + h * step, TOP + l * step, cell, cell];
        pen.drawImage(this.sheet.picture, h * small, l * small, small, small, ...place);
      }
    }
    drawFocus(pen, LEFT + head * step - 1, TOP + layer * step - 1, cell + 2, cell + 2);
    this.step = step;
    const words = `All ${layers * heads} heads; layer ${layer + 1}, head ${head + 1} is chosen`;
    this.canvas.setAttribute('aria-label', words);
  }

  /** Return {layer, head} under the pointer, or null. */
  cellAt(event, { layers, heads }) {
    if (!this.step) return null;
    const head = Math.floor((event.offsetX - LEFT) / this.step);
    const layer = Math.floor((event.offsetY - TOP) / this.step);
    return head < 0 || layer < 0 || head >= heads || layer >= layers ? null : { layer, head };
  }
}
