export const FEWEST = 10;

/** Return centred means of values. Fewer than ten values stay as they are, and so does the last one. */
export function smoothed(values) {
  if (values.length < FEWEST) return values;
  const half = Math.max(1, Math.round(values.length / 24));
  return values.map((value, i) => {
    if (i === values.length - 1 || value == null) return value;
    const reach = Math.min(half, i, values.length - 1 - i);
    const part = values.slice(i - reach, i + reach + 1).filter((each) => each != null);
    return part.reduce((sum, each) => sum + each, 0) / part.length;
  });
}
