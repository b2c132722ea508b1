import { make } from './dom.js';
import { DrawnElement } from './drawn-element.js';

/** Return the mark of an expert on its colour. `look` has mark, slot and title. */
export function chip(look) {
  const node = make('span', 'x', look.mark);
  node.dataset.slot = look.slot;
  node.title = look.title;
  return node;
}

/** `<expert-chip data-mark data-slot data-title [data-named]>`: the mark of an expert, and its title when named. */
export class ExpertChip extends DrawnElement {
  drawn() {
    const { mark, slot, title, named } = this.dataset;
    const own = chip({ mark, slot, title });
    return named === undefined ? [own] : [own, ' ', make('span', 'xname', title)];
  }
}
