import { download } from '../lib/download.js';
import { pngPicture, svgPicture } from '../lib/picture.js';
import { drawLayers } from './layer-picture.js';
import { drawTokens } from './token-picture.js';

const CANVASES = ['.tokens-map', '.layers-map', '.attention-map'];

/** Saves a run as a file: pictures are made here, tables by the server. */
export class RunExports {
  constructor(view) {
    this.view = view;
    view.on('.exports', 'click', (event) => {
      const kind = event.target.dataset.export;
      if (kind && view.state.started) this.save(kind, view.state.started);
    });
  }

  save(kind, { id, router, prompt }) {
    const { view } = this;
    const title = `${router} · ${prompt.slice(0, 70)}`;
    if (kind === 'png') {
      const canvases = CANVASES.map((name) => view.find(name));
      pngPicture(title, canvases, (blob) => download(`run-${id}.png`, blob));
    } else if (kind === 'svg') {
      const tokens = (sheet) => drawTokens(sheet, view.tokenMap.drawing);
      const layers = (sheet) => drawLayers(sheet, view.layerMap.drawing);
      download(`run-${id}.svg`, svgPicture(title, [tokens, layers]), 'image/svg+xml');
    } else if (kind === 'attention') {
      download(`attention-${id}.csv`, view.attention.csv(), 'text/csv');
    } else {
      this.saveTable(kind, id);
    }
  }

  async saveTable(kind, run) {
    const { server, state } = this.view;
    if (!state.finished || !server) return;
    let answer;
    try {
      answer = await server.export_run({ run, kind });
    } catch {
      answer = { error: 'The run could not be exported. Try again.' };
    }
    this.view.find('.export-note').textContent = answer.error || '';
    const type = kind === 'json' ? 'application/json' : 'text/csv';
    if (!answer.error) download(`run-${run}.${kind}`, answer.text, type);
  }
}
