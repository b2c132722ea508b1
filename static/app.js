// The page's common ground: what a component is drawn by, reading append-only lines, keys, theme, help.
window.Playground = (() => {
  'use strict';
  const kinds = {}, views = {};

  /** Registers how components of `kind` are drawn: make({element, props, watch, trigger, server}) -> view. */
  const define = (kind, make) => { kinds[kind] = make; };
  const mount = (kind, parts) => { views[kind] = kinds[kind](parts); return views[kind]; };
  const view = (kind) => views[kind];

  const el = (tag, cls, text) => {
    const node = document.createElement(tag);
    if (cls) node.className = cls;
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const bytes = (text) => text ? Uint8Array.from(atob(text), (c) => c.charCodeAt(0)) : null;
  const color = (name, at) => getComputedStyle(at || document.body).getPropertyValue(name).trim();
  const dark = () => document.body.classList.contains('dark');
  const plural = (n, noun) => n + ' ' + noun + (n === 1 ? '' : 's');

  /** Calls back with each new complete line of an append-only text; `fresh()` first when the text began anew. */
  const reader = (fresh, take) => {
    let seen = '', at = 0;
    return (text) => {
      text = text || '';
      if (!text.startsWith(seen)) { at = 0; fresh(); } else if (text.length === seen.length) return false;
      seen = text;
      for (let end; (end = text.indexOf('\n', at)) >= 0; at = end + 1) {
        let record;
        try { record = JSON.parse(text.slice(at, end)); } catch { continue; }
        take(record);
      }
      return true;
    };
  };

  /** Whole percents that sum to 100, by largest remainder. */
  const percents = (weights) => {
    const sum = weights.reduce((a, b) => a + b, 0) || 1;
    const exact = weights.map((w) => w / sum * 100), whole = exact.map(Math.floor);
    const order = exact.map((x, i) => [x - whole[i], i]).sort((a, b) => b[0] - a[0]);
    for (let left = Math.round(100 - whole.reduce((a, b) => a + b, 0)), i = 0; i < left && i < order.length; i++) whole[order[i][1]]++;
    return whole.map((n, i) => n === 0 && exact[i] > 0.02 ? '<1%' : n + '%');
  };
  const seconds = (s) => s < 0.0995 ? Math.round(s * 1000) + ' ms' : s < 59.95 ? s.toFixed(1) + ' s'
    : Math.floor(s / 60) + ':' + String(Math.floor(s % 60)).padStart(2, '0');

  /** The mark of an expert on its colour. `look` is {mark, slot, title}. */
  const chip = (look) => {
    const node = el('span', 'x', look.mark);
    node.dataset.slot = look.slot;
    node.title = look.title;
    return node;
  };
  const table = (heads, rows) => {
    const node = el('table'), head = node.createTHead().insertRow();
    for (const text of heads) head.append(el('th', '', text));
    const body = node.createTBody();
    for (const row of rows) { const line = body.insertRow(); for (const cell of row) line.insertCell().textContent = cell; }
    return node;
  };
  const download = (name, text, type) => {
    const link = el('a'), url = URL.createObjectURL(text instanceof Blob ? text : new Blob([text], { type }));
    link.href = url; link.download = name; document.body.append(link); link.click(); link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  };

  // --- theme: follows the system, a switch is remembered -----------------------------------------------------
  const setTheme = (isDark) => {
    document.body.classList.toggle('dark', isDark);
    document.documentElement.style.colorScheme = isDark ? 'dark' : 'light';
    document.dispatchEvent(new CustomEvent('pg-theme'));
  };
  const toggleTheme = () => {
    const isDark = !dark();
    try { localStorage.setItem('pg-theme', isDark ? 'dark' : 'light'); } catch { /* storage may be blocked in a frame */ }
    setTheme(isDark);
  };
  document.addEventListener('DOMContentLoaded', () => {
    document.documentElement.lang = 'en';
    const forced = new URLSearchParams(location.search).get('__theme');
    let kept = null;
    try { kept = localStorage.getItem('pg-theme'); } catch { /* as above */ }
    if (!forced && kept) setTimeout(() => setTheme(kept === 'dark'), 0);
    new MutationObserver(() => document.dispatchEvent(new CustomEvent('pg-theme')))
      .observe(document.body, { attributes: true, attributeFilter: ['class'] });
  });

  // --- help ------------------------------------------------------------------------------------------------
  const KEYS = [
    ['anywhere', [['?', 'this list'], ['/', 'to the prompt'], ['g then p c l f e', 'go to a tab'], ['Esc', 'unlock, close']]],
    ['Playground', [['Ctrl+Enter', 'run'], ['.', 'stop'], ['← →', 'move the locked token (Shift: by ten)'], ['↑ ↓', 'go through the layers'], ['[ ]', 'another head'], ['Home End', 'first, last token'],
      ['1 … 9', 'follow an expert through the answer'], ['Space', 'replay'], ['o', 'override the weights'], ['t', 'show tables']]],
    ['Compare', [['1 … 7', 'from A much better over 4 tie to B much better'], ['← ↓ →', 'A, tie, B'], ['0', 'both bad'], ['s', 'skip'],
      ['u or Backspace', 'undo'], ['n', 'next']]],
  ];
  let dialog;
  const help = () => {
    if (!dialog) {
      dialog = el('dialog', 'pg-help');
      dialog.setAttribute('aria-label', 'Keys');
      const form = el('form'); form.method = 'dialog';
      const close = el('button', 'quiet', 'close'); close.value = 'close';
      const top = el('header'); top.append(el('h2', '', 'Keys'), close); form.append(top);
      for (const [title, rows] of KEYS) {
        const list = el('dl');
        for (const [key, text] of rows) { const dt = el('dt'); dt.append(el('kbd', '', key)); list.append(dt, el('dd', '', text)); }
        form.append(el('h3', '', title), list);
      }
      const off = el('label', 'check'), box = el('input'); box.type = 'checkbox'; box.checked = keysOn();
      box.onchange = () => { try { localStorage.setItem('pg-keys', box.checked ? 'on' : 'off'); } catch { /* as above */ } };
      off.append(box, ' single-key shortcuts'); form.append(off);
      dialog.append(form); document.body.append(dialog);
    }
    dialog.open ? dialog.close() : dialog.showModal();
  };

  // --- keys: single keys only outside text fields ------------------------------------------------------------
  const keysOn = () => { try { return localStorage.getItem('pg-keys') !== 'off'; } catch { return true; } };
  const shown = (node) => node && node.offsetParent !== null;
  const press = (id) => {
    const node = document.getElementById(id);
    if (!shown(node) || node.disabled) return false;
    node.click();
    return true;
  };
  const tab = (name) => [...document.querySelectorAll('[role=tab]')].find((node) => node.textContent.trim() === name);
  const TABS = { p: 'Playground', c: 'Compare', l: 'Labels', f: 'Fine-tune', e: 'Experts', b: 'Leaderboard' };
  const VOTES = { '1': 'vote-1', '2': 'vote-2', '3': 'vote-3', '4': 'vote-4', '5': 'vote-5', '6': 'vote-6', '7': 'vote-7', '0': 'vote-0',
    s: 'vote-s', arrowleft: 'vote-2', arrowdown: 'vote-4', arrowright: 'vote-6', u: 'vote-undo', backspace: 'vote-undo', n: 'vote-next' };
  let leader = 0;

  const single = (event) => {
    const key = event.key.toLowerCase();
    if (key === '?') { help(); return true; }
    if (key === '/') { const box = document.querySelector('#prompt textarea'), other = document.querySelector('#pair-prompt textarea');
      const target = shown(box) ? box : other; if (!shown(target)) return false; target.focus(); target.select(); return true; }
    if (leader && Date.now() - leader < 1500 && TABS[key]) { leader = 0; const node = tab(TABS[key]); if (node) node.click(); return !!node; }
    if (key === 'g') { leader = Date.now(); return true; }
    const compare = document.getElementById('verdicts');
    if (shown(compare)) return VOTES[key] ? press(VOTES[key]) : false;
    if (key === '.') return press('stop');
    const run = views.run;
    return run && shown(run.element) ? run.key(event) : false;
  };
  document.addEventListener('keydown', (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === 'Enter') {
      if (press('pair-run') || press('run')) event.preventDefault();
      return;
    }
    if (event.key === 'Escape' && views.run && !(dialog && dialog.open)) { if (!views.run.unlock()) document.activeElement?.blur?.(); return; }
    const t = event.target;
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || !keysOn()) return;
    if (t.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(t.tagName) || (dialog && dialog.open && event.key !== '?')) return;
    if (event.repeat && !/^Arrow/.test(event.key)) return;
    if (t.getAttribute?.('role') === 'tab' && /^Arrow/.test(event.key)) { moveTab(event); return; }
    if (single(event)) event.preventDefault();
  });
  const moveTab = (event) => {   // arrow keys between tabs, which the framework leaves out
    const tabs = [...document.querySelectorAll('[role=tab]')].filter(shown), at = tabs.indexOf(event.target);
    const next = tabs[(at + (/Right|Down/.test(event.key) ? 1 : -1) + tabs.length) % tabs.length];
    if (next) { next.focus(); next.click(); event.preventDefault(); }
  };

  return { define, mount, view, views, el, bytes, color, dark, plural, reader, percents, seconds, chip, table, download, toggleTheme, help, press };
})();

// The prompt's length, said before it is cut. Polled, because a pressed example fills the box without an event.
setInterval(() => {
  const count = document.querySelector('.prompt-count'), box = document.querySelector('#prompt textarea');
  if (!count || !box || count.offsetParent === null || count._n === box.value.length) return;
  const n = count._n = box.value.length, limit = +count.dataset.limit;
  count.textContent = !n ? '\u00a0' : n >= limit ? `cut at ${limit.toLocaleString('en')} characters`
    : `${n.toLocaleString('en')} ${n === 1 ? 'character' : 'characters'} · about ${Math.ceil(n / 4.2).toLocaleString('en')} tokens`;
}, 250);

// --- header: readiness, storage, theme, help ------------------------------------------------------------------
Playground.define('header', ({ element, props, watch }) => {
  const { el } = Playground;
  const draw = () => {
    let told = {};
    try { told = JSON.parse(props.value || '{}'); } catch { /* a half-sent value is drawn with the next one */ }
    const state = element.querySelector('.status');
    state.dataset.phase = told.phase || 'starting';
    state.querySelector('.status-text').textContent = told.text || 'starting';
    const bar = element.querySelector('.status-bar');
    bar.hidden = told.share == null;
    bar.firstElementChild.style.width = Math.round((told.share || 0) * 100) + '%';
    const store = element.querySelector('.storage');
    store.textContent = told.storage || '';
    store.title = told.storage_hint || '';
  };
  element.addEventListener('click', (event) => {
    if (event.target.closest('.theme')) Playground.toggleTheme();
    if (event.target.closest('.keys')) Playground.help();
  });
  watch('value', draw); draw();
  return { element, el };
});

// --- router menu: a native select with groups, because thirty routers need them ---------------------------------
Playground.define('routers', ({ element, props, watch, trigger }) => {
  const { el } = Playground;
  const select = element.querySelector('select'), card = element.querySelector('.router-card');
  const LEVELS = { prompt: 'Before the answer · from the prompt', gate: 'Inside the model · each token and layer', controller: 'In rounds' };
  const tell = () => {
    const info = (props.choices || []).find((choice) => choice.name === select.value);
    card.replaceChildren();
    if (!info) return;
    card.append(el('span', info.ready ? 'ready yes' : 'ready', info.ready ? 'ready' : 'not ready'), ' ', el('span', '', info.line));
    if (!info.ready && info.reason) card.append(' ', el('em', '', info.reason));
    const facts = el('div', 'facts');
    if (info.figure) facts.append(el('span', '', info.figure));
    if (info.trained_from) facts.append(el('span', '', 'learns from ' + info.trained_from));
    if (info.paper) { const link = el('a', '', info.paper); link.href = info.href; link.rel = 'noreferrer'; link.target = '_blank'; facts.append(link); }
    if (info.version) { const v = el('span', 'version', info.version); v.title = 'version in use'; facts.append(v); }
    card.append(facts);
  };
  const draw = () => {
    const chosen = props.value;
    select.replaceChildren();
    select.disabled = !(props.choices || []).length;
    if (select.disabled) { const option = el('option', '', 'Nearest prompts · the rest is loading'); option.value = chosen; select.append(option); }
    for (const [level, label] of Object.entries(LEVELS)) {
      const members = (props.choices || []).filter((choice) => choice.level === level);
      if (!members.length) continue;
      const group = el('optgroup'); group.label = label;
      for (const info of members) {
        const option = el('option', '', info.title + (info.ready || !info.reason ? '' : ' (' + info.reason + ')'));
        option.value = info.name; option.disabled = !info.ready && !!info.reason; option.selected = info.name === chosen;
        group.append(option);
      }
      select.append(group);
    }
    tell();
  };
  select.addEventListener('change', () => { props.value = select.value; tell(); trigger('change'); });
  watch(['value', 'choices'], draw); draw();
  return { element };
});

// --- lists whose rows are pressed: examples, recent runs, recent votes -------------------------------------------
Playground.define('list', ({ element, trigger }) => {
  element.addEventListener('click', (event) => {
    const item = event.target.closest('[data-id]');
    if (item) trigger('select', { id: item.dataset.id });
  });
  return { element };
});
