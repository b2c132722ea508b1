const SCHEMES = {
  argmax: 'the highest weight answers',
  sample: 'one expert was drawn',
  mixture: 'blended',
  override: 'set by hand',
};
const weightsOf = (token) => Array.from(token.weights, (byte) => byte / 255);

/**
 * Return what the weight bars show: the looked-at token, the newest of a gate, the decision, or what was used.
 *
 * The value has weights and words; `mean` so far for a gate; `isDecision` when intervals belong to it.
 */
export function shownWeights(state, focus) {
  const { started, decided, tokens, tools, finished } = state;
  const token = state.tokenAt(focus);
  if (token?.weights) {
    return { weights: weightsOf(token), words: `${state.placeOf(focus)} ${state.nameOf(token)}` };
  }
  const isGate = started?.level === 'gate';
  const weighed = tokens.filter((each) => each.weights);
  const used = finished?.usage?.length && finished.usage.length === started?.pool.length ? finished.usage : null;
  if (used && isGate) return { weights: used, words: 'mean over the answer' };
  if (isGate && weighed.length) {
    const mean = weighed.length > 1 ? state.meanWeights(weighed) : null;
    return { weights: weightsOf(weighed.at(-1)), mean, words: 'newest token · tick: mean so far' };
  }
  if (used && tools.some((tool) => !tool.ok)) return { weights: used, words: state.handover };
  if (decided) return { weights: decided.weights, words: SCHEMES[decided.scheme] || '', isDecision: true };
  return used ? { weights: used, words: 'used' } : null;
}
