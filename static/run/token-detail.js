import { make } from '../lib/dom.js';
import { argmax, signed, visible } from '../lib/format.js';
import { drawInside } from './layer-picture.js';
import { measureWords } from './routing-measures.js';

const HINT =
  'Point at a token to see its details. Click to lock it, click again or press Esc to unlock. ' +
  '← → move the lock, ↑ ↓ move through the layers.';
const ROUNDED = 0.001; // how far the two ways that the server rounds may differ

/** Return whether an alternative is the token itself. Several may complete no character: one has its probability. */
const isChosen = (token, text, probability) =>
  text === token.text && (text !== '' || Math.abs(probability - Math.exp(token.logprob)) < ROUNDED);

/** The token that is looked at: how likely it was, what else was likely, and its layers. */
export class TokenDetail {
  constructor(view) {
    this.view = view;
    this.box = view.find('.detail');
    this.drawn = {};
  }

  draw() {
    const { state, focus, lock, layer, fresh } = this.view;
    const token = state.tokenAt(focus);
    if (!token) {
      if (this.drawn.token !== null) this.box.replaceChildren(make('span', 'hint', HINT));
      this.drawn = { token: null };
      return;
    }
    const { drawn } = this;
    if (drawn.token === token && drawn.lock === lock && drawn.layer === layer && !fresh) return;
    this.drawn = { token, lock, layer };
    const parts = make('div', 'detail-parts');
    parts.append(this.makeAlternatives(token, focus));
    if (token.layers) parts.append(this.makeInside(token));
    this.box.replaceChildren(this.makeHead(token, focus), parts);
  }

  makeHead(token, focus) {
    const { state, lock } = this.view;
    const head = make('div', 'detail-head');
    const place = state.placeOf(focus) + (focus === lock ? ' · locked' : '');
    head.append(make('b', 'tokname', state.nameOf(token)), make('span', 'muted', place));
    if (token.alternatives.length) {
      const words = `log-prob ${signed(token.logprob)} · entropy of the next token ${token.entropy.toFixed(2)}`;
      head.append(make('span', 'muted', words));
    }
    if (token.measures) head.append(make('span', 'muted', measureWords(token.measures, state.pool)));
    return head;
  }

  makeAlternatives(token, focus) {
    const list = make('div', 'alts');
    for (const [text, probability] of token.alternatives) {
      const item = make('span', `alt${isChosen(token, text, probability) ? ' chosen' : ''}`);
      item.style.setProperty('--w', probability);
      item.append(make('code', '', visible(text)), make('span', 'num', `${(probability * 100).toFixed(1)}%`));
      list.append(item);
    }
    if (!token.alternatives.length) {
      const why = focus < 0 ? 'read, not written: no alternatives' : 'written by a tool: no alternatives';
      list.append(make('span', 'hint', why));
    }
    return list;
  }

  /** Return one token's routing, layers across and experts down. */
  makeInside(token) {
    const { state, layer } = this.view;
    const { pool, layers } = state.started;
    const canvas = make('canvas', 'inside');
    drawInside(canvas, { looks: pool, count: layers, weights: token.layers, focus: layer });
    const top = argmax(token.weights);
    const leader = `${pool[top].title} leads with ${(token.weights[top] / 255).toFixed(3)}`;
    canvas.setAttribute('role', 'img');
    canvas.setAttribute('aria-label', `This token in each of ${layers} layers; over all, ${leader}`);
    return canvas;
  }
}
