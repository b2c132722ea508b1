import { make, makeButton, markPressed } from '../lib/dom.js';
import { expertMark } from '../lib/expert-mark.js';
import { sharedRest } from './shared-rest.js';

const EMPTY = { run: '', pool: [], weights: [], layers: 0, mode: 'set', dropped: [], from: 1, to: 0 };

/** Weights set by hand, experts left out, and in which layers: what "Answer again" will ask for. */
export class OverridePanel {
  constructor({ element, props, watch, trigger }) {
    Object.assign(this, { element, props, trigger, state: EMPTY, given: null, sent: null, rows: [] });
    this.box = this.find('.override-box');
    this.hint = this.find('.override-hint');
    this.from = this.find('.from');
    this.to = this.find('.to');
    this.listen();
    watch('value', () => this.draw());
    this.draw();
  }

  find(selector) {
    return this.element.querySelector(selector);
  }

  listen() {
    this.element.addEventListener('click', (event) => {
      const button = event.target.closest('.seg button');
      if (button) this.change({ mode: button.dataset.mode });
      if (event.target.closest('.all')) this.change({ from: 1, to: this.state.layers });
    });
    this.from.addEventListener('change', () => {
      const from = this.layerIn(this.from);
      this.change({ from, to: Math.max(from, this.state.to) });
    });
    this.to.addEventListener('change', () => {
      const to = this.layerIn(this.to);
      this.change({ to, from: Math.min(this.state.from, to) });
    });
  }

  layerIn(input) {
    return Math.max(1, Math.min(this.state.layers, Math.round(+input.value) || 1));
  }

  /** Draw what the server gave. It gives each run's value twice; what was changed in between stays. */
  draw() {
    const { value } = this.props;
    if (!value || value === this.sent || value === this.given) return;
    try {
      this.state = JSON.parse(value);
    } catch {
      return;
    }
    this.given = value;
    this.rows = this.state.pool.map((look, e) => this.makeRow(look, e));
    this.find('.override-rows').replaceChildren(...this.rows.map((row) => row.node));
    this.show();
  }

  makeRow(look, e) {
    const node = make('div', 'override-row');
    node.id = `w${e}`;
    node.dataset.e = e;
    const range = this.makeInput('range', look);
    const number = this.makeInput('number', look);
    const only = makeButton('quiet', 'only');
    only.title = `all weight on ${look.title}`;
    only.setAttribute('aria-label', `only ${look.title}`);
    const leave = make('label', 'check leave');
    const tick = make('input');
    tick.type = 'checkbox';
    leave.append(tick, ' leave out');
    node.append(expertMark(look), make('span', 'xname', look.title), range, number, only, leave);
    range.addEventListener('input', () => this.setWeight(e, range));
    number.addEventListener('input', () => this.setWeight(e, number));
    only.addEventListener('click', () => this.change({ weights: sharedRest(this.state.weights, e, 100) }));
    tick.addEventListener('change', () => this.changeDropped());
    return { node, range, number, tick };
  }

  makeInput(type, look) {
    const input = make('input');
    Object.assign(input, { type, min: 0, max: 100, step: 1 });
    input.setAttribute('aria-label', `${look.title}, percent`);
    return input;
  }

  setWeight(e, input) {
    this.change({ weights: sharedRest(this.state.weights, e, +input.value || 0) }, input);
  }

  changeDropped() {
    const names = this.state.pool.map((look) => look.name);
    this.change({ dropped: names.filter((_, e) => this.rows[e].tick.checked) });
  }

  /** Take a change, show it, and tell the server. The input that `moved` keeps what is typed. */
  change(part, moved) {
    this.state = { ...this.state, ...part };
    this.show(moved);
    this.sent = JSON.stringify(this.state);
    this.props.value = this.sent;
    this.trigger('change');
  }

  show(moved) {
    const { state } = this;
    this.box.dataset.mode = state.mode;
    markPressed(this.element.querySelectorAll('.seg button'), (button) => button.dataset.mode === state.mode);
    this.find('.override-layers').hidden = !state.pool.length || state.mode !== 'set';
    for (const input of [this.from, this.to]) input.max = state.layers;
    this.from.value = state.from;
    this.to.value = state.to;
    this.rows.forEach(({ range, number, tick }, e) => {
      const value = Math.round(state.weights[e]);
      range.value = value;
      if (number !== moved) number.value = value;
      tick.checked = state.dropped.includes(state.pool[e].name);
    });
    this.hint.textContent = this.words();
  }

  words() {
    const { pool, weights, mode, dropped, from, to, layers } = this.state;
    if (!pool.length) return '';
    if (mode === 'drop') {
      if (dropped.length) return 'The router decides among the rest.';
      return 'Tick the experts to leave out. The router decides among the rest.';
    }
    const isPart = from > 1 || to < layers;
    if (!isPart) return 'The weights always sum to 100. If a tool has the highest weight, it answers alone.';
    const hasTool = pool.some((look, e) => look.kind === 'tool' && weights[e] >= 0.5);
    if (hasTool) return 'A tool does not act inside layers. Give its weight to others, or choose all layers.';
    return `Your weights are used in layers ${from} to ${to}. The router decides in the others.`;
  }
}
