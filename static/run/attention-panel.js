import { prepare } from '../lib/canvas.js';
import { make, markPressed } from '../lib/dom.js';
import { csvCell, visible } from '../lib/format.js';
import { drawMap } from './attention-picture.js';
import { AttentionSource, attentionOf } from './attention-source.js';
import { AttentionText } from './attention-text.js';
import { HeadButtons } from './head-buttons.js';
import { HeadGrid, moveOf } from './head-grid.js';

const NOTES = {
  rollout:
    'Rollout (Abnar & Zuidema 2020): how much of each token flows into another through all layers. In each layer ' +
    'half of it passes unchanged. Most comes from the first token. Without it, each row is scaled to its largest. ' +
    'It follows attention, not what experts add.',
  whole: 'Each row is a token that looks, each column a token it looks at. Square root scale. [ ] change the head.',
  observed: 'Rows are answer tokens, columns are the tokens before them. Square root scale. [ ] change the head.',
  heads:
    'Layers go down, heads across. Each head is scaled to its own largest. Press one to open it. ' +
    'Arrow keys move, Enter opens.',
  unwatched: 'No head is observed in this run.',
  running: 'The observed head is drawn while the answer is written.',
  tool: 'This answer was written by a tool, so there is no attention.',
  unknown: 'Not observed in this run. Choose a layer or all heads to compute it now.',
};

const between = (value, count) => Math.max(0, Math.min(count - 1, value));

/** What heads look at: the observed one while the answer is written; any layer, all heads and rollout after it. */
export class AttentionPanel {
  constructor(view) {
    this.view = view;
    this.canvas = view.find('.attention-map');
    this.note = view.find('.attention-note');
    this.text = new AttentionText(view.find('.attention-text'));
    this.buttons = new HeadButtons(view.find('.heads'));
    this.grid = new HeadGrid(this.canvas);
    this.mode = 'head'; // or 'heads', 'rollout'
    this.row = null; // what is shown of the token that asks: {values, names}
    this.run = null; // the run whose layers and heads can be picked
    this.asked = null; // the layer that is being computed
    const tell = (words, share) => this.drawProgress(words, share);
    this.source = new AttentionSource(view.server, { tell, changed: () => view.schedule() });
    this.listen();
  }

  get layer() {
    return +this.view.find('.att-layer').value;
  }

  get head() {
    return +this.view.find('.att-head').value;
  }

  get withoutFirst() {
    return this.view.find('.att-sink').checked;
  }

  get isGrid() {
    return this.mode === 'heads' && !!this.view.state.overview;
  }

  get shown() {
    const { mode, layer, head } = this;
    return attentionOf(this.view.state, { mode, layer, head });
  }

  listen() {
    const { view } = this;
    for (const pick of ['.att-layer', '.att-head']) {
      view.on(pick, 'change', () => {
        if (this.mode === 'head') this.fetchLayer();
        else view.schedule();
      });
    }
    view.on('.att-sink', 'change', () => view.schedule());
    view.on('.att-stop', 'click', () => this.source.stop());
    view.on('.att-mode', 'click', (event) => this.pressMode(event.target.closest('button')));
    view.on('.heads', 'click', (event) => {
      const button = event.target.closest('.att-head-button');
      if (button) this.choose(this.layer, +button.dataset.h);
    });
    view.on('.attention-map', 'click', (event) => {
      const at = this.isGrid ? this.grid.cellAt(event, view.state.overview) : null;
      if (at) this.open(at.layer, at.head);
    });
  }

  pressMode(button) {
    if (!button || button.disabled) return;
    this.mode = button.dataset.mode;
    this.source.error = '';
    if (this.mode === 'head') this.view.schedule();
    else this.fetchOverview();
  }

  draw() {
    const { state } = this.view;
    if (!state.started) return;
    this.fillPicks(state.started);
    this.drawModes();
    this.view.find('.att-wait').hidden = !this.source.job;
    const { shown } = this;
    if (this.isGrid) this.drawGrid();
    if (shown) this.drawShown(shown);
    else this.drawNothing();
  }

  drawModes() {
    const buttons = this.view.find('.att-mode').children;
    markPressed(buttons, (button) => button.dataset.mode === this.mode);
    for (const button of buttons) button.disabled = button.dataset.mode !== 'head' && !this.view.state.finished;
  }

  drawProgress(words, share) {
    this.view.find('.att-wait-text').textContent = words;
    if (share !== undefined) this.view.find('.att-wait i').style.width = `${100 * share}%`;
  }

  /** Return the row of the position that asks. A token was written by the position before it. */
  rowOf(shown, at) {
    const { state } = this.view;
    if (!shown.isWhole) return at;
    if (at < 0) return shown.names.length - state.tokens.length + at; // a prompt token asks for itself
    return Math.min(shown.queries - 1, state.promptTexts.length + at - 1);
  }

  drawShown(shown) {
    const { state, focus } = this.view;
    const at = focus ?? state.tokens.length - 1;
    const row = this.rowOf(shown, at);
    const values = row >= 0 && row < shown.queries ? shown.row(row) : null;
    const asking = shown.isWhole ? row + (at < 0 ? 0 : 1) : shown.first + row;
    this.text.write(shown.names, state.promptTexts.length);
    this.text.tint(values, asking, this.withoutFirst);
    this.row = values && { values, names: shown.names };
    if (this.isGrid) return;
    const token = at < 0 ? shown.names[row] : state.tokens[at]?.text;
    const doing = at < 0 ? 'while reading' : 'while writing';
    this.view.find('.attention-what').textContent = token === undefined ? '' : `${doing} ${visible(token)}`;
    const room = this.view.find('.attention-scroll').clientWidth;
    drawMap(this.canvas, { ...shown, focus: row, room, withoutFirst: this.withoutFirst });
    const note = this.mode === 'rollout' ? NOTES.rollout : shown.isWhole ? NOTES.whole : NOTES.observed;
    this.note.textContent = this.source.error || note;
    this.canvas.setAttribute('aria-label', this.mapWords(values, shown.names));
    this.buttons.draw(this.mode === 'head' ? state.heads[this.layer] || null : null, this.head);
  }

  mapWords(values, names) {
    if (!values) return 'Attention map';
    let best = this.withoutFirst ? 1 : 0;
    for (let i = best; i < values.length; i++) if (values[i] > (values[best] || 0)) best = i;
    const one = `Attention of layer ${this.layer + 1}, head ${this.head + 1}`;
    const what = this.mode === 'rollout' ? 'Attention rollout' : one;
    return `${what}: most on token ${best + 1}, ${names[best] || ''}`;
  }

  drawNothing() {
    const { state } = this.view;
    this.text.write(state.texts, state.promptTexts.length);
    this.text.tint(null, -1, false);
    this.row = null;
    if (this.isGrid) return;
    prepare(this.canvas, 1, 1);
    this.canvas.setAttribute('aria-label', 'Attention map; nothing yet');
    this.view.find('.attention-what').textContent = '';
    this.buttons.draw(null, 0);
    if (this.source.job || this.source.error) this.note.textContent = this.source.error;
    else if (this.asked === this.layer) this.note.textContent = `Computing layer ${this.layer + 1} …`;
    else if (!state.finished) {
      this.note.textContent = state.started.observed_layer < 0 ? NOTES.unwatched : NOTES.running;
    } else this.note.textContent = state.prompt ? NOTES.unknown : NOTES.tool;
  }

  drawGrid() {
    const room = this.view.find('.attention-scroll').clientWidth;
    const { layer, head, withoutFirst } = this;
    this.grid.draw(this.view.state.overview, { layer, head, room, withoutFirst });
    this.view.find('.attention-what').textContent = `layer ${layer + 1}, head ${head + 1}`;
    this.note.textContent = NOTES.heads;
    this.buttons.draw(null, 0);
  }

  fillPicks({ id, layers, heads, observed_layer, observed_head }) {
    if (this.run === id) return;
    this.run = id;
    this.mode = 'head';
    this.asked = null;
    this.source.stop(); // nobody sees what was computed for the run before
    this.source.error = '';
    const option = (i, chosen) => {
      const node = make('option', '', String(i + 1));
      node.value = i;
      node.selected = i === chosen;
      return node;
    };
    const fill = (name, count, chosen) => {
      const options = Array.from({ length: count }, (_, i) => option(i, Math.max(0, chosen)));
      this.view.find(name).replaceChildren(...options);
    };
    fill('.att-layer', layers, observed_layer);
    fill('.att-head', heads, observed_head);
    this.buttons.draw(null, 0);
  }

  choose(layer, head) {
    const { layers, heads } = this.view.state.started;
    this.view.find('.att-layer').value = between(layer, layers);
    this.view.find('.att-head').value = between(head, heads);
    this.view.schedule();
  }

  open(layer, head) {
    this.choose(layer, head);
    this.mode = 'head';
    this.fetchLayer();
  }

  /** Choose another head of the layer. Return whether there is a run. */
  stepHead(move) {
    if (!this.view.state.started) return false;
    this.choose(this.layer, this.head + move);
    if (this.mode === 'head') this.fetchLayer();
    return true;
  }

  /** Move in the grid of heads. Return whether the key was one for it. */
  gridKey(key) {
    if (!this.isGrid) return false;
    const move = moveOf(key);
    if (move) this.choose(this.layer + move[0], this.head + move[1]);
    else if (key === 'Enter') this.open(this.layer, this.head);
    return !!move || key === 'Enter';
  }

  async fetchLayer() {
    const { view, layer } = this;
    const { state } = view;
    this.source.error = '';
    if (!this.source.canFetch(state, layer)) {
      view.schedule();
      return;
    }
    this.asked = layer;
    view.schedule();
    const error = await this.source.fetchLayer(state, layer);
    if (this.asked === layer) {
      this.asked = null;
      if (view.state === state) this.source.error = error;
    }
    view.schedule();
  }

  async fetchOverview() {
    const { view } = this;
    const { state } = view;
    if (state.finished && this.source.server && !state.overview && !this.source.job) {
      const error = await this.source.fetchOverview(state);
      if (error && view.state === state) {
        this.mode = 'head';
        this.source.error = error;
      }
    }
    view.schedule();
  }

  /** Return the attention that is shown as CSV, a row per query. */
  csv() {
    const { shown } = this;
    if (!shown) return 'nothing is shown\n';
    const heading = this.mode === 'rollout' ? 'rollout' : `layer ${this.layer + 1} head ${this.head + 1}`;
    const share = (byte) => (byte === undefined ? '' : +(byte / 255).toPrecision(4));
    const lines = [[csvCell(heading), ...shown.names.slice(0, shown.keys).map(csvCell)]];
    for (let i = 0; i < shown.queries; i++) {
      const row = shown.row(i) || [];
      const name = csvCell(shown.names[(shown.first || 0) + i] ?? '');
      lines.push([name, ...Array.from({ length: shown.keys }, (_, k) => share(row[k]))]);
    }
    return `${lines.map((line) => line.join(',')).join('\n')}\n`;
  }
}
