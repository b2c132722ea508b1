// The colours of attention. Cividis reads the same with every kind of colour vision.
const STOPS = [
  [0, 34, 78],
  [18, 53, 112],
  [59, 73, 108],
  [87, 93, 109],
  [112, 113, 115],
  [138, 134, 120],
  [165, 156, 116],
  [195, 179, 105],
  [225, 204, 85],
  [254, 232, 56],
];

function cividis(value) {
  const at = Math.max(0, Math.min(1, value)) * (STOPS.length - 1);
  const i = Math.min(STOPS.length - 2, Math.floor(at));
  return STOPS[i].map((channel, j) => Math.round(channel + (STOPS[i + 1][j] - channel) * (at - i)));
}

/** Return [red, green, blue] of a share in 0…1. The scale is the square root, so that small shares show. */
export const shareColour = (share) => cividis(Math.sqrt(share));

/** The colour of each byte. */
export const BYTE_COLOURS = Array.from({ length: 256 }, (_, byte) => shareColour(byte / 255));
