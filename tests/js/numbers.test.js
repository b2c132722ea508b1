import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countWords } from '../../static/page/prompt-count.js';
import { sharedRest } from '../../static/page/shared-rest.js';
import { smoothed } from '../../static/page/smoothing.js';
import { shaped } from '../../static/run/attention-picture.js';

test('weights set by hand always sum to 100', () => {
  assert.deepEqual(sharedRest([50, 30, 20], 0, 75), [75, 15, 10]);
  assert.deepEqual(sharedRest([100, 0, 0], 0, 40), [40, 30, 30]);
  assert.deepEqual(sharedRest([10], 0, 40), [100]);
  assert.deepEqual(sharedRest([50, 50], 1, 900), [0, 100]);
});

test('a short curve and the newest point stay as they are', () => {
  assert.deepEqual(smoothed([3, 1, 2]), [3, 1, 2]);
  const values = Array.from({ length: 40 }, (_, i) => i % 2);
  assert.equal(smoothed(values).at(-1), 1);
  assert.ok(Math.abs(smoothed(values)[20] - 0.5) < 0.4);
});

test('without the first token a row is scaled to its own largest', () => {
  assert.deepEqual([...shaped([255, 51], false)], [1, Math.fround(0.2)]);
  assert.deepEqual([...shaped([255, 10, 20], true)], [0, 0.5, 1]);
});

test('a prompt is counted before it is cut', () => {
  const rest = ' + template';
  assert.equal(countWords('', 100), '\u00a0');
  assert.equal(countWords('x', 100), `1 character · about 1 token${rest}`);
  assert.equal(countWords('How are you today?', 100), `18 characters · about 5 tokens${rest}`);
  assert.equal(countWords('한국어', 100), `3 characters · about 8 tokens${rest}`);
  assert.equal(countWords('x'.repeat(5000), 5000), 'cut at 5,000 characters');
});
