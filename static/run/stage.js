import { argmax, percents, plural } from '../lib/format.js';

const ENDS = { stop: 'finished', length: 'stopped at the length limit' };
const QUIET_SECONDS = 3;
const LOST_SECONDS = 30;

function decisionWords({ started, decided }) {
  if (started.level === 'gate') return `gate in ${started.layers} layers`;
  const top = argmax(decided.weights);
  return `${started.pool[top].title} ${percents(decided.weights)[top]}`;
}

function answerWords({ started, decided, prompt, tokens, finished, failed }) {
  if (tokens.length) {
    const seconds = tokens.at(-1).at - tokens[0].at;
    const words = [`answer ${plural(tokens.length, 'token')}`];
    if (seconds > 0 && tokens.length > 3) words.push(`${((tokens.length - 1) / seconds).toFixed(1)} tok/s`);
    return words;
  }
  if (!started || finished || failed) return [];
  return [prompt ? 'answering' : decided ? 'reading the prompt' : 'deciding'];
}

function endWords({ tokens, finished }) {
  if (finished.reason === 'cancelled') return `stopped at ${plural(tokens.length, 'token')}`;
  return ENDS[finished.reason] || finished.reason;
}

/** Return where a run is, in one line. `withOpening` adds the note of its first line. */
export function stageWords(state, withOpening = true) {
  const { started, decided, prompt, tools, finished, failed, waiting } = state;
  const opening = withOpening ? state.opening : null;
  if (waiting && !started && !failed) return waiting.sentence;
  const parts = [];
  if (opening?.note) parts.push(opening.note);
  if (started) parts.push(started.router + (started.version ? ` · ${started.version}` : ''));
  if (decided && started) parts.push(`→ ${decisionWords(state)}`);
  if (tools.length) {
    const { expert, ok } = tools.at(-1);
    parts.push(ok ? `tool ${expert}` : state.handover || `${expert} refused`);
  }
  if (prompt) {
    const added = state.templateTokens ? ` + ${state.templateTokens} of the template` : '';
    parts.push(`prompt ${plural(state.ownTokens.length, 'token')}${added}`);
  }
  parts.push(...answerWords(state));
  if (finished) parts.push(endWords(state));
  if (failed) parts.push(`failed while ${failed.stage}`);
  if (parts.length) return parts.join(' · ');
  return opening ? 'starting' : 'Nothing has run yet. Ask something, or press an example.';
}

/** Return what to say when nothing has come for a while. */
export function silenceWords(state, now) {
  const seconds = state.isBusy ? Math.floor((now - state.heard) / 1000) : 0;
  if (seconds < QUIET_SECONDS) return '';
  if (seconds < LOST_SECONDS) return ` · still working (${seconds} s)`;
  return ` · nothing for ${seconds} s. You can stop and try again`;
}

/** Return what went wrong and what to do; empty when nothing did. */
export function troubleWords({ failed, refused, tokens }) {
  const trouble = refused || failed;
  if (!trouble) return '';
  const kept = failed && tokens.length ? 'What had arrived is kept below.' : '';
  return [trouble.message, kept, trouble.remedy].filter(Boolean).join(' ');
}

/** The line above a run: where it is, how far a download is, and what went wrong. */
export class Stage {
  constructor(view) {
    this.view = view;
    setInterval(() => this.tick(), 1000);
  }

  draw() {
    const { state } = this.view;
    const { waiting } = state;
    this.view.find('.stage-text').textContent = stageWords(state);
    const wait = this.view.find('.wait');
    wait.hidden = !(waiting && !state.started && waiting.share != null);
    if (!wait.hidden) this.view.find('.wait-bar i').style.width = `${100 * waiting.share}%`;
    const trouble = this.view.find('.trouble');
    const words = troubleWords(state);
    if (trouble.textContent !== words) trouble.textContent = words; // said aloud once
    trouble.hidden = !words;
  }

  tick() {
    this.view.find('.stage-more').textContent = silenceWords(this.view.state, performance.now());
  }
}
