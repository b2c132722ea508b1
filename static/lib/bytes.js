// Unpacks base64 that the server writes. One byte is one value: 255 is 1.

/** Return the bytes of a base64 text; null for an empty or missing one. */
export const bytes = (text) => (text ? Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0)) : null);

/** Return shares that came as 32-bit floats, on the scale of bytes. */
export const floats = (text) => new Float32Array(bytes(text).buffer).map((value) => value * 255);
