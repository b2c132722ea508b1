const SIDEWAYS = { ArrowLeft: -1, ArrowRight: 1 };
const UPWARDS = { ArrowUp: 1, ArrowDown: -1 };
const TEN = 10;

/** What single keys do with a run. */
export class RunKeys {
  constructor(view) {
    this.view = view;
  }

  /** Act on a key. Return whether it was one for the run. */
  press(event) {
    const { key, target } = event;
    const { view } = this;
    const isIn = (selector) => !!target.closest?.(selector);
    if (isIn('.attention-map') && view.attention.gridKey(key)) return true;
    if (this.pressArrow(event, isIn)) return true;
    const expert = /^[1-9]$/.test(key) ? +key - 1 : null;
    if (expert != null && expert < view.state.pool.length) {
      view.followExpert(expert);
      return true;
    }
    if (key === ' ' && !isIn('button, a, summary, select')) {
      view.replay.toggle();
      return true;
    }
    if (key === '[' || key === ']') return view.attention.stepHead(key === ']' ? 1 : -1);
    if (key === 't') {
      view.tables.toggle();
      return true;
    }
    return key === 'o' && this.openOverride();
  }

  pressArrow({ key, shiftKey }, isIn) {
    const { view } = this;
    const { columns } = view.state;
    const at = columns.of(view.lock);
    const last = columns.count - 1;
    const move = SIDEWAYS[key];
    const climb = UPWARDS[key];
    if (move && at != null) return this.lock(at + move * (shiftKey ? TEN : 1));
    if (move && isIn('.answer, .asked, .tokens-map') && columns.count) return this.lock(move > 0 ? columns.lead : last);
    if (climb && view.state.started && (at != null || view.layer != null || isIn('.layers-map, .tokens-map'))) {
      view.layerMap.step(climb);
      return true;
    }
    if (key === 'Home' && at != null) return this.lock(0);
    return key === 'End' && at != null && this.lock(last);
  }

  lock(column) {
    const { view } = this;
    const { columns } = view.state;
    view.lock = columns.at(Math.max(0, Math.min(columns.count - 1, column)));
    view.schedule();
    return true;
  }

  openOverride() {
    const box = document.querySelector('#override');
    box?.querySelector('button')?.click();
    box?.scrollIntoView({ block: 'nearest' });
    return !!box;
  }
}
