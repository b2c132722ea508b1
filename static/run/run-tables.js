import { make, makeTable } from '../lib/dom.js';
import { visible } from '../lib/format.js';

const share = (byte) => (byte / 255).toFixed(3);

/** The pictures of a run as tables, drawn when they are opened. */
export class RunTables {
  constructor(view) {
    this.view = view;
    this.boxes = [...view.element.querySelectorAll('details.twin')];
    for (const box of this.boxes) box.addEventListener('toggle', () => this.draw());
  }

  draw() {
    const drawings = {
      tokens: () => this.makeTokens(),
      layers: () => this.makeLayers(),
      attention: () => this.makeAttention(),
    };
    for (const box of this.boxes) if (box.open) box.lastElementChild.replaceChildren(drawings[box.dataset.twin]());
  }

  /** Open all tables, or close all. */
  toggle() {
    const open = !this.boxes[0].open;
    for (const box of this.boxes) box.open = open;
  }

  get names() {
    return this.view.state.pool.map((look) => look.title);
  }

  makeTokens() {
    const { state } = this.view;
    const { names } = this;
    const row = (prefix) => (token, i) => {
      const weights = token.weights ? Array.from(token.weights, share) : names.map(() => '–');
      const measures = token.measures ? token.measures.map((value) => value.toFixed(3)) : ['–', '–', '–'];
      return [prefix + (i + 1), state.nameOf(token), ...weights, ...measures];
    };
    const own = state.columns.lead ? state.ownTokens : [];
    const headings = ['#', 'token', ...names, 'entropy (nats)', 'agreement', 'leading layers'];
    return makeTable(headings, [...own.map(row('p')), ...state.tokens.map(row(''))]);
  }

  makeLayers() {
    const { layerMap, state } = this.view;
    if (!layerMap.weights) return make('p', 'hint', 'the same in every layer');
    const row = (_, layer) => {
      const weights = layerMap.weightsIn(layer).map((weight) => weight.toFixed(3));
      return [layer + 1, ...weights, layerMap.natsOf(layerMap.entropy[layer]).toFixed(3)];
    };
    const rows = Array.from({ length: state.started.layers }, row);
    return makeTable(['layer', ...this.names, 'entropy (nats)'], rows);
  }

  makeAttention() {
    const { row } = this.view.attention;
    if (!row) return make('p', 'hint', 'no attention was observed');
    const last = row.names.length - 1;
    const rows = Array.from(row.values, (byte, i) => [i + 1, visible(row.names[i] || '', i === last), share(byte)]);
    return makeTable(['#', 'token', 'attention'], rows);
  }
}
