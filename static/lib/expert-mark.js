import { make } from './dom.js';

/** Return the mark of an expert on its colour. `look` has mark, slot and title. */
export function expertMark(look) {
  const node = make('span', 'x', look.mark);
  node.dataset.slot = look.slot;
  node.title = look.title;
  return node;
}
