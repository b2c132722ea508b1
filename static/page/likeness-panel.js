import { drawMark, FONT, prepare, ramp, rampStep } from '../lib/canvas.js';
import { makeTable, markPressed } from '../lib/dom.js';
import { download } from '../lib/download.js';
import { csvCell, signed } from '../lib/format.js';
import { pngPicture } from '../lib/picture.js';
import { color, onThemeChange } from '../lib/theme.js';

const LEFT = 30;
const NOTES = {
  reading: ({ chance }) =>
    'Overlap of the input subspaces of the adapters, mean over shared modules: 0 is none, 1 is the same. ' +
    `By chance it would be ${chance == null ? '–' : chance.toFixed(3)}. ` +
    'Adapters trained from the same random start overlap almost fully, whatever they learned.',
  change: () =>
    'Cosine between the changes that adapters make to the weights, mean over shared modules: ' +
    '−1 is opposite, 0 is unrelated, 1 is the same.',
  used: ({ runs }) =>
    `Correlation of the experts' usage over the last ${runs} runs here: above 0 they are used together, ` +
    'below 0 one replaces the other. ' +
    'A cell is empty when fewer than three runs could use both, or when a share never varied.',
};
const READING = 'Reading the adapters …';
const NO_RUNS = 'Nothing to compare yet. This needs three runs in which two experts got different shares.';
const NO_PAIR = 'There are fewer than two adapters, so there is nothing to compare.';

const number = (value) => (value == null ? '–' : signed(value));

/** Return every known value beside the diagonal, with its row and column. */
function pairs(values) {
  return values.flatMap((row, i) =>
    row.map((value, j) => ({ value, i, j })).filter(({ value, j }) => i !== j && value != null),
  );
}

/** Experts beside each other: subspaces they read, changes they make, runs that use them together. Read when opened. */
export class LikenessPanel {
  constructor({ element, server }) {
    this.element = element;
    this.server = server;
    this.details = element.querySelector('details.likeness');
    this.canvas = element.querySelector('canvas');
    this.note = element.querySelector('.likeness-note');
    this.twin = element.querySelector('details.twin');
    this.data = null;
    this.what = 'change';
    this.trouble = '';
    this.listen();
  }

  listen() {
    this.details.addEventListener('toggle', (event) => {
      if (event.target === this.details) this.fetch();
    });
    this.twin.addEventListener('toggle', () => this.draw());
    this.element.addEventListener('click', (event) => {
      const button = event.target.closest('[data-what]');
      if (button) {
        this.what = button.dataset.what;
        this.draw();
      }
      const kind = event.target.dataset?.save;
      if (kind && this.shown) this.save(kind, this.shown);
    });
    onThemeChange(() => this.draw());
    new ResizeObserver(() => this.draw()).observe(this.element);
  }

  async fetch() {
    if (!this.details.open || !this.server) return;
    this.trouble = '';
    this.draw();
    let answer;
    try {
      answer = await this.server.likeness({});
    } catch {
      answer = { error: 'The experts could not be compared. Open this again.' };
    }
    if (answer.error) this.trouble = answer.error;
    else this.data = answer;
    this.draw();
  }

  get shown() {
    const { data, what } = this;
    return data && { looks: what === 'used' ? data.used_looks : data.looks, values: data[what] };
  }

  draw() {
    const { shown } = this;
    markPressed(this.element.querySelectorAll('.seg button'), (button) => button.dataset.what === this.what);
    const room = this.element.clientWidth - 32;
    if (!this.details.open || room < 60) return;
    if (shown && shown.looks.length > 1 && pairs(shown.values).length) this.drawMatrix(shown, room);
    else this.drawNothing();
  }

  drawNothing() {
    prepare(this.canvas, 1, 1);
    const nothing = this.what === 'used' ? NO_RUNS : NO_PAIR;
    this.note.textContent = this.trouble || (this.data ? nothing : READING);
  }

  drawMatrix({ looks, values }, room) {
    const count = looks.length;
    const cell = Math.max(24, Math.min(46, Math.floor((room - LEFT) / count)));
    const pen = prepare(this.canvas, LEFT + count * cell, LEFT + count * cell);
    const known = pairs(values);
    const top = Math.max(1e-6, ...known.map(({ value }) => Math.abs(value)));
    values.forEach((row, i) => {
      row.forEach((value, j) => {
        this.drawCell(pen, { value, isSelf: i === j, top, x: LEFT + j * cell, y: LEFT + i * cell, cell });
      });
    });
    pen.strokeStyle = color('--pg-line');
    pen.lineWidth = 1;
    pen.strokeRect(LEFT - 0.5, LEFT - 0.5, count * cell, count * cell);
    looks.forEach((look, i) => {
      const middle = LEFT + i * cell + cell / 2;
      drawMark(pen, look, middle, LEFT / 2, cell);
      drawMark(pen, look, LEFT / 2 - 2, middle, 26);
    });
    this.note.textContent = `${NOTES[this.what](this.data)} Darkest cell: ${number(top)}.`;
    this.drawWords(looks, values, known);
  }

  drawCell(pen, { value, isSelf, top, x, y, cell }) {
    const shade = value == null || isSelf ? 0 : rampStep(Math.abs(value) / top);
    pen.fillStyle = ramp()[shade];
    pen.fillRect(x, y, cell - 1, cell - 1);
    pen.fillStyle = color(shade > 4 ? '--pg-surface' : isSelf ? '--pg-muted' : '--pg-ink');
    pen.font = `${cell < 32 ? 9 : 11}px ${FONT}`;
    pen.textAlign = 'center';
    pen.textBaseline = 'middle';
    pen.fillText(isSelf ? '·' : number(value), x + cell / 2, y + cell / 2);
  }

  drawWords(looks, values, known) {
    const best = known
      .filter(({ i, j }) => i < j)
      .reduce((a, b) => (b.value > a.value ? b : a), { value: -9, i: 0, j: 1 });
    const pair = `${looks[best.i].title} and ${looks[best.j].title}, ${number(values[best.i][best.j])}`;
    this.canvas.setAttribute('aria-label', `How alike ${looks.length} experts are; most alike are ${pair}`);
    if (!this.twin.open) return;
    const share = (value) => (value == null ? '–' : value.toFixed(3));
    const rows = values.map((row, i) => [looks[i].title, ...row.map(share)]);
    this.twin.lastElementChild.replaceChildren(makeTable(['', ...looks.map((look) => look.title)], rows));
  }

  save(kind, { looks, values }) {
    const name = `experts-${this.what}.${kind}`;
    if (kind === 'csv') {
      const names = looks.map((look) => csvCell(look.name));
      const rows = values.map((row, i) => [names[i], ...row.map((value) => value ?? '')]);
      download(name, `${[['', ...names], ...rows].map((row) => row.join(',')).join('\n')}\n`, 'text/csv');
      return;
    }
    const what = this.element.querySelector('.seg [aria-pressed=true]').textContent;
    pngPicture(`How similar the experts are: ${what}`, [this.canvas], (blob) => download(name, blob));
  }
}
