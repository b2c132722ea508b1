// One run, drawn from its lines: stage, weights, answer, maps, attention, timings, linked by one lock.
(() => {
  'use strict';
  const { el, bytes, color, percents, seconds, chip, table, reader } = Playground;
  const blank = () => ({ run: null, dec: null, read: null, toks: [], tools: [], end: null, fail: null, wait: null, opening: null, heads: {} });
  const argmax = (list) => { let best = 0; for (let i = 1; i < list.length; i++) if (list[i] > list[best]) best = i; return best; };
  const visible = (text) => text.replace(/\n/g, '⏎').replace(/ /g, '␣') || '(end)';

  /** Folds one record into the run; the twin of `ui/fold.py` for what is drawn. */
  const take = (r, state) => {
    switch (r.k) {
      case 'new': state.opening = r; break;
      case 'wait': state.wait = r; break;
      case 'run': state.run = r; state.wait = null; break;
      case 'dec': state.dec = r; break;
      case 'read': state.read = { t: r.t, w: bytes(r.w) }; break;
      case 'tool': state.tools.push(r); break;
      case 'tok': state.toks.push({ s: r.s, at: r.at, w: bytes(r.w), l: bytes(r.l), a: bytes(r.a), p: r.p, n: r.n, x: r.x || [] }); break;
      case 'end': state.end = r; break;
      case 'fail': state.fail = r; break;
    }
    state.heard = performance.now();
  };

  /** Spans of the answer, tinted. Draws only what is new unless `all`. */
  const drawTokens = (box, state, { tint, all, expert, lock, differs }) => {
    if (all || box.childElementCount > state.toks.length) box.replaceChildren();
    const pool = state.run ? state.run.pool : [];
    for (let i = box.childElementCount; i < state.toks.length; i++) {
      const tok = state.toks[i], span = el('span', 'tok', tok.s), top = tok.w ? argmax(tok.w) : -1;
      span.dataset.i = i;
      if (top >= 0 && pool[top]) {
        const look = pool[top], before = i && state.toks[i - 1].w ? argmax(state.toks[i - 1].w) : -1;
        span.dataset.e = top;
        if (tint === 'expert') {
          if (look.slot >= 0) span.style.background = `color-mix(in srgb, var(--x${look.slot}) ${Math.round(10 + 35 * tok.w[top] / 255)}%, transparent)`;
          if (top !== before) { span.classList.add('turn'); span.style.borderBottomColor = look.slot >= 0 ? `var(--x${look.slot})` : 'var(--pg-ink)'; }
        }
      }
      if (tint === 'probability' && tok.p !== undefined) span.style.background = `color-mix(in srgb, var(--pg-ink) ${Math.round(42 * (1 - Math.exp(tok.p)))}%, transparent)`;
      if (tint === 'entropy' && tok.n !== undefined) span.style.background = `color-mix(in srgb, var(--pg-ink) ${Math.round(Math.min(42, 10 * tok.n))}%, transparent)`;
      box.append(span);
    }
    for (const span of box.children) {
      const i = +span.dataset.i;
      span.classList.toggle('locked', i === lock);
      span.classList.toggle('faded', expert != null && +span.dataset.e !== expert);
      span.classList.toggle('differs', i === differs);
    }
    box.classList.toggle('typing', !!state.run && !state.end && !state.fail);
  };

  /** Bars in pool order; the rows are made once per pool, then only widths and words change. */
  const drawBars = (box, state, shown) => {
    const pool = state.run ? state.run.pool : [], key = pool.map((look) => look.name).join('|');
    if (box.dataset.pool !== key) {
      box.dataset.pool = key;
      box.replaceChildren(...pool.map((look, e) => {
        const row = el('button', 'bar'); row.type = 'button'; row.dataset.e = e; row.setAttribute('role', 'listitem');
        const track = el('span', 'track'), fill = el('i', 'fill'), mean = el('i', 'mean'), offered = el('i', 'offered'), even = el('i', 'even'), whisker = el('i', 'whisker');
        fill.dataset.slot = look.slot; even.style.left = 100 / pool.length + '%'; even.title = 'an equal share';
        offered.title = 'share it was drawn with'; whisker.title = 'interval the router gives';
        track.append(offered, fill, mean, even, whisker);
        row.append(el('span', 'icon', look.icon), chip(look), el('span', 'xname', look.title), track, el('span', 'pct'));
        return row;
      }));
    }
    const words = shown ? percents(shown.weights) : [];
    [...box.children].forEach((row, e) => {
      const w = shown ? shown.weights[e] : 0, [offered, fill, mean, , whisker] = row.querySelector('.track').children;
      fill.style.width = 100 * w + '%';
      row.querySelector('.pct').textContent = words[e] || '–';
      row.title = shown ? pool[e].title + ' · ' + w.toFixed(3) : pool[e].title;
      row.setAttribute('aria-label', pool[e].title + ' ' + (words[e] || 'no weight yet'));
      mean.hidden = !shown || !shown.mean; if (shown && shown.mean) mean.style.left = 100 * shown.mean[e] + '%';
      const p = state.dec && state.dec.p ? state.dec.p[e] : w, differs = shown && shown.decision && Math.abs(p - w) > 0.02;
      offered.hidden = !differs; offered.style.width = 100 * p + '%';
      const u = state.dec && state.dec.u && shown && shown.decision ? state.dec.u[e] : null;
      whisker.hidden = u == null;
      if (u != null) { whisker.style.left = 100 * Math.max(0, w - u) + '%'; whisker.style.width = 100 * (Math.min(1, w + u) - Math.max(0, w - u)) + '%'; }
    });
  };

  /** What the weight bars show: the looked-at token, the newest of a gate, the decision, or what was used. */
  const weightsShown = (state, focus) => {
    const { run, dec, toks, end } = state;
    const of = (tok) => Array.from(tok.w, (b) => b / 255);
    if (focus != null && toks[focus]?.w) return { weights: of(toks[focus]), what: 'token ' + (focus + 1) + ' ' + visible(toks[focus].s) };
    const gate = run && run.level === 'gate', carrying = toks.filter((tok) => tok.w);
    let mean = null;
    if (gate && carrying.length > 1) { mean = run.pool.map((_, e) => carrying.reduce((sum, tok) => sum + tok.w[e], 0) / carrying.length / 255); }
    if (end && gate) return { weights: end.u, what: 'mean over the answer' };
    if (gate && carrying.length) return { weights: of(carrying[carrying.length - 1]), mean, what: 'newest token · tick: mean so far' };
    if (dec) return { weights: dec.w, what: { argmax: 'the heaviest answers', sample: 'one was drawn', mixture: 'blended', override: 'set by hand' }[dec.scheme] || '', decision: true };
    return end ? { weights: end.u, what: 'used' } : null;
  };

  const stageWords = (state) => {
    const { run, dec, read, toks, end, fail, wait, opening } = state, parts = [];
    if (wait && !run && !fail) return wait.s;
    if (opening?.note) parts.push(opening.note);
    if (run) parts.push(run.router + (run.version ? ' · ' + run.version : ''));
    if (dec && run) { const top = argmax(dec.w); parts.push('→ ' + (run.level === 'gate' ? 'gate in ' + run.layers + ' layers' : run.pool[top].title + ' ' + percents(dec.w)[top])); }
    if (state.tools.length) parts.push('tool ' + state.tools[state.tools.length - 1].expert);
    if (read) parts.push('prompt ' + Playground.plural(read.t.length, 'token'));
    if (toks.length) {
      const first = toks[0].at, last = toks[toks.length - 1].at;
      parts.push('answer ' + Playground.plural(toks.length, 'token'));
      if (last > first && toks.length > 3) parts.push(((toks.length - 1) / (last - first)).toFixed(1) + ' tok/s');
    } else if (run && !end && !fail) parts.push(read ? 'answering' : dec ? 'reading the prompt' : 'deciding');
    if (end) parts.push({ stop: 'finished', length: 'stopped at the length limit', cancelled: 'stopped at ' + Playground.plural(end.tokens, 'token') }[end.reason] || end.reason);
    if (fail) parts.push('failed while ' + fail.stage);
    return parts.join(' · ') || (opening ? 'starting' : 'Nothing has run yet. Ask something, or press an example.');
  };

  class RunView {
    constructor({ element, props, watch, server }) {
      Object.assign(this, { element, props, server, lock: null, hover: null, expert: null, tint: 'expert', sideBySide: null, follow: true, queued: false });
      this.$ = (selector) => element.querySelector(selector);
      this.state = blank();
      this.read = reader(() => { clearInterval(this.playing); this.playing = 0; this.state = blank(); this.lock = this.hover = this.expert = null; this.follow = true; this.fresh = true; this.beside(null); }, (record) => take(record, this.state));
      watch('value', () => this.update()); this.listen(); this.update();
      document.addEventListener('pg-theme', () => { this.fresh = true; this.schedule(); });
      new ResizeObserver(() => this.schedule()).observe(element);
      setInterval(() => this.tick(), 1000);
    }
    update() {
      if (!this.read(this.props.value)) return;
      const { opening, toks } = this.state;
      // on a phone the answer lies below the controls: bring it into sight once, when a run begins
      if (opening && !opening.example && !toks.length && this._seen !== opening.n && matchMedia('(max-width: 720px)').matches) this.element.scrollIntoView({ block: 'start' });
      if (opening) this._seen = opening.n;
      this.schedule();
    }
    schedule() { if (!this.queued) { this.queued = true; requestAnimationFrame(() => { this.queued = false; this.draw(); }); } }
    get focus() { return this.hover ?? this.lock; }
    /** The other run that is drawn beside this one, from its own lines; null removes it. */
    beside(state) { this.other = state; const box = this.$('.beside'); box.hidden = !state; if (!state) box.replaceChildren(); this.schedule(); }

    draw() {
      if (this.element.offsetParent === null) return;
      const { state, focus } = this, section = this.$('.run'), run = state.run;
      section.dataset.state = state.fail ? 'failed' : state.end ? 'over' : run ? 'running' : state.wait ? 'waiting' : 'empty';
      section.dataset.tokens = state.toks.length; section.dataset.run = run ? run.id : '';
      this.drawStage();
      const asked = this.$('.asked'), prompt = run ? run.prompt : '';
      if (asked._text !== prompt) { asked._text = prompt; asked.textContent = prompt.length > 240 ? prompt.slice(0, 239) + '…' : prompt; }
      const shown = weightsShown(state, focus);
      drawBars(this.$('.bars'), state, shown);
      this.$('.bars-what').textContent = shown ? shown.what : '';
      const why = this.$('.why'), reason = state.dec ? state.dec.why : state.opening ? '' : null;
      if (reason !== null && why._html !== reason) { why._html = reason; why.innerHTML = reason; }
      const differs = this.other ? this.firstDifference() : null;
      drawTokens(this.$('.answer'), state, { tint: this.tint, all: this.fresh, expert: this.expert, lock: this.lock, differs });
      this.drawOther(differs); this.drawTools(); this.drawDetail(); this.drawMaps(); this.drawAttention(); this.drawFoot();
      if (this.$('details[open]')) this.drawTwins();
      this.fresh = false;
    }
    drawStage() {
      const { state } = this;
      this.$('.stage-text').textContent = stageWords(state);
      const wait = this.$('.wait'); wait.hidden = !(state.wait && !state.run && state.wait.f != null);
      if (!wait.hidden) this.$('.wait-bar i').style.width = 100 * state.wait.f + '%';
      const trouble = this.$('.trouble'); trouble.hidden = !state.fail;
      if (state.fail) trouble.textContent = [state.fail.m, state.toks.length ? 'What had arrived is kept below.' : '', state.fail.remedy].filter(Boolean).join(' ');
    }
    tick() {
      const { state } = this, more = this.$('.stage-more'), busy = (state.run || state.wait) && !state.end && !state.fail;
      const quiet = busy ? Math.floor((performance.now() - state.heard) / 1000) : 0;
      more.textContent = quiet < 3 ? '' : quiet < 30 ? ` · still working (${quiet} s)` : ` · no news for ${quiet} s: you can stop and try again`;
    }
    drawTools() {
      const box = this.$('.tools'), { tools } = this.state;
      if (box.childElementCount === tools.length && !this.fresh) return;
      box.replaceChildren(...tools.map((tool) => {
        const line = el('div', 'tool');
        line.append(chip({ mark: tool.mark, slot: tool.slot, title: tool.expert }), el('code', '', tool.q || '(nothing understood)'), el('span', '', tool.ok ? '→' : 'refused:'), el('b', '', tool.r), el('span', 'muted', seconds(tool.s)));
        return line;
      }));
    }
    drawDetail() {
      const box = this.$('.detail'), { focus, state } = this, tok = focus != null ? state.toks[focus] : null;
      if (!tok) { if (box._of !== null) { box._of = null; box.replaceChildren(el('span', 'hint', 'Hover a token to look into it, click to lock it, click again or Esc to unlock. ← → move the lock.')); } return; }
      if (box._of === tok && box._lock === this.lock) return;
      box._of = tok; box._lock = this.lock;
      const head = el('div', 'detail-head');
      head.append(el('b', 'tokname', visible(tok.s)), el('span', 'muted', `token ${focus + 1}${focus === this.lock ? ' · locked' : ''}`));
      if (tok.x.length) head.append(el('span', 'muted', `log-prob ${tok.p.toFixed(2).replace('-', '\u2212')} · entropy ${tok.n.toFixed(2)}`));
      const list = el('div', 'alts');
      for (const [text, p] of tok.x) {
        const item = el('span', 'alt' + (text === tok.s ? ' chosen' : '')); item.style.setProperty('--w', p);
        item.append(el('code', '', visible(text)), el('span', 'num', (p * 100).toFixed(1) + '%'));
        list.append(item);
      }
      if (!tok.x.length) list.append(el('span', 'hint', 'written by a tool: no alternatives'));
      box.replaceChildren(head, list);
    }
    firstDifference() {
      const mine = this.state.toks, theirs = this.other.toks, end = Math.min(mine.length, theirs.length);
      for (let i = 0; i < end; i++) if (mine[i].s !== theirs[i].s) return i;
      return mine.length !== theirs.length && this.other.end ? end : null;
    }
    drawOther(differs) {
      const box = this.$('.beside');
      if (!this.other) return;
      if (!box.firstChild) box.append(el('div', 'beside-head'), el('div', 'bars small'), el('div', 'answer'));
      const [head, bars, answer] = box.children, shown = weightsShown(this.other, null);
      head.textContent = 'With your weights · ' + (this.other.fail ? this.other.fail.m : stageWords(this.other)) + (differs != null ? ` · first differs at token ${differs + 1}` : this.other.end ? ' · the same answer' : '');
      drawBars(bars, this.other, shown);
      drawTokens(answer, this.other, { tint: this.tint, all: true, expert: this.expert, lock: null, differs });
    }
    drawMaps() {
      const { state, focus } = this, pool = state.run ? state.run.pool : [], labels = this.$('.map-labels'), scroll = this.$('.map .scroll');
      const key = pool.map((look) => look.name).join('|');
      if (labels._key !== key) { labels._key = key; labels.replaceChildren(...pool.map((look) => { const row = el('div'); row.append(chip(look)); return row; })); }
      const map = this.$('.tokens-map');
      this.grid = Playground.maps.tokens(map, { rows: pool.length, columns: state.toks.length, weights: (i) => state.toks[i].w, focus, room: scroll.clientWidth });
      if (this.follow && !state.end) scroll.scrollLeft = scroll.scrollWidth;
      this.$('.live').hidden = this.follow || !!state.end;
      if (state.toks.length && state.end) { const top = argmax(state.end.u); map.setAttribute('aria-label', `Heat map of expert weights over ${state.toks.length} tokens; ${pool[top].title} has most, ${percents(state.end.u)[top]}`); }
      this.drawLayers(pool);
    }
    drawLayers(pool) {
      const { state, focus } = this, canvas = this.$('.layers-map'), note = this.$('.layer-note'), withLayers = state.toks.filter((tok) => tok.l);
      if (!state.run) { note.textContent = 'Where in the model each expert acts will be here.'; return; }
      let weights = null, flat = null;
      if (withLayers.length) {
        if (focus != null && state.toks[focus]?.l) weights = state.toks[focus].l;
        else {
          const sums = new Float32Array(withLayers[0].l.length);
          for (const tok of withLayers) for (let i = 0; i < sums.length; i++) sums[i] += tok.l[i];
          weights = sums.map((x) => x / withLayers.length);
        }
        this.$('.layer-what').textContent = focus != null ? 'token ' + (focus + 1) : 'mean over the answer';
        note.textContent = 'Layer 1 at the bottom.';
      } else {
        const shown = weightsShown(state, focus);
        const used = focus != null ? state.toks[focus] : state.toks[state.toks.length - 1];   // what acted, not only what was decided
        flat = used?.w ? Array.from(used.w, (b) => b / 255) : shown ? shown.weights : pool.map(() => 0);
        this.$('.layer-what').textContent = 'the same in every layer';
        note.textContent = 'This router decides before the answer, so every layer has the same weights. A gate decides in each layer.';
      }
      this.layerWeights = weights;
      Playground.maps.layers(canvas, { looks: pool, count: state.run.layers, weights, flat, room: this.$('.layers').clientWidth });
      const top = weights ? null : argmax(flat);
      canvas.setAttribute('aria-label', weights ? `Weights of ${pool.length} experts in ${state.run.layers} layers` : `Every layer: ${pool[top]?.title} ${percents(flat)[top]}`);
    }
    drawFoot() {
      const box = this.$('.timings'), { end, run } = this.state;
      if (box._of === end) return;
      box._of = end; box.replaceChildren();
      const link = this.$('.permalink'); link.hidden = !run || !end;
      if (run) link.href = '?run=' + encodeURIComponent(run.id);
      if (!end) return;
      const t = end.timings, rows = [['encode', t.encode_s], ['decide', t.decide_s], ['first token', t.first_token_s], ['total', t.total_s]];
      for (const [name, value] of rows) if (value != null) { const item = el('span', 'timing'); item.append(el('span', 'muted', name), el('b', '', seconds(value))); box.append(item); }
      const speed = el('span', 'timing'), rest = t.total_s - (t.first_token_s || 0);
      if (end.tokens > 1 && rest > 0) { speed.append(el('span', 'muted', 'speed'), el('b', '', ((end.tokens - 1) / rest).toFixed(1) + ' tok/s')); box.append(speed); }
      const count = el('span', 'timing'); count.append(el('span', 'muted', 'tokens'), el('b', '', `${end.prompt_tokens} + ${end.tokens}`)); box.append(count);
      if (end.cost != null) { const cost = el('span', 'timing'); cost.append(el('span', 'muted', 'cost'), el('b', '', '$' + end.cost.toPrecision(2))); box.append(cost); }
    }
  }
  Playground.run = { RunView, blank, take, argmax, visible, weightsShown, drawTokens, drawBars, stageWords };
})();
