// Light or dark: follows the system until a visitor switches, and remembers the switch.
import { keep, recall } from './storage.js';

const KEY = 'pg-theme';
const CHANGED = 'pg-theme';

/** Return the value of a CSS custom property. */
export const color = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();

/** Return whether the page is dark now. */
export const isDark = () => document.body.classList.contains('dark');

/** Call `draw` after each change between light and dark. */
export const onThemeChange = (draw) => document.addEventListener(CHANGED, draw);

const tell = () => document.dispatchEvent(new CustomEvent(CHANGED));

function setTheme(dark) {
  document.body.classList.toggle('dark', dark);
  document.documentElement.style.colorScheme = dark ? 'dark' : 'light';
  tell();
}

/** Switch between light and dark, and remember it. */
export function toggleTheme() {
  const dark = !isDark();
  keep(KEY, dark ? 'dark' : 'light');
  setTheme(dark);
}

/** Apply what was remembered, unless the address asks for a theme, and follow later changes. */
export function followTheme() {
  document.documentElement.lang = 'en';
  const forced = new URLSearchParams(location.search).get('__theme');
  const kept = recall(KEY);
  if (!forced && kept) setTimeout(() => setTheme(kept === 'dark'), 0);
  new MutationObserver(tell).observe(document.body, { attributes: true, attributeFilter: ['class'] });
}
