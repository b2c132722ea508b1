import { markPressed } from '../lib/dom.js';
import { LineReader } from '../lib/line-reader.js';
import { onThemeChange } from '../lib/theme.js';
import { AnswerPanel } from './answer-panel.js';
import { AttentionPanel } from './attention-panel.js';
import { Beside } from './beside.js';
import { ExpertBars } from './expert-bars.js';
import { LayerMap } from './layer-map.js';
import { Replay } from './replay.js';
import { RunExports } from './run-exports.js';
import { RunFoot } from './run-foot.js';
import { RunKeys } from './run-keys.js';
import { RunState } from './run-state.js';
import { RunTables } from './run-tables.js';
import { shownWeights } from './shown-weights.js';
import { Stage } from './stage.js';
import { TokenDetail } from './token-detail.js';
import { TokenMap } from './token-map.js';
import { ToolCalls } from './tool-calls.js';

const PHONE = '(max-width: 720px)';

/**
 * One run, drawn from its lines. Panels read the state and what is looked at from here.
 *
 * `lock` and `hover` are positions of tokens, `layer` and `expert` what is looked at alone; null for none.
 * `fresh` asks panels to draw everything, not only what is new.
 */
export class RunView {
  constructor({ element, props, watch, server, trigger }) {
    this.element = element;
    this.props = props;
    this.server = server;
    this.trigger = trigger;
    this.state = new RunState();
    this.forget();
    this.before = null; // what was shown before the newest stream began
    this.fresh = true;
    this.isQueued = false;
    this.isAsked = false; // a run was asked for, and none of its lines has come
    this.isHalted = false; // it is to be stopped when it begins
    this.nonce = undefined;
    this.makePanels();
    const fresh = () => this.startAfresh();
    this.reader = new LineReader(fresh, (record) => this.state.take(record));
    watch('value', () => this.update());
    this.listen();
    this.update();
  }

  makePanels() {
    this.stage = new Stage(this);
    this.bars = new ExpertBars(this.find('.bars'));
    this.answer = new AnswerPanel(this);
    this.beside = new Beside(this);
    this.tools = new ToolCalls(this);
    this.detail = new TokenDetail(this);
    this.tokenMap = new TokenMap(this);
    this.layerMap = new LayerMap(this);
    this.attention = new AttentionPanel(this);
    this.foot = new RunFoot(this);
    this.tables = new RunTables(this);
    this.replay = new Replay(this);
    this.exports = new RunExports(this);
    this.keys = new RunKeys(this);
  }

  listen() {
    const asked = (event) => {
      if (!event.target.closest?.('#run')) return;
      this.isAsked = true;
      this.isHalted = false;
    };
    document.addEventListener('click', asked, true);
    onThemeChange(() => {
      this.fresh = true;
      this.schedule();
    });
    new ResizeObserver(() => this.schedule()).observe(this.element);
    this.on('.bars', 'click', (event) => {
      const row = event.target.closest('.bar');
      if (row) this.followExpert(+row.dataset.e);
    });
  }

  find(selector) {
    return this.element.querySelector(selector);
  }

  on(selector, type, act) {
    this.find(selector).addEventListener(type, act);
  }

  get focus() {
    return this.hover ?? this.lock;
  }

  forget() {
    this.lock = null;
    this.hover = null;
    this.expert = null;
    this.layer = null;
  }

  startAfresh() {
    if (this.replay.isPlaying) this.replay.finish();
    const { state, lock, expert, layer } = this;
    if (state.started) this.before = { state, lock, expert, layer, beside: this.beside.state };
    this.state = new RunState();
    this.forget();
    this.tokenMap.follow = true;
    this.fresh = true;
    this.beside.show(null);
  }

  /** Show again what was there before a stream that failed before its run began, with what went wrong. */
  putBack({ state, lock, expert, layer, beside }) {
    state.cutOff(); // a run that was still being written has ended
    state.refused = this.state.failed;
    Object.assign(this, { state, layer, lock });
    this.before = null;
    this.fresh = true;
    this.beside.show(beside);
    if (expert != null) this.followExpert(expert);
  }

  update() {
    if (!this.reader.read(this.props.value)) return;
    const { opening, tokens } = this.state;
    const isNew = opening && this.nonce !== opening.nonce;
    // on a phone the answer lies below the controls: bring it into sight once, when a run begins
    if (isNew && !opening.example && !tokens.length && matchMedia(PHONE).matches) {
      this.element.scrollIntoView({ block: 'start' });
    }
    if (isNew) {
      this.isAsked = false;
      if (this.isHalted) {
        this.isHalted = false;
        document.querySelector('#stop')?.click();
      }
      this.nonce = opening.nonce;
    }
    if (this.state.started) this.before = null;
    else if (this.before && this.state.failed) this.putBack(this.before);
    this.schedule();
  }

  /** Draw in the next frame. */
  schedule() {
    if (this.isQueued) return;
    this.isQueued = true;
    requestAnimationFrame(() => {
      this.isQueued = false;
      this.draw();
    });
  }

  draw() {
    if (this.element.offsetParent === null) return;
    this.drawFrame();
    this.stage.draw();
    const shown = shownWeights(this.state, this.focus);
    this.bars.draw(this.state, shown);
    this.find('.bars-what').textContent = shown ? shown.words : '';
    this.drawReason();
    const differs = this.beside.difference;
    this.answer.draw(differs);
    this.beside.draw(differs);
    const panels = [this.tools, this.detail, this.tokenMap, this.layerMap, this.attention, this.foot];
    for (const panel of panels) panel.draw();
    if (this.find('details[open]')) this.tables.draw();
    this.fresh = false;
  }

  /** Tell the style sheet and tests where the run is. */
  drawFrame() {
    const { started, finished, failed, waiting, tokens, pool } = this.state;
    const section = this.find('.run');
    const begun = started ? 'running' : waiting ? 'waiting' : 'empty';
    section.dataset.state = failed ? 'failed' : finished ? 'over' : begun;
    section.dataset.tokens = tokens.length;
    section.dataset.run = started ? started.id : '';
    section.dataset.level = started ? started.level : '';
    if (!started) return;
    section.style.setProperty('--inside', `${62 + pool.length * (pool.length > 8 ? 11 : 14)}px`);
  }

  /** Draw why the router decided so. The server has escaped it. */
  drawReason() {
    const { decided, opening, handover } = this.state;
    this.find('.why-what').textContent = handover;
    const reason = decided ? decided.why : opening ? '' : null;
    if (reason === null || this.reason === reason) return;
    this.reason = reason;
    this.find('.why').innerHTML = reason;
  }

  hoverAt(i) {
    this.hover = i;
    this.schedule();
  }

  toggleLock(i) {
    this.lock = this.lock === i ? null : i;
    this.hoverAt(null);
  }

  /** Show where one expert leads; asked again, show all. */
  followExpert(e) {
    this.expert = this.expert === e ? null : e;
    markPressed(this.find('.bars').children, (row) => +row.dataset.e === this.expert);
    this.schedule();
  }

  /** Look at everything again. Return whether something was looked at alone. */
  unlock() {
    if (this.lock == null && this.expert == null && this.layer == null) return false;
    if (this.expert != null) this.followExpert(this.expert);
    this.forget();
    this.schedule();
    return true;
  }

  /** Ask the server for a stored run. */
  reopen(id) {
    this.trigger('select', { id });
  }

  /** Show a run from its beginning. */
  begin() {
    this.lock = null;
    this.hover = null;
    this.fresh = true;
    this.tokenMap.follow = true;
  }

  /** The visitor stopped the run. One that was asked for and has sent nothing yet is stopped when it begins. */
  stop() {
    if (this.replay.isPlaying) {
      this.replay.toggle();
      return;
    }
    this.isHalted = !this.state.cutOff() && this.isAsked;
    this.schedule();
  }
}
