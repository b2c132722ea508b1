import { make } from './dom.js';
import { DrawnElement } from './drawn-element.js';
import { percent, plural } from './format.js';

/**
 * `<daily-use data-slot data-use="{days, shares, runs, highest, overall}">`: a bar a day, the newest last.
 *
 * A full bar is the highest share that any expert had on these days.
 */
export class DailyUse extends DrawnElement {
  drawn() {
    const { days, shares, runs, highest, overall } = JSON.parse(this.dataset.use);
    const told = days.map(
      (day, i) => `${day} ${runs[i] ? `${percent(shares[i])} of ${plural(runs[i], 'run')}` : 'no runs'}`,
    );
    const words = `Share of use by day (UTC): ${told.join('; ')}. A full bar is ${percent(highest)}.`;
    const picture = make('span', 'spark fill');
    picture.dataset.slot = this.dataset.slot;
    picture.setAttribute('role', 'img');
    picture.setAttribute('aria-label', words);
    picture.title = words;
    for (const share of shares) {
      const day = make('i');
      day.setAttribute('style', `--h:${(share / highest).toFixed(3)}`);
      picture.append(day);
    }
    return [picture, `${percent(overall)} in ${plural(days.length, 'day')}`];
  }
}
