/** Lists whose rows are pressed: examples, recent runs, recent votes. A row raises `select` with its id. */
export class PressableList {
  constructor({ element, trigger }) {
    element.addEventListener('click', (event) => {
      const item = event.target.closest('[data-id]');
      if (item) trigger('select', { id: item.dataset.id });
    });
  }
}
