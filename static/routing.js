// Where the weight goes, drawn: token × expert with entropy and agreement below, layer × expert, and one token's layers.
(() => {
  'use strict';
  const { chip, percents, el } = Playground;
  const { RunView, argmax, visible, weightsShown, tokenAt, columns, place } = Playground.run;
  const mixable = (look) => look.kind === 'base' || look.kind === 'lora';
  const share = (x) => x.toFixed(2);

  /** Entropy in nats as a share of the largest there can be over the experts that may be mixed. */
  const evenness = (nats, pool) => { const top = Math.log(pool.filter(mixable).length); return top > 0 ? Math.min(1, nats / top) : 0; };
  const mean = (list) => list.reduce((sum, x) => sum + x, 0) / (list.length || 1);
  const switchesOf = (toks) => toks.reduce((n, tok, i) => n + (i > 0 && tok.w && tok.e !== toks[i - 1].e ? 1 : 0), 0);

  Object.assign(RunView.prototype, {
    /** The three measures of a token or of many, in words. */
    measured(tok) {
      const [nats, overlap, consent] = tok.m;
      return `entropy of the weights ${share(evenness(nats, this.state.run.pool))} (${share(nats)} nats) · layers agree ${share(overlap)} · ${Math.round(consent * 100)}% of them lead with the token's expert`;
    },
    drawMeasures() {
      const box = this.$('.measures'), { state } = this, own = state.read ? state.read.toks.slice(...state.read.own) : [];
      const weighed = state.toks.filter((each) => each.m);
      if (!state.run) { box.textContent = ''; return; }
      if (!weighed.length) { box.textContent = state.toks.length ? 'One decision for the whole answer: nothing switches, and every layer agrees.' : ''; return; }
      const m = [0, 1, 2].map((j) => mean(weighed.map((each) => each.m[j])));
      const turns = switchesOf(state.toks), before = own[0]?.w ? ` and ${switchesOf(own)} in the prompt` : '';
      box.textContent = `The lead switches ${turns} ${turns === 1 ? 'time' : 'times'} in the answer${before} · ` + this.measured({ m });
      box.title = 'Entropy: 0 one expert has all, 1 all have the same. Layers agree: mean over pairs of layers of the weight they share, 0 to 1.';
    },
    drawMaps() {
      const { state, focus } = this, pool = state.run ? state.run.pool : [], labels = this.$('.map-labels'), scroll = this.$('.map .scroll');
      const layered = state.toks.some((tok) => tok.l) || !!state.read?.toks.some((tok) => tok.l), cols = columns(state), E = pool.length;
      const key = pool.map((look) => look.name).join('|') + layered;
      if (labels._key !== key) {
        labels._key = key;
        labels.replaceChildren(...pool.map((look) => { const row = el('div'); row.append(chip(look)); return row; }), ...(layered ? ['entropy', 'agree'] : []).map((name) => el('div', 'strip', name)));
      }
      const map = this.$('.tokens-map'), tok = (k) => tokenAt(state, cols.at(k));
      const strips = layered ? [(k) => tok(k)?.m && evenness(tok(k).m[0], pool), (k) => tok(k)?.m && tok(k).m[1]] : [];
      const drawing = {
        looks: pool, columns: cols.count, divider: cols.lead, strips, focus: cols.of(focus), room: scroll.clientWidth,
        weights: (k) => this.layer != null && tok(k).l ? tok(k).l.subarray(this.layer * E, (this.layer + 1) * E) : tok(k).w, leader: (k) => tok(k).w ? tok(k).e : null,
      };
      this.grid = Playground.maps.tokens(map, drawing);
      this.drawings = [(sheet) => Playground.maps.tokens(sheet, drawing)];
      if (this.follow && !state.end) scroll.scrollLeft = scroll.scrollWidth;
      this.$('.live').hidden = this.follow || !!state.end;
      if (state.toks.length && state.end?.u.length) { const top = argmax(state.end.u); map.setAttribute('aria-label', `Heat map of expert weights over ${cols.count} tokens; ${pool[top].title} has most, ${percents(state.end.u)[top]}`); }
      if (!this.hovering) this.$('.map-what').textContent = this.mapWords();
      this.drawMeasures(); this.drawLayers(pool);
    },
    mapWords() {
      const lead = columns(this.state).lead;
      return (this.layer == null ? 'weight of each expert on each token' + (lead ? ', mean over layers' : '') : `in layer ${this.layer + 1} alone · Esc for the mean`) + (lead ? ' · your prompt left of the line' : '');
    },
    /** Tells the cell of the token map under the pointer. */
    cellWords(k, y) {
      const { state, grid } = this, i = columns(state).at(k), tok = tokenAt(state, i), pool = state.run?.pool || [], e = Math.floor((y - grid.top) / grid.row);
      if (!tok?.w) return this.mapWords();
      const name = `${place(state, i)} ${visible(tok.s)}`;
      if (e >= pool.length && tok.m) return `${name} · ` + this.measured(tok);
      if (e < 0 || e >= pool.length) return `${name} · led by ${pool[tok.e].title}`;
      const E = pool.length, values = this.layer != null && tok.l ? tok.l.subarray(this.layer * E, (this.layer + 1) * E) : tok.w;
      return `${name} · ${pool[e].title} ${(values[e] / 255).toFixed(3)} · rank ${[...values].filter((w) => w > values[e]).length + 1}`;
    },
    drawLayers(pool) {
      const { state, focus } = this, canvas = this.$('.layers-map'), note = this.$('.layer-note'), withLayers = state.toks.filter((tok) => tok.l), tok = tokenAt(state, focus);
      if (!state.run) { note.textContent = 'Where in the model each expert acts will be here.'; return; }
      let weights = null, entropy = null, flat = null;
      if (tok?.l) { weights = tok.l; entropy = tok.h; }
      else if (withLayers.length) {
        const average = (pick) => { const sums = new Float32Array(pick(withLayers[0]).length); for (const each of withLayers) pick(each).forEach((x, i) => { sums[i] += x; }); return sums.map((x) => x / withLayers.length); };
        weights = average((each) => each.l); entropy = average((each) => each.h);
      }
      const whose = tok?.l ? place(state, focus) : 'mean over the answer';
      if (weights) note.textContent = 'Layer 1 at the bottom. Bars: entropy of the layer’s weights. Press a layer, or ↑ ↓, to see it alone above.';
      else {
        const shown = weightsShown(state, focus), used = tok || state.toks[state.toks.length - 1];   // what acted, not only what was decided
        flat = used?.w ? Array.from(used.w, (b) => b / 255) : shown ? shown.weights : pool.map(() => 0);
        note.textContent = state.run.level === 'gate' ? 'The gate decides in each layer as tokens come.' : 'This router decides before the answer, so every layer has the same weights. A gate decides in each layer.';
      }
      this.layerWeights = weights; this.layerEntropy = entropy;
      const rows = entropy && Array.from(entropy, (b) => evenness(b / 255 * Math.log(pool.length), pool));
      const drawing = { looks: pool, count: state.run.layers, weights, flat, entropy: rows, focus: this.layer, room: this.$('.layers').clientWidth };
      this.layerGrid = Playground.maps.layers(canvas, drawing);
      this.drawings.push((sheet) => Playground.maps.layers(sheet, drawing));
      if (!this.overLayer) this.$('.layer-what').textContent = !weights ? 'the same in every layer' : this.layer == null ? whose : this.layerWords(this.layer);
      const top = weights ? null : argmax(flat);
      canvas.setAttribute('aria-label', !weights ? `Every layer: ${pool[top]?.title} ${percents(flat)[top]}` : this.layer == null ? `Weights of ${pool.length} experts in ${state.run.layers} layers, ${whose}` : this.layerWords(this.layer));
    },
    /** One layer in words: who leads, how much, how even. */
    layerWords(l, e) {
      const pool = this.state.run.pool, E = pool.length, row = Array.from(this.layerWeights.slice(l * E, (l + 1) * E), (b) => b / 255), at = e ?? argmax(row);
      const nats = this.layerEntropy[l] / 255 * Math.log(E);
      return `layer ${l + 1}: ${pool[at].title} ${row[at].toFixed(3)} · entropy ${share(evenness(nats, pool))} (${share(nats)} nats)`;
    },
    /** One token's routing, layers across, experts down; small, beside what is said of the token. */
    drawInside(canvas, tok) {
      const { run } = this.state, top = argmax(tok.w);
      Playground.maps.inside(canvas, { looks: run.pool, count: run.layers, weights: tok.l, focus: this.layer });
      canvas.setAttribute('role', 'img');
      canvas.setAttribute('aria-label', `This token in each of ${run.layers} layers; over all, ${run.pool[top].title} leads with ${(tok.w[top] / 255).toFixed(3)}`);
    },
    /** The layer under a point of the layer map, and the expert when it is on a cell. */
    layerAt(event) {
      const grid = this.layerGrid;
      if (!grid || !this.layerWeights) return null;
      const l = grid.count - 1 - Math.floor(event.offsetY / grid.cellHeight), e = Math.floor((event.offsetX - grid.left) / grid.cellWidth);
      return l >= 0 && l < grid.count ? { l, e: e >= 0 && e < this.state.run.pool.length ? e : undefined } : null;
    },
    /** Both maps as they are shown, as an SVG text. */
    asSvg() { const { run } = this.state; return Playground.maps.svg(`${run.router} · ${run.prompt.slice(0, 70)}`, this.drawings); },
    stepLayer(move) {
      const n = this.state.run.layers;
      this.layer = this.layer == null ? (move > 0 ? 0 : n - 1) : Math.max(0, Math.min(n - 1, this.layer + move));
      this.schedule();
    },
    listenRouting() {
      const canvas = this.$('.layers-map');
      canvas.addEventListener('pointermove', (event) => { const at = event.pointerType !== 'touch' && this.layerAt(event); this.overLayer = !!at; if (at) this.$('.layer-what').textContent = this.layerWords(at.l, at.e); });
      canvas.addEventListener('pointerleave', () => { this.overLayer = false; this.schedule(); });
      canvas.addEventListener('click', (event) => { const at = this.layerAt(event); if (at) { this.layer = this.layer === at.l ? null : at.l; this.schedule(); } });
    },
  });
  Playground.run.evenness = evenness;
})();
