import { isShown } from '../lib/dom.js';

const EVERY_MS = 250;
const LETTERS_PER_TOKEN = 4.2;
const grouped = (number) => number.toLocaleString('en');

/** Return what is said of a prompt of `letters`, of which the server reads `limit`. */
export function countWords(letters, limit) {
  if (!letters) return '\u00a0';
  if (letters >= limit) return `cut at ${grouped(limit)} characters`;
  const noun = letters === 1 ? 'character' : 'characters';
  return `${grouped(letters)} ${noun} · about ${grouped(Math.ceil(letters / LETTERS_PER_TOKEN))} tokens`;
}

/** Say the prompt's length before it is cut. Polls, because a pressed example fills the box without an event. */
export function countPromptLetters() {
  const counted = new WeakMap();
  setInterval(() => {
    const count = document.querySelector('.prompt-count');
    const box = document.querySelector('#prompt textarea');
    if (!box || !isShown(count) || counted.get(count) === box.value.length) return;
    counted.set(count, box.value.length);
    count.textContent = countWords(box.value.length, +count.dataset.limit);
  }, EVERY_MS);
}
