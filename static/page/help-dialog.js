import { make } from '../lib/dom.js';
import { keep, recall } from '../lib/storage.js';

const STORAGE_KEY = 'pg-keys';
const KEYS = {
  anywhere: [
    ['?', 'this list'],
    ['/', 'to the prompt'],
    ['g then p c l f e a', 'go to a tab'],
    ['Esc', 'unlock or close'],
  ],
  Playground: [
    ['Ctrl+Enter', 'run'],
    ['.', 'stop'],
    ['← →', 'move the locked token (Shift: by ten)'],
    ['↑ ↓', 'move through the layers'],
    ['[ ]', 'another head'],
    ['Home End', 'first or last token'],
    ['1 … 9', 'show where one expert leads'],
    ['Space', 'replay'],
    ['o', 'override the weights'],
    ['t', 'show tables'],
  ],
  Compare: [
    ['1 … 7', '1 A is much better, 4 tie, 7 B is much better'],
    ['← ↓ →', 'A, tie, B'],
    ['0', 'both bad'],
    ['s', 'skip'],
    ['u or Backspace', 'undo'],
    ['r', 'to the reasons, after a vote'],
    ['n', 'next'],
  ],
};

function keyList(rows) {
  const list = make('dl');
  for (const [key, text] of rows) {
    const term = make('dt');
    term.append(make('kbd', '', key));
    list.append(term, make('dd', '', text));
  }
  return list;
}

/** The list of keys, with a switch that turns single keys off. It is built when it is first opened. */
export class HelpDialog {
  constructor() {
    this.dialog = null;
  }

  get isOpen() {
    return !!this.dialog?.open;
  }

  /** Whether single keys do anything, as the visitor chose in this browser. */
  get hasKeys() {
    return recall(STORAGE_KEY) !== 'off';
  }

  toggle() {
    this.dialog ??= this.build();
    if (this.isOpen) this.dialog.close();
    else this.dialog.showModal();
  }

  build() {
    const dialog = make('dialog', 'pg-help');
    dialog.setAttribute('aria-label', 'Keys');
    const form = make('form');
    form.method = 'dialog';
    const close = make('button', 'quiet', 'close');
    close.value = 'close';
    const top = make('header');
    top.append(make('h2', '', 'Keys'), close);
    form.append(top);
    for (const [title, rows] of Object.entries(KEYS)) form.append(make('h3', '', title), keyList(rows));
    form.append(this.makeSwitch());
    dialog.append(form);
    document.body.append(dialog);
    return dialog;
  }

  makeSwitch() {
    const label = make('label', 'check');
    const box = make('input');
    box.type = 'checkbox';
    box.checked = this.hasKeys;
    box.onchange = () => keep(STORAGE_KEY, box.checked ? 'on' : 'off');
    label.append(box, ' single-key shortcuts');
    return label;
  }
}
