const DOUBLE_MS = 700; // a second press sooner than this is a double click

/**
 * Let a double click on these buttons count once: each press would start a comparison of its own.
 *
 * With another button pressed in between, such as a verdict, it is no double click.
 */
export function ignoreDoublePresses(ids) {
  const last = new Map();
  const isSecond = (id, at) => {
    const before = last.get(id);
    last.set(id, at);
    return before !== undefined && at - before < DOUBLE_MS;
  };
  document.addEventListener(
    'click',
    (event) => {
      const button = event.target.closest?.('button');
      if (button && !ids.includes(button.id)) last.clear();
      if (!button || !ids.includes(button.id) || !isSecond(button.id, event.timeStamp)) return;
      event.preventDefault();
      event.stopImmediatePropagation();
    },
    true,
  );
}
