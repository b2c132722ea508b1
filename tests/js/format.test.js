import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  argmax,
  csvCell,
  csvFile,
  duration,
  mean,
  percent,
  percents,
  plural,
  signed,
  visible,
} from '../../static/lib/format.js';

const CASES = JSON.parse(readFileSync(new URL('./format-cases.json', import.meta.url), 'utf-8'));

test('percents and durations are those of the spoken sentences', () => {
  for (const { weights, shown } of CASES.percents) assert.deepEqual(percents(weights), shown);
  for (const { seconds, shown } of CASES.durations) assert.equal(duration(seconds), shown);
});

test('percents sum to a hundred', () => {
  for (let count = 1; count < 40; count++) {
    const weights = Array.from({ length: count }, (_, i) => Math.abs(Math.sin(7 * i + count)));
    const whole = percents(weights).filter((text) => !text.startsWith('<'));
    assert.equal(
      whole.reduce((sum, text) => sum + parseInt(text, 10), 0),
      100,
    );
  }
});

test('a share by itself', () => {
  assert.deepEqual([0, 0.004, 0.006, 0.5, 1].map(percent), ['0%', '<1%', '1%', '50%', '100%']);
});

test('words for counts, signs and tokens', () => {
  assert.deepEqual([plural(1, 'token'), plural(2, 'token')], ['1 token', '2 tokens']);
  assert.equal(signed(-0.5), '\u22120.50');
  assert.equal(visible(' a\n'), '␣a⏎');
  assert.equal(visible(''), '(part of a character)');
  assert.equal(visible('', true), '(end)');
});

test('the largest and the mean', () => {
  assert.equal(argmax([0.1, 0.7, 0.2]), 1);
  assert.equal(argmax([]), 0);
  assert.equal(mean([1, 2, 3]), 2);
  assert.equal(mean([]), 0);
});

test('a CSV cell is no formula and keeps its quotes', () => {
  assert.equal(csvCell('a "word"'), '"a ""word"""');
  const wide = ['＝', '＋', '－', '＠', '﹢', '\u2212', '\u00a0=', '\u200b=', '\ufeff+', '\t', ' \r'];
  for (const sign of ['=', '+', '-', '@', ' =', ...wide]) assert.equal(csvCell(`${sign}1`), `"'${sign}1"`);
  for (const text of ['1+1', 'é=1', '水', '1', "'=1"]) assert.equal(csvCell(text), `"${text}"`);
});

test('a CSV file has one byte-order mark', () => {
  assert.equal(csvFile('a,b'), '\ufeffa,b');
  assert.equal(csvFile(csvFile('a,b')), '\ufeffa,b');
});
