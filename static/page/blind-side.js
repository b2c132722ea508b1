import { make } from '../lib/dom.js';
import { LineReader } from '../lib/line-reader.js';
import { known } from '../run/wire.js';

/** One blind answer: its text and whether it ended, and nothing else. */
export class BlindSide {
  constructor({ element, props, watch }) {
    this.props = props;
    this.section = element.querySelector('.side');
    this.box = element.querySelector('.side-answer');
    this.foot = element.querySelector('.side-foot');
    this.whole = element.querySelector('.side-whole');
    this.whole.addEventListener('click', () => this.show(!this.isWhole));
    this.section.addEventListener('keydown', (event) => this.isWhole && event.key === 'Escape' && this.show(false));
    this.startAfresh();
    this.reader = new LineReader(
      () => this.startAfresh(),
      (record) => this.take(known(record)),
    );
    watch('value', () => this.draw());
    this.draw();
  }

  startAfresh() {
    this.text = '';
    this.finished = null;
    this.failed = null;
    this.waiting = null;
    this.isStarted = false;
    this.box.replaceChildren();
  }

  get isWhole() {
    return this.section.classList.contains('whole');
  }

  /** Show the answer over the whole page, or in its place again. */
  show(isWhole) {
    this.section.classList.toggle('whole', isWhole);
    this.whole.setAttribute('aria-pressed', String(isWhole));
    this.whole.textContent = isWhole ? '✕' : '⤢';
  }

  take(record) {
    if (record?.kind === 'side') this.isStarted = true;
    else if (record?.kind === 'waiting') this.waiting = record;
    else if (record?.kind === 'failed') this.failed = record;
    else if (record?.kind === 'token') this.write(record.text);
    else if (record?.kind === 'finished') this.finish(record);
  }

  write(text) {
    if (!this.text) this.box.replaceChildren(); // the hint of an empty side
    this.text += text;
    this.waiting = null;
    this.box.append(document.createTextNode(text));
  }

  finish(record) {
    this.finished = record;
    if (!record.text || record.text === this.text) return;
    this.text = record.text;
    this.box.textContent = record.text;
  }

  draw() {
    this.reader.read(this.props.value);
    const { isStarted, failed, finished, waiting, text } = this;
    const begun = isStarted ? 'running' : waiting ? 'waiting' : 'empty';
    this.section.dataset.state = failed ? 'failed' : finished ? 'over' : begun;
    this.box.classList.toggle('typing', isStarted && !finished && !failed);
    this.foot.textContent = this.words();
    if (!isStarted && !waiting && !text) {
      this.box.replaceChildren(make('span', 'hint', 'An answer will appear here.'));
    } else if (isStarted && !text) {
      this.box.replaceChildren();
    }
  }

  words() {
    const { isStarted, failed, finished, waiting, text } = this;
    if (failed) return [failed.message, failed.remedy].filter(Boolean).join(' ');
    if (finished) return finished.cut ? 'This answer was stopped early.' : text.trim() ? '' : 'This answer is empty.';
    return isStarted ? 'writing …' : waiting ? waiting.sentence : '';
  }
}
