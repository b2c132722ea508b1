import { make, makeTable } from '../lib/dom.js';
import { signed } from '../lib/format.js';
import { ExpertBars } from './expert-bars.js';
import { shownWeights } from './shown-weights.js';
import { stageWords } from './stage.js';
import { TokenText } from './token-text.js';

/** Return the first token in which two answers differ, or null. */
export function firstDifference(one, other) {
  const end = Math.min(one.tokens.length, other.tokens.length);
  for (let i = 0; i < end; i++) if (one.tokens[i].text !== other.tokens[i].text) return i;
  const isWhole = ({ finished }) => finished && finished.reason !== 'cancelled';
  return one.tokens.length !== other.tokens.length && isWhole(one) && isWhole(other) ? end : null;
}

/** Return what the likelihoods say, in words. */
export function likelihoodWords({ first_by_first: before, first_by_second: after }) {
  const scale = ' Nearer to 0 is likelier; measured at temperature 1, without penalties.';
  if (before == null || after == null) return scale;
  const loss = before - after;
  if (Math.abs(loss) < 0.005) return `Both routings find the first answer equally likely.${scale}`;
  const less = loss > 0 ? 'less' : 'more';
  const times = `its tokens are ${Math.exp(Math.abs(loss)).toFixed(2)} times ${less} probable`;
  return `The new routing finds the first answer ${less} likely: ${times}, as a geometric mean.${scale}`;
}

/** The other run that is drawn beside this one, from its own lines. */
export class Beside {
  constructor(view) {
    this.view = view;
    this.box = view.find('.beside');
    this.state = null;
    this.drawnLikelihoods = null;
  }

  /** Draw `state` beside the run; null removes it. */
  show(state) {
    this.state = state;
    this.box.hidden = !state;
    if (!state) this.box.replaceChildren();
    this.view.schedule();
  }

  get difference() {
    return this.state ? firstDifference(this.view.state, this.state) : null;
  }

  draw(differs) {
    this.drawLikelihoods();
    const { state, view } = this;
    if (!state) return;
    if (!this.box.firstChild) this.build();
    this.head.textContent = this.headWords(differs);
    this.bars.draw(state, shownWeights(state, null));
    const marks = { all: true, expert: view.expert, lock: null, differs };
    this.answer.draw(state.tokens, { pool: state.pool, isLive: state.isLive, tint: view.answer.tint, ...marks });
  }

  build() {
    this.head = make('div', 'beside-head');
    const bars = make('div', 'bars small');
    const answer = make('div', 'answer');
    this.bars = new ExpertBars(bars);
    this.answer = new TokenText(answer);
    this.box.append(this.head, bars, answer);
  }

  headWords(differs) {
    const { state, view } = this;
    const parts = [state.change || 'With your weights'];
    const { failed } = state;
    parts.push(failed ? [failed.message, failed.remedy].filter(Boolean).join(' ') : stageWords(state, false));
    if (differs != null) parts.push(`first differs at token ${differs + 1}`);
    else if (state.finished) {
      const isEqual = view.state.tokens.length === state.tokens.length;
      parts.push(`the same ${isEqual ? 'answer' : 'as far as both go'}`);
    }
    return parts.join(' · ');
  }

  /** Draw how likely each routing finds each answer, per token. */
  drawLikelihoods() {
    const box = this.view.find('.likely');
    const found = this.state?.likelihoods;
    box.hidden = !found || !this.view.state.started || !this.state.started;
    if (box.hidden || this.drawnLikelihoods === found) return;
    this.drawnLikelihoods = found;
    if (found.sentence) {
      box.replaceChildren(make('p', 'hint', found.sentence));
      return;
    }
    const told = (value) => (value == null ? 'a tool wrote it' : signed(value));
    const second = this.state.change ? this.state.change.toLowerCase() : 'with your weights';
    const table = makeTable(
      ['log-probability per token', 'as first routed', second],
      [
        ['the first answer', told(found.first_by_first), told(found.first_by_second)],
        ['the answer beside it', told(found.second_by_first), told(found.second_by_second)],
      ],
    );
    box.replaceChildren(table, make('p', 'hint', likelihoodWords(found)));
  }
}
