// Which experts a run may use: ticked by hand, set by an expert's card, or kept in this browser under a name.
Playground.define('pool', ({ element, props, watch, trigger }) => {
  const { el, chip } = Playground;
  const $ = (selector) => element.querySelector(selector);
  const KEY = 'pg-pools', MOST = 20;
  const box = $('details'), list = $('.pool-experts'), kept = $('.pool-kept'), name = $('input[type=text]'), note = $('.pool-note');
  let chosen = null, sent = null, built = '';   // null: all, those that are added later as well

  const ready = () => (props.choices || []).filter((look) => look.ready).map((look) => look.name);
  const told = () => { try { const names = JSON.parse(props.value || 'null'); return Array.isArray(names) ? names : null; } catch { return null; } };
  const pools = () => { try { const all = JSON.parse(localStorage.getItem(KEY) || '[]'); return Array.isArray(all) ? all.filter((pool) => typeof pool?.name === 'string' && Array.isArray(pool.experts)) : []; } catch { return []; } };
  const store = (all) => { try { localStorage.setItem(KEY, JSON.stringify(all)); return true; } catch { return false; } };

  const show = () => {
    const all = ready(), some = chosen || all;
    $('.pool-count').textContent = '· ' + (!chosen ? `all ${all.length}` : chosen.length ? `${chosen.length} of ${all.length}` : 'none');
    for (const tick of list.querySelectorAll('input')) tick.checked = some.includes(tick.value);
    for (const button of kept.querySelectorAll('.example')) button.setAttribute('aria-pressed', String(button._experts.join() === some.join()));
    $('.pool-all').hidden = !chosen;
    $('.keep').disabled = !chosen || !chosen.length;
    note.textContent = chosen && !chosen.length ? 'Tick at least one expert.' : '';
  };
  /** Chooses `names`, as far as they are here and ready; tells the server. */
  const choose = (names) => {
    const all = ready(), some = all.filter((each) => !names || names.includes(each));
    chosen = some.length === all.length ? null : some;
    props.value = sent = chosen ? JSON.stringify(chosen) : '';
    trigger('change');
    show();
  };
  const build = () => {
    list.replaceChildren(...(props.choices || []).map((look) => {
      const label = el('label', 'check'), tick = el('input');
      tick.type = 'checkbox'; tick.value = look.name; tick.disabled = !look.ready;
      label.title = look.ready ? look.title : `${look.title} is not ready: ${look.reason}`;
      label.append(tick, chip(look), el('span', 'xname', look.title));
      return label;
    }));
  };
  const drawKept = () => {
    kept.replaceChildren(...pools().map((pool) => {
      const row = el('span', 'kept'), pick = el('button', 'example', pool.name), drop = el('button', 'quiet drop', '×');
      pick.type = drop.type = 'button'; pick._experts = pool.experts; drop._name = pool.name;
      drop.title = 'delete this choice'; drop.setAttribute('aria-label', 'delete the choice ' + pool.name);
      row.append(pick, drop);
      return row;
    }));
  };
  /** Another part of the page chose: as soon as this tab is there, the choice is in sight and has the focus. */
  const reveal = (tries = 40) => {
    if (!element.offsetParent) { if (tries) setTimeout(() => reveal(tries - 1), 50); return; }
    const summary = box.querySelector('summary');
    window.scrollTo(0, 0);
    summary.scrollIntoView({ block: 'nearest' });
    summary.focus({ preventScroll: true });
  };
  const draw = () => {
    const now = JSON.stringify(props.choices || []);
    if (now === built && props.value === sent) return;   // what was chosen here
    if (now !== built) { built = now; build(); }
    if (props.value !== sent && told()) { box.open = true; reveal(); }
    sent = props.value;
    const names = told();
    if (names && names.some((each) => !ready().includes(each))) { choose(names); return; }   // one has left
    chosen = names;
    show();
  };
  const keep = () => {
    const title = name.value.trim(), all = pools().filter((pool) => pool.name !== title);
    if (!title) { name.focus(); note.textContent = 'Give it a name first.'; return; }
    if (all.length >= MOST) { note.textContent = `${MOST} choices are the most: delete one first.`; return; }
    const stored = store([...all, { name: title, experts: chosen }]);
    if (stored) name.value = '';
    drawKept(); show();
    note.textContent = stored ? `Kept as “${title}” in this browser.` : 'This browser keeps nothing for this page.';
  };
  list.addEventListener('change', () => choose([...list.querySelectorAll('input:checked')].map((tick) => tick.value)));
  element.addEventListener('click', ({ target }) => {
    if (target.closest('.pool-all')) { choose(null); box.querySelector('summary').focus(); }
    if (target.closest('.none')) choose([]);
    if (target.closest('.keep')) keep();
    if (target._experts) {
      const gone = target._experts.filter((each) => !ready().includes(each));
      choose(target._experts);
      if (gone.length) note.textContent = `Not here any more: ${gone.join(', ')}.`;
    }
    if (target._name) { store(pools().filter((pool) => pool.name !== target._name)); drawKept(); show(); box.querySelector('summary').focus(); }
  });
  name.addEventListener('keydown', (event) => { if (event.key === 'Enter' && !event.ctrlKey && !event.metaKey) { event.preventDefault(); if (!$('.keep').disabled) keep(); } });
  drawKept();
  watch(['value', 'choices'], draw); draw();
  return { element };
});
