import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { LineReader } from '../../static/lib/line-reader.js';
import { firstDifference, likelihoodWords } from '../../static/run/beside.js';
import { switchesOf } from '../../static/run/routing-measures.js';
import { timingsOf } from '../../static/run/run-foot.js';
import { RunState } from '../../static/run/run-state.js';
import { shownWeights } from '../../static/run/shown-weights.js';
import { silenceWords, stageWords, troubleWords } from '../../static/run/stage.js';

// a run of a gate over three experts and two layers, as the server writes it: see tests/js/test_modules.py
const LINES = readFileSync(new URL('./run-lines.jsonl', import.meta.url), 'utf-8');

/** Fold the texts one after the other, as they would arrive. */
function folded(...texts) {
  let state = new RunState();
  const fresh = () => {
    state = new RunState();
  };
  const reader = new LineReader(fresh, (record) => state.take(record));
  for (const text of texts) reader.read(text);
  state.heard = 0;
  return state;
}

const linesOf = (count) => `${LINES.split('\n').slice(0, count).join('\n')}\n`;
const beforeTheEnd = () => folded(linesOf(LINES.split('\n').length - 2));

test('folding in pieces equals folding at once', () => {
  const whole = folded(LINES);
  for (let cut = 0; cut < LINES.length; cut += 37) {
    assert.deepEqual(folded(LINES.slice(0, cut), LINES), whole);
  }
});

test('a stream that was replaced writes nothing more', () => {
  const whole = folded(LINES);
  const opened = '{"kind":"opening","nonce":"9"}\n';
  assert.equal(folded(LINES, opened).opening.nonce, '9');
  assert.equal(folded(linesOf(4), opened, LINES).opening.nonce, '9');
  assert.deepEqual(folded(opened, LINES), whole);
});

test('a run has all its parts', () => {
  const state = folded(LINES);
  assert.equal(state.started.pool.length, 3);
  assert.equal(state.tokens.length, 3);
  assert.deepEqual(
    state.ownTokens.map((token) => token.text),
    ['Hi', ' there'],
  );
  assert.equal(state.tokens[0].layers.length, 6);
  assert.equal(state.finished.reason, 'stop');
  assert.equal(state.isLive, false);
  assert.equal(
    stageWords(state),
    'a note · mixer · v1 · → gate in 2 layers · prompt 2 tokens + 2 of the template · answer 3 tokens · finished',
  );
});

test('unknown kinds and keys and damaged lines change nothing', () => {
  const noise = '{"kind":"surprise","text":"x"}\n{"kind":"constructor"}\n{half\nnull\n';
  const state = folded(LINES + noise);
  assert.deepEqual(state, folded(LINES));
  const odd = new RunState();
  odd.take({ kind: 'waiting', sentence: 'soon', secret: 1 });
  assert.equal('secret' in odd.waiting, false);
});

test('a text that begins anew starts afresh', () => {
  const state = folded(LINES, '{"kind":"opening","nonce":"2"}\n');
  assert.equal(state.opening.nonce, '2');
  assert.equal(state.started, null);
  assert.equal(stageWords(state), 'starting');
});

test('columns are the own tokens of the prompt, then the answer', () => {
  const { columns } = folded(LINES);
  assert.deepEqual([columns.lead, columns.count], [2, 5]);
  for (let k = 0; k < columns.count; k++) assert.equal(columns.of(columns.at(k)), k);
  assert.equal(folded(LINES).placeOf(columns.at(0)), 'prompt token 1');
  assert.equal(folded(LINES).placeOf(0), 'token 1');
});

test('the bars show the token that is looked at, else what was used', () => {
  const state = folded(LINES);
  assert.equal(shownWeights(state, null).words, 'mean over the answer');
  assert.match(shownWeights(state, 1).words, /^token 2 /);
  assert.match(shownWeights(beforeTheEnd(), null).words, /^newest token/);
});

test('a tool that refused is not shown as the one that answered', () => {
  const state = folded(LINES);
  assert.equal(state.handover, '');
  state.started.level = 'prompt';
  state.decided = { ...state.decided, weights: [0, 0, 1], scheme: 'argmax' };
  assert.deepEqual(shownWeights(state, null).weights, [0, 0, 1]);
  state.take({ kind: 'tool', expert: 'Calculator', query: '', result: 'no sum', ok: false, seconds: 0 });
  assert.match(state.handover, /^Calculator could not answer, so .+ did$/);
  assert.ok(stageWords(state).includes(` · ${state.handover} · `));
  assert.match(stageWords(state.beginning()), / · Calculator refused · /);
  assert.deepEqual(shownWeights(state, null).weights, state.finished.usage);
});

test('the one that was drawn is named', () => {
  const state = folded(LINES);
  state.decided = { ...state.decided, scheme: 'sample' };
  assert.equal(state.handover, `${state.pool[state.tokens[0].leader].title} was drawn`);
});

test('a run that is cut off keeps what has arrived', () => {
  const state = beforeTheEnd();
  assert.equal(state.isLive, true);
  assert.equal(state.cutOff(), true);
  assert.equal(state.cutOff(), false);
  assert.equal(state.finished.text, 'One, two.');
  assert.match(stageWords(state), /stopped at 3 tokens$/);
  assert.ok(Math.abs(state.finished.usage.reduce((sum, share) => sum + share, 0) - 1) < 0.02);
});

test('a replay begins without the answer and leaves the run alone', () => {
  const state = folded(LINES);
  const start = state.beginning();
  assert.equal(start.tokens.length, 0);
  assert.equal(start.isLive, true);
  assert.equal(state.tokens.length, 3);
});

test('two answers differ where the first token does', () => {
  const one = folded(LINES);
  const other = folded(LINES);
  assert.equal(firstDifference(one, other), null);
  other.tokens[1] = { ...other.tokens[1], text: 'else' };
  assert.equal(firstDifference(one, other), 1);
  other.tokens = one.tokens.slice(0, 2);
  assert.equal(firstDifference(one, other), 2);
});

test('words for likelihoods, silence, switches and times', () => {
  const words = likelihoodWords({ first_by_first: -0.5, first_by_second: -1.25 });
  assert.match(words, /less likely: its tokens are 2\.12 times less probable/);
  const waiting = beforeTheEnd();
  assert.equal(silenceWords(waiting, 2000), '');
  assert.match(silenceWords(waiting, 5000), /still working \(5 s\)/);
  assert.equal(silenceWords(folded(LINES), 60_000), '');
  assert.equal(switchesOf(folded(LINES).tokens), 1);
  const state = folded(LINES);
  assert.deepEqual(timingsOf(state.finished).at(-1), ['tokens', '4 + 3']);
  assert.deepEqual(timingsOf(state.finished, state.templateTokens).at(-1), ['tokens', '2 + 2 of the template + 3']);
});

test('a refused request is told beside the run that stays, without a word on what had arrived', () => {
  const state = folded(LINES);
  assert.equal(troubleWords(state), '');
  const trouble = { message: 'It was removed.', remedy: 'Try again.' };
  assert.equal(troubleWords(Object.assign(folded(LINES), { refused: trouble })), 'It was removed. Try again.');
  const failed = Object.assign(beforeTheEnd(), { failed: trouble });
  assert.equal(troubleWords(failed), 'It was removed. What had arrived is kept below. Try again.');
});
