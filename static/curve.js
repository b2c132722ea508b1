// Loss and accuracy while a router learns, from append-only lines {step, steps, train, valid, accuracy}.
Playground.define('curve', ({ element, props, watch }) => {
  const { color, reader, el, table } = Playground;
  const canvas = element.querySelector('canvas'), words = element.querySelector('.curve-words'), twin = element.querySelector('details.twin');
  const LINES = [['train', 'training loss', [4, 3]], ['valid', 'held-out loss', []]];
  let points = [], note = null, log = false;
  const read = reader(() => { points = []; note = null; }, (record) => { if (record.k === 'point') points.push(record); else note = record; });

  /** Centred mean; nothing under ten points, the last point always raw. */
  const smooth = (values) => {
    if (values.length < 10) return values;
    const half = Math.max(1, Math.round(values.length / 24));
    return values.map((value, i) => {
      if (i === values.length - 1 || value == null) return value;
      const reach = Math.min(half, i, values.length - 1 - i), part = values.slice(i - reach, i + reach + 1).filter((x) => x != null);
      return part.reduce((a, b) => a + b, 0) / part.length;
    });
  };
  const draw = () => {
    const width = words.clientWidth, height = 220, left = 46, right = 12, top = 10, foot = 26;
    if (width < 60) return;
    const pen = Playground.maps.prepare(canvas, width, height), ink = color('--pg-ink'), muted = color('--pg-muted');
    pen.font = '11px system-ui, sans-serif'; pen.fillStyle = muted; pen.strokeStyle = color('--pg-line'); pen.lineWidth = 1;
    const all = points.flatMap((point) => [point.train, point.valid]).filter((x) => x != null && isFinite(x));
    if (!all.length) {
      pen.textAlign = 'center'; pen.fillText(note && note.s ? note.s : 'The loss will be drawn here while the router learns.', width / 2, height / 2);
      pen.strokeRect(left - 0.5, top - 0.5, width - left - right, height - top - foot);
      words.textContent = note && note.s ? note.s : '';
      return;
    }
    const scale = (x) => log ? Math.log10(Math.max(x, 1e-6)) : x;
    let low = Math.min(...all.map(scale)), high = Math.max(...all.map(scale));
    if (high - low < 1e-3) { high += 0.01; low -= 0.01; }
    const pad = (high - low) * 0.08; low -= pad; high += pad;
    const steps = points[0].steps || points[points.length - 1].step || 1;
    const X = (step) => left + (width - left - right) * step / Math.max(1, steps), Y = (value) => top + (height - top - foot) * (high - scale(value)) / (high - low);
    for (let i = 0; i <= 3; i++) {
      const value = low + (high - low) * i / 3, y = top + (height - top - foot) * (1 - i / 3);
      pen.beginPath(); pen.moveTo(left, y); pen.lineTo(width - right, y); pen.stroke();
      pen.textAlign = 'right'; pen.textBaseline = 'middle'; pen.fillText((log ? Math.pow(10, value) : value).toFixed(3), left - 6, y);
    }
    pen.textAlign = 'center'; pen.textBaseline = 'top'; pen.fillText('step ' + points[points.length - 1].step + ' of ' + steps, left + (width - left - right) / 2, height - 16);
    const path = (values, { alpha, thick, dash }) => {
      pen.globalAlpha = alpha; pen.lineWidth = thick; pen.setLineDash(dash); pen.strokeStyle = ink; pen.beginPath();
      let pending = true;
      points.forEach((point, i) => { if (values[i] == null) return; pending ? pen.moveTo(X(point.step), Y(values[i])) : pen.lineTo(X(point.step), Y(values[i])); pending = false; });
      pen.stroke(); pen.globalAlpha = 1; pen.setLineDash([]);
    };
    for (const [name, , dash] of LINES) {
      const values = points.map((point) => point[name]);
      if (values.length >= 10) path(values, { alpha: 0.22, thick: 1, dash });
      path(smooth(values), { alpha: 1, thick: 2, dash });
    }
    const last = points[points.length - 1], rated = [...points].reverse().find((point) => point.accuracy != null);
    const told = LINES.map(([name, label]) => [...points].reverse().find((point) => point[name] != null) && `${label} ${[...points].reverse().find((point) => point[name] != null)[name].toFixed(3)}`).filter(Boolean);
    if (rated) told.push('held-out accuracy ' + rated.accuracy.toFixed(3));
    words.textContent = told.join(' · ') + (note && note.s ? ' · ' + note.s : '');
    canvas.setAttribute('aria-label', `Learning curve, step ${last.step}: ${told.join(', ')}`);
    if (twin.open) twin.lastElementChild.replaceChildren(table(['step', 'training loss', 'held-out loss', 'held-out accuracy'], points.map((p) => [p.step, ...[p.train, p.valid, p.accuracy].map((x) => x == null ? '–' : x.toFixed(4))])));
  };
  const update = () => { if (read(props.value)) requestAnimationFrame(draw); };
  element.querySelector('.log').addEventListener('click', (event) => { log = !log; event.target.setAttribute('aria-pressed', String(log)); draw(); });
  element.querySelector('.curve-csv').addEventListener('click', () => Playground.download('curve.csv',
    'step,train_loss,valid_loss,valid_accuracy\n' + points.map((p) => [p.step, p.train, p.valid, p.accuracy].map((x) => x ?? '').join(',')).join('\n') + '\n', 'text/csv'));
  twin.addEventListener('toggle', draw);
  document.addEventListener('pg-theme', draw);
  new ResizeObserver(draw).observe(element);
  watch('value', update); update(); draw();
  return { element, el };
});
