import { make } from './dom.js';

/** Save a text or a Blob as a file of the visitor. */
export function download(name, content, type) {
  const link = make('a');
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
