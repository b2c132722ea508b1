import { argmax, percents } from '../lib/format.js';
import { drawLayers } from './layer-picture.js';
import { entropyWords, evenness } from './routing-measures.js';
import { shownWeights } from './shown-weights.js';

const NOTES = {
  empty: 'This map will show where in the model each expert acts.',
  layers: 'Layer 1 at the bottom. Bars: entropy of the layer’s weights. Press a layer, or ↑ ↓, to see it alone.',
  gate: 'The gate decides in each layer, token by token.',
  prompt: 'This router decides before the answer, so every layer has the same weights. A gate decides in each layer.',
};

/** Return the mean of the lists that `pick` takes from tokens. */
function averaged(tokens, pick) {
  const sums = new Float32Array(pick(tokens[0]).length);
  for (const token of tokens) {
    pick(token).forEach((value, i) => {
      sums[i] += value;
    });
  }
  return sums.map((sum) => sum / tokens.length);
}

/** The heat map of experts by layers. `weights` (L·E) and `entropy` (L) are bytes; null when layers do not differ. */
export class LayerMap {
  constructor(view) {
    this.view = view;
    this.canvas = view.find('.layers-map');
    this.weights = null;
    this.entropy = null;
    this.isPointed = false;
    this.listen();
  }

  listen() {
    const { view } = this;
    view.on('.layers-map', 'pointermove', (event) => {
      const at = event.pointerType === 'touch' ? null : this.cellAt(event);
      this.isPointed = !!at;
      if (at) view.find('.layer-what').textContent = this.words(at.layer, at.expert);
    });
    view.on('.layers-map', 'pointerleave', () => {
      this.isPointed = false;
      view.schedule();
    });
    view.on('.layers-map', 'click', (event) => {
      const at = this.cellAt(event);
      if (!at) return;
      view.layer = view.layer === at.layer ? null : at.layer;
      view.schedule();
    });
  }

  draw() {
    const { state, focus, layer } = this.view;
    const note = this.view.find('.layer-note');
    if (!state.started) {
      note.textContent = NOTES.empty;
      return;
    }
    const { pool } = state;
    const token = state.tokenAt(focus);
    this.choose(token);
    const flat = this.weights ? null : this.flatWeights(token);
    const isGate = state.started.level === 'gate';
    note.textContent = this.weights ? NOTES.layers : isGate ? NOTES.gate : NOTES.prompt;
    this.drawing = {
      looks: pool,
      count: state.started.layers,
      weights: this.weights,
      flat,
      entropy: this.entropy && Array.from(this.entropy, (byte) => evenness(this.natsOf(byte), pool)),
      focus: layer,
      room: this.view.find('.layers').clientWidth,
    };
    this.grid = drawLayers(this.canvas, this.drawing);
    this.drawWords(flat, token?.layers ? state.placeOf(focus) : 'mean over the answer');
  }

  /** Take the layers of the looked-at token, else their mean over the answer. */
  choose(token) {
    const layered = this.view.state.tokens.filter((each) => each.layers);
    const mean = (pick) => (layered.length ? averaged(layered, pick) : null);
    this.weights = token?.layers ? token.layers : mean((each) => each.layers);
    this.entropy = token?.layers ? token.layerEntropy : mean((each) => each.layerEntropy);
  }

  /** Return the weights that acted in every layer, which may differ from what was decided. */
  flatWeights(token) {
    const { state, focus } = this.view;
    const used = token || state.tokens.at(-1);
    if (used?.weights) return Array.from(used.weights, (byte) => byte / 255);
    const shown = shownWeights(state, focus);
    return shown ? shown.weights : state.pool.map(() => 0);
  }

  drawWords(flat, whose) {
    const { state, layer } = this.view;
    const { pool } = state;
    const here = this.weights && layer != null ? this.words(layer) : null;
    if (!this.isPointed) {
      this.view.find('.layer-what').textContent = this.weights ? here || whose : 'the same in every layer';
    }
    const many = `Weights of ${pool.length} experts in ${state.started.layers} layers, ${whose}`;
    const same = () => `Every layer: ${pool[argmax(flat)]?.title} ${percents(flat)[argmax(flat)]}`;
    this.canvas.setAttribute('aria-label', this.weights ? here || many : same());
  }

  natsOf(byte) {
    return (byte / 255) * Math.log(this.view.state.pool.length);
  }

  /** Return the weights of one layer in 0…1. */
  weightsIn(layer) {
    const experts = this.view.state.pool.length;
    return Array.from(this.weights.slice(layer * experts, (layer + 1) * experts), (byte) => byte / 255);
  }

  /** Return one layer in words: who leads or the expert asked for, its weight, and how even the layer is. */
  words(layer, expert) {
    const { pool } = this.view.state;
    const row = this.weightsIn(layer);
    const at = expert ?? argmax(row);
    const entropy = entropyWords(this.natsOf(this.entropy[layer]), pool);
    return `layer ${layer + 1}: ${pool[at].title} ${row[at].toFixed(3)} · entropy ${entropy}`;
  }

  /** Return the layer under the pointer, and the expert when it is on a cell. */
  cellAt(event) {
    const { grid } = this;
    if (!grid || !this.weights) return null;
    const layer = grid.count - 1 - Math.floor(event.offsetY / grid.cellHeight);
    const e = Math.floor((event.offsetX - grid.left) / grid.cellWidth);
    const expert = e >= 0 && e < this.view.state.pool.length ? e : undefined;
    return layer >= 0 && layer < grid.count ? { layer, expert } : null;
  }

  /** Look at the next layer in a direction. */
  step(move) {
    const { view } = this;
    const last = view.state.started.layers - 1;
    if (view.layer == null) view.layer = move > 0 ? 0 : last;
    else view.layer = Math.max(0, Math.min(last, view.layer + move));
    view.schedule();
  }
}
