import { view } from '../lib/components.js';
import { LineReader } from '../lib/line-reader.js';
import { RunState } from './run-state.js';

/** The counterfactual: it arrives in its own component and is drawn beside the first answer. */
export class OtherRun {
  constructor({ props, watch }) {
    this.props = props;
    this.state = new RunState();
    const fresh = () => {
      this.state = new RunState();
    };
    this.reader = new LineReader(fresh, (record) => this.state.take(record));
    watch('value', () => this.update());
    this.update();
  }

  update() {
    if (!this.reader.read(this.props.value)) return;
    const { opening, started, waiting, failed } = this.state;
    const isEmpty = opening && !opening.note && !started && !waiting && !failed;
    view('run')?.beside.show(isEmpty ? null : this.state);
  }

  stop() {
    this.state.cutOff();
    if (this.state.likelihoods?.sentence) this.state.likelihoods = null;
    view('run')?.schedule();
  }
}
