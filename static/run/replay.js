const LONGEST_SECONDS = 8;
const STEP_MS = 90;

/** Plays a finished run again in its own time, at most eight seconds long. */
export class Replay {
  constructor(view) {
    this.view = view;
    this.timer = 0;
    this.whole = null;
    view.on('.replay', 'click', () => this.toggle());
  }

  get isPlaying() {
    return !!this.timer;
  }

  /** Begin; a second press shows the end at once. */
  toggle() {
    if (this.isPlaying) this.finish();
    else this.begin();
  }

  begin() {
    const { view } = this;
    const whole = view.state;
    if (!whole.finished || !whole.tokens.length) return;
    const first = whole.tokens[0].at || 0;
    const seconds = (whole.tokens.at(-1).at || 0) - first;
    const pace = Math.max(1, seconds / LONGEST_SECONDS);
    const began = performance.now();
    this.whole = whole;
    view.state = whole.beginning();
    view.begin();
    this.timer = setInterval(() => this.step(first + ((performance.now() - began) / 1000) * pace), STEP_MS);
  }

  step(now) {
    const { view, whole } = this;
    const { tokens } = view.state;
    while (tokens.length < whole.tokens.length && (whole.tokens[tokens.length].at || 0) <= now) {
      tokens.push(whole.tokens[tokens.length]);
    }
    view.state.heard = performance.now();
    if (tokens.length === whole.tokens.length) {
      this.stop();
      view.state = whole;
    }
    view.schedule();
  }

  finish() {
    this.stop();
    this.view.state = this.whole;
    this.view.fresh = true;
    this.view.schedule();
  }

  /** Stop playing; the state stays as it is. */
  stop() {
    clearInterval(this.timer);
    this.timer = 0;
  }
}
