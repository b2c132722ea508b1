import { make } from '../lib/dom.js';

const inkOf = (look) => (look.slot >= 0 ? `var(--x${look.slot})` : 'var(--pg-ink)');
const mixed = (ink, percent) => `color-mix(in srgb, ${ink} ${Math.round(percent)}%, transparent)`;

/** Tokens as tinted text. Where another expert takes the lead there is an edge in its colour. */
export class TokenText {
  constructor(box) {
    this.box = box;
  }

  /**
   * Draw what is new; everything when `all`.
   *
   * `first` is the position of the first token. `lock`, `differs` and `expert` say what is marked.
   */
  draw(tokens, { pool, first = 0, isLive, tint, all, expert, lock, differs }) {
    const { box } = this;
    if (all || box.childElementCount > tokens.length) box.replaceChildren();
    for (let k = box.childElementCount; k < tokens.length; k++) {
      box.append(this.makeToken(tokens[k], first + k, tokens[k - 1], { pool, tint }));
    }
    for (const span of box.children) {
      const i = +span.dataset.i;
      span.classList.toggle('locked', i === lock);
      span.classList.toggle('faded', expert != null && +span.dataset.e !== expert);
      span.classList.toggle('differs', i === differs);
    }
    box.classList.toggle('typing', !!isLive);
  }

  makeToken(token, i, before, { pool, tint }) {
    const span = make('span', 'tok', token.text);
    span.dataset.i = i;
    const look = pool[token.leader];
    if (token.weights && look) {
      span.dataset.e = token.leader;
      if (tint === 'expert') this.tintExpert(span, token, before?.leader, pool);
    }
    const ink = 'var(--pg-ink)';
    if (tint === 'probability' && token.logprob !== undefined) {
      span.style.background = mixed(ink, 42 * (1 - Math.exp(token.logprob)));
    }
    if (tint === 'entropy' && token.entropy !== undefined) {
      span.style.background = mixed(ink, Math.min(42, 10 * token.entropy));
    }
    return span;
  }

  tintExpert(span, token, before, pool) {
    const look = pool[token.leader];
    const ink = inkOf(look);
    if (look.slot >= 0) span.style.background = mixed(ink, 10 + (35 * token.weights[token.leader]) / 255);
    if (token.leader === before) return;
    span.classList.add('turn');
    span.style.setProperty('--turn', ink);
    if (before === undefined) return;
    span.classList.add('switch');
    span.title = `here ${look.title} takes over from ${pool[before]?.title || '?'}`;
  }
}
