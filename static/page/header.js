import { toggleTheme } from '../lib/theme.js';

/** The top of the page: readiness, storage, theme, help. */
export class Header {
  constructor({ element, props, watch }, help) {
    this.element = element;
    this.props = props;
    element.addEventListener('click', (event) => {
      if (event.target.closest('.theme')) toggleTheme();
      if (event.target.closest('.keys')) help.toggle();
    });
    watch('value', () => this.draw());
    this.draw();
  }

  draw() {
    const find = (selector) => this.element.querySelector(selector);
    const { phase = 'starting', text = 'starting', share, storage = '', storage_hint = '' } = this.told();
    find('.status').dataset.phase = phase;
    find('.status-text').textContent = text;
    const bar = find('.status-bar');
    bar.hidden = share == null;
    bar.firstElementChild.style.width = `${Math.round((share || 0) * 100)}%`;
    find('.storage').textContent = storage;
    find('.storage').title = storage_hint;
  }

  told() {
    try {
      return JSON.parse(this.props.value || '{}');
    } catch {
      return {}; // a half-sent value is drawn with the next one
    }
  }
}
