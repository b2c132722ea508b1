import { keepInTab, recallInTab } from '../lib/storage.js';

const KEY = 'routing-playground-pair';

/** Keeps which comparison this tab shows, so that a reload before the vote does not lose it. Draws nothing. */
export class PairKeeper {
  constructor({ props, watch, trigger }) {
    this.props = props;
    const kept = recallInTab(KEY);
    watch('value', () => {
      if (props.value) keepInTab(KEY, props.value);
    });
    if (kept && !props.value) trigger('input', { kept });
  }

  /** What is kept of the comparison on show. */
  get text() {
    return this.props.value;
  }
}
