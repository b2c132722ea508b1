import { view } from '../lib/components.js';

const KEY = 'playground-kept-work';
const BOXES = ['#prompt textarea', '#pair-prompt textarea'];
const EVERY_MS = 150;
const STAYS = 8; // times that a text must be seen before it counts as brought back
const PATIENCE_MS = 20_000; // later, what is chosen or looked at is the visitor's newer choice
const tabs = () => [...document.querySelectorAll('[role=tab]')];

/**
 * Keeps what a visitor typed, chose and looks at in this tab of the browser, and brings it back after a reload.
 *
 * The framework reloads the page by itself when a lost connection is back.
 */
export class KeptWork {
  constructor() {
    this.left = this.isReload() ? this.read() : {};
    this.stayed = {};
  }

  listen() {
    addEventListener('pagehide', () => this.keep());
    const timer = setInterval(() => {
      this.bringBack();
      if (performance.now() > PATIENCE_MS) for (const name of ['tab', 'router', 'run']) delete this.left[name];
      if (!Object.keys(this.left).length) clearInterval(timer); // a tab that was never opened has no box yet
    }, EVERY_MS);
    const asked = (event) => event.target.closest?.('#run') && delete this.left.run;
    document.addEventListener('click', asked, true);
  }

  isReload() {
    return performance.getEntriesByType('navigation')[0]?.type === 'reload';
  }

  read() {
    try {
      return JSON.parse(sessionStorage.getItem(KEY)) || {};
    } catch {
      return {}; // storage is blocked, or the text is damaged
    }
  }

  keep() {
    const { started, finished, opening } = view('run')?.state || {};
    const work = { tab: tabs().findIndex((tab) => tab.getAttribute('aria-selected') === 'true') };
    for (const box of BOXES) work[box] = document.querySelector(box)?.value;
    work.router = document.querySelector('#router select')?.value;
    if (finished && !opening?.example) work.run = started.id; // only then it is stored
    try {
      sessionStorage.setItem(KEY, JSON.stringify({ ...work, ...this.left }));
    } catch {
      // nothing is kept then
    }
  }

  /** Bring back each part whose place is there by now. */
  bringBack() {
    for (const [name, value] of Object.entries(this.left)) {
      if (this.put(name, value)) delete this.left[name];
    }
  }

  /** Return whether a part is done with. */
  put(name, value) {
    if (name === 'tab') return this.openTab(value);
    if (name === 'router') return this.choose(value);
    if (name === 'run') return this.reopen(value);
    return this.fill(name, value);
  }

  openTab(at) {
    const tab = tabs()[at];
    if (at > 0) tab?.click();
    return at <= 0 || !!tab;
  }

  choose(router) {
    const select = document.querySelector('#router select');
    if (!select || select.disabled || ![...select.options].some((option) => option.value === router)) return false;
    if (select.value !== router) {
      select.value = router;
      select.dispatchEvent(new Event('change'));
    }
    return true;
  }

  reopen(run) {
    const there = view('run');
    if (there && !location.search.includes('run=')) there.reopen(run); // else the address names a run
    return !!there;
  }

  /** Fill an empty box until the text stays: a box that was just made is emptied once more. */
  fill(name, text) {
    const box = document.querySelector(name);
    if (!text) return true;
    if (!box) return false;
    if (box.value) {
      this.stayed[name] = (this.stayed[name] || 0) + 1;
      return this.stayed[name] > STAYS;
    }
    this.stayed[name] = 0;
    box.value = text;
    box.dispatchEvent(new Event('input', { bubbles: true }));
    return false;
  }
}
