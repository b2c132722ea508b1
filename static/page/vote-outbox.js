import { isShown } from '../lib/dom.js';
import { keep, recall } from '../lib/storage.js';

const KEY = 'routing-playground-outbox';
const AGAIN_MS = 4000;
const LONGEST_PAUSE_MS = 60_000;
const GIVE_UP_MS = 600_000; // a vote on a comparison that was never stored
const BUTTONS = '#verdicts button, #verdicts-apart button';
const APART = ['vote-undo', 'vote-next'];

/**
 * Keeps each vote in this browser until the server says that it is stored, and sends those that wait.
 *
 * The token of a vote is the same each time, so that a vote which arrived twice counts once.
 */
export class VoteOutbox {
  /** `pair()` returns the text that the page keeps of the comparison on show. `saved()` is called after a vote. */
  constructor({ element, props, watch, trigger }, pair, saved) {
    this.line = element.querySelector('.outbox');
    this.trigger = trigger;
    this.pair = pair;
    this.saved = saved;
    this.next = 0;
    this.pause = AGAIN_MS;
    watch('value', () => this.hear(props.value));
    document.addEventListener('click', (event) => this.press(event), true);
    addEventListener('online', () => this.send(0));
    setInterval(() => this.send(), AGAIN_MS);
    this.draw();
  }

  get waiting() {
    try {
      const found = JSON.parse(recall(KEY) || '[]');
      return Array.isArray(found) ? found : [];
    } catch {
      return []; // the text is damaged
    }
  }

  write(votes) {
    keep(KEY, JSON.stringify(votes));
    this.draw();
  }

  press(event) {
    const button = event.target.closest?.(BUTTONS);
    if (!button || button.disabled || APART.includes(button.id)) return;
    if (isShown(document.getElementById('notice-agree'))) return; // no vote counts before that
    const { id, votes = 0 } = JSON.parse(this.pair() || '{}');
    if (!id) return;
    const token = `${id}:${votes}`;
    const others = this.waiting.filter((one) => one.token !== token);
    this.write([...others, { token, id, votes, key: button.id.replace('vote-', ''), at: Date.now() }]);
    if (navigator.onLine) return; // the click goes its way
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  hear(value) {
    if (!value) return;
    this.pause = AGAIN_MS;
    const { stored = [], refused = [] } = JSON.parse(value);
    const isRefused = (one) => one.isRefused || refused.includes(one.token);
    const isOver = (one) => stored.includes(one.token) || (isRefused(one) && Date.now() - one.at > GIVE_UP_MS);
    const left = this.waiting.filter((one) => !isOver(one));
    this.write(left.map((one) => ({ ...one, isRefused: isRefused(one) })));
    if (stored.length) requestAnimationFrame(this.saved);
  }

  /** Send the votes that have waited for an answer. Those just pressed are on their way. */
  send(leastMs = AGAIN_MS) {
    this.draw();
    const votes = this.waiting.filter((one) => Date.now() - one.at > leastMs);
    if (!navigator.onLine || !votes.length || (leastMs && Date.now() < this.next)) return;
    this.next = Date.now() + this.pause; // a server that is away is asked less and less often
    this.pause = Math.min(2 * this.pause, LONGEST_PAUSE_MS);
    this.trigger('input', { votes });
  }

  draw() {
    const isLate = (one) => !one.isRefused && (!navigator.onLine || Date.now() - one.at > AGAIN_MS);
    const late = this.waiting.filter(isLate);
    this.line.hidden = !late.length;
    const words = late.length === 1 ? 'vote waits' : 'votes wait';
    const told = `${late.length} ${words} in this browser. The page sends it when the connection is back.`;
    this.line.textContent = late.length ? told : '';
  }
}
