import { make } from '../lib/dom.js';
import { expertMark } from '../lib/expert-mark.js';
import { argmax, percents, visible } from '../lib/format.js';
import { answerWords, evenness, measureWords } from './routing-measures.js';
import { drawTokens } from './token-picture.js';

const MEASURES =
  'Entropy: 0 when one expert has all the weight, 1 when all have the same. ' +
  'Layers agree: the weight that two layers share, mean over all pairs, 0 to 1.';
const NEAR_END = 24; // pixels from the newest token that still count as following it

/** The heat map of experts by tokens, what the pointer tells of it, and the measures of the whole answer. */
export class TokenMap {
  constructor(view) {
    this.view = view;
    this.canvas = view.find('.tokens-map');
    this.scroll = view.find('.map .scroll');
    this.labels = null;
    this.follow = true; // stay at the newest token
    this.isPointed = false;
    this.listen();
  }

  listen() {
    const { view } = this;
    view.on('.tokens-map', 'pointermove', (event) => {
      if (event.pointerType === 'touch') return;
      const column = this.columnAt(event);
      this.isPointed = column != null;
      view.hover = this.positionOf(column);
      if (this.isPointed) view.find('.map-what').textContent = this.cellWords(column, event.offsetY);
      view.schedule();
    });
    view.on('.tokens-map', 'pointerleave', () => {
      this.isPointed = false;
      view.hoverAt(null);
    });
    view.on('.tokens-map', 'click', (event) => {
      const i = this.positionOf(this.columnAt(event));
      if (i != null) view.toggleLock(i);
    });
    view.on('.map .scroll', 'scroll', () => {
      const { scrollLeft, clientWidth, scrollWidth } = this.scroll;
      this.follow = scrollLeft + clientWidth >= scrollWidth - NEAR_END;
      this.drawLive();
    });
    view.on('.live', 'click', () => {
      this.follow = true;
      view.schedule();
    });
  }

  columnAt(event) {
    const column = Math.floor(event.offsetX / this.grid.cell);
    return column >= 0 && column < this.view.state.columns.count ? column : null;
  }

  positionOf(column) {
    return column == null ? null : this.view.state.columns.at(column);
  }

  draw() {
    const { state } = this.view;
    this.drawLabels(
      state.pool,
      state.tokens.concat(state.prompt?.tokens || []).some((token) => token.layers),
    );
    this.drawing = this.makeDrawing();
    this.grid = drawTokens(this.canvas, this.drawing);
    if (this.follow && !state.finished) this.scroll.scrollLeft = this.scroll.scrollWidth;
    this.drawLive();
    this.canvas.setAttribute('aria-label', this.spoken());
    if (!this.isPointed) this.view.find('.map-what').textContent = this.words();
    this.drawMeasures();
  }

  /** Return the map in words; of a run that is being written, only how long it is. */
  spoken() {
    const { state } = this.view;
    const { usage } = state.finished || {};
    const size = `Heat map of expert weights over ${this.drawing.columns} tokens`;
    if (!state.tokens.length || !usage?.length) return size;
    const top = argmax(usage);
    return `${size}; ${state.pool[top].title} has most, ${percents(usage)[top]}`;
  }

  drawLive() {
    this.view.find('.live').hidden = this.follow || !!this.view.state.finished;
  }

  drawLabels(pool, hasLayers) {
    this.hasLayers = hasLayers;
    const key = pool.map((look) => look.name).join('|') + hasLayers;
    if (this.labels === key) return;
    this.labels = key;
    const rows = pool.map((look) => {
      const row = make('div');
      row.append(expertMark(look));
      return row;
    });
    const strips = (hasLayers ? ['entropy', 'agree'] : []).map((name) => make('div', 'strip', name));
    this.view.find('.map-labels').replaceChildren(...rows, ...strips);
  }

  makeDrawing() {
    const { state, focus } = this.view;
    const { pool, columns } = state;
    const tokenOf = (k) => state.tokenAt(columns.at(k));
    const measuresOf = (k) => tokenOf(k)?.measures;
    const entropy = (k) => measuresOf(k) && evenness(measuresOf(k)[0], pool);
    const agreement = (k) => measuresOf(k)?.[1];
    return {
      looks: pool,
      columns: columns.count,
      divider: columns.lead,
      strips: this.hasLayers ? [entropy, agreement] : [],
      focus: columns.of(focus),
      room: this.scroll.clientWidth,
      weights: (k) => this.weightsOf(tokenOf(k)),
      leader: (k) => (tokenOf(k).weights ? tokenOf(k).leader : null),
    };
  }

  /** Return the weights of a token: in the layer that is looked at, else over all. */
  weightsOf(token) {
    const { layer, state } = this.view;
    if (layer == null || !token.layers) return token.weights;
    const experts = state.pool.length;
    return token.layers.subarray(layer * experts, (layer + 1) * experts);
  }

  words() {
    const { layer, state } = this.view;
    const { lead } = state.columns;
    const mean = `weight of each expert on each token${lead ? ', mean over layers' : ''}`;
    const alone = `in layer ${layer + 1} alone · Esc for the mean`;
    return (layer == null ? mean : alone) + (lead ? ' · your prompt left of the line' : '');
  }

  /** Return what the cell under the pointer is. */
  cellWords(column, y) {
    const { state } = this.view;
    const { pool } = state;
    const i = state.columns.at(column);
    const token = state.tokenAt(i);
    const e = Math.floor((y - this.grid.top) / this.grid.row);
    if (!token?.weights) return this.words();
    const name = `${state.placeOf(i)} ${visible(token.text)}`;
    if (e >= pool.length && token.measures) return `${name} · ${measureWords(token.measures, pool)}`;
    if (e < 0 || e >= pool.length) return `${name} · led by ${pool[token.leader].title}`;
    const values = this.weightsOf(token);
    const rank = [...values].filter((weight) => weight > values[e]).length + 1;
    return `${name} · ${pool[e].title} ${(values[e] / 255).toFixed(3)} · rank ${rank}`;
  }

  drawMeasures() {
    const box = this.view.find('.measures');
    const { state } = this.view;
    box.textContent = answerWords(state);
    if (state.tokens.some((token) => token.measures)) box.title = MEASURES;
  }
}
