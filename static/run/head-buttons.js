import { make, makeButton, markPressed } from '../lib/dom.js';
import { thumbnail } from './attention-picture.js';

/** The heads of one layer as small maps to press. */
export class HeadButtons {
  constructor(box) {
    this.box = box;
    this.drawn = null;
  }

  /** Draw the heads of `whole`, a layer as the server sent it; nothing for null. */
  draw(whole, head) {
    if (this.drawn !== whole) {
      this.drawn = whole;
      const count = whole ? whole.heads : 0;
      this.box.replaceChildren(...Array.from({ length: count }, (_, h) => this.makeHead(whole, h)));
    }
    markPressed(this.box.children, (button) => +button.dataset.h === head);
  }

  makeHead({ data, size }, h) {
    const button = makeButton('att-head-button');
    button.dataset.h = h;
    button.title = `head ${h + 1}`;
    const map = thumbnail(data.subarray(h * size * size, (h + 1) * size * size), size);
    button.append(map, make('span', '', String(h + 1)));
    return button;
  }
}
