import { packLzma2 } from './packlzma2.js';
import { LZMA, RAW, WEBP, bitsOf } from './stored.js';
import { zlibCompress } from './zlib.js';

/**
 * Streams without a model. When they are worth a try is found out as the Python package does it, bit for bit; what they
 * hold is made by other searches than those of its libraries.
 *
 * @typedef {Object} Kept
 * @property {number} method
 * @property {Uint8Array} stream
 * @property {boolean} same whether these are the bytes that the Python package writes ...
 * @property {boolean} larger ... and if not, whether it may write much less
 *
 * @typedef {{data: Uint8Array, rows: number, columns: number, channels: number}} Block row by row, channels side by side
 */

const BLANK = 1 << 17; // samples
const EASY = 12; // samples a byte
const STRIP = 8; // rows of which every eighth is looked at first
const [SPARE_SYMBOLS, SYMBOLS_PER_BYTE] = [8192, 1024]; // of a model-coded stream, at most

/**
 * Bytes that zlib needs for samples or for their differences from those to the left, whichever is less.
 *
 * @param {Block} block
 */
function quickBound({ data, columns, channels }) {
  const differences = new Uint8Array(data.length);
  const row = columns * channels;
  for (let begin = 0; begin < data.length; begin += row) {
    for (let i = begin; i < begin + channels; i++) differences[i] = data[i];
    for (let i = begin + channels; i < begin + row; i++) differences[i] = data[i] - data[i - channels];
  }
  return Math.min(zlibCompress(data, 1).length, zlibCompress(differences, 1).length);
}

/**
 * Whether a stream without a model may need less than so many bytes.
 *
 * @param {Block} block
 * @param {number} size
 */
function worthATry(block, size) {
  const { data, rows, columns, channels } = block;
  if (EASY * size < data.length) return true;
  if (rows >= 8 * STRIP) {
    const row = columns * channels;
    const some = Array.from({ length: rows }, (_, y) => y).filter((y) => Math.floor(y / STRIP) % 8 === 0);
    const part = new Uint8Array(some.length * row);
    some.forEach((y, i) => part.set(data.subarray(y * row, (y + 1) * row), i * row));
    if (2 * quickBound({ ...block, data: part, rows: some.length }) * rows > 3 * size * some.length) return false;
  }
  return 4 * quickBound(block) < 5 * size;
}

/** @param {Uint8Array} data */
function isConstant(data) {
  for (let i = 1; i < data.length; i++) if (data[i] !== data[0]) return false;
  return true;
}

/**
 * Whether all samples are equal, and so many that a model may not code them.
 *
 * @param {Block} block
 */
export function isBlank({ data }) {
  return data.length >= BLANK && isConstant(data);
}

/**
 * What a raw stream keeps: rows of whole bytes.
 *
 * @param {Block} block
 * @param {number} levels at most 256
 * @returns {Block}
 */
function packed({ data, rows, columns, channels }, levels) {
  const bits = bitsOf(levels);
  if (bits === 8) return { data, rows, columns, channels };
  const count = columns * channels;
  const stride = Math.ceil((count * bits) / 8);
  const out = new Uint8Array(rows * stride);
  for (let y = 0; y < rows; y++)
    for (let x = 0; x < count; x++) out[y * stride + ((x * bits) >> 3)] |= data[y * count + x] << (8 - bits - ((x * bits) & 7));
  return { data: out, rows, columns: stride, channels: 1 };
}

/**
 * The stream of a block without a model.
 *
 * @param {Block} block
 * @param {number} levels at most 256
 * @param {boolean} webp whether it may be WebP
 * @returns {Kept}
 */
export function keep(block, levels, webp) {
  const rows = packed(block, levels);
  const raw = { method: RAW, stream: rows.data.slice(), same: true, larger: false };
  if (quickBound(rows) >= raw.stream.length) return raw;
  const flat = webp && flatColour(block);
  if (flat) return { method: WEBP, stream: flatWebp(block, flat), same: false, larger: false };
  const bits = bitsOf(levels);
  const found = [0, 1].map((filter) => packLzma2(filtered(rows, filter), bits < 8 ? 1 : rows.channels, bits));
  const filter = Number(found[1].length < found[0].length);
  const stream = new Uint8Array(1 + found[filter].length);
  stream[0] = filter;
  stream.set(found[filter], 1);
  if (stream.length < raw.stream.length) return { method: LZMA, stream, same: false, larger: true };
  return { ...raw, same: false, larger: true };
}

/**
 * @param {Block} block
 * @param {number} filter 1: each byte less the one a pixel before
 */
function filtered({ data, channels }, filter) {
  if (!filter) return data;
  const out = data.slice();
  for (let i = channels; i < out.length; i++) out[i] = data[i] - data[i - channels];
  return out;
}

/**
 * The colour of all pixels, if it is one.
 *
 * @param {Block} block
 */
function flatColour({ data, channels }) {
  if (channels > 4) return null;
  for (let i = channels; i < data.length; i++) if (data[i] !== data[i - channels]) return null;
  return data.subarray(0, channels);
}

/**
 * The data of a chunk 'VP8L' of one colour: codes of one symbol each, and no bits for pixels.
 *
 * @param {Block} block
 * @param {Uint8Array} colour
 */
function flatWebp({ rows, columns }, colour) {
  const [r, g, b, a] = [[0, 0, 0, 255], [0, 0, 0, 1], [0, 1, 2, 255], [0, 1, 2, 3]][colour.length - 1].map((i) => colour[i] ?? 255);
  const bits = /** @type {[number, number][]} */ ([[0x2f, 8], [columns - 1, 14], [rows - 1, 14], [Number(a < 255), 1], [0, 3], [0, 3]]);
  for (const value of [g, r, b, a, 0]) bits.push([1, 2], [Number(value > 1), 1], [value, value > 1 ? 8 : 1]);
  const out = new Uint8Array(Math.ceil(bits.reduce((sum, [, count]) => sum + count, 0) / 8));
  let at = 0;
  for (const [value, count] of bits) for (let i = 0; i < count; i++, at++) out[at >> 3] |= ((value >> i) & 1) << (at & 7);
  return out;
}

/**
 * The model's stream of a tile, or one without where that is smaller, or the model's may not stand in a file.
 *
 * @param {{method: number, stream: Uint8Array}} record
 * @param {Block} block
 * @param {number} levels
 * @returns {Kept}
 */
export function smaller({ method, stream }, block, levels) {
  const [size, total] = [stream.length, block.data.length];
  const banned = total > SPARE_SYMBOLS + SYMBOLS_PER_BYTE * size;
  const model = { method, stream, same: true, larger: false };
  if (!banned && size < Math.floor((total * bitsOf(levels)) / 8) && !worthATry(block, size)) return model;
  const kept = keep(block, levels, true);
  if (banned || kept.stream.length < size) return kept;
  return { ...model, same: kept.same, larger: kept.larger };
}
