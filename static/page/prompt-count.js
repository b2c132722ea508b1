import { isShown } from '../lib/dom.js';

const EVERY_MS = 250;
const LETTERS_PER_TOKEN = 4.2;
const BYTES_PER_TOKEN = 1.2; // of letters beyond ASCII: the default model over the 48 texts of tests/model/scripts.py
const grouped = (number) => number.toLocaleString('en');

/** Return about how many tokens `text` has. */
function estimate(text) {
  const ascii = text.replace(/[^\0-\x7f]/g, '').length;
  const bytes = new TextEncoder().encode(text).length - ascii;
  return Math.ceil(ascii / LETTERS_PER_TOKEN + bytes / BYTES_PER_TOKEN);
}

/** Return what is said of the prompt `text`, of which the server reads `limit` characters. */
export function countWords(text, limit) {
  const letters = text.length;
  if (!letters) return '\u00a0';
  if (letters >= limit) return `cut at ${grouped(limit)} characters`;
  const noun = letters === 1 ? 'character' : 'characters';
  const tokens = estimate(text);
  const size = `${grouped(tokens)} ${tokens === 1 ? 'token' : 'tokens'}`;
  return `${grouped(letters)} ${noun} · about ${size} + template`;
}

/** Say the prompt's length before it is cut. Polls, because a pressed example fills the box without an event. */
export function countPromptLetters() {
  const counted = new WeakMap();
  setInterval(() => {
    const count = document.querySelector('.prompt-count');
    const box = document.querySelector('#prompt textarea');
    if (!box || !isShown(count) || counted.get(count) === box.value) return;
    counted.set(count, box.value);
    count.textContent = countWords(box.value, +count.dataset.limit);
  }, EVERY_MS);
}
