// Keeps small values in this browser. Storage may be blocked, as in a frame of another site.

/** Return the kept text, or null. */
export function recall(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

/** Keep a text. Return whether the browser did. */
export function keep(key, text) {
  try {
    localStorage.setItem(key, text);
    return true;
  } catch {
    return false;
  }
}
