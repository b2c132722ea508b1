// What every picture on a canvas needs: a pen for the screen's density, the ramp from surface to ink, expert marks.
import { SvgPen } from './svg-pen.js';
import { color, isDark, onThemeChange } from './theme.js';

export const FONT = 'system-ui, sans-serif';
const STEPS = 9;
const GAMMA = 0.8;
const RAMPS = new Map();

function channels(hex) {
  const number = parseInt(hex.slice(1), 16);
  return [number >> 16, (number >> 8) & 255, number & 255];
}

/** Return nine colours from surface to ink of the mode in force. */
export function ramp() {
  const dark = isDark();
  if (!RAMPS.has(dark)) {
    const from = channels(color('--pg-surface') || '#ffffff');
    const to = channels(color('--pg-ink') || '#18181b');
    const shade = (t) => `rgb(${from.map((value, i) => Math.round(value + (to[i] - value) * t)).join(',')})`;
    RAMPS.set(
      dark,
      Array.from({ length: STEPS }, (_, i) => shade(i / (STEPS - 1))),
    );
  }
  return RAMPS.get(dark);
}

/** Forget the ramps when the theme changes. */
export const forgetRamps = () => onThemeChange(() => RAMPS.clear());

/** Return the step of the ramp, 0 to 8, for a weight in 0…1. */
export const rampStep = (weight) => Math.min(STEPS - 1, Math.round(Math.max(0, weight) ** GAMMA * (STEPS - 1)));

/** Size a canvas in CSS pixels and clear it. Return its pen; a sheet `{svg: true}` gets a pen that writes SVG. */
export function prepare(canvas, width, height) {
  if (canvas.svg) {
    canvas.pen = new SvgPen(width, height);
    return canvas.pen;
  }
  const ratio = Math.min(2, window.devicePixelRatio || 1);
  const wide = Math.max(1, Math.round(width * ratio));
  const high = Math.max(1, Math.round(height * ratio));
  if (canvas.width !== wide || canvas.height !== high) {
    canvas.width = wide;
    canvas.height = high;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const pen = canvas.getContext('2d');
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  return pen;
}

/** Return the colour of each expert; the base model has a muted one. */
export const inksOf = (looks) => looks.map(({ slot }) => color(slot >= 0 ? `--x${slot}` : '--pg-muted'));

/** Draw an expert's mark on its colour, centred on (x, y), not wider than `room`. */
export function drawMark(pen, look, x, y, room = 24) {
  const wide = Math.min(22, room - 2);
  pen.beginPath();
  pen.roundRect(x - wide / 2, y - 8, wide, 16, 4);
  if (look.slot >= 0) {
    pen.fillStyle = color(`--x${look.slot}`);
    pen.fill();
    pen.fillStyle = color(`--t${look.slot}`);
  } else {
    pen.strokeStyle = color('--pg-ink');
    pen.lineWidth = 1.5;
    pen.stroke();
    pen.fillStyle = color('--pg-ink');
  }
  pen.textAlign = 'center';
  pen.textBaseline = 'middle';
  pen.font = `600 ${wide < 20 ? 9 : 10}px ${FONT}`;
  pen.fillText(look.mark, x, y + 0.5);
}

/** Draw an outline in the colour of what is looked at. */
export function drawFocus(pen, x, y, width, height) {
  pen.strokeStyle = color('--pg-focus');
  pen.lineWidth = 2;
  pen.strokeRect(x, y, width, height);
}
