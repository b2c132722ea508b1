// The rest of the run's picture: tables, what the pointer and the keys do, exports.
(() => {
  'use strict';
  const { el, table, download, reader } = Playground;
  const { RunView, blank, take, visible, columns } = Playground.run;

  /** Ends a run that is under way, if it is: what has arrived stays, and the stage line says so. */
  const cutOff = (state) => {
    if (!state.opening || state.end || state.fail) return false;
    const used = state.toks.filter((tok) => tok.w), pool = state.run ? state.run.pool : [];
    const u = pool.map((_, e) => used.length ? used.reduce((sum, tok) => sum + tok.w[e], 0) / used.length / 255 : 0);
    state.wait = null;
    state.end = { text: state.toks.map((tok) => tok.s).join(''), u, tokens: state.toks.length, prompt_tokens: state.read ? state.read.t.length : 0, timings: {}, reason: 'cancelled' };
    return true;
  };

  Object.assign(RunView.prototype, {
    // --- tables beside the pictures ---------------------------------------------------------------------------
    drawTwins() {
      const { state } = this, pool = state.run ? state.run.pool.map((look) => look.title) : [], cell = (b) => (b / 255).toFixed(3);
      for (const twin of this.element.querySelectorAll('details.twin[open]')) {
        const box = twin.lastElementChild;
        let made;
        if (twin.dataset.twin === 'tokens') {
          const own = columns(state).lead ? state.read.toks.slice(...state.read.own) : [], row = (at) => (tok, i) => [at + (i + 1), visible(tok.s), ...(tok.w ? Array.from(tok.w, cell) : pool.map(() => '–')), ...(tok.m || ['–', '–', '–']).map((x) => x.toFixed ? x.toFixed(3) : x)];
          made = table(['#', 'token', ...pool, 'entropy (nats)', 'agreement', 'leading layers'], [...own.map(row('p')), ...state.toks.map(row(''))]);
        }
        else if (twin.dataset.twin === 'layers') made = this.layerWeights
          ? table(['layer', ...pool, 'entropy (nats)'], Array.from({ length: state.run.layers }, (_, l) => [l + 1, ...Array.from(this.layerWeights.slice(l * pool.length, (l + 1) * pool.length), cell), (this.layerEntropy[l] / 255 * Math.log(pool.length)).toFixed(3)]))
          : el('p', 'hint', 'the same in every layer');
        else made = this.attentionRow ? table(['#', 'token', 'attention'], Array.from(this.attentionRow.values, (b, i) => [i + 1, visible(this.attentionRow.names[i] || ''), cell(b)])) : el('p', 'hint', 'nothing observed');
        box.replaceChildren(made);
      }
    },

    // --- pointer, keys ------------------------------------------------------------------------------------------
    listen() {
      const on = (selector, type, act) => this.$(selector).addEventListener(type, act);
      const token = (event) => { const span = event.target.closest('.tok'); return span ? +span.dataset.i : null; };
      for (const box of ['.answer', '.asked']) {
        on(box, 'pointerover', (event) => { if (event.pointerType !== 'touch') { this.hover = token(event); this.schedule(); } });
        on(box, 'pointerleave', () => { this.hover = null; this.schedule(); });
        on(box, 'click', (event) => { const i = token(event); if (i != null) this.toggle(i); });
      }
      const column = (event) => { const k = Math.floor(event.offsetX / this.grid.cell), all = columns(this.state); return k >= 0 && k < all.count ? k : null; };
      const map = (k) => k == null ? null : columns(this.state).at(k);
      on('.tokens-map', 'pointermove', (event) => {
        if (event.pointerType === 'touch') return;
        const k = column(event);
        this.hovering = k != null; this.hover = map(k);
        if (this.hovering) this.$('.map-what').textContent = this.cellWords(k, event.offsetY);
        this.schedule();
      });
      on('.tokens-map', 'pointerleave', () => { this.hovering = false; this.hover = null; this.schedule(); });
      on('.tokens-map', 'click', (event) => { const i = map(column(event)); if (i != null) this.toggle(i); });
      this.listenRouting();
      on('.map .scroll', 'scroll', (event) => { const box = event.target; this.follow = box.scrollLeft + box.clientWidth >= box.scrollWidth - 24; this.$('.live').hidden = this.follow || !!this.state.end; });
      on('.live', 'click', () => { this.follow = true; this.schedule(); });
      on('.bars', 'click', (event) => { const row = event.target.closest('.bar'); if (row) this.lead(+row.dataset.e); });
      on('.tint', 'click', (event) => {
        const button = event.target.closest('button');
        if (!button) return;
        this.tint = button.dataset.tint; this.fresh = true;
        for (const each of button.parentNode.children) each.setAttribute('aria-pressed', String(each === button));
        this.schedule();
      });
      on('.replay', 'click', () => this.replay());
      on('.copy', 'click', () => { const { end, toks } = this.state; navigator.clipboard?.writeText(end ? end.text : toks.map((tok) => tok.s).join('')); });
      this.listenAttention();
      on('.exports', 'click', (event) => { const kind = event.target.dataset.export; if (kind) this.export(kind); });
      for (const twin of this.element.querySelectorAll('details.twin')) twin.addEventListener('toggle', () => this.drawTwins());
    },
    /** The visitor stopped the run. One that was asked for, and of which nothing has come yet, is stopped when it begins. */
    stop() {
      if (this.playing) { this.replay(); return; }
      this.halt = !cutOff(this.state) && this.asked;
      this.schedule();
    },
    /** Plays a finished run again in its own time, at most eight seconds long; a second press shows the end at once. */
    replay() {
      if (this.playing) { clearInterval(this.playing); this.playing = 0; this.state = this.whole; this.fresh = true; this.schedule(); return; }
      const whole = this.state;
      if (!whole.end || !whole.toks.length) return;
      const first = whole.toks[0].at || 0, length = (whole.toks[whole.toks.length - 1].at || 0) - first, pace = Math.max(1, length / 8);
      const began = performance.now();
      this.whole = whole;
      this.state = { ...whole, toks: [], end: null };
      this.lock = this.hover = null; this.fresh = this.follow = true;
      this.playing = setInterval(() => {
        const now = first + (performance.now() - began) / 1000 * pace, { toks } = this.state;
        while (toks.length < whole.toks.length && (whole.toks[toks.length].at || 0) <= now) toks.push(whole.toks[toks.length]);
        this.state.heard = performance.now();
        if (toks.length === whole.toks.length) { clearInterval(this.playing); this.playing = 0; this.state = whole; }
        this.schedule();
      }, 90);
    },
    toggle(i) { this.lock = this.lock === i ? null : i; this.hover = null; this.schedule(); },
    lead(e) { this.expert = this.expert === e ? null : e; for (const row of this.$('.bars').children) row.setAttribute('aria-pressed', String(+row.dataset.e === this.expert)); this.schedule(); },
    unlock() {
      if (this.lock == null && this.expert == null && this.layer == null) return false;
      this.lock = this.hover = this.layer = null; if (this.expert != null) this.lead(this.expert);
      this.schedule();
      return true;
    },
    key(event) {
      const all = columns(this.state), n = all.count, at = all.of(this.lock), to = (k) => { this.lock = all.at(Math.max(0, Math.min(n - 1, k))); this.schedule(); return true; };
      if (event.target.closest?.('.attention-map') && this.gridKey(event)) return true;
      const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key], climb = { ArrowUp: 1, ArrowDown: -1 }[event.key], inMap = event.target.closest?.('.layers-map, .tokens-map');
      if (move && at != null) return to(at + move * (event.shiftKey ? 10 : 1));
      if (move && event.target.closest?.('.answer, .asked, .tokens-map') && n) return to(move > 0 ? all.lead : n - 1);
      if (climb && this.state.run && (at != null || this.layer != null || inMap)) { this.stepLayer(climb); return true; }
      if (event.key === 'Home' && at != null) return to(0);
      if (event.key === 'End' && at != null) return to(n - 1);
      if (/^[1-9]$/.test(event.key) && this.state.run && +event.key <= this.state.run.pool.length) { this.lead(+event.key - 1); return true; }
      if (event.key === ' ' && !event.target.closest?.('button, a, summary, select')) { this.replay(); return true; }
      if (event.key === '[' || event.key === ']') return this.stepHead(event.key === ']' ? 1 : -1);
      if (event.key === 't') { const twins = [...this.element.querySelectorAll('details.twin')], open = !twins[0].open; for (const twin of twins) twin.open = open; return true; }
      if (event.key === 'o') { const box = document.querySelector('#override'); box?.querySelector('button')?.click(); box?.scrollIntoView({ block: 'nearest' }); return !!box; }
      return false;
    },
    async export(kind) {
      const { run, end } = this.state;
      if (!run) return;
      if (kind === 'png') { Playground.maps.picture(`${run.router} · ${run.prompt.slice(0, 70)}`, [this.$('.tokens-map'), this.$('.layers-map'), this.$('.attention-map')], (blob) => download(`run-${run.id}.png`, blob)); return; }
      if (kind === 'attention') { download(`attention-${run.id}.csv`, this.attentionCsv(), 'text/csv'); return; }
      if (kind === 'svg') { download(`run-${run.id}.svg`, this.asSvg(), 'image/svg+xml'); return; }
      if (!end || !this.server) return;
      let answer;
      try { answer = await this.server.export_run({ run: run.id, kind }); } catch { answer = null; }
      if (answer && answer.text) download(`run-${run.id}.${kind}`, answer.text, kind === 'json' ? 'application/json' : 'text/csv');
    },
  });

  Playground.define('run', (parts) => new RunView(parts));

  // the counterfactual arrives in its own component and is drawn beside the first answer
  Playground.define('other', ({ props, watch }) => {
    let state = null;
    const read = reader(() => { state = blank(); }, (record) => take(record, state));
    state = blank();
    const draw = () => {
      if (!read(props.value)) return;
      const view = Playground.view('run');
      if (!view) return;
      if (state.opening && !state.opening.note && !state.run && !state.wait && !state.fail) view.beside(null);
      else view.beside(state);
    };
    watch('value', draw); draw();
    return { stop() { cutOff(state); if (state.like?.s) state.like = null; Playground.view('run')?.schedule(); } };
  });
})();
