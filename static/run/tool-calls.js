import { make } from '../lib/dom.js';
import { expertMark } from '../lib/expert-mark.js';
import { duration } from '../lib/format.js';

function line({ mark, slot, expert, query, result, ok, seconds }) {
  const node = make('div', 'tool');
  const asked = make('code', '', query || '(nothing understood)');
  const sign = make('span', '', ok ? '→' : 'refused:');
  const time = make('span', 'muted', duration(seconds));
  node.append(expertMark({ mark, slot, title: expert }), asked, sign, make('b', '', result), time);
  return node;
}

/** What tools were asked and what they returned. */
export class ToolCalls {
  constructor(view) {
    this.view = view;
    this.box = view.find('.tools');
  }

  draw() {
    const { tools } = this.view.state;
    if (this.box.childElementCount === tools.length && !this.view.fresh) return;
    this.box.replaceChildren(...tools.map(line));
  }
}
