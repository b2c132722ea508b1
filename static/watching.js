// Attention: the observed head while the answer is written; any layer, all heads and their rollout after it.
(() => {
  'use strict';
  const { el, bytes } = Playground;
  const { RunView, visible } = Playground.run;
  // shares of a rollout are far below a byte's steps, so they come as floats; drawn on the scale of bytes like the rest
  const floats = (text) => new Float32Array(bytes(text).buffer).map((x) => x * 255);
  const GAP = 3, LEFT = 26, TOP = 16;

  Object.assign(RunView.prototype, {
    mode: 'head',
    promptTexts() { return this.state.read ? this.state.read.t : []; },
    /** What is drawn: queries, keys, row(i) as bytes, token names; null when nothing is known of the chosen head. */
    attentionShown(layer, head) {
      const { state } = this, whole = state.heads[layer], rows = state.toks.map((tok) => tok.a), texts = this.promptTexts().concat(state.toks.map((tok) => tok.s));
      const square = (data, size, at, tokens) => ({ whole: true, queries: size, keys: size, names: tokens, row: (i) => data.subarray(at + i * size, at + i * size + i + 1) });
      if (this.mode === 'rollout') return state.all && square(state.all.rollout, state.all.size, 0, state.all.tokens);
      if (whole) return square(whole.data, whole.size, head * whole.size * whole.size, whole.tokens);
      if (layer !== state.run.ol || head !== state.run.oh || !rows.some(Boolean)) return null;
      return { whole: false, queries: rows.length, keys: Math.max(0, ...rows.map((row) => row ? row.length : 0)), names: texts, first: texts.length - rows.length, row: (i) => rows[i] };
    },
    drawAttention() {
      const { state } = this, run = state.run;
      if (!run) return;
      this.fillPicks(run);
      const layer = +this.$('.att-layer').value, head = +this.$('.att-head').value, shown = this.attentionShown(layer, head), canvas = this.$('.attention-map');
      for (const button of this.$('.att-mode').children) { button.setAttribute('aria-pressed', String(button.dataset.mode === this.mode)); button.disabled = button.dataset.mode !== 'head' && !state.end; }
      this.$('.att-wait').hidden = !this.computing;
      const strip = this.$('.attention-text'), withoutFirst = this.$('.att-sink').checked, at = this.focus != null ? this.focus : state.toks.length - 1;
      if (this.mode === 'heads' && state.all) this.drawGrid(canvas, layer, head, withoutFirst);
      if (!shown) { this.drawNoAttention(strip, canvas); return; }
      // the row of the query that wrote the token is the position before it; a prompt token asks for itself
      const row = !shown.whole ? at : at < 0 ? shown.names.length - state.toks.length + at : Math.min(shown.queries - 1, this.promptTexts().length + at - 1);
      const values = row >= 0 && row < shown.queries ? shown.row(row) : null;
      Playground.attention.strip(strip, shown.names, this.promptTexts().length);
      Playground.attention.paint(strip, values, shown.whole ? row + (at < 0 ? 0 : 1) : shown.first + row, withoutFirst);
      this.attentionRow = values && { values, names: shown.names };
      const asking = at < 0 ? 'while reading ' : 'while writing ', tok = at < 0 ? shown.names[row] : state.toks[at]?.s;
      if (this.mode === 'heads' && state.all) return;
      this.$('.attention-what').textContent = tok === undefined ? '' : asking + visible(tok);
      Playground.attention.map(canvas, { ...shown, focus: row, room: this.$('.attention-scroll').clientWidth, withoutFirst });
      this.$('.attention-note').textContent = this.attentionError ? this.attentionError : this.mode === 'rollout' ? 'Rollout: how much of each token flows into another through all layers, half of it past each layer unchanged (Abnar & Zuidema 2020). Most ends in the first token; without it, each row is scaled to its own largest. It follows attention, not what experts add.'
        : (shown.whole ? 'Rows ask, columns are looked at.' : 'Rows are answer tokens, columns everything before them.') + ' Square root scale. [ ] change the head.';
      let best = withoutFirst ? 1 : 0;
      if (values) for (let i = best; i < values.length; i++) if (values[i] > (values[best] || 0)) best = i;
      canvas.setAttribute('aria-label', values ? `${this.mode === 'rollout' ? 'Attention rollout' : `Attention of layer ${layer + 1}, head ${head + 1}`}: most on token ${best + 1}, ${shown.names[best] || ''}` : 'Attention map');
      this.drawHeads(layer, head, this.mode === 'head' ? state.heads[layer] : null);
    },
    drawNoAttention(strip, canvas) {
      const { state } = this, run = state.run, note = this.$('.attention-note'), texts = this.promptTexts().concat(state.toks.map((tok) => tok.s));
      Playground.attention.strip(strip, texts, this.promptTexts().length); Playground.attention.paint(strip, null, -1, false);
      this.attentionRow = null;
      if (this.mode === 'heads' && state.all) return;
      Playground.maps.prepare(canvas, 1, 1);
      this.$('.attention-what').textContent = '';
      this.drawHeads(0, 0, null);
      if (this.computing || this.attentionError) { note.textContent = this.attentionError || ''; return; }
      note.textContent = !state.end ? (run.ol < 0 ? 'No head is observed in this run.' : 'The observed head is drawn while the answer is written.')
        : !state.read ? 'This answer was written by a tool, so there is no attention.' : 'Not observed in this run: choose a layer, or all heads, and it is computed now.';
    },
    fillPicks(run) {
      const layers = this.$('.att-layer'), heads = this.$('.att-head');
      if (layers._run === run.id) return;
      layers._run = run.id; this.mode = 'head'; this.attentionError = '';
      const fill = (select, n, chosen) => { select.replaceChildren(...Array.from({ length: n }, (_, i) => { const o = el('option', '', String(i + 1)); o.value = i; o.selected = i === chosen; return o; })); };
      fill(layers, run.layers, Math.max(0, run.ol)); fill(heads, run.heads, Math.max(0, run.oh));
      this.drawHeads(0, 0, null);
    },
    drawHeads(layer, head, whole) {
      const box = this.$('.heads');
      if (!whole) { box.replaceChildren(); box._of = null; return; }
      if (box._of !== whole) {
        box._of = whole;
        const size = whole.size;
        box.replaceChildren(...Array.from({ length: whole.heads }, (_, h) => {
          const button = el('button', 'att-head-button'); button.type = 'button'; button.dataset.h = h; button.title = 'head ' + (h + 1);
          button.append(Playground.attention.thumbnail(whole.data.subarray(h * size * size, (h + 1) * size * size), size), el('span', '', String(h + 1)));
          return button;
        }));
      }
      for (const button of box.children) button.setAttribute('aria-pressed', String(+button.dataset.h === head));
    },
    /** Every head of every layer, layer 1 on top; the chosen one outlined. */
    drawGrid(canvas, layer, head, withoutFirst) {
      const { all } = this.state, room = this.$('.attention-scroll').clientWidth, cell = Math.max(22, Math.min(46, Math.floor((room - LEFT) / all.heads) - GAP)), step = cell + GAP;
      if (all.picture?.withoutFirst !== withoutFirst) all.picture = Object.assign(Playground.attention.sheet(all, withoutFirst), { withoutFirst });
      const pen = Playground.maps.prepare(canvas, LEFT + all.heads * step, TOP + all.layers * step), S = all.small;
      pen.imageSmoothingEnabled = false; pen.font = '11px system-ui, sans-serif'; pen.fillStyle = Playground.color('--pg-muted'); pen.textBaseline = 'middle';
      for (let h = 0; h < all.heads; h++) { pen.textAlign = 'center'; pen.fillText(String(h + 1), LEFT + h * step + cell / 2, TOP / 2); }
      for (let l = 0; l < all.layers; l++) {
        pen.textAlign = 'right'; pen.fillText(String(l + 1), LEFT - 6, TOP + l * step + cell / 2);
        for (let h = 0; h < all.heads; h++) pen.drawImage(all.picture, h * S, l * S, S, S, LEFT + h * step, TOP + l * step, cell, cell);
      }
      pen.strokeStyle = Playground.color('--pg-focus'); pen.lineWidth = 2; pen.strokeRect(LEFT + head * step - 1, TOP + layer * step - 1, cell + 2, cell + 2);
      this.headGrid = { step };
      this.$('.attention-what').textContent = `layer ${layer + 1}, head ${head + 1}`;
      this.$('.attention-note').textContent = 'Layers down, heads across, each scaled to its own largest. Press one to look into it; arrow keys move, Enter opens.';
      canvas.setAttribute('aria-label', `All ${all.layers * all.heads} heads; layer ${layer + 1}, head ${head + 1} is chosen`);
      this.drawHeads(0, 0, null);
    },
    choose(layer, head) {
      const { run } = this.state, between = (x, n) => Math.max(0, Math.min(n - 1, x));
      this.$('.att-layer').value = between(layer, run.layers); this.$('.att-head').value = between(head, run.heads);
      this.schedule();
    },
    stepHead(move) {
      if (!this.state.run) return false;
      this.choose(+this.$('.att-layer').value, +this.$('.att-head').value + move);
      if (this.mode === 'head') this.fetchLayer();
      return true;
    },
    gridKey(event) {
      if (this.mode !== 'heads' || !this.state.all) return false;
      const layer = +this.$('.att-layer').value, head = +this.$('.att-head').value, move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (move) this.choose(layer + move[0], head + move[1]);
      else if (event.key === 'Enter') { this.mode = 'head'; this.fetchLayer(); } else return false;
      return true;
    },
    async fetchLayer() {
      const { state } = this, run = state.run, layer = +this.$('.att-layer').value, note = this.$('.attention-note');
      if (!run || !state.end || !this.server || state.heads[layer] || !state.read) { this.schedule(); return; }
      note.textContent = `Computing layer ${layer + 1} …`;
      let answer;
      try { answer = await this.server.attention({ run: run.id, layer }); } catch { answer = { error: 'The layer could not be computed.' }; }
      if (this.state !== state) return;
      if (answer.error) { note.textContent = answer.error; return; }
      state.heads[layer] = { ...answer, data: bytes(answer.data) };
      this.schedule();
    },
    /** Every head and the rollout, computed once for a run; says how far it is and can be cancelled. */
    async fetchAll() {
      const { state } = this, run = state.run;
      if (!run || !state.end || !this.server || state.all || this.computing) { this.schedule(); return; }
      const job = Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16)).join('') , words = this.$('.att-wait-text'), bar = this.$('.att-wait i');
      this.computing = { job, stop: false }; this.attentionError = '';
      words.textContent = 'Reading prompt and answer once more …'; bar.style.width = '0';
      this.schedule();
      const asked = this.computing, watching = setInterval(async () => {
        let told = {};
        try { told = await this.server.attention_progress({ job, stop: asked.stop }); } catch { /* the computation itself will say */ }
        if (this.computing !== asked || !told.layers) return;
        words.textContent = asked.stop ? 'Stopping …' : `Layer ${told.done} of ${told.layers} …`; bar.style.width = 100 * told.done / told.layers + '%';
      }, 400);
      let answer;
      try { answer = await this.server.attention_all({ run: run.id, job }); } catch { answer = { error: 'The attention could not be computed. Try again.' }; }
      clearInterval(watching);
      this.computing = null;
      if (this.state === state) {
        if (answer.data && !asked.stop) state.all = { ...answer, data: bytes(answer.data), rollout: floats(answer.rollout) };
        else { this.mode = 'head'; this.attentionError = answer.error || 'Stopped: nothing was computed.'; }
      }
      this.schedule();
    },
    /** The attention that is shown as CSV: a row per query, or per head when all are shown. */
    attentionCsv() {
      const layer = +this.$('.att-layer').value, head = +this.$('.att-head').value, shown = this.attentionShown(layer, head), cell = (text) => '"' + String(text).replace(/"/g, '""') + '"';
      const value = (b) => b === undefined ? '' : +(b / 255).toPrecision(4), quoted = (text) => cell(/^\s*[=+\-@]/.test(text) ? "'" + text : text);
      if (!shown) return 'nothing is shown\n';
      const heading = this.mode === 'rollout' ? 'rollout' : `layer ${layer + 1} head ${head + 1}`;
      const lines = [[cell(heading), ...shown.names.slice(0, shown.keys).map(quoted)].join(',')];
      for (let i = 0; i < shown.queries; i++) { const row = shown.row(i) || []; lines.push([quoted(shown.names[(shown.first || 0) + i] ?? ''), ...Array.from({ length: shown.keys }, (_, k) => value(row[k]))].join(',')); }
      return lines.join('\n') + '\n';
    },
    listenAttention() {
      const on = (selector, type, act) => this.$(selector).addEventListener(type, act);
      for (const pick of ['.att-layer', '.att-head']) on(pick, 'change', () => { this.attentionError = ''; if (this.mode === 'head') this.fetchLayer(); else this.schedule(); });
      on('.att-sink', 'change', () => this.schedule());
      on('.att-stop', 'click', () => { const asked = this.computing; if (!asked) return; asked.stop = true; this.$('.att-wait-text').textContent = 'Stopping …'; this.server.attention_progress({ job: asked.job, stop: true }).catch(() => {}); });
      on('.att-mode', 'click', (event) => {
        const button = event.target.closest('button');
        if (!button || button.disabled) return;
        this.mode = button.dataset.mode; this.attentionError = '';
        if (this.mode === 'head') this.schedule(); else this.fetchAll();
      });
      on('.heads', 'click', (event) => { const button = event.target.closest('.att-head-button'); if (button) { this.$('.att-head').value = button.dataset.h; this.schedule(); } });
      on('.attention-map', 'click', (event) => {
        if (this.mode !== 'heads' || !this.state.all || !this.headGrid) return;
        const h = Math.floor((event.offsetX - LEFT) / this.headGrid.step), l = Math.floor((event.offsetY - TOP) / this.headGrid.step);
        if (h < 0 || l < 0 || h >= this.state.all.heads || l >= this.state.all.layers) return;
        this.choose(l, h); this.mode = 'head'; this.fetchLayer();
      });
    },
  });
})();
