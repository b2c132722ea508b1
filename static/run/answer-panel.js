import { markPressed } from '../lib/dom.js';
import { TokenText } from './token-text.js';

const SHOWN_LETTERS = 240;

/** The answer, token by token, under the question it answers. */
export class AnswerPanel {
  constructor(view) {
    this.view = view;
    this.answer = new TokenText(view.find('.answer'));
    this.asked = new TokenText(view.find('.asked'));
    this.tint = 'expert';
    this.drawnQuestion = null;
    this.listen();
  }

  listen() {
    const { view } = this;
    for (const box of ['.answer', '.asked']) {
      view.on(box, 'pointerover', (event) => {
        if (event.pointerType !== 'touch') view.hoverAt(tokenUnder(event));
      });
      view.on(box, 'pointerleave', () => view.hoverAt(null));
      view.on(box, 'click', (event) => {
        const i = tokenUnder(event);
        if (i != null) view.toggleLock(i);
      });
    }
    view.on('.tint', 'click', (event) => {
      const button = event.target.closest('button');
      if (!button) return;
      this.tint = button.dataset.tint;
      view.fresh = true;
      markPressed(button.parentNode.children, (each) => each === button);
      view.schedule();
    });
    view.on('.copy', 'click', () => {
      const { finished, tokens } = view.state;
      const text = finished ? finished.text : tokens.map((token) => token.text).join('');
      navigator.clipboard?.writeText(text);
    });
  }

  draw(differs) {
    const { view } = this;
    const { state, fresh, expert, lock } = view;
    this.drawQuestion();
    const marks = { all: fresh, expert, lock, differs };
    this.answer.draw(state.tokens, { pool: state.pool, isLive: state.isLive, tint: this.tint, ...marks });
  }

  /** Draw the question as tokens in their experts' colours when a gate weighed them, else as text. */
  drawQuestion() {
    const { view } = this;
    const { state } = view;
    const { prompt } = state;
    const isNew = (drawn) => {
      const changed = this.drawnQuestion !== drawn;
      this.drawnQuestion = drawn;
      return changed;
    };
    if (!state.columns.lead) {
      const text = state.started ? state.started.prompt : '';
      if (!isNew(text)) return;
      this.asked.box.textContent = text.length > SHOWN_LETTERS ? `${text.slice(0, SHOWN_LETTERS - 1)}…` : text;
      return;
    }
    if (isNew(prompt)) this.asked.box.replaceChildren();
    const first = prompt.own[0] - prompt.tokens.length;
    const tint = this.tint === 'plain' ? 'plain' : 'expert';
    const marks = { all: view.fresh, expert: view.expert, lock: view.lock };
    this.asked.draw(state.ownTokens, { pool: state.pool, first, tint, ...marks });
  }
}

function tokenUnder(event) {
  const span = event.target.closest('.tok');
  return span ? +span.dataset.i : null;
}
