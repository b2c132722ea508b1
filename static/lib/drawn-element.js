/**
 * An element that the server only names, with data attributes, and that draws its own children.
 *
 * The framework compares old and new markup and removes children that it does not know.
 * So the children are drawn again whenever they or the attributes change.
 */
export class DrawnElement extends HTMLElement {
  connectedCallback() {
    this.observer ??= new MutationObserver(() => this.redraw());
    this.redraw();
  }

  disconnectedCallback() {
    this.observer.disconnect();
  }

  redraw() {
    this.observer.disconnect();
    this.replaceChildren(...this.drawn());
    this.observer.observe(this, { attributes: true, childList: true });
  }
}
