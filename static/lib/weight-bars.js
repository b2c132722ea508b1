import { make } from './dom.js';
import { DrawnElement } from './drawn-element.js';
import { expertMark } from './expert-mark.js';
import { percents } from './format.js';

function bar(look, weight, words, named) {
  const row = make('div', 'mini');
  const who = make('span');
  who.append(expertMark(look));
  if (named) who.append(' ', make('span', 'xname', look.title));
  const track = make('span', 'track');
  const fill = make('i', 'fill');
  fill.dataset.slot = look.slot;
  fill.style.width = `${(100 * weight).toFixed(1)}%`;
  track.append(fill);
  row.append(who, track, make('span', 'pct', words));
  return row;
}

/**
 * `<weight-bars data-weights="{looks, weights, shown}" [data-named]>`: small bars with percents.
 *
 * `shown` has the positions that get a bar. The percents are over all weights, so that they sum to 100.
 */
export class WeightBars extends DrawnElement {
  drawn() {
    const { looks, weights, shown } = JSON.parse(this.dataset.weights);
    const words = percents(weights);
    return shown.map((i) => bar(looks[i], weights[i], words[i], this.dataset.named !== undefined));
  }
}
