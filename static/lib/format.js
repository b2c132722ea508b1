// Writes numbers, times and tokens as words. Touches no DOM, so that it can be tested without a browser.

const MINUS = '\u2212';
const NOTHING = 0.02; // percent: a softmax is never exactly 0

/** Return whole percents that sum to 100 (largest remainder). What is small but not nothing is `<1%`. */
export function percents(weights) {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  if (!(total > 0)) return weights.map(() => '0%');
  const exact = weights.map((weight) => (weight / total) * 100);
  const whole = exact.map(Math.floor);
  const order = exact.map((share, i) => [share - whole[i], i]).sort((a, b) => b[0] - a[0]);
  const left = Math.round(100 - whole.reduce((sum, part) => sum + part, 0));
  for (let i = 0; i < left && i < order.length; i++) whole[order[i][1]]++;
  return whole.map((part, i) => (part === 0 && exact[i] > NOTHING ? '<1%' : `${part}%`));
}

/** Return one share in 0…1 as a whole percent. A share above 0 that rounds to nothing is `<1%`. */
export const percent = (share) => (share > 0 && share < 0.005 ? '<1%' : `${Math.round(share * 100)}%`);

/** Return `11 ms`, `4.2 s` or `1:05`. */
export function duration(seconds) {
  if (seconds < 0.0995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, '0')}`;
}

/** Return `1 token`, `2 tokens`. */
export const plural = (count, noun) => `${count} ${noun}${count === 1 ? '' : 's'}`;

/** Return a number with a fixed count of decimals and a true minus sign. */
export const signed = (number, decimals = 2) => number.toFixed(decimals).replace('-', MINUS);

/**
 * Return a token with its spaces and line breaks drawn.
 *
 * A token without a text is the end of the answer when `isLast`, else it completes no character.
 */
export const visible = (text, isLast = false) =>
  text.replace(/\n/g, '⏎').replace(/ /g, '␣') || (isLast ? '(end)' : '(part of a character)');

/** Return the position of the largest value. */
export function argmax(values) {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

/** Return the mean; 0 for no values. */
export const mean = (values) => values.reduce((sum, value) => sum + value, 0) / (values.length || 1);

const BYTE_ORDER_MARK = '\ufeff';

/** Return a text as a CSV file has it: with the mark by which Excel knows that it is UTF-8. */
export const csvFile = (text) => (text.startsWith(BYTE_ORDER_MARK) ? text : BYTE_ORDER_MARK + text);

/** Return a text as a CSV cell. What a spreadsheet would take for a formula gets a quote in front. */
export function csvCell(text) {
  const own = String(text);
  const sign = own
    .replace(/^[\p{Z}\p{C}]+/u, '')
    .charAt(0)
    .normalize('NFKC'); // also a wide or small sign
  const isFormula = /^[=+\-@\u2212]/.test(sign) || /^[ \n]*[\t\r]/.test(own);
  const safe = isFormula ? `'${own}` : own;
  return `"${safe.replace(/"/g, '""')}"`;
}
