// One blind answer: its text and whether it ended, and nothing else.
(() => {
  'use strict';
  const { el, reader } = Playground;
  const make = ({ element, props, watch }) => {
    const box = element.querySelector('.side-answer'), foot = element.querySelector('.side-foot'), section = element.querySelector('.side');
    let text = '', end = null, fail = null, wait = null, started = false;
    const read = reader(() => { text = ''; end = fail = wait = null; started = false; box.replaceChildren(); }, (record) => {
      if (record.k === 'tok') { text += record.s; box.append(document.createTextNode(record.s)); wait = null; }
      else if (record.k === 'side') started = true;
      else if (record.k === 'wait') wait = record;
      else if (record.k === 'end') { end = record; if (record.text && record.text !== text) { text = record.text; box.textContent = text; } }
      else if (record.k === 'fail') fail = record;
    });
    const draw = () => {
      read(props.value);
      section.dataset.state = fail ? 'failed' : end ? 'over' : started ? 'running' : wait ? 'waiting' : 'empty';
      box.classList.toggle('typing', started && !end && !fail);
      foot.textContent = fail ? fail.m : end ? (end.cut ? 'Ended by the vote.' : text.trim() ? '' : 'This answer is empty.') : started ? 'writing …' : wait ? wait.s : '';
      if (!started && !wait && !text) box.replaceChildren(el('span', 'hint', 'An answer will appear here.'));
      else if (started && !text) box.replaceChildren();
    };
    watch('value', draw); draw();
    return { element };
  };
  Playground.define('side-a', make);
  Playground.define('side-b', make);
})();

// The table of labels: rows come as escaped markup; a row opens its comparison, a vote of one's own can be undone.
Playground.define('labels', ({ element, props, watch, trigger, server }) => {
  const rows = element.querySelector('.rows');
  const draw = () => { rows.innerHTML = props.value || '<p class="hint">Reading the labels …</p>'; };
  element.addEventListener('click', async (event) => {
    const open = event.target.closest('[data-id]'), undo = event.target.closest('[data-undo]'), save = event.target.closest('[data-export]');
    if (undo) { undo.disabled = true; trigger('input', { id: undo.dataset.undo }); }
    else if (open) trigger('select', { id: open.dataset.id });
    else if (save && server) {
      const kind = save.dataset.export;
      let answer = null;
      try { answer = await server.export_labels({ kind, filters: props.asked || {} }); } catch { /* the toast says it */ }
      if (answer && answer.text !== undefined) Playground.download('labels.' + kind, answer.text, kind === 'csv' ? 'text/csv' : 'application/jsonl');
    }
  });
  watch('value', draw); draw();
  return { element };
});
