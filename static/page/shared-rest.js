/**
 * Give `value` of 100 to position `at`; the others share the rest in the ratio they had.
 *
 * They share it equally when they had nothing. A single weight is always 100.
 */
export function sharedRest(weights, at, value) {
  const others = weights.length - 1;
  if (!others) return [100];
  const share = Math.max(0, Math.min(100, value));
  const rest = weights.reduce((sum, weight, i) => sum + (i === at ? 0 : weight), 0);
  return weights.map((weight, i) => {
    if (i === at) return share;
    return rest > 0 ? (weight / rest) * (100 - share) : (100 - share) / others;
  });
}
