// Puts several pictures under one title, to be saved as SVG or PNG.
import { FONT } from './canvas.js';
import { make } from './dom.js';
import { SvgPen } from './svg-pen.js';
import { color } from './theme.js';

const PAD = 16;
const LEAST = 480;

/** Return one SVG text. Each drawing is called with a sheet in place of a canvas. */
export function svgPicture(title, drawings) {
  const pens = drawings.map((draw) => {
    const sheet = { svg: true };
    draw(sheet);
    return sheet.pen;
  });
  const head = new SvgPen(0, 0);
  head.font = `600 15px ${FONT}`;
  head.fillStyle = color('--pg-ink');
  head.fillText(title, PAD, 30);
  let y = 48;
  const groups = pens.map((pen) => {
    const group = `<g transform="translate(${PAD} ${y})">${pen.parts.join('')}</g>`;
    y += pen.height + PAD;
    return group;
  });
  const width = Math.max(LEAST, ...pens.map((pen) => pen.width)) + 2 * PAD;
  const size = `width="${width}" height="${y}" viewBox="0 0 ${width} ${y}"`;
  const ground = `<rect width="100%" height="100%" fill="${color('--pg-surface')}"/>`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size}>${ground}${head.parts.join('')}${groups.join('')}</svg>`;
}

/** Call `done` with one PNG of several canvases; empty ones are left out. */
export function pngPicture(title, canvases, done) {
  const shown = canvases.filter((canvas) => canvas && canvas.width > 1);
  const sheet = make('canvas');
  sheet.width = Math.max(LEAST, ...shown.map((canvas) => canvas.width)) + 2 * PAD;
  sheet.height = shown.reduce((sum, canvas) => sum + canvas.height + PAD, 56) + PAD;
  const pen = sheet.getContext('2d');
  pen.fillStyle = color('--pg-surface');
  pen.fillRect(0, 0, sheet.width, sheet.height);
  pen.fillStyle = color('--pg-ink');
  pen.font = `600 18px ${FONT}`;
  pen.fillText(title, PAD, 34);
  let y = 56;
  for (const canvas of shown) {
    pen.drawImage(canvas, PAD, y);
    y += canvas.height + PAD;
  }
  sheet.toBlob(done, 'image/png');
}
