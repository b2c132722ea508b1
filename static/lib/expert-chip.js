import { make } from './dom.js';
import { DrawnElement } from './drawn-element.js';
import { expertMark } from './expert-mark.js';

/** `<expert-chip data-mark data-slot data-title [data-named]>`: the mark of an expert, and its title when named. */
export class ExpertChip extends DrawnElement {
  drawn() {
    const { mark, slot, title, named } = this.dataset;
    const own = expertMark({ mark, slot, title });
    return named === undefined ? [own] : [own, ' ', make('span', 'xname', title)];
  }
}
