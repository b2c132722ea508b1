import { make } from '../lib/dom.js';
import { duration } from '../lib/format.js';

/** Return [name, words] of each time and size of a finished run, `template` tokens of whose prompt are the chat's. */
export function timingsOf({ timings, tokens, prompt_tokens, cost }, template = 0) {
  const times = [
    ['encode', timings.encode_s],
    ['decide', timings.decide_s],
    ['first token', timings.first_token_s],
    ['total', timings.total_s],
  ];
  const rows = times.filter(([, seconds]) => seconds != null).map(([name, seconds]) => [name, duration(seconds)]);
  const writing = timings.total_s - (timings.first_token_s || 0);
  if (tokens > 1 && writing > 0) rows.push(['speed', `${((tokens - 1) / writing).toFixed(1)} tok/s`]);
  const added = template ? ` + ${template} of the template` : '';
  rows.push(['tokens', `${prompt_tokens - template}${added} + ${tokens}`]);
  if (cost != null) rows.push(['cost', `$${cost.toPrecision(2)}`]);
  return rows;
}

function timing([name, words]) {
  const node = make('span', 'timing');
  node.append(make('span', 'muted', name), make('b', '', words));
  return node;
}

/** Times, sizes, and the ways to keep a run. */
export class RunFoot {
  constructor(view) {
    this.view = view;
    this.drawn = undefined;
  }

  draw() {
    const { started, finished, opening, templateTokens } = this.view.state;
    if (this.drawn === finished) return;
    this.drawn = finished;
    this.view.find('.export-note').textContent = ''; // it is about the run before
    const isRecorded = !!opening?.example; // no server holds it
    const link = this.view.find('.permalink');
    link.hidden = !started || !finished || isRecorded;
    if (started) link.href = `?run=${encodeURIComponent(started.id)}`;
    for (const kind of ['json', 'csv']) this.view.find(`[data-export=${kind}]`).hidden = isRecorded;
    this.view.find('.timings').replaceChildren(...(finished ? timingsOf(finished, templateTokens).map(timing) : []));
  }
}
