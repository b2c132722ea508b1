import { download } from '../lib/download.js';

const READING = '<p class="hint">Reading the labels …</p>';

/** A table of labels or a board, as escaped markup. A row of labels opens its comparison; one's own can be undone. */
export class LabelsTable {
  constructor({ element, props, watch, trigger, server }) {
    Object.assign(this, { element, props, trigger, server });
    element.addEventListener('click', (event) => this.press(event.target));
    watch('value', () => this.draw());
    this.draw();
  }

  draw() {
    this.element.querySelector('.rows').innerHTML = this.props.value || READING;
  }

  press(target) {
    const open = target.closest('[data-id]');
    const undo = target.closest('[data-undo]');
    const save = target.closest('[data-export]');
    if (undo) {
      undo.disabled = true;
      this.trigger('input', { id: undo.dataset.undo });
    } else if (open) {
      this.trigger('select', { id: open.dataset.id });
    } else if (save && this.server) {
      this.save(save.dataset.export);
    }
  }

  async save(kind) {
    let answer;
    try {
      answer = await this.server.export_rows({ kind, filters: this.props.asked || {} });
    } catch {
      answer = { error: 'The table could not be exported. Try again.' };
    }
    this.element.querySelector('.export-note').textContent = answer.error || '';
    if (answer.error) return;
    const bytes = Uint8Array.from(atob(answer.base64), (char) => char.charCodeAt(0));
    download(answer.name, new Blob([bytes], { type: 'application/octet-stream' }));
  }
}
