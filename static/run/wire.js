/**
 * The lines that the server writes, one JSON record each. `kind` says which keys a record may have.
 *
 * The server's side is `playground/ui/wire.py`; `playground/docs/wire-format.md` explains each key.
 * A test compares this table with it. A key that is not listed here is not read by any view.
 */
export const WIRE = {
  opening: ['nonce', 'note', 'example'],
  waiting: ['sentence', 'share'],
  started: ['id', 'prompt', 'router', 'version', 'level', 'pool', 'layers', 'heads', 'observed_layer', 'observed_head'],
  decided: ['weights', 'propensity', 'uncertainty', 'scheme', 'sentence', 'why'],
  prompt: ['tokens', 'own', 'weights', 'leaders', 'layers', 'layer_entropy', 'measures'],
  tool: ['expert', 'mark', 'slot', 'query', 'result', 'ok', 'seconds'],
  token: [
    'text',
    'weights',
    'leader',
    'layers',
    'layer_entropy',
    'measures',
    'attention',
    'logprob',
    'entropy',
    'alternatives',
  ],
  finished: ['text', 'usage', 'tokens', 'prompt_tokens', 'timings', 'reason', 'cost', 'cut'],
  failed: ['message', 'remedy', 'stage'],
  change: ['sentence'],
  likelihoods: ['sentence', 'first_by_first', 'first_by_second', 'second_by_first', 'second_by_second'],
  side: [],
  point: ['step', 'steps', 'training_loss', 'held_out_loss', 'held_out_accuracy'],
  note: ['sentence'],
};

/** Return the listed keys of a record; null for a kind that this page does not know. */
export function known(record) {
  const keys = Object.hasOwn(WIRE, record?.kind) ? WIRE[record.kind] : null;
  if (!keys) return null;
  const found = { kind: record.kind, at: record.at };
  for (const key of keys) found[key] = record[key];
  return found;
}
