// Weights set by hand, experts left out, and in which layers: what "Answer again" will ask for.
Playground.define('override', ({ element, props, watch, trigger }) => {
  const { el, chip } = Playground;
  const $ = (selector) => element.querySelector(selector);
  const box = $('.override-box'), rows = $('.override-rows'), hint = $('.override-hint'), from = $('.from'), to = $('.to');
  let state = { pool: [], weights: [], layers: 0, mode: 'set', dropped: [], from: 1, to: 0 }, sent = null;

  /** Gives `value` to expert `e`; the others share the rest in the ratio they had, equally when they had nothing. */
  const link = (e, value) => {
    const share = Math.max(0, Math.min(100, value)), rest = state.weights.reduce((sum, w, i) => sum + (i === e ? 0 : w), 0), others = state.weights.length - 1;
    state.weights = state.weights.map((w, i) => i === e || !others ? (others ? share : 100) : rest > 0 ? w / rest * (100 - share) : (100 - share) / others);
  };
  const words = () => {
    if (!state.pool.length) return '';
    if (state.mode === 'drop') return state.dropped.length ? 'The same router decides among those that stay.' : 'Tick who may not answer; the router decides among the rest.';
    const part = state.from > 1 || state.to < state.layers, tool = state.pool.some((look, i) => look.kind === 'tool' && state.weights[i] >= 0.5);
    return part ? tool ? 'A tool does not act inside layers: give its weight to others, or choose all layers.' : `Held in layers ${state.from} to ${state.to}; in the others the router decides.` : 'The shares always sum to 100. A tool that is heaviest answers alone.';
  };
  const tell = () => {
    hint.textContent = words();
    const { pool, weights, layers, mode, dropped } = state;
    sent = JSON.stringify({ pool, weights, layers, mode, dropped, from: state.from, to: state.to });
    props.value = sent;
    trigger('change');
  };
  const show = (moved) => {
    box.dataset.mode = state.mode;
    for (const button of element.querySelectorAll('.seg button')) button.setAttribute('aria-pressed', String(button.dataset.mode === state.mode));
    $('.override-layers').hidden = !state.pool.length || state.mode !== 'set';
    from.max = to.max = state.layers; from.value = state.from; to.value = state.to;
    [...rows.children].forEach((row, e) => {
      if (!row.dataset.e) return;
      const [range, number] = row.querySelectorAll('input[type=range], input[type=number]'), value = Math.round(state.weights[e]);
      range.value = value;
      if (number !== moved) number.value = value;
      row.querySelector('input[type=checkbox]').checked = state.dropped.includes(state.pool[e].name);
    });
    hint.textContent = words();
  };
  const build = () => {
    rows.replaceChildren(...state.pool.map((look, e) => {
      const row = el('div', 'override-row'), name = el('span', 'xname', look.title), range = el('input'), number = el('input'), only = el('button', 'quiet', 'only'), out = el('label', 'check leave'), tick = el('input');
      row.id = 'w' + e; row.dataset.e = e;
      range.type = 'range'; number.type = 'number'; tick.type = 'checkbox'; only.type = 'button';
      for (const input of [range, number]) { input.min = 0; input.max = 100; input.step = 1; input.setAttribute('aria-label', look.title + ', percent'); }
      only.title = 'all weight on ' + look.title; only.setAttribute('aria-label', 'only ' + look.title);
      out.append(tick, ' leave out');
      row.append(chip(look), name, range, number, only, out);
      const move = (input) => { link(e, +input.value || 0); show(input); tell(); };
      range.addEventListener('input', () => move(range));
      number.addEventListener('input', () => move(number));
      only.addEventListener('click', () => { link(e, 100); show(); tell(); });
      tick.addEventListener('change', () => { state.dropped = state.pool.filter((each, i) => rows.children[i].querySelector('input[type=checkbox]').checked).map((each) => each.name); show(); tell(); });
      return row;
    }));
    show();
  };
  const draw = () => {
    if (!props.value || props.value === sent) return;
    try { state = JSON.parse(props.value); } catch { return; }
    sent = props.value;
    build();
  };
  element.addEventListener('click', (event) => {
    const button = event.target.closest('.seg button');
    if (button) { state.mode = button.dataset.mode; show(); tell(); }
    if (event.target.closest('.all')) { state.from = 1; state.to = state.layers; show(); tell(); }
  });
  const between = (input) => Math.max(1, Math.min(state.layers, Math.round(+input.value) || 1));
  from.addEventListener('change', () => { state.from = between(from); state.to = Math.max(state.from, state.to); show(); tell(); });
  to.addEventListener('change', () => { state.to = between(to); state.from = Math.min(state.from, state.to); show(); tell(); });
  watch('value', draw); draw();
  return { element };
});
