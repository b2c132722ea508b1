import { make, makeButton } from '../lib/dom.js';
import { expertMark } from '../lib/expert-mark.js';
import { percents } from '../lib/format.js';

const DIFFERS = 0.02; // a smaller gap between drawn and served share is not seen
const mark = (name, title = '') => {
  const node = make('i', name);
  if (title) node.title = title;
  return node;
};

/** The weights of a run in pool order. Rows are made once per pool; then only widths and words change. */
export class ExpertBars {
  constructor(box) {
    this.box = box;
    this.key = null;
  }

  draw(state, shown) {
    const { pool } = state;
    const key = pool.map((look) => look.name).join('|');
    if (this.key !== key) {
      this.key = key;
      this.rows = pool.map((look, e) => this.makeRow(look, e, pool.length));
      this.box.replaceChildren(...this.rows.map((row) => row.node));
    }
    const words = shown ? percents(shown.weights) : [];
    this.rows.forEach((row, e) => {
      this.drawRow(row, pool[e], shown ? shown.weights[e] : 0, words[e]);
      this.drawMarks(row, e, state.decided, shown);
    });
  }

  makeRow(look, e, count) {
    const node = makeButton('bar');
    node.dataset.e = e;
    node.setAttribute('role', 'listitem');
    const track = make('span', 'track');
    const offered = mark('offered', 'share it was drawn with');
    const fill = mark('fill');
    const mean = mark('mean');
    const even = mark('even', 'an equal share');
    const whisker = mark('whisker', 'interval the router gives');
    fill.dataset.slot = look.slot;
    even.style.left = `${100 / count}%`;
    track.append(offered, fill, mean, even, whisker);
    const words = make('span', 'pct');
    node.append(make('span', 'icon', look.icon), expertMark(look), make('span', 'xname', look.title), track, words);
    return { node, offered, fill, mean, whisker, words };
  }

  drawRow({ node, fill, words }, look, weight, told) {
    fill.style.width = `${100 * weight}%`;
    words.textContent = told || '–';
    node.title = told ? `${look.title} · ${weight.toFixed(3)}` : look.title;
    node.setAttribute('aria-label', `${look.title} ${told || 'no weight yet'}`);
  }

  drawMarks({ offered, mean, whisker }, e, decided, shown) {
    const weight = shown ? shown.weights[e] : 0;
    mean.hidden = !shown?.mean;
    if (shown?.mean) mean.style.left = `${100 * shown.mean[e]}%`;
    const drawn = decided?.propensity ? decided.propensity[e] : weight;
    offered.hidden = !(shown?.isDecision && Math.abs(drawn - weight) > DIFFERS);
    offered.style.width = `${100 * drawn}%`;
    const reach = decided?.uncertainty && shown?.isDecision ? decided.uncertainty[e] : null;
    whisker.hidden = reach == null;
    if (reach == null) return;
    const low = Math.max(0, weight - reach);
    whisker.style.left = `${100 * low}%`;
    whisker.style.width = `${100 * (Math.min(1, weight + reach) - low)}%`;
  }
}
