import { make } from './dom.js';
import { csvFile } from './format.js';

/** Save a text or a Blob as a file of the visitor. */
export function download(name, content, type) {
  const link = make('a');
  const whole = type === 'text/csv' ? csvFile(content) : content;
  const url = URL.createObjectURL(whole instanceof Blob ? whole : new Blob([whole], { type }));
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
