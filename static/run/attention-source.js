import { bytes, floats } from '../lib/bytes.js';

const POLL_MS = 400;

/** Where attention comes from: the observed head while a run is written, the server for the rest afterwards. */
export class AttentionSource {
  /** `tell(words, share)` is called while something is computed, `changed()` when something has arrived. */
  constructor(server, { tell, changed }) {
    this.server = server;
    this.tell = tell;
    this.changed = changed;
    this.job = null; // what is being computed: {id, isStopped}
    this.error = '';
  }

  /** Return whether a layer can be asked for. */
  canFetch(state, layer) {
    return !!state.started && !!state.finished && !!this.server && !!state.prompt && !state.heads[layer];
  }

  /** Fetch every head of one layer. Return an error in words, or an empty text. */
  async fetchLayer(state, layer) {
    let answer;
    try {
      answer = await this.server.attention({ run: state.started.id, layer });
    } catch {
      answer = { error: 'The layer could not be computed.' };
    }
    if (!answer.error) state.heads[layer] = { ...answer, data: bytes(answer.data) };
    return answer.error || '';
  }

  /** Compute every head and the rollout of a run. Return an error in words, or an empty text. */
  async fetchOverview(state) {
    const id = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16)).join('');
    const job = { id, isStopped: false };
    this.job = job;
    this.error = '';
    this.tell('Reading the prompt and the answer again …', 0);
    this.changed();
    const watching = setInterval(() => this.poll(job), POLL_MS);
    let answer;
    try {
      answer = await this.server.attention_all({ run: state.started.id, job: id });
    } catch {
      answer = { error: 'The attention could not be computed. Try again.' };
    }
    clearInterval(watching);
    this.job = null;
    const isThere = !!answer.data && !job.isStopped;
    if (isThere) state.overview = { ...answer, data: bytes(answer.data), rollout: floats(answer.rollout) };
    return isThere ? '' : answer.error || 'Stopped: nothing was computed.';
  }

  async poll(job) {
    let told = {};
    try {
      told = await this.server.attention_progress({ job: job.id, stop: job.isStopped });
    } catch {
      return; // the computation itself will say
    }
    if (this.job !== job || !told.layers) return;
    const words = job.isStopped ? 'Stopping …' : `Layer ${told.done} of ${told.layers} …`;
    this.tell(words, told.done / told.layers);
  }

  /** Ask the server to stop computing. */
  stop() {
    const { job } = this;
    if (!job) return;
    job.isStopped = true;
    this.tell('Stopping …');
    this.server.attention_progress({ job: job.id, stop: true }).catch(() => {});
  }
}

/** A whole map. A long run has `block` tokens in each cell. */
const square = (state, data, size, at, names) => ({
  isWhole: true,
  queries: size,
  keys: size,
  names,
  block: Math.ceil(state.texts.length / size),
  row: (i) => data.subarray(at + i * size, at + i * size + i + 1),
});

/**
 * Return what is known of a head: queries, keys, names of the tokens, `row(i)` as bytes. Null for an unknown one.
 *
 * Of a whole map the rows are all tokens. Of the observed head they are the answer's, and `first` is the first of them.
 */
export function attentionOf(state, { mode, layer, head }) {
  if (mode === 'rollout') {
    const { overview } = state;
    return overview && square(state, overview.rollout, overview.size, 0, overview.tokens);
  }
  const whole = state.heads[layer];
  if (whole) return square(state, whole.data, whole.size, head * whole.size * whole.size, whole.tokens);
  const { observed_layer, observed_head } = state.started;
  const rows = state.tokens.map((token) => token.attention);
  if (layer !== observed_layer || head !== observed_head || !rows.some(Boolean)) return null;
  const names = state.texts;
  const keys = Math.max(0, ...rows.map((row) => (row ? row.length : 0)));
  return { isWhole: false, queries: rows.length, keys, names, first: names.length - rows.length, row: (i) => rows[i] };
}
