import { bytes } from '../lib/bytes.js';
import { visible } from '../lib/format.js';
import { known } from './wire.js';

/** Return one token as the views read it. */
const tokenOf = (record) => ({
  text: record.text,
  at: record.at,
  weights: bytes(record.weights),
  leader: record.leader,
  layers: bytes(record.layers),
  layerEntropy: bytes(record.layer_entropy),
  measures: record.measures,
  attention: bytes(record.attention),
  logprob: record.logprob,
  entropy: record.entropy,
  alternatives: record.alternatives || [],
});

/** Return the prompt as it was read. `own` is the range that the visitor typed; the rest is the chat's frame. */
function promptOf(record, started) {
  const experts = started.pool.length;
  const weights = bytes(record.weights);
  const layers = bytes(record.layers);
  const entropy = bytes(record.layer_entropy);
  const count = record.tokens.length;
  const square = experts * started.layers;
  const gap = count - (layers ? layers.length / square : 0); // of a long prompt only the end has layers
  const part = (list, i, width) => (list && i >= 0 ? list.subarray(i * width, (i + 1) * width) : null);
  const tokens = record.tokens.map((text, i) => ({
    text,
    alternatives: [],
    weights: part(weights, i, experts),
    leader: record.leaders?.[i],
    layers: part(layers, i - gap, square),
    layerEntropy: part(entropy, i - gap, started.layers),
    measures: record.measures?.[i - gap],
  }));
  const own = record.own && record.own[1] > record.own[0] ? record.own : [0, count];
  return { texts: record.tokens, tokens, own };
}

/**
 * One run, folded from its lines. The twin of `core/fold.py` for what is drawn.
 *
 * Answer tokens count from 0. Negative positions are the prompt's: -1 is its last token.
 */
export class RunState {
  constructor() {
    this.opening = null;
    this.waiting = null;
    this.started = null;
    this.decided = null;
    this.prompt = null;
    this.tokens = [];
    this.tools = [];
    this.finished = null;
    this.failed = null;
    this.refused = null; // why the request after this run did not become a run
    this.change = '';
    this.likelihoods = null;
    this.heard = 0; // when the last line came, in the browser's own time
    this.heads = {}; // whole attention of a layer, by layer, once it was asked for
    this.overview = null; // all heads and the rollout, once they were asked for
  }

  /** Fold one record into the run. Unknown kinds change nothing. */
  take(given) {
    const record = known(given);
    if (!record) return;
    this.heard = performance.now();
    const fold = FOLDS[record.kind];
    if (fold) fold(this, record);
    else this[record.kind] = record;
  }

  get isLive() {
    return !!this.started && !this.finished && !this.failed;
  }

  get isBusy() {
    return (!!this.started || !!this.waiting) && !this.finished && !this.failed;
  }

  get pool() {
    return this.started ? this.started.pool : [];
  }

  /** Return the text of every token, prompt first. */
  get texts() {
    return this.promptTexts.concat(this.tokens.map((token) => token.text));
  }

  get promptTexts() {
    return this.prompt ? this.prompt.texts : [];
  }

  /** Return the prompt's tokens that the visitor typed. */
  get ownTokens() {
    return this.prompt ? this.prompt.tokens.slice(...this.prompt.own) : [];
  }

  /** Return how many tokens of the prompt are the chat template's. */
  get templateTokens() {
    return this.promptTexts.length - this.ownTokens.length;
  }

  tokenAt(i) {
    if (i == null) return null;
    return i >= 0 ? this.tokens[i] : this.prompt?.tokens[this.prompt.tokens.length + i];
  }

  /**
   * Return the columns of the token map: the visitor's tokens when a gate weighed them, then the answer's.
   *
   * `lead` is how many are the prompt's. `at(column)` is a position, `of(position)` a column.
   */
  get columns() {
    const { prompt, tokens } = this;
    const weighed = prompt?.tokens[0]?.weights;
    const first = weighed ? prompt.own[0] - prompt.tokens.length : 0;
    const lead = weighed ? prompt.own[1] - prompt.own[0] : 0;
    return {
      lead,
      count: lead + tokens.length,
      at: (column) => (column < lead ? first + column : column - lead),
      of: (i) => (i == null ? null : i < 0 ? i - first : i + lead),
    };
  }

  /** Return who answered, in words, where a tool refused or the expert was drawn; else an empty text. */
  get handover() {
    const refused = this.tools.find((tool) => !tool.ok);
    const first = this.tokens.find((token) => token.weights);
    const title = this.pool[first?.leader]?.title;
    if (!title) return '';
    if (refused) return `${refused.expert} could not answer, so ${title} did`;
    return this.decided?.scheme === 'sample' ? `${title} was drawn` : '';
  }

  /** Return the text of a token with its spaces drawn, or words for a token without a text. */
  nameOf(token) {
    return visible(token.text, token === this.tokens.at(-1));
  }

  /** Return what a token is called: its number in the answer, or among the visitor's own words. */
  placeOf(i) {
    return i >= 0 ? `token ${i + 1}` : `prompt token ${this.columns.of(i) + 1}`;
  }

  /** Return the mean weights in 0…1 of these tokens; zeros for none. */
  meanWeights(tokens) {
    return this.pool.map((_, e) => {
      const sum = tokens.reduce((total, token) => total + token.weights[e], 0);
      return tokens.length ? sum / tokens.length / 255 : 0;
    });
  }

  /** End a run that is under way: what has arrived stays. Return whether there was one. */
  cutOff() {
    if (!this.opening || this.finished || this.failed) return false;
    const { tokens } = this;
    this.waiting = null;
    this.finished = {
      text: tokens.map((token) => token.text).join(''),
      usage: this.meanWeights(tokens.filter((token) => token.weights)),
      tokens: tokens.length,
      prompt_tokens: this.promptTexts.length,
      timings: {},
      reason: 'cancelled',
    };
    return true;
  }

  /** Return this run as it was before its first token. */
  beginning() {
    return Object.assign(new RunState(), this, { tokens: [], finished: null });
  }
}

const FOLDS = {
  started(state, record) {
    state.started = record;
    state.waiting = null;
  },
  prompt(state, record) {
    state.prompt = promptOf(record, state.started);
  },
  tool(state, record) {
    state.tools.push(record);
  },
  token(state, record) {
    state.tokens.push(tokenOf(record));
  },
  change(state, record) {
    state.change = record.sentence;
  },
  side() {},
  point() {},
  note() {},
};
