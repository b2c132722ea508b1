// Keeps small values in this browser. Storage may be blocked, as in a frame of another site.

/** Return the kept text, or null. */
export function recall(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

/** Return the text that this tab of the browser kept, or null. A reload keeps it; another tab has its own. */
export function recallInTab(key) {
  try {
    return sessionStorage.getItem(key);
  } catch {
    return null;
  }
}

/** Keep a text in this tab of the browser. */
export function keepInTab(key, text) {
  try {
    sessionStorage.setItem(key, text);
  } catch {
    // without storage a reload forgets it
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
