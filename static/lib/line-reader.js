// Reads append-only text: one JSON record a line. A text that does not continue the last one starts afresh, unless it
// belongs to a stream that another one has replaced: such a stream may send one more text before it knows.
export class LineReader {
  /** `fresh()` is called when the text begins anew, `take(record)` for each complete line. */
  constructor(fresh, take) {
    this.fresh = fresh;
    this.take = take;
    this.seen = '';
    this.at = 0;
    this.nonce = '';
    this.replaced = new Set();
  }

  /** Read what is new in `text`. Return whether anything changed. */
  read(text) {
    const now = text || '';
    if (!now.startsWith(this.seen)) {
      const nonce = nonceOf(now);
      if (this.replaced.has(nonce)) return false;
      if (this.nonce) this.replaced.add(this.nonce);
      this.nonce = nonce;
      this.at = 0;
      this.fresh();
    } else if (now.length === this.seen.length) {
      return false;
    } else if (!this.nonce) {
      this.nonce = nonceOf(now);
    }
    this.seen = now;
    let end = now.indexOf('\n', this.at);
    while (end >= 0) {
      const line = now.slice(this.at, end);
      this.at = end + 1;
      end = now.indexOf('\n', this.at);
      let record = null;
      try {
        record = JSON.parse(line);
      } catch {
        continue; // a damaged line must not stop the ones after it
      }
      this.take(record);
    }
    return true;
  }
}

/** Return what tells the stream of `text` from others; empty for a text without an opening line. */
function nonceOf(text) {
  try {
    return JSON.parse(text.slice(0, text.indexOf('\n'))).nonce || '';
  } catch {
    return '';
  }
}
