const ANCHORS = { center: 'middle', right: 'end' };
const FONT = 'system-ui, sans-serif';

const escaped = (text) => text.replace(/&/g, '&amp;').replace(/</g, '&lt;');
const attribute = ([name, value]) => `${name}="${typeof value === 'number' ? +value.toFixed(2) : value}"`;

/** Writes SVG. Has the methods of a canvas pen that the pictures use, and no others. */
export class SvgPen {
  constructor(width, height) {
    this.width = width;
    this.height = height;
    this.parts = [];
    this.path = '';
    this.fillStyle = '#000';
    this.strokeStyle = '#000';
    this.lineWidth = 1;
    this.font = `11px ${FONT}`;
    this.textAlign = 'left';
    this.textBaseline = 'alphabetic';
  }

  put(tag, values, text) {
    const end = text === undefined ? '/>' : `>${escaped(text)}</${tag}>`;
    this.parts.push(`<${tag} ${Object.entries(values).map(attribute).join(' ')}${end}`);
  }

  fillRect(x, y, width, height) {
    this.put('rect', { x, y, width, height, fill: this.fillStyle });
  }

  strokeRect(x, y, width, height) {
    this.put('rect', { x, y, width, height, ...this.line() });
  }

  line() {
    return { fill: 'none', stroke: this.strokeStyle, 'stroke-width': this.lineWidth };
  }

  beginPath() {
    this.path = '';
  }

  moveTo(x, y) {
    this.path += `M${x} ${y}`;
  }

  lineTo(x, y) {
    this.path += `L${x} ${y}`;
  }

  roundRect(x, y, w, h, r) {
    const corner = (right, down) => `a${r} ${r} 0 0 1 ${right} ${down}`;
    const sides = [`h${w - 2 * r}`, `v${h - 2 * r}`, `h${2 * r - w}`, `v${2 * r - h}`];
    const corners = [corner(r, r), corner(-r, r), corner(-r, -r), corner(r, -r)];
    this.path += `M${x + r} ${y}${sides.map((side, i) => side + corners[i]).join('')}z`;
  }

  stroke() {
    this.put('path', { d: this.path, ...this.line() });
  }

  fill() {
    this.put('path', { d: this.path, fill: this.fillStyle });
  }

  fillText(text, x, y) {
    const [, weight, size] = /^(?:(\d+) )?(\d+)px/.exec(this.font);
    const type = { 'font-family': FONT, 'font-size': size, 'font-weight': weight || 400 };
    const anchor = ANCHORS[this.textAlign] || 'start';
    const baseline = this.textBaseline === 'middle' ? 'central' : 'auto';
    const place = { x, y, fill: this.fillStyle, 'text-anchor': anchor, 'dominant-baseline': baseline };
    this.put('text', { ...place, ...type }, text);
  }
}
