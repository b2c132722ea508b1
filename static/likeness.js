// Experts beside each other: subspaces they read, changes they make, runs that use them together. Drawn when opened.
Playground.define('likeness', ({ element, server }) => {
  const { color, table, download } = Playground;
  const $ = (selector) => element.querySelector(selector);
  const details = $('details.likeness'), canvas = $('canvas'), note = $('.likeness-note'), twin = $('details.twin');
  const TOLD = {
    reading: (d) => `Overlap of the subspaces the adapters read, mean over shared modules: 0 none, 1 the same. By chance it would be ${d.chance == null ? '–' : d.chance.toFixed(3)}. Adapters trained from the same random start overlap almost wholly, whatever they learnt.`,
    change: () => 'Cosine of the changes the adapters make to the weights, mean over shared modules: −1 opposite, 0 unrelated, 1 the same.',
    used: (d) => `Correlation of the experts' usage over the last ${d.runs} runs here: above 0 they answer together, below 0 instead of each other. Empty where fewer than three runs could use both or a share never varied.`,
  };
  let data = null, what = 'change', trouble = '';
  const shown = () => data && { looks: data[what === 'used' ? 'used_looks' : 'looks'], values: data[what] };
  const number = (x) => x == null ? '–' : x.toFixed(2).replace('-', '\u2212');

  const draw = () => {
    const room = element.clientWidth - 32, now = shown();
    for (const button of element.querySelectorAll('.seg button')) button.setAttribute('aria-pressed', String(button.dataset.what === what));
    if (!details.open || room < 60) return;
    if (!now || now.looks.length < 2 || !now.values.some((row, i) => row.some((x, j) => i !== j && x != null))) {
      Playground.maps.prepare(canvas, 1, 1);
      note.textContent = trouble || (!data ? 'Reading the adapters …' : what === 'used' ? 'Nothing to compare yet: it takes three runs in which two experts got different shares.' : 'There are not two adapters to compare.');
      return;
    }
    const { looks, values } = now, n = looks.length, left = 30, cell = Math.max(24, Math.min(46, Math.floor((room - left) / n))), pen = Playground.maps.prepare(canvas, left + n * cell, left + n * cell), inks = Playground.maps.ramp();
    const top = Math.max(1e-6, ...values.flatMap((row, i) => row.filter((x, j) => i !== j && x != null).map(Math.abs)));
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) {
      const x = values[i][j], shade = x == null || i === j ? 0 : Playground.maps.step(Math.abs(x) / top);
      pen.fillStyle = inks[shade]; pen.fillRect(left + j * cell, left + i * cell, cell - 1, cell - 1);
      pen.fillStyle = shade > 4 ? color('--pg-surface') : color(i === j ? '--pg-muted' : '--pg-ink'); pen.font = `${cell < 32 ? 9 : 11}px system-ui, sans-serif`; pen.textAlign = 'center'; pen.textBaseline = 'middle';
      pen.fillText(i === j ? '·' : number(x), left + j * cell + cell / 2, left + i * cell + cell / 2);
    }
    pen.strokeStyle = color('--pg-line'); pen.lineWidth = 1; pen.strokeRect(left - 0.5, left - 0.5, n * cell, n * cell);
    looks.forEach((look, i) => { Playground.maps.mark(pen, look, left + i * cell + cell / 2, left / 2, cell); Playground.maps.mark(pen, look, left / 2 - 2, left + i * cell + cell / 2, 26); });
    note.textContent = TOLD[what](data) + ` Darkest: ${number(top)} in size.`;
    let best = [0, 1];
    for (let i = 0; i < n; i++) for (let j = i + 1; j < n; j++) if ((values[i][j] ?? -9) > (values[best[0]][best[1]] ?? -9)) best = [i, j];
    canvas.setAttribute('aria-label', `How alike ${n} experts are; most alike are ${looks[best[0]].title} and ${looks[best[1]].title}, ${number(values[best[0]][best[1]])}`);
    if (twin.open) twin.lastElementChild.replaceChildren(table(['', ...looks.map((look) => look.title)], values.map((row, i) => [looks[i].title, ...row.map((x) => x == null ? '–' : x.toFixed(3))])));
  };
  const fetch = async () => {
    if (!details.open || !server) return;
    trouble = ''; draw();
    let answer;
    try { answer = await server.likeness({}); } catch { answer = { error: 'The experts could not be compared. Open this again.' }; }
    if (answer.error) trouble = answer.error; else data = answer;
    draw();
  };
  details.addEventListener('toggle', (event) => { if (event.target === details) fetch(); });
  twin.addEventListener('toggle', draw);
  element.addEventListener('click', (event) => {
    const button = event.target.closest('[data-what]'), kind = event.target.dataset?.save, now = shown();
    if (button) { what = button.dataset.what; draw(); }
    if (!kind || !now) return;
    const quoted = (text) => '"' + (/^\s*[=+\-@]/.test(text) ? "'" : '') + text.replace(/"/g, '""') + '"';
    if (kind === 'csv') download(`experts-${what}.csv`, [['', ...now.looks.map((look) => quoted(look.name))], ...now.values.map((row, i) => [quoted(now.looks[i].name), ...row.map((x) => x ?? '')])].map((row) => row.join(',')).join('\n') + '\n', 'text/csv');
    else Playground.maps.picture('Experts beside each other: ' + element.querySelector('.seg [aria-pressed=true]').textContent, [canvas], (blob) => download(`experts-${what}.png`, blob));
  });
  document.addEventListener('pg-theme', draw);
  new ResizeObserver(draw).observe(element);
  return { element };
});
