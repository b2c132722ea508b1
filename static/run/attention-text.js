import { make } from '../lib/dom.js';
import { shaped } from './attention-picture.js';
import { shareColour } from './cividis.js';

const isLight = ([red, green, blue]) => 0.299 * red + 0.587 * green + 0.114 * blue > 118;

/** All tokens as text, tinted by how much one of them looks at each. */
export class AttentionText {
  constructor(box) {
    this.box = box;
    this.texts = [];
    this.promptTokens = 0;
    this.asking = null;
  }

  /** Write the tokens; only new ones when the text goes on. Every chat begins alike, so each text is compared. */
  write(texts, promptTokens) {
    const { box } = this;
    const goesOn = this.promptTokens === promptTokens && this.texts.every((text, i) => text === texts[i]);
    if (!goesOn) {
      box.replaceChildren();
      this.asking = null;
    }
    for (let i = box.childElementCount; i < texts.length; i++) {
      const span = make('span', i < promptTokens ? 'k p' : 'k', texts[i]);
      span.dataset.k = i;
      box.append(span);
    }
    this.texts = texts.slice();
    this.promptTokens = promptTokens;
  }

  /** Tint the tokens with the row of one query; no tint for null. */
  tint(row, query, withoutFirst) {
    const values = row ? shaped(row, withoutFirst) : [];
    [...this.box.children].forEach((span, i) => {
      const isTinted = values[i] !== undefined && !(withoutFirst && i === 0);
      const colour = isTinted ? shareColour(values[i]) : null;
      span.style.background = colour ? `rgb(${colour.join(',')})` : '';
      span.style.color = colour ? (isLight(colour) ? '#000' : '#fff') : '';
      span.title = colour ? `token ${i + 1} · attention ${(row[i] / 255).toFixed(3)}` : '';
      span.classList.toggle('q', i === query);
    });
    this.scrollTo(query);
  }

  /** Keep the token that asks in sight, without moving the page. */
  scrollTo(query) {
    const { box } = this;
    const asking = box.children[Math.min(query, box.children.length - 1)];
    if (!asking || this.asking === query) return;
    this.asking = query;
    box.scrollTop = asking.offsetTop - box.clientHeight + 2 * asking.offsetHeight;
  }
}
