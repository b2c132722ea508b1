// One run, drawn from its lines: stage, weights, answer, maps, attention, timings, linked by one lock.
(() => {
  'use strict';
  const { el, bytes, percents, seconds, chip, table, reader } = Playground;
  const blank = () => ({ run: null, dec: null, read: null, toks: [], tools: [], end: null, fail: null, wait: null, opening: null, heads: {}, all: null, what: '', like: null });
  const argmax = (list) => { let best = 0; for (let i = 1; i < list.length; i++) if (list[i] > list[best]) best = i; return best; };
  const visible = (text) => text.replace(/\n/g, '⏎').replace(/ /g, '␣') || '(end)';

  /** What a record says of a gate's routing of one token: leader, layers (L·E), entropy of each layer, measures. */
  const routed = (r) => ({ e: r.e, l: bytes(r.l), h: bytes(r.h), m: r.m });
  /** The prompt as it was read. `own` is the range of tokens that the visitor typed; the rest is the chat's frame. */
  const readPrompt = (r, run) => {
    const E = run.pool.length, size = E * run.layers, w = bytes(r.w), l = bytes(r.l), h = bytes(r.h), n = r.t.length;
    const gap = n - (l ? l.length / size : 0), part = (list, i, width) => list && i >= 0 ? list.subarray(i * width, (i + 1) * width) : null;
    const toks = r.t.map((s, i) => ({ s, x: [], w: part(w, i, E), e: r.e ? r.e[i] : undefined, l: part(l, i - gap, size), h: part(h, i - gap, run.layers), m: r.m ? r.m[i - gap] : undefined }));
    const own = r.own && r.own[1] > r.own[0] ? r.own : [0, n];
    return { t: r.t, toks, own };
  };
  /** Tokens count from the answer's first; negative ones are the prompt's, -1 its last. */
  const tokenAt = (state, i) => i == null ? null : i >= 0 ? state.toks[i] : state.read?.toks[state.read.toks.length + i];
  /** The columns of the token map: the visitor's own tokens when a gate weighed them, then the answer's. */
  const columns = (state) => {
    const { read, toks } = state, weighed = read && read.toks[0]?.w, n = read ? read.toks.length : 0;
    const first = weighed ? read.own[0] - n : 0, lead = weighed ? read.own[1] - read.own[0] : 0;
    return { lead, count: lead + toks.length, at: (k) => k < lead ? first + k : k - lead, of: (i) => i == null ? null : i < 0 ? i - first : i + lead };
  };

  /** Folds one record into the run; the twin of `core/fold.py` for what is drawn. */
  const take = (r, state) => {
    switch (r.k) {
      case 'new': state.opening = r; break;
      case 'wait': state.wait = r; break;
      case 'run': state.run = r; state.wait = null; break;
      case 'dec': state.dec = r; break;
      case 'read': state.read = readPrompt(r, state.run); break;
      case 'tool': state.tools.push(r); break;
      case 'tok': state.toks.push({ s: r.s, at: r.at, w: bytes(r.w), ...routed(r), a: bytes(r.a), p: r.p, n: r.n, x: r.x || [] }); break;
      case 'end': state.end = r; break;
      case 'fail': state.fail = r; break;
      case 'what': state.what = r.s; break;
      case 'like': state.like = r; break;
    }
    state.heard = performance.now();
  };

  /** Spans of tokens, tinted; where another expert takes the lead, an edge in its colour. Draws only what is new unless
   *  `all`. `first` is the index of the first one. */
  const drawTokens = (box, toks, { pool, first = 0, live, tint, all, expert, lock, differs }) => {
    if (all || box.childElementCount > toks.length) box.replaceChildren();
    for (let k = box.childElementCount; k < toks.length; k++) {
      const tok = toks[k], span = el('span', 'tok', tok.s), look = pool[tok.e];
      span.dataset.i = first + k;
      if (tok.w && look) {
        const ink = look.slot >= 0 ? `var(--x${look.slot})` : 'var(--pg-ink)', before = k ? toks[k - 1].e : undefined;
        span.dataset.e = tok.e;
        if (tint === 'expert') {
          if (look.slot >= 0) span.style.background = `color-mix(in srgb, ${ink} ${Math.round(10 + 35 * tok.w[tok.e] / 255)}%, transparent)`;
          if (tok.e !== before) { span.classList.add('turn'); span.style.setProperty('--turn', ink); }
          if (before !== undefined && tok.e !== before) { span.classList.add('switch'); span.title = 'here ' + look.title + ' takes over from ' + (pool[before]?.title || '?'); }
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
    box.classList.toggle('typing', !!live);
  };
  const isLive = (state) => !!state.run && !state.end && !state.fail;

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

  /** What a token is called: its number in the answer, or among the visitor's own words. */
  const place = (state, i) => i >= 0 ? 'token ' + (i + 1) : 'prompt token ' + (columns(state).of(i) + 1);

  /** What the weight bars show: the looked-at token, the newest of a gate, the decision, or what was used. */
  const weightsShown = (state, focus) => {
    const { run, dec, toks, end } = state;
    const of = (tok) => Array.from(tok.w, (b) => b / 255);
    const tok = tokenAt(state, focus);
    if (tok?.w) return { weights: of(tok), what: place(state, focus) + ' ' + visible(tok.s) };
    const gate = run && run.level === 'gate', carrying = toks.filter((tok) => tok.w);
    let mean = null;
    if (gate && carrying.length > 1) { mean = run.pool.map((_, e) => carrying.reduce((sum, tok) => sum + tok.w[e], 0) / carrying.length / 255); }
    const used = end && run && end.u.length === run.pool.length ? end.u : null;  // none when it was stopped before it began
    if (used && gate) return { weights: used, what: 'mean over the answer' };
    if (gate && carrying.length) return { weights: of(carrying[carrying.length - 1]), mean, what: 'newest token · tick: mean so far' };
    if (dec) return { weights: dec.w, what: { argmax: 'the heaviest answers', sample: 'one was drawn', mixture: 'blended', override: 'set by hand' }[dec.scheme] || '', decision: true };
    return used ? { weights: used, what: 'used' } : null;
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
    if (end) parts.push({ stop: 'finished', length: 'stopped at the length limit', cancelled: 'stopped at ' + Playground.plural(toks.length, 'token') }[end.reason] || end.reason);
    if (fail) parts.push('failed while ' + fail.stage);
    return parts.join(' · ') || (opening ? 'starting' : 'Nothing has run yet. Ask something, or press an example.');
  };

  class RunView {
    constructor({ element, props, watch, server }) {
      Object.assign(this, { element, props, server, lock: null, hover: null, expert: null, layer: null, tint: 'expert', sideBySide: null, follow: true, queued: false });
      this.$ = (selector) => element.querySelector(selector);
      this.state = blank();
      this.read = reader(() => { clearInterval(this.playing); this.playing = 0; this.state = blank(); this.lock = this.hover = this.expert = this.layer = null; this.follow = true; this.fresh = true; this.beside(null); }, (record) => take(record, this.state));
      watch('value', () => this.update()); this.listen(); this.update();
      document.addEventListener('click', (event) => { if (event.target.closest?.('#run')) { this.asked = true; this.halt = false; } }, true);
      document.addEventListener('pg-theme', () => { this.fresh = true; this.schedule(); });
      new ResizeObserver(() => this.schedule()).observe(element);
      setInterval(() => this.tick(), 1000);
    }
    update() {
      if (!this.read(this.props.value)) return;
      const { opening, toks } = this.state;
      // on a phone the answer lies below the controls: bring it into sight once, when a run begins
      if (opening && !opening.example && !toks.length && this._seen !== opening.n && matchMedia('(max-width: 720px)').matches) this.element.scrollIntoView({ block: 'start' });
      if (opening && this._seen !== opening.n) {
        this.asked = false;
        if (this.halt) { this.halt = false; document.querySelector('#stop')?.click(); }
      }
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
      section.dataset.tokens = state.toks.length; section.dataset.run = run ? run.id : ''; section.dataset.level = run ? run.level : '';
      if (run) section.style.setProperty('--inside', 62 + run.pool.length * (run.pool.length > 8 ? 11 : 14) + 'px');
      this.drawStage();
      this.drawAsked();
      const shown = weightsShown(state, focus);
      drawBars(this.$('.bars'), state, shown);
      this.$('.bars-what').textContent = shown ? shown.what : '';
      const why = this.$('.why'), reason = state.dec ? state.dec.why : state.opening ? '' : null;
      if (reason !== null && why._html !== reason) { why._html = reason; why.innerHTML = reason; }
      const differs = this.other ? this.firstDifference() : null;
      drawTokens(this.$('.answer'), state.toks, { pool: run ? run.pool : [], live: isLive(state), tint: this.tint, all: this.fresh, expert: this.expert, lock: this.lock, differs });
      this.drawOther(differs); this.drawTools(); this.drawDetail(); this.drawMaps(); this.drawAttention(); this.drawFoot();
      if (this.$('details[open]')) this.drawTwins();
      this.fresh = false;
    }
    /** The question above its answer: as tokens in their experts' colours when a gate weighed them, else as text. */
    drawAsked() {
      const box = this.$('.asked'), { run, read } = this.state, text = run ? run.prompt : '', weighed = columns(this.state).lead > 0;
      if (!weighed) { if (box._text !== text) { box._text = text; box.textContent = text.length > 240 ? text.slice(0, 239) + '…' : text; } return; }
      if (box._text !== read) box.replaceChildren();
      box._text = read;
      drawTokens(box, read.toks.slice(...read.own), { pool: run.pool, first: read.own[0] - read.toks.length, tint: this.tint === 'plain' ? 'plain' : 'expert', all: this.fresh, expert: this.expert, lock: this.lock });
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
      const box = this.$('.detail'), { focus, state } = this, tok = tokenAt(state, focus);
      if (!tok) { if (box._of !== null) { box._of = null; box.replaceChildren(el('span', 'hint', 'Hover a token to look into it, click to lock it, click again or Esc to unlock. ← → move the lock, ↑ ↓ go through the layers.')); } return; }
      if (box._of === tok && box._lock === this.lock && box._layer === this.layer && !this.fresh) return;
      Object.assign(box, { _of: tok, _lock: this.lock, _layer: this.layer });
      const head = el('div', 'detail-head'), list = el('div', 'alts');
      head.append(el('b', 'tokname', visible(tok.s)), el('span', 'muted', place(state, focus) + (focus === this.lock ? ' · locked' : '')));
      if (tok.x.length) head.append(el('span', 'muted', `log-prob ${tok.p.toFixed(2).replace('-', '\u2212')} · entropy of the next token ${tok.n.toFixed(2)}`));
      if (tok.m) head.append(el('span', 'muted', this.measured(tok)));
      for (const [text, p] of tok.x) {
        const item = el('span', 'alt' + (text === tok.s ? ' chosen' : '')); item.style.setProperty('--w', p);
        item.append(el('code', '', visible(text)), el('span', 'num', (p * 100).toFixed(1) + '%'));
        list.append(item);
      }
      if (!tok.x.length) list.append(el('span', 'hint', focus < 0 ? 'read, not written: no alternatives' : 'written by a tool: no alternatives'));
      const parts = el('div', 'detail-parts');
      parts.append(list);
      if (tok.l) { const canvas = el('canvas', 'inside'); parts.append(canvas); this.drawInside(canvas, tok); }
      box.replaceChildren(head, parts);
    }
    /** How likely each routing finds each answer, per token: which text belongs to which routing, or to both. */
    drawLikely() {
      const box = this.$('.likely'), like = this.other?.like, pair = [this.state.run, this.other?.run];
      box.hidden = !like || !pair[0] || !pair[1];
      if (box.hidden || box._of === like) return;
      box._of = like;
      if (like.s) { box.replaceChildren(el('p', 'hint', like.s)); return; }
      const told = (x) => x == null ? 'a tool wrote it' : x.toFixed(2).replace('-', '\u2212'), second = this.other.what ? this.other.what.toLowerCase() : 'with your weights';
      const made = table(['log-probability per token', 'as first routed', second], [['the first answer', told(like.first_by_first), told(like.first_by_second)], ['the answer beside it', told(like.second_by_first), told(like.second_by_second)]]);
      const loss = like.first_by_first != null && like.first_by_second != null ? like.first_by_first - like.first_by_second : null;
      const words = loss == null ? '' : Math.abs(loss) < 0.005 ? 'Both routings find the first answer equally likely.' : `The new routing finds the first answer ${loss > 0 ? 'less' : 'more'} likely: its tokens are ${Math.exp(Math.abs(loss)).toFixed(2)} times ${loss > 0 ? 'less' : 'more'} probable, as a geometric mean.`;
      box.replaceChildren(made, el('p', 'hint', words + ' Nearer to 0 is likelier; measured at temperature 1, without penalties.'));
    }
    firstDifference() {
      const mine = this.state.toks, theirs = this.other.toks, end = Math.min(mine.length, theirs.length);
      for (let i = 0; i < end; i++) if (mine[i].s !== theirs[i].s) return i;
      const whole = [this.state.end, this.other.end].every((last) => last && last.reason !== 'cancelled');
      return mine.length !== theirs.length && whole ? end : null;
    }
    drawOther(differs) {
      const box = this.$('.beside');
      this.drawLikely();
      if (!this.other) return;
      if (!box.firstChild) box.append(el('div', 'beside-head'), el('div', 'bars small'), el('div', 'answer'));
      const [head, bars, answer] = box.children, shown = weightsShown(this.other, null);
      head.textContent = (this.other.what || 'With your weights') + ' · ' + (this.other.fail ? this.other.fail.m : stageWords({ ...this.other, opening: null })) + (differs != null ? ` · first differs at token ${differs + 1}` : this.other.end ? ' · the same ' + (this.state.toks.length === this.other.toks.length ? 'answer' : 'as far as both go') : '');
      drawBars(bars, this.other, shown);
      drawTokens(answer, this.other.toks, { pool: this.other.run ? this.other.run.pool : [], live: isLive(this.other), tint: this.tint, all: true, expert: this.expert, lock: null, differs });
    }
    drawFoot() {
      const box = this.$('.timings'), { end, run } = this.state;
      if (box._of === end) return;
      box._of = end; box.replaceChildren();
      const link = this.$('.permalink'), recorded = !!this.state.opening?.example;  // which no server holds
      link.hidden = !run || !end || recorded;
      for (const button of this.element.querySelectorAll('[data-export=json], [data-export=csv]')) button.hidden = recorded;
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
  Playground.run = { RunView, blank, take, argmax, visible, weightsShown, drawTokens, drawBars, stageWords, tokenAt, columns, place };
})();
