import { FONT, prepare } from '../lib/canvas.js';
import { makeTable } from '../lib/dom.js';
import { download } from '../lib/download.js';
import { LineReader } from '../lib/line-reader.js';
import { color, onThemeChange } from '../lib/theme.js';
import { known } from '../run/wire.js';
import { FEWEST, smoothed } from './smoothing.js';

const LINES = [
  { name: 'training_loss', label: 'training loss', dash: [4, 3] },
  { name: 'held_out_loss', label: 'validation loss', dash: [] },
];
const COLUMNS = ['training_loss', 'held_out_loss', 'held_out_accuracy'];
const EMPTY = 'The loss will be drawn here while the router learns.';
const HEIGHT = 220;
const LEFT = 46;
const RIGHT = 12;
const TOP = 10;
const FOOT = 26;
const RULES = 3;
const LEAST = 1e-6; // below it there is no logarithm worth drawing

/** Loss and accuracy while a router learns, from append-only lines. */
export class LearningCurve {
  constructor({ element, props, watch }) {
    this.props = props;
    this.canvas = element.querySelector('canvas');
    this.words = element.querySelector('.curve-words');
    this.twin = element.querySelector('details.twin');
    this.isLog = false;
    this.startAfresh();
    this.reader = new LineReader(
      () => this.startAfresh(),
      (record) => this.take(known(record)),
    );
    this.listen(element);
    watch('value', () => this.update());
    this.update();
    this.draw();
  }

  listen(element) {
    element.querySelector('.log').addEventListener('click', (event) => {
      this.isLog = !this.isLog;
      event.target.setAttribute('aria-pressed', String(this.isLog));
      this.draw();
    });
    element.querySelector('.curve-csv').addEventListener('click', () => download('curve.csv', this.csv(), 'text/csv'));
    this.twin.addEventListener('toggle', () => this.draw());
    onThemeChange(() => this.draw());
    new ResizeObserver(() => this.draw()).observe(element);
  }

  startAfresh() {
    this.points = [];
    this.note = '';
  }

  take(record) {
    if (record?.kind === 'point') this.points.push(record);
    else if (record?.kind === 'note') this.note = record.sentence;
  }

  update() {
    if (this.reader.read(this.props.value)) requestAnimationFrame(() => this.draw());
  }

  draw() {
    const width = this.words.clientWidth;
    if (width < 60) return;
    const pen = prepare(this.canvas, width, HEIGHT);
    pen.font = `11px ${FONT}`;
    pen.fillStyle = color('--pg-muted');
    pen.strokeStyle = color('--pg-line');
    pen.lineWidth = 1;
    const losses = this.points.flatMap((point) => LINES.map(({ name }) => point[name]));
    const known = losses.filter((value) => value != null && Number.isFinite(value));
    if (known.length) this.drawCurve(pen, width, known);
    else this.drawEmpty(pen, width);
  }

  drawEmpty(pen, width) {
    pen.textAlign = 'center';
    pen.fillText(this.note || EMPTY, width / 2, HEIGHT / 2);
    pen.strokeRect(LEFT - 0.5, TOP - 0.5, width - LEFT - RIGHT, HEIGHT - TOP - FOOT);
    this.words.textContent = this.note;
  }

  scaled(value) {
    return this.isLog ? Math.log10(Math.max(value, LEAST)) : value;
  }

  /** Return the lowest and highest value that is drawn, with some room around. */
  rangeOf(values) {
    const scaled = values.map((value) => this.scaled(value));
    const low = Math.min(...scaled);
    const high = Math.max(...scaled);
    const room = high - low < 1e-3 ? 0.01 : 0;
    const pad = (high - low + 2 * room) * 0.08;
    return [low - room - pad, high + room + pad];
  }

  drawCurve(pen, width, values) {
    const [low, high] = this.rangeOf(values);
    const across = width - LEFT - RIGHT;
    const up = HEIGHT - TOP - FOOT;
    const steps = this.points[0].steps || this.points.at(-1).step || 1;
    const place = (step, value) => [
      LEFT + (across * step) / Math.max(1, steps),
      TOP + (up * (high - this.scaled(value))) / (high - low),
    ];
    this.drawRules(pen, width, low, high);
    pen.textAlign = 'center';
    pen.textBaseline = 'top';
    pen.fillText(`step ${this.points.at(-1).step} of ${steps}`, LEFT + across / 2, HEIGHT - 16);
    for (const { name, dash } of LINES) {
      const raw = this.points.map((point) => point[name]);
      if (raw.length >= FEWEST) this.drawLine(pen, raw, place, { alpha: 0.22, thick: 1, dash });
      this.drawLine(pen, smoothed(raw), place, { alpha: 1, thick: 2, dash });
    }
    this.drawWords();
  }

  drawRules(pen, width, low, high) {
    for (let i = 0; i <= RULES; i++) {
      const value = low + ((high - low) * i) / RULES;
      const y = TOP + (HEIGHT - TOP - FOOT) * (1 - i / RULES);
      pen.beginPath();
      pen.moveTo(LEFT, y);
      pen.lineTo(width - RIGHT, y);
      pen.stroke();
      pen.textAlign = 'right';
      pen.textBaseline = 'middle';
      pen.fillText((this.isLog ? 10 ** value : value).toFixed(3), LEFT - 6, y);
    }
  }

  drawLine(pen, values, place, { alpha, thick, dash }) {
    pen.globalAlpha = alpha;
    pen.lineWidth = thick;
    pen.setLineDash(dash);
    pen.strokeStyle = color('--pg-ink');
    pen.beginPath();
    let isFirst = true;
    this.points.forEach(({ step }, i) => {
      if (values[i] == null) return;
      if (isFirst) pen.moveTo(...place(step, values[i]));
      else pen.lineTo(...place(step, values[i]));
      isFirst = false;
    });
    pen.stroke();
    pen.globalAlpha = 1;
    pen.setLineDash([]);
  }

  drawWords() {
    const newest = (name) => this.points.findLast((point) => point[name] != null)?.[name];
    const named = [...LINES, { name: 'held_out_accuracy', label: 'validation accuracy' }];
    const told = named
      .filter(({ name }) => newest(name) != null)
      .map(({ name, label }) => `${label} ${newest(name).toFixed(3)}`);
    this.words.textContent = told.join(' · ') + (this.note ? ` · ${this.note}` : '');
    const words = `Learning curve, step ${this.points.at(-1).step}: ${told.join(', ')}`;
    this.canvas.setAttribute('aria-label', words);
    if (!this.twin.open) return;
    const number = (value) => (value == null ? '–' : value.toFixed(4));
    const rows = this.points.map((point) => [point.step, ...COLUMNS.map((name) => number(point[name]))]);
    const headings = ['step', 'training loss', 'validation loss', 'validation accuracy'];
    this.twin.lastElementChild.replaceChildren(makeTable(headings, rows));
  }

  csv() {
    const rows = this.points.map((point) => [point.step, ...COLUMNS.map((name) => point[name] ?? '')].join(','));
    return `${['step,train_loss,valid_loss,valid_accuracy', ...rows].join('\n')}\n`;
  }
}
