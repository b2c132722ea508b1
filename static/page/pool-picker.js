import { make, makeButton } from '../lib/dom.js';
import { expertMark } from '../lib/expert-mark.js';
import { keep, recall } from '../lib/storage.js';

const STORAGE_KEY = 'pg-pools';
const MOST = 20;
const REVEAL_TRIES = 40;
const REVEAL_MS = 50;

const isPool = (pool) => typeof pool?.name === 'string' && Array.isArray(pool.experts);

/** Return a list from JSON; null for anything else. */
function listFrom(text) {
  try {
    const list = JSON.parse(text || 'null');
    return Array.isArray(list) ? list : null;
  } catch {
    return null;
  }
}

const keptPools = () => (listFrom(recall(STORAGE_KEY)) || []).filter(isPool);
const storePools = (pools) => keep(STORAGE_KEY, JSON.stringify(pools));

/**
 * Which experts a run may use: ticked by hand, set by an expert's card, or kept in this browser under a name.
 *
 * `chosen` is a list of names; null for all, those that are added later as well.
 */
export class PoolPicker {
  constructor({ element, props, watch, trigger }) {
    Object.assign(this, { element, props, trigger });
    this.details = this.find('details');
    this.summary = this.find('summary');
    this.list = this.find('.pool-experts');
    this.kept = this.find('.pool-kept');
    this.name = this.find('input[type=text]');
    this.note = this.find('.pool-note');
    this.chosen = null;
    this.sent = null; // the value that was last sent or drawn
    this.built = ''; // the choices that are drawn
    this.pools = new Map(); // button -> the experts it chooses
    this.drops = new Map(); // button -> the name it deletes
    this.listen();
    this.drawKept();
    watch(['value', 'choices'], () => this.draw());
    this.draw();
  }

  find(selector) {
    return this.element.querySelector(selector);
  }

  listen() {
    this.list.addEventListener('change', () => {
      this.choose([...this.list.querySelectorAll('input:checked')].map((tick) => tick.value));
    });
    this.element.addEventListener('click', ({ target }) => this.press(target));
    this.name.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      if (!this.find('.keep').disabled) this.keep();
    });
  }

  press(target) {
    if (target.closest('.pool-all')) {
      this.choose(null);
      this.summary.focus();
    }
    if (target.closest('.none')) this.choose([]);
    if (target.closest('.keep')) this.keep();
    if (this.pools.has(target)) this.chooseKept(this.pools.get(target));
    if (this.drops.has(target)) this.drop(this.drops.get(target));
  }

  get choices() {
    return this.props.choices || [];
  }

  /** The names of the experts that can answer. */
  get ready() {
    return this.choices.filter((look) => look.ready).map((look) => look.name);
  }

  draw() {
    const now = JSON.stringify(this.choices);
    const { value } = this.props;
    if (now === this.built && value === this.sent) return; // what was chosen here
    if (now !== this.built) {
      this.built = now;
      this.list.replaceChildren(...this.choices.map((look) => this.makeChoice(look)));
    }
    const names = listFrom(value);
    if (value !== this.sent && names) {
      this.details.open = true;
      this.reveal();
    }
    this.sent = value;
    if (names?.some((each) => !this.ready.includes(each))) {
      this.choose(names); // one has left
      return;
    }
    this.chosen = names;
    this.show();
  }

  makeChoice(look) {
    const label = make('label', 'check');
    const tick = make('input');
    Object.assign(tick, { type: 'checkbox', value: look.name, disabled: !look.ready });
    label.title = look.ready ? look.title : `${look.title} is not ready: ${look.reason}`;
    label.append(tick, expertMark(look), make('span', 'xname', look.title));
    return label;
  }

  show() {
    const { chosen, ready } = this;
    const some = chosen || ready;
    const count = chosen?.length ? `${chosen.length} of ${ready.length}` : 'none';
    this.find('.pool-count').textContent = `· ${chosen ? count : `all ${ready.length}`}`;
    for (const tick of this.list.querySelectorAll('input')) tick.checked = some.includes(tick.value);
    for (const [button, experts] of this.pools) {
      button.setAttribute('aria-pressed', String(experts.join() === some.join()));
    }
    this.find('.pool-all').hidden = !chosen;
    this.find('.keep').disabled = !chosen?.length;
    this.note.textContent = chosen && !chosen.length ? 'Tick at least one expert.' : '';
  }

  /** Choose `names`, as far as they are here and ready, and tell the server. Null is all. */
  choose(names) {
    const { ready } = this;
    const some = ready.filter((each) => !names || names.includes(each));
    this.chosen = some.length === ready.length ? null : some;
    this.sent = this.chosen ? JSON.stringify(this.chosen) : '';
    this.props.value = this.sent;
    this.trigger('change');
    this.show();
  }

  chooseKept(experts) {
    const gone = experts.filter((each) => !this.ready.includes(each));
    this.choose(experts);
    if (gone.length) this.note.textContent = `No longer here: ${gone.join(', ')}.`;
  }

  drop(name) {
    storePools(keptPools().filter((pool) => pool.name !== name));
    this.drawKept();
    this.show();
    this.summary.focus();
  }

  drawKept() {
    this.pools.clear();
    this.drops.clear();
    this.kept.replaceChildren(...keptPools().map((pool) => this.makeKept(pool)));
  }

  makeKept({ name, experts }) {
    const row = make('span', 'kept');
    const pick = makeButton('example', name);
    const drop = makeButton('quiet drop', '×');
    drop.title = 'delete this choice';
    drop.setAttribute('aria-label', `delete the choice ${name}`);
    this.pools.set(pick, experts);
    this.drops.set(drop, name);
    row.append(pick, drop);
    return row;
  }

  /** Bring the choice into sight, as soon as this tab is there: another part of the page chose. */
  reveal(tries = REVEAL_TRIES) {
    if (!this.element.offsetParent) {
      if (tries) setTimeout(() => this.reveal(tries - 1), REVEAL_MS);
      return;
    }
    window.scrollTo(0, 0);
    this.summary.scrollIntoView({ block: 'nearest' });
    this.summary.focus({ preventScroll: true });
  }

  keep() {
    const name = this.name.value.trim();
    const others = keptPools().filter((pool) => pool.name !== name);
    if (!name) {
      this.name.focus();
      this.note.textContent = 'Give this choice a name first.';
      return;
    }
    if (others.length >= MOST) {
      this.note.textContent = `You can save at most ${MOST} choices. Delete one first.`;
      return;
    }
    const isStored = storePools([...others, { name, experts: this.chosen }]);
    if (isStored) this.name.value = '';
    this.drawKept();
    this.show();
    const kept = `Saved as “${name}” in this browser.`;
    this.note.textContent = isStored ? kept : 'This browser lets the page store nothing.';
  }
}
