import { crc32, joined } from './bytes.js';
import { breathe, checkLimits } from './container.js';
import { VlaeError } from './errors.js';
import { inflate } from './inflate.js';
import { zlibCompress } from './zlib.js';

/**
 * What a PNG holds, as the Python package has it: samples as they stand, metadata by key, and what of the file is lost.
 *
 * @typedef {Object} Read
 * @property {number} width
 * @property {number} height
 * @property {number} channels
 * @property {string} mode
 * @property {number} levels
 * @property {Uint8Array} data
 * @property {{colours: number, channels: number, data: Uint8Array} | null} palette
 * @property {Record<string, Uint8Array>} metadata
 * @property {string[]} notes
 * @property {boolean} sure whether the metadata are those of the Python package: zlib's level 0 is not looked for here
 *
 * @typedef {{type: string, data: Uint8Array}} Chunk
 */

const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
const MODES = /** @type {Record<number, [string, number]>} */ ({ 0: ['L', 1], 2: ['RGB', 3], 3: ['P', 1], 4: ['LA', 2], 6: ['RGBA', 4] });
const DEPTHS = /** @type {Record<number, number[]>} */ ({ 0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16] });
const PASSES = [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]]; // of Adam7
const KNOWN = 'PLTE gAMA cHRM sRGB cICP mDCV cLLI iCCP bKGD tRNS sBIT sPLT hIST tIME tEXt zTXt iTXt pHYs eXIf oFFs pCAL sCAL sTER'.split(' ');
const MARKS = /** @type {Record<string, string>} */ ({ icc: '=icc', palette: '=pal', alpha: '=alp', resolution: '=res', exif: '=exi', xmp: '=xmp' });
const LEVELS = [[1], [5, 4, 3, 2], [6], [9, 8, 7]]; // of zlib, by what the header of its stream says
const [MOST_INFLATED, MOST_SEARCHED] = [1 << 26, 1 << 22]; // bytes of profiles and packets
const MOST_DOTS = 2 ** 31 - 1;
const CHUNK_MEMORY = 256; // bytes that a chunk takes beside its data
const SLICE = 1 << 20; // bytes of rows between which other things get their turn
const text = new TextEncoder();
const XMP = text.encode('XML:com.adobe.xmp\0');

/** @param {string} what */
function damaged(what) {
  return new VlaeError('InputError', `damaged image (PNG: ${what}): get a fresh copy of it`);
}

/** @param {string} what */
function unsupported(what) {
  return new VlaeError('Unsupported', `${what} is not compressed here: 'vlae-codec compress' does it`);
}

/**
 * @param {Uint8Array} data
 * @param {number} at
 */
function big(data, at) {
  return data[at] * 2 ** 24 + (data[at + 1] << 16) + (data[at + 2] << 8) + data[at + 3];
}

/**
 * @param {Uint8Array} a
 * @param {Uint8Array} b
 */
function equal(a, b) {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}

/** @param {Uint8Array} data */
export function isPng(data) {
  return equal(data.subarray(0, 8), SIGNATURE);
}

/**
 * The picture of a PNG. Throws InputError for a damaged file, Unsupported for what is not read here, ImageTooLarge.
 *
 * @param {Uint8Array} file
 * @param {import('./container.js').Limits} limits
 * @returns {Promise<Read>}
 */
export async function readPng(file, limits) {
  const header = readHeader(file);
  const { chunks, notes } = readChunks(file, limits);
  if (isAnimation(file)) throw unsupported('an animated PNG');
  if (header.depth === 16) throw unsupported('a PNG of 16 bits');
  const { rest, parts, palette } = split(header, chunks);
  const { width, height, depth } = header;
  const [mode, channels] = header.depth === 1 && header.colour === 0 ? ['1', 1] : MODES[header.colour];
  checkLimits(limits, { pixels: width * height, memory: 2 * width * height * channels });
  const data = new Uint8Array(width * height * channels);
  notes.push(...(await readSamples(header, channels, joined(parts), data)));
  const { values, lost, sure } = readPlaces(rest, palette);
  const { palette: colours, alpha, ...metadata } = values;
  return {
    width, height, channels, mode, levels: 1 << depth, data, metadata, notes: [...notes, ...lost], sure,
    palette: colours ? paletteOf(colours, alpha) : null,
  };
}

/**
 * @param {Uint8Array} colours
 * @param {Uint8Array | undefined} alpha
 */
function paletteOf(colours, alpha) {
  if (!alpha) return { colours: colours.length / 3, channels: 3, data: colours };
  const data = new Uint8Array(4 * alpha.length);
  for (let i = 0; i < alpha.length; i++) data.set([...colours.subarray(3 * i, 3 * i + 3), alpha[i]], 4 * i);
  return { colours: alpha.length, channels: 4, data };
}

/** @param {Uint8Array} file */
function readHeader(file) {
  const name = String.fromCharCode(...file.subarray(12, 16));
  if (!isPng(file) || file.length < 33 || big(file, 8) !== 13 || name !== 'IHDR') throw damaged('it does not begin with a header');
  if (crc32(file.subarray(12, 29)) !== big(file, 29)) throw damaged('the checksum of its header is wrong');
  const [width, height] = [big(file, 16), big(file, 20)];
  const [depth, colour, compression, filters, interlace] = file.subarray(24, 29);
  if (!(width > 0 && width < 2 ** 31 && height > 0 && height < 2 ** 31)) throw damaged(`a size of ${width}x${height}`);
  if (!DEPTHS[colour]?.includes(depth)) throw damaged(`${depth} bits of colour type ${colour}`);
  if (compression || filters || interlace > 1) throw damaged('an unknown method of compression, filtering or interlacing');
  return { width, height, depth, colour, interlaced: interlace === 1 };
}

/**
 * The chunks between header and end; those of metadata whose checksum is wrong are left out.
 *
 * @param {Uint8Array} file
 * @param {import('./container.js').Limits} limits
 */
function readChunks(file, limits) {
  /** @type {Chunk[]} */
  const chunks = [];
  /** @type {string[]} */
  const notes = [];
  let at = 33;
  for (;;) {
    if (at + 12 > file.length) throw damaged('it ends too early');
    const length = big(file, at);
    const type = String.fromCharCode(...file.subarray(at + 4, at + 8));
    const body = at + 8;
    if (body + length + 4 > file.length) throw damaged('it ends too early');
    if (!/^[a-zA-Z]{4}$/.test(type) || length >= 2 ** 31) throw damaged('a chunk without a name');
    at = body + length + 4;
    const intact = crc32(file.subarray(body - 4, at - 4)) === big(file, at - 4);
    if (!intact && type < 'a') throw damaged(`the checksum of ${type} is wrong`);
    if (type === 'IEND') break;
    if (intact) chunks.push({ type, data: file.subarray(body, at - 4) });
    else notes.push(`the damaged chunk ${type}`);
    const count = chunks.length + notes.length;
    if (count > limits.memory / CHUNK_MEMORY) throw new VlaeError('ImageTooLarge', `a PNG of ${count} chunks is over the limit`);
  }
  if (at < file.length) notes.push(`${file.length - at} bytes after the end of the picture`);
  return { chunks, notes };
}

/** @param {Uint8Array} file */
function isAnimation(file) {
  for (let at = 8; at + 8 <= file.length; at += 12 + big(file, at)) {
    const type = String.fromCharCode(...file.subarray(at + 4, at + 8));
    if (type === 'acTL' || type === 'IDAT') return type === 'acTL';
  }
  return false;
}

/**
 * The chunks with one IDAT of no data, the compressed rows, and the palette of a picture of indices.
 *
 * @param {{colour: number}} header
 * @param {Chunk[]} chunks
 */
function split({ colour }, chunks) {
  /** @type {Chunk[]} */
  const rest = [];
  /** @type {Uint8Array[]} */
  const parts = [];
  /** @type {Uint8Array | null} */
  let palette = null;
  for (const { type, data } of chunks) {
    if (type === 'IDAT') {
      if (!parts.length) rest.push({ type, data: new Uint8Array(0) });
      else if (rest[rest.length - 1].type !== 'IDAT') throw damaged('its pixels are in several places');
      parts.push(data);
      continue;
    }
    if (type === 'PLTE') {
      if (palette || parts.length || data.length % 3 || data.length < 3 || data.length > 768) throw damaged('a palette that is none, or is not in its place');
      palette = data;
    } else if (type < 'a') throw unsupported(`a PNG with the chunk ${type}`);
    rest.push({ type, data });
  }
  if (!parts.length) throw damaged('it has no pixels');
  if (colour === 3 && !palette) throw damaged('it has no palette');
  return { rest, parts, palette: colour === 3 ? palette : null };
}

// ------------------------------------------------------------------------------------------------------- samples

/**
 * Fills in the samples; notes on the end of the rows.
 *
 * @param {{width: number, height: number, depth: number, interlaced: boolean}} header
 * @param {number} channels
 * @param {Uint8Array} packed
 * @param {Uint8Array} out
 * @returns {Promise<string[]>}
 */
async function readSamples({ width, height, depth, interlaced }, channels, packed, out) {
  const steps = interlaced ? PASSES : [[0, 0, 1, 1]];
  const passes = steps.map(([x, y, dx, dy]) => {
    const [w, h] = [Math.floor((width - x + dx - 1) / dx), Math.floor((height - y + dy - 1) / dy)];
    const stride = Math.ceil((w * channels * depth) / 8);
    return { x, y, dx, dy, w, h, stride, size: w > 0 && h > 0 ? h * (1 + stride) : 0 };
  });
  const total = passes.reduce((sum, { size }) => sum + size, 0);
  const { rows, notes } = await inflateRows(packed, total);
  if (rows.length < total) throw damaged('pixels are missing');
  const step = Math.max(1, (channels * depth) >> 3);
  let [at, since] = [0, 0];
  for (const { x, y, dx, dy, w, h, stride, size } of passes) {
    /** @type {Uint8Array} */
    let above = new Uint8Array(stride);
    for (let r = 0; size && r < h; r++, at += 1 + stride) {
      since += stride;
      if (since > SLICE) {
        await breathe();
        since = 0;
      }
      const row = rows.subarray(at + 1, at + 1 + stride);
      unfilter(rows[at], row, above, step);
      above = row;
      put(row, depth, channels, out, ((y + r * dy) * width + x) * channels, w, dx * channels);
    }
  }
  return notes;
}

/**
 * The inflated rows. The browser does it; where it finds fault, what is there is looked at byte by byte.
 *
 * @param {Uint8Array} packed
 * @param {number} total
 * @returns {Promise<{rows: Uint8Array, notes: string[]}>}
 */
async function inflateRows(packed, total) {
  const rows = new Uint8Array(total);
  try {
    if (typeof DecompressionStream === 'undefined') throw new TypeError();
    const stream = new Blob([/** @type {Uint8Array<ArrayBuffer>} */ (packed)]).stream().pipeThrough(new DecompressionStream('deflate'));
    const reader = stream.getReader();
    for (let at = 0; ; ) {
      const { done, value } = await reader.read();
      if (done && at === total) return { rows, notes: [] };
      if (done) break;
      if (at + value.length > total) {
        await reader.cancel();
        break;
      }
      rows.set(value, at);
      at += value.length;
    }
  } catch (error) {
    if (!(error instanceof TypeError) && !(/** @type {any} */ (error)?.code)) throw error;
  }
  const { data, state } = inflate(packed, total + 1);
  if (state === 'wrong') throw damaged('its compressed rows');
  const notes = { end: [], more: [], wrong: [], cut: ['the end of the compressed rows, which is missing'] }[state];
  return { rows: data.subarray(0, total), notes: data.length > total ? ['data behind the last row'] : notes };
}

/**
 * @param {number} filter
 * @param {Uint8Array} row
 * @param {Uint8Array} above
 * @param {number} step
 */
function unfilter(filter, row, above, step) {
  const n = row.length;
  if (filter === 1) for (let i = step; i < n; i++) row[i] += row[i - step];
  else if (filter === 2) for (let i = 0; i < n; i++) row[i] += above[i];
  else if (filter === 3) for (let i = 0; i < n; i++) row[i] += ((i < step ? 0 : row[i - step]) + above[i]) >> 1;
  else if (filter === 4) {
    for (let i = 0; i < step && i < n; i++) row[i] += above[i];
    for (let i = step; i < n; i++) {
      const [a, b, c] = [row[i - step], above[i], above[i - step]];
      const [pa, pb, pc] = [Math.abs(b - c), Math.abs(a - c), Math.abs(a + b - 2 * c)];
      row[i] += pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
    }
  } else if (filter) throw damaged('an unknown filter');
}

/**
 * Puts the samples of a row where they stand; far: samples between two pixels of it.
 *
 * @param {Uint8Array} row
 * @param {number} depth
 * @param {number} channels
 * @param {Uint8Array} out
 * @param {number} at
 * @param {number} count pixels
 * @param {number} far
 */
function put(row, depth, channels, out, at, count, far) {
  if (depth === 8 && far === channels) out.set(row, at);
  else if (depth === 8) for (let i = 0, j = 0; i < count; i++) for (let c = 0; c < channels; c++) out[at + i * far + c] = row[j++];
  else for (let i = 0; i < count; i++) out[at + i * far] = (row[(i * depth) >> 3] >> (8 - depth - ((i * depth) & 7))) & ((1 << depth) - 1);
}

// ------------------------------------------------------------------------------------------------------- metadata

/**
 * Metadata, and those of a palette's colours, of the chunks of a file; and what is lost.
 *
 * @param {Chunk[]} chunks
 * @param {Uint8Array | null} palette
 */
function readPlaces(chunks, palette) {
  /** @type {Record<string, Uint8Array>} */
  const values = {};
  /** @type {Chunk[]} */
  const entries = [];
  /** @type {string[]} */
  const lost = [];
  let sure = true;
  for (const { type, data } of chunks) {
    const [key, value] = valueOf(type, data, palette);
    if (key && !Object.hasOwn(values, key)) {
      values[key] = value;
      const mark = markOf(type, data, key, value);
      entries.push(mark ? { type: MARKS[key], data: mark } : { type, data });
      if (!mark && (key === 'icc' || key === 'xmp')) sure &&= !isStored(packedOf(key, data));
    } else if (type === 'IDAT' || KNOWN.includes(type) || type[3] > 'Z') entries.push({ type, data });
    else lost.push(`the PNG chunk ${type}, which belongs to the file`);
  }
  const usual = usualEntries(values);
  if (entries.length !== usual.length || entries.some(({ type, data }, i) => type !== usual[i].type || !equal(data, usual[i].data)))
    values.png = joined(entries.flatMap(({ type, data }) => [lengthOf(data), text.encode(type), data]));
  return { values, lost, sure };
}

/** @param {Uint8Array} data */
function lengthOf({ length }) {
  return Uint8Array.of(length >>> 24, length >>> 16, length >>> 8, length);
}

/**
 * Where the values of a file stand if nothing says otherwise.
 *
 * @param {Record<string, Uint8Array>} values
 * @returns {Chunk[]}
 */
function usualEntries(values) {
  const there = (/** @type {string[]} */ ...keys) => keys.filter((key) => Object.hasOwn(values, key)).map((key) => ({ type: MARKS[key], data: new Uint8Array(0) }));
  const profile = there('icc').map(({ type }) => ({ type, data: text.encode('ICC Profile\x006f0') }));
  return [...profile, ...there('palette', 'alpha'), ...there('resolution', 'exif', 'xmp'), { type: 'IDAT', data: new Uint8Array(0) }];
}

/**
 * The key and the value of a chunk, or '' and nothing.
 *
 * @param {string} type
 * @param {Uint8Array} data
 * @param {Uint8Array | null} palette
 * @returns {[string, Uint8Array]}
 */
function valueOf(type, data, palette) {
  /** @type {Uint8Array} */
  const none = new Uint8Array(0);
  let [key, value] = ['', none];
  if (type === 'iCCP') {
    const end = data.indexOf(0);
    [key, value] = ['icc', end > 0 && data[end + 1] === 0 ? inflated(data.subarray(end + 2)) : none];
  } else if (type === 'eXIf') [key, value] = ['exif', data];
  else if (type === 'iTXt' && equal(data.subarray(0, XMP.length), XMP)) {
    const [how, body] = [data.subarray(XMP.length, XMP.length + 4), data.subarray(XMP.length + 4)];
    if (how.length === 4 && how[0] < 2 && !how[1] && !how[2] && !how[3]) [key, value] = ['xmp', how[0] ? inflated(body) : body];
  } else if (type === 'pHYs' && data.length === 9 && data[8] < 2) {
    const [x, y] = [big(data, 0), big(data, 4)];
    [key, value] = ['resolution', x && y ? text.encode(`${x}/1 ${y}/1 ${['none', 'metre'][data[8]]}`) : none];
  } else if (type === 'PLTE' && palette) [key, value] = ['palette', data];
  else if (type === 'tRNS' && palette && data.length <= palette.length / 3) {
    const alpha = new Uint8Array(palette.length / 3).fill(255);
    alpha.set(data);
    [key, value] = ['alpha', data.length ? alpha : none];
  }
  return value.length ? [key, value] : ['', none];
}

/** @param {Uint8Array} packed */
function inflated(packed) {
  const { data, state } = inflate(packed, MOST_INFLATED);
  return state === 'end' ? data : new Uint8Array(0);
}

/**
 * The zlib stream of a profile or a packet.
 *
 * @param {string} key
 * @param {Uint8Array} data of its chunk
 */
function packedOf(key, data) {
  return data.subarray(key === 'xmp' ? XMP.length + 4 : data.indexOf(0) + 2);
}

/**
 * Whether a zlib stream begins with a block that is not compressed.
 *
 * @param {Uint8Array} packed
 */
function isStored(packed) {
  return packed.length > 2 && packed[1] >> 6 === 0 && (packed[2] & 6) === 0;
}

/**
 * What stands behind the mark from which the very chunk comes back; null if there is none.
 *
 * @param {string} type
 * @param {Uint8Array} data
 * @param {string} key
 * @param {Uint8Array} value
 * @returns {Uint8Array | null}
 */
function markOf(type, data, key, value) {
  const none = new Uint8Array(0);
  if (key === 'resolution') return big(data, 0) <= MOST_DOTS && big(data, 4) <= MOST_DOTS ? none : null;
  if (key === 'alpha') return data.length === 1 || data[data.length - 1] !== 255 ? none : null;
  if (key !== 'icc' && key !== 'xmp') return none;
  if (key === 'xmp' && data[XMP.length] === 0) return none;
  const packed = packedOf(key, data);
  const name = key === 'xmp' ? none : data.subarray(0, data.indexOf(0) + 1);
  if (value.length > MOST_SEARCHED || packed.length < 3 || (packed[0] & 15) !== 8 || packed[0] > 127) return null;
  const window = (packed[0] >> 4) + 8;
  for (const strategy of [0, 1])
    for (const level of LEVELS[packed[1] >> 6]) {
      const made = zlibCompress(value, level, Math.max(window, 9), strategy === 1);
      if (equal(made, packed)) return joined([name, text.encode(`${level}${window.toString(16)}${strategy}`)]);
    }
  return null;
}
