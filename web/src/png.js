import { crc32, joined } from './bytes.js';
import { breathe } from './container.js';
import { rangeOf, toRgba } from './show.js';

/** @typedef {import('./decode.js').Picture} Picture */

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const COLOURS = /** @type {Record<string, number>} */ ({ L: 0, 1: 0, RGB: 2, P: 3, LA: 4, RGBA: 6 });
const DEPTHS = /** @type {Record<number, number[]>} */ ({ 0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16] });
const ROWS = 64; // between which other things get their turn
const PART = 1 << 20; // bytes of pixels in a chunk
const text = new TextEncoder();

/**
 * A PNG of a picture. `exact` says whether it holds the very samples; else it has their colours of 8 bits, as a screen
 * shows them. Metadata that a PNG has a place for are in it.
 *
 * @param {Picture} picture
 * @returns {Promise<{data: Uint8Array<ArrayBuffer>, exact: boolean}>}
 */
export async function toPng(picture) {
  const { width, height, mode, metadata } = picture;
  const form = formOf(picture);
  const [colour, depth, channels] = form ?? [6, 8, 4];
  const samples = form ? picture.data : await slowly(picture);
  const rows = await packRows(samples, width, height, channels, depth);
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, depth);
  header.setUint8(9, colour);
  const before = [];
  if (metadata.icc && form) before.push(chunk('iCCP', joined([text.encode('ICC profile'), Uint8Array.of(0, 0), await deflate(metadata.icc)])));
  const kept = listed(metadata.png, form !== null);
  const first = ['gAMA', 'cHRM', 'sRGB', 'cICP', 'sBIT', 'iCCP', 'mDCV', 'cLLI'];
  const profile = metadata.icc !== undefined;
  const given = kept.filter(({ type }) => !(profile && ['iCCP', 'sRGB'].includes(type)));
  before.push(...given.filter(({ type }) => first.includes(type)).map(({ type, data }) => chunk(type, data)));
  if (picture.palette && mode === 'P' && form) before.push(...paletteChunks(picture.palette));
  before.push(...given.filter(({ type }) => !first.includes(type)).map(({ type, data }) => chunk(type, data)));
  if (metadata.resolution) before.push(...resolutionChunk(metadata.resolution));
  if (metadata.exif) before.push(chunk('eXIf', metadata.exif));
  if (metadata.xmp) before.push(chunk('iTXt', joined([text.encode('XML:com.adobe.xmp'), new Uint8Array(5), metadata.xmp])));
  for (const [key, name] of [['comment', 'Comment'], ['description', 'Description']])
    for (const part of texts(metadata[key])) before.push(chunk('iTXt', joined([text.encode(name), new Uint8Array(5), part])));
  const body = await deflate(rows);
  const file = [Uint8Array.from(SIGNATURE), chunk('IHDR', new Uint8Array(header.buffer)), ...before];
  for (let at = 0; at < body.length; at += PART) {
    file.push(chunk('IDAT', body.subarray(at, at + PART)));
    await breathe();
  }
  file.push(chunk('IEND', new Uint8Array(0)));
  return { data: joined(file), exact: form !== null };
}

/**
 * Colours of a picture for a screen, a few rows at a time.
 *
 * @param {Picture} picture
 */
async function slowly(picture) {
  const { width, height } = picture;
  const out = new Uint8ClampedArray(4 * width * height);
  const range = rangeOf(picture);
  for (let y = 0; y < height; y += ROWS) {
    await breathe();
    out.set(toRgba(picture, { x: 0, y, width, height: Math.min(ROWS, height - y) }, range), 4 * width * y);
  }
  return out;
}

/**
 * Colour type, depth and channels of a PNG of the very samples; null if there is none.
 *
 * @param {Picture} picture
 * @returns {[number, number, number] | null}
 */
function formOf({ mode, type, levels, channels }) {
  if (type !== 'unsigned' || !Object.hasOwn(COLOURS, mode)) return null;
  const bits = 32 - Math.clz32(levels - 1);
  const depth = DEPTHS[COLOURS[mode]].find((one) => one >= bits);
  return depth === undefined ? null : [COLOURS[mode], depth, channels];
}

/**
 * Filtered rows: each by Paeth's predictor if samples are bytes or more, which suits photographs.
 *
 * @param {ArrayLike<number>} samples
 * @param {number} width
 * @param {number} height
 * @param {number} channels
 * @param {number} depth
 */
async function packRows(samples, width, height, channels, depth) {
  const stride = Math.ceil((width * channels * depth) / 8);
  const step = Math.max(1, (channels * depth) / 8);
  const out = new Uint8Array(height * (1 + stride));
  let [above, row] = [new Uint8Array(stride + step), new Uint8Array(stride + step)];
  for (let y = 0, at = 0; y < height; y++) {
    if (y % ROWS === ROWS - 1) await breathe();
    [above, row] = [row, above];
    const from = y * width * channels;
    if (depth === 8) for (let i = 0; i < stride; i++) row[step + i] = samples[from + i];
    else if (depth === 16) {
      for (let i = 0; i < width * channels; i++) {
        row[step + 2 * i] = samples[from + i] >> 8;
        row[step + 2 * i + 1] = samples[from + i];
      }
    } else {
      row.fill(0, step);
      for (let i = 0; i < width * channels; i++) row[step + ((i * depth) >> 3)] |= samples[from + i] << (8 - depth - ((i * depth) & 7));
    }
    if (depth < 8) {
      out.set(row.subarray(step), at + 1);
    } else {
      out[at] = 4;
      for (let i = 0; i < stride; i++) {
        const [a, b, c] = [row[i], above[step + i], above[i]];
        const [pa, pb, pc] = [Math.abs(b - c), Math.abs(a - c), Math.abs(a + b - 2 * c)];
        out[at + 1 + i] = row[step + i] - (pa <= pb && pa <= pc ? a : pb <= pc ? b : c);
      }
    }
    at += 1 + stride;
  }
  return out;
}

/**
 * The zlib stream of bytes.
 *
 * @param {Uint8Array} data
 */
async function deflate(data) {
  const stream = new Blob([/** @type {Uint8Array<ArrayBuffer>} */ (data)]).stream().pipeThrough(new CompressionStream('deflate'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/**
 * @param {string} type
 * @param {Uint8Array} data
 */
function chunk(type, data) {
  const out = new Uint8Array(12 + data.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, data.length);
  out.set(text.encode(type), 4);
  out.set(data, 8);
  view.setUint32(8 + data.length, crc32(out.subarray(4, 8 + data.length)));
  return out;
}


/** @param {NonNullable<Picture['palette']>} palette */
function paletteChunks({ colours, channels, data }) {
  const column = (/** @type {number[]} */ ...which) => Uint8Array.from({ length: which.length * colours }, (_, i) => data[Math.floor(i / which.length) * channels + which[i % which.length]]);
  const chunks = [chunk('PLTE', column(0, 1, 2))];
  if (channels === 4) chunks.push(chunk('tRNS', column(3)));
  return chunks;
}

/**
 * The chunks that the metadata of a PNG list, without the marks of what has another place.
 *
 * @param {Uint8Array | undefined} packed
 * @param {boolean} exact whether those about the samples hold
 */
function listed(packed, exact) {
  const found = [];
  for (let at = 0; packed && at + 8 <= packed.length; ) {
    const length = new DataView(packed.buffer, packed.byteOffset + at).getUint32(0);
    const type = String.fromCharCode(...packed.subarray(at + 4, at + 8));
    const data = packed.subarray(at + 8, at + 8 + length);
    at += 8 + length;
    const about = ['tRNS', 'sBIT', 'bKGD', 'hIST', 'PLTE'].includes(type);
    if (/^[a-zA-Z]{4}$/.test(type) && type !== 'IDAT' && data.length === length && (exact || !about)) found.push({ type, data });
  }
  return found;
}

/** @param {Uint8Array} value "X Y UNIT", X and Y being fractions */
function resolutionChunk(value) {
  const [x, y, unit] = new TextDecoder().decode(value).split(' ');
  const metres = /** @type {Record<string, number>} */ ({ inch: 0.0254, centimetre: 0.01, metre: 1, none: 0 })[unit];
  const number = (/** @type {string} */ fraction) => {
    const [above, below = '1'] = fraction.split('/');
    return Math.round(Number(above) / Number(below) / (metres || 1));
  };
  if (metres === undefined || !y || ![x, y].every((f) => number(f) >= 0 && number(f) < 2 ** 31)) return [];
  const view = new DataView(new ArrayBuffer(9));
  view.setUint32(0, number(x));
  view.setUint32(4, number(y));
  view.setUint8(8, metres ? 1 : 0);
  return [chunk('pHYs', new Uint8Array(view.buffer))];
}

/** @param {Uint8Array | undefined} value texts, joined by NUL bytes */
function texts(value) {
  const found = [];
  for (let at = 0; value && at < value.length; ) {
    const end = value.indexOf(0, at) < 0 ? value.length : value.indexOf(0, at);
    if (end > at) found.push(text.encode(new TextDecoder().decode(value.subarray(at, end))));
    at = end + 1;
  }
  return found;
}
