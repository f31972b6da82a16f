import { must } from './errors.js';
import { unpackLzma2 } from './lzma2.js';
import { unpackWebp } from './webp.js';

export const [RAW, LZMA, WEBP] = [2, 3, 5];

/** @param {number} levels */
export function bitsOf(levels) {
  return [1, 2, 4, 8, 16].find((bits) => levels <= 1 << bits) ?? 16;
}

/**
 * The symbols of each picture of a stored stream, row by row, channels side by side.
 *
 * @param {number} method
 * @param {Uint8Array} stream
 * @param {[number, number][]} shapes (rows, columns) of each
 * @param {number} channels
 * @param {number} levels
 * @returns {(Uint8Array | Uint16Array)[]}
 */
export function restore(method, stream, shapes, channels, levels) {
  if (method === WEBP) return [checked(fromWebp(stream, shapes[0], channels), levels)];
  const bits = bitsOf(levels);
  const sizes = shapes.map(([h, w]) => h * Math.ceil((w * channels * bits) / 8));
  const total = sizes.reduce((sum, size) => sum + size, 0);
  let raw = stream;
  if (method === LZMA) {
    must(stream.length > 0 && stream[0] < 2, 'a stored tile has an unknown filter');
    raw = unpackLzma2(stream.subarray(1), total);
    const far = bits < 8 ? 1 : Math.min((channels * bits) / 8, 256);
    if (stream[0]) for (let i = far; i < total; i++) raw[i] += raw[i - far];
  }
  must(raw.length === total, 'a stored tile has a wrong length');
  let at = 0;
  return shapes.map(([h, w], i) => {
    at += sizes[i];
    return checked(unpack(raw.subarray(at - sizes[i], at), h, w * channels, bits), levels);
  });
}

/**
 * @param {Uint8Array} packed
 * @param {number} rows
 * @param {number} columns
 * @param {number} bits of a symbol
 */
function unpack(packed, rows, columns, bits) {
  if (bits === 8) return packed.slice();
  const out = bits === 16 ? new Uint16Array(rows * columns) : new Uint8Array(rows * columns);
  if (bits === 16) {
    for (let i = 0; i < out.length; i++) out[i] = packed[2 * i] | (packed[2 * i + 1] << 8);
    return out;
  }
  const [stride, each] = [packed.length / rows, 8 / bits];
  for (let y = 0, i = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++, i++) {
      const byte = packed[y * stride + Math.floor(x / each)];
      out[i] = (byte >> (8 - bits * (1 + (x % each)))) & ((1 << bits) - 1);
    }
    const rest = (columns * bits) % 8;
    must(!rest || (packed[(y + 1) * stride - 1] & ((1 << (8 - rest)) - 1)) === 0, 'a stored tile has bits behind its rows');
  }
  return out;
}

/**
 * @param {Uint8Array} stream
 * @param {[number, number]} shape
 * @param {number} channels
 */
function fromWebp(stream, [h, w], channels) {
  const pixels = unpackWebp(stream, w, h);
  if (channels === 4) return pixels;
  const from = [[], [1], [1, 3], [0, 1, 2]][channels];
  const out = new Uint8Array(h * w * channels);
  for (let i = 0, j = 0; i < pixels.length; i += 4) for (const c of from) out[j++] = pixels[i + c];
  return out;
}

/**
 * @template {Uint8Array | Uint16Array} T
 * @param {T} symbols
 * @param {number} levels
 * @returns {T}
 */
function checked(symbols, levels) {
  if (levels !== 256 && levels !== 65536) for (let i = 0; i < symbols.length; i++) must(symbols[i] < levels, 'a stored tile has a symbol that there is not');
  return symbols;
}
