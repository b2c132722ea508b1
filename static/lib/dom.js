// Makes DOM nodes. Text goes in as text, never as markup.

/** Return a new element with a class and a text. */
export function make(tag, className = '', text = undefined) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

/** Return a new button that submits nothing. */
export function makeButton(className, text) {
  const node = make('button', className, text);
  node.type = 'button';
  return node;
}

/** Return a table with one row of headings. */
export function makeTable(headings, rows) {
  const node = make('table');
  const head = node.createTHead().insertRow();
  for (const text of headings) head.append(make('th', '', text));
  const body = node.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const cell of row) line.insertCell().textContent = cell;
  }
  return node;
}

/** Return whether a node is there and takes up room. */
export const isShown = (node) => !!node && node.offsetParent !== null;

/** Click the shown and enabled element with this id. Return whether there was one. */
export function press(id) {
  const node = document.getElementById(id);
  if (!isShown(node) || node.disabled) return false;
  node.click();
  return true;
}

/** Say which button of a group is pressed: those for which `isPressed(button)` holds. */
export function markPressed(buttons, isPressed) {
  for (const button of buttons) button.setAttribute('aria-pressed', String(isPressed(button)));
}
