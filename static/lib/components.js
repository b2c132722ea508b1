// Connects the server's components with the classes that draw them.

const makers = new Map();
const views = new Map();

/** Say how components of `kind` are drawn: `make({element, props, watch, trigger, server})` returns the view. */
export const define = (kind, make) => makers.set(kind, make);

/** Draw one component. */
export function mount(kind, parts) {
  views.set(kind, makers.get(kind)(parts));
}

/** Return the view of the newest component of `kind`. */
export const view = (kind) => views.get(kind);
