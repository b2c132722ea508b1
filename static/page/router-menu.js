import { make } from '../lib/dom.js';

const LEVELS = {
  prompt: 'Before the answer · from the prompt',
  gate: 'Inside the model · each token and layer',
  controller: 'In rounds',
};

/** The routers in a native select with groups, and a card on the chosen one. */
export class RouterMenu {
  constructor({ element, props, watch, trigger }) {
    this.props = props;
    this.select = element.querySelector('select');
    this.card = element.querySelector('.router-card');
    this.select.addEventListener('change', () => {
      props.value = this.select.value;
      this.drawCard();
      trigger('change');
    });
    watch(['value', 'choices'], () => this.draw());
    this.draw();
  }

  get choices() {
    return this.props.choices || [];
  }

  draw() {
    const { select, choices } = this;
    select.replaceChildren();
    select.disabled = !choices.length;
    if (select.disabled) {
      const option = make('option', '', 'Nearest prompts · the rest is loading');
      option.value = this.props.value;
      select.append(option);
    }
    for (const [level, label] of Object.entries(LEVELS)) {
      const members = choices.filter((choice) => choice.level === level);
      if (!members.length) continue;
      const group = make('optgroup');
      group.label = label;
      group.append(...members.map((info) => this.makeOption(info)));
      select.append(group);
    }
    this.drawCard();
  }

  makeOption(info) {
    const isOff = !info.ready && !!info.reason;
    const option = make('option', '', info.title + (isOff ? ` (${info.reason})` : ''));
    option.value = info.name;
    option.disabled = isOff;
    option.selected = info.name === this.props.value;
    return option;
  }

  drawCard() {
    const { card } = this;
    const info = this.choices.find((choice) => choice.name === this.select.value);
    card.replaceChildren();
    if (!info) return;
    const state = info.ready ? make('span', 'ready yes', 'ready') : make('span', 'ready', 'not ready');
    card.append(state, ' ', make('span', '', info.line));
    if (!info.ready && info.reason) card.append(' ', make('em', '', info.reason));
    card.append(this.makeFacts(info));
  }

  makeFacts({ figure, trained_from, paper, href, version }) {
    const facts = make('div', 'facts');
    if (figure) facts.append(make('span', '', figure));
    if (trained_from) facts.append(make('span', '', `learns from ${trained_from}`));
    if (paper) {
      const link = make('a', '', paper);
      Object.assign(link, { href, rel: 'noreferrer', target: '_blank' });
      facts.append(link);
    }
    if (version) {
      const shown = make('span', 'version', version);
      shown.title = 'version in use';
      facts.append(shown);
    }
    return facts;
  }
}
