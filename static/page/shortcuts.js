import { isShown, press } from '../lib/dom.js';

const LEADER_MS = 1500; // how long `g` waits for the letter of a tab
const TABS = { p: 'Playground', c: 'Compare', l: 'Labels', f: 'Fine-tune', e: 'Experts', a: 'About' };
const AFTER = { u: 'vote-undo', backspace: 'vote-undo', n: 'vote-next' };
const ARROWS = { arrowleft: '←', arrowdown: '↓', arrowright: '→' };

const tabs = () => [...document.querySelectorAll('[role=tab]')];
const isArrow = (key) => key.startsWith('Arrow');
const isTextField = (node) => node.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(node.tagName);

function openTab(name) {
  const tab = tabs().find((node) => node.textContent.trim() === name);
  tab?.click();
  return !!tab;
}

/** Go to the next tab in a direction, which the framework leaves out. */
function moveTab(event) {
  const shown = tabs().filter(isShown);
  const step = /Right|Down/.test(event.key) ? 1 : -1;
  const next = shown[(shown.indexOf(event.target) + step + shown.length) % shown.length];
  if (!next) return;
  next.focus();
  next.click();
  event.preventDefault();
}

function focusPrompt() {
  const boxes = ['#prompt textarea', '#pair-prompt textarea'].map((name) => document.querySelector(name));
  const box = boxes.find(isShown);
  box?.focus();
  box?.select();
  return !!box;
}

function focusReasons() {
  const box = document.querySelector('#reason-tags input');
  if (!isShown(box)) return false;
  box.focus();
  return true;
}

/** Press the verdict of a key: the button that carries its arrow, or whose id ends in the key. */
function pressVerdict(key) {
  if (AFTER[key]) return press(AFTER[key]);
  if (key === 'r') return focusReasons();
  const buttons = [...document.querySelectorAll('#verdicts button')];
  const pointed = ARROWS[key] && buttons.find((button) => button.textContent.includes(ARROWS[key]));
  return press(pointed ? pointed.id : `vote-${key}`);
}

/** The keys of the whole page. Single keys act outside text fields only. */
export class Shortcuts {
  /** `run()` returns the view of the run. */
  constructor(help, run) {
    this.help = help;
    this.run = run;
    this.leader = 0; // when `g` was pressed
  }

  listen() {
    document.addEventListener('keydown', (event) => this.press(event));
  }

  press(event) {
    const hasModifier = event.ctrlKey || event.metaKey;
    if (hasModifier && event.key === 'Enter') {
      if (press('pair-run') || press('run')) event.preventDefault();
      return;
    }
    const run = this.run();
    if (event.key === 'Escape' && run && !this.help.isOpen) {
      if (!run.unlock()) document.activeElement?.blur?.();
      return;
    }
    if (hasModifier || event.altKey || event.isComposing || !this.help.hasKeys) return;
    if (isTextField(event.target) || (this.help.isOpen && event.key !== '?')) return;
    if (event.repeat && !isArrow(event.key)) return;
    if (event.target.getAttribute?.('role') === 'tab' && isArrow(event.key)) moveTab(event);
    else if (this.pressSingle(event)) event.preventDefault();
  }

  /** Act on a single key. Return whether it did anything. */
  pressSingle(event) {
    const key = event.key.toLowerCase();
    if (key === '?') {
      this.help.toggle();
      return true;
    }
    if (key === '/') return focusPrompt();
    if (TABS[key] && Date.now() - this.leader < LEADER_MS) {
      this.leader = 0;
      return openTab(TABS[key]);
    }
    if (key === 'g') {
      this.leader = Date.now();
      return true;
    }
    if (isShown(document.getElementById('verdicts'))) return pressVerdict(key);
    if (key === '.') return press('stop');
    const run = this.run();
    return run && isShown(run.element) ? run.keys.press(event) : false;
  }
}
