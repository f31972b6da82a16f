import { Reader, crc32, hex, readU32, readVarint, utf8 } from './bytes.js';
import { VlaeError, must } from './errors.js';
import { placing } from './origins.js';
import { LZMA, RAW, WEBP, restore } from './stored.js';

/** @typedef {import('./origins.js').Region} Region */

/**
 * A group of planes of all pictures of a layout.
 *
 * @typedef {Object} Group
 * @property {number} number counted over all layouts
 * @property {number} layout
 * @property {'samples' | 'source' | 'coefficients' | 'exceptions'} kind
 * @property {number} channel the first; of source planes the number of the plane
 * @property {number} channels
 * @property {string | null} model id, 16 hexadecimal digits
 * @property {number} levels
 * @property {number} shift
 * @property {number} learning 0: the model does not learn while it codes; 1 .. 7: its last layer does; 9 .. 15: all layers of
 *   the local network but the first; at rates divided by 2 to the power of one less than the remainder by 8
 * @property {[number, number]} scale columns and rows
 * @property {number} tileSize
 * @property {number} laneSymbols
 * @property {number} chains
 * @property {Uint16Array[]} values tables
 * @property {number} geometry of a plane of chroma
 * @property {{picture: number, width: number, height: number}[]} pictures sizes in samples
 * @property {Uint8Array | null} adapter
 * @property {StreamRecord[]} records those that are needed
 *
 * @typedef {Object} StreamRecord
 * @property {number} method
 * @property {boolean} differences
 * @property {Uint8Array} stream
 * @property {number} crc
 * @property {Piece[]} pieces
 *
 * @typedef {Region & {picture: number}} Piece a part of a picture in samples of the group
 *
 * @typedef {Object} Layout
 * @property {string} mode
 * @property {string} type
 * @property {number} levels
 * @property {number} channels
 * @property {{form: number, data: Uint8Array} | null} origin
 * @property {Palette | null} palette
 * @property {Group[]} groups
 *
 * @typedef {{colours: number, channels: number, data: Uint8Array}} Palette
 *
 * @typedef {Object} Contents
 * @property {Layout[]} layouts
 * @property {{layout: number, width: number, height: number}[]} pictures
 * @property {Group[]} groups
 * @property {Map<string, Uint8Array>[]} metadata of each picture
 * @property {Record<string, number>} sizes bytes of the file by what they are for; of a region, only of its streams
 * @property {Region | null} region
 *
 * @typedef {Object} Limits
 * @property {number} pixels
 * @property {number} pictures
 * @property {number} memory
 * @property {number} seconds
 */

export const MAGIC = [0xf6, 0x56, 0x4c, 0x41, 0x45, 0x0d, 0x0a, 0x1a];
const ARCHIVE = [0xf6, 0x56, 0x4c, 0x41, 0x52, 0x0d, 0x0a, 0x1a];
export const MODES = ['L', 'RGB', '1', 'LA', 'RGBA', 'P', 'PA', 'CMYK', 'YCbCr', 'LAB', 'HSV', 'La', 'RGBa', 'RGBX', 'bands'];
export const CHANNELS = [1, 3, 1, 2, 4, 1, 2, 4, 3, 3, 3, 2, 4, 4];
const TYPES = ['unsigned', 'int8', 'int16', 'uint32', 'int32', 'float16', 'float32', 'float64'];
/** Bytes of the types that are coded by bytes. */
export const TYPE_BYTES = /** @type {Record<string, number>} */ ({ uint32: 4, int32: 4, float16: 2, float32: 4, float64: 8 });
export const [NO_LATENTS, LATENTS, CHAIN, EXCEPTIONS, COEFFICIENTS] = [0, 1, 4, 6, 7];
const METHODS = ['modelled', 'modelled with latents', 'raw', 'LZMA', 'modelled in a chain', 'WebP', 'coded by bits', 'coded by bits'];
export const [SOURCE_PLANES, VALUES, JPEG] = [1, 2, 3]; // forms of origins
const SLICE = 1 << 21; // bytes between which other things get their turn
// What a picture or tile, a name of a picture's metadata, an entry of a table, and a pixel of WebP take in memory.
const [PICTURE_BYTES, METADATA_BYTES, ENTRY_BYTES, WEBP_BYTES] = [512, 64, 16, 28];
const UNIT = 32; // pixels, the most that a JPEG begins before a picture that is a part of it
const ENLARGED = 4; // pixels around one in which lie all samples of halved chroma that it is made of
const MAX_SHIFT = 10;
const NEWER = 'the file needs a newer version of this program';

/**
 * @param {Limits} limits
 * @param {Partial<Limits>} asked
 */
export function checkLimits(limits, asked) {
  for (const [name, value] of Object.entries(asked)) {
    const most = limits[/** @type {keyof Limits} */ (name)];
    if (value > most) throw new VlaeError('ImageTooLarge', `${Math.ceil(value)} ${name} are over the limit of ${most}`);
  }
}

/** Lets other things of this thread have their turn. */
export function breathe() {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/**
 * Everything in a file but its streams, whose checksums stay to be verified, after all counts and ranges were found
 * good. With a region only the streams that it needs are listed.
 *
 * @param {Uint8Array} data
 * @param {Limits} limits
 * @param {Region | null} region
 * @returns {Promise<Contents>}
 */
export async function readFile(data, limits, region) {
  checkStart(data);
  const chunks = listChunks(data);
  const [head] = chunks;
  must(head.type === 'H', 'the first chunk is not the header');
  verify(data, head, 0);
  const reader = new Reader(data.subarray(head.begin, head.end));
  const { layouts, groups } = readLayouts(reader);
  const pictures = readPictures(reader, layouts, limits);
  if (region) checkRegion(region, pictures);
  const memory = checkPictures(pictures, layouts, groups, limits, region);
  const headerBytes = reader.at;
  /** @type {Map<string, Uint8Array>[]} */
  const metadata = pictures.map(() => new Map());
  let [last, named] = [-1, 0];
  /** @type {Map<string, number>} */
  const ends = new Map();
  /** @type {Record<string, number>} */
  const sizes = { header: 9 + headerBytes, framing: 0, table: 0, adapter: 0, metadata: 0, checksums: 0 };
  for (const chunk of chunks.slice(1, -1)) {
    must(chunk.type !== 'H' && chunk.type !== 'D', 'a chunk is out of place');
    verify(data, chunk, chunk.start);
    const fields = new Reader(data.subarray(chunk.begin, chunk.end));
    if (chunk.type === 'A') {
      const number = fields.varint();
      must(last < number && number < groups.length && groups[number].model !== null, 'an adapter of no group of planes');
      groups[number].adapter = fields.take(fields.left);
      last = number;
      sizes.adapter += chunk.end - chunk.begin;
    } else if (chunk.type === 'm') {
      const [first, count] = [fields.varint(), fields.varint()];
      const name = utf8(fields.take(fields.byte()));
      const value = fields.take(fields.left);
      const fits = count > 0 && first + count <= pictures.length && first >= (ends.get(name) ?? 0);
      must(name !== '' && value.length > 0 && fits, 'metadata without a name, a value or a picture of its own');
      ends.set(name, first + count);
      named += count;
      checkLimits(limits, { memory: memory + METADATA_BYTES * named });
      for (let i = first; i < first + count; i++) metadata[i].set(name, value);
      sizes.metadata += chunk.end - chunk.begin;
    } else {
      if (chunk.type < 'a') throw new VlaeError('UnsupportedVersion', `chunk type '${chunk.type}' is unknown here: ${NEWER}`);
      sizes.metadata += chunk.end - chunk.begin;
    }
  }
  const streams = chunks[chunks.length - 1];
  must(streams.type === 'D', 'the file has no data');
  if (!region) await verifyWhole(data);
  listRecords(reader, data.subarray(streams.begin, streams.end), { layouts, groups, pictures, region, limits, memory });
  for (const group of groups)
    for (const { method, stream } of group.records) {
      const learns = method === NO_LATENTS || method === LATENTS ? group.learning : 0;
      const learning = learns ? `, learning${learns > 8 ? '' : ' in the last layer'}` : '';
      const name = `${nameOf(group, layouts[group.layout])}, ${METHODS[method]}${learning}`;
      sizes[name] = (sizes[name] ?? 0) + stream.length;
    }
  for (const chunk of chunks) {
    sizes.framing += chunk.begin - chunk.start;
    sizes.checksums += 4;
  }
  sizes.table = head.end - head.begin - headerBytes;
  return { layouts, pictures, groups, metadata, sizes, region };
}

/**
 * What a group of planes has, in a word.
 *
 * @param {Group} group
 * @param {Layout} layout
 */
function nameOf({ kind, channel, channels }, layout) {
  if (kind === 'source') return channel ? 'chroma' : 'luma';
  if (kind !== 'samples') return kind;
  const alpha = /[Aa]$/.test(layout.mode) && channel === layout.channels - 1;
  return alpha ? 'alpha' : channels === 3 ? 'colours' : layout.mode[0] === 'L' ? 'grey' : 'samples';
}

/** @param {Uint8Array} data */
function checkStart(data) {
  const same = MAGIC.findIndex((byte, i) => data[i] !== byte);
  const truncated = new VlaeError('TruncatedFile', 'the file ends inside its header: get a fresh copy of it');
  if (same >= 0 && same === data.length && data.length > 0) throw truncated;
  if (ARCHIVE.every((byte, i) => data[i] === byte))
    throw new VlaeError('NotAVlaeFile', 'an archive of pictures: openArchive reads it');
  if (same >= 5) throw new VlaeError('NotAVlaeFile', 'the file was changed by a transfer in text mode: transfer it again in binary mode');
  if (same >= 0) throw new VlaeError('NotAVlaeFile', 'not a .vlae file');
  if (data.length <= 8) throw truncated;
  if (data[8] !== 2) throw new VlaeError('UnsupportedVersion', `format version ${data[8]} is unknown here: ${NEWER}`);
}

/** @typedef {{type: string, start: number, begin: number, end: number}} Chunk */

/** @param {Uint8Array} data */
function listChunks(data) {
  /** @type {Chunk[]} */
  const chunks = [];
  const truncated = new VlaeError('TruncatedFile', 'the file ends early: get a fresh copy of it');
  for (let at = 9, type = ''; type !== 'D'; ) {
    if (at >= data.length) throw truncated;
    const start = at;
    type = String.fromCharCode(data[at]);
    must(/[A-Za-z]/.test(type), 'a chunk has no type');
    let length;
    try {
      [length, at] = readVarint(data, at + 1);
    } catch (error) {
      throw data.length - at < 10 ? truncated : error;
    }
    if (at + length + 4 > data.length) throw truncated;
    chunks.push({ type, start, begin: at, end: at + length });
    at += length + 4;
    must(type !== 'D' || at === data.length, 'something follows the data');
  }
  return chunks;
}

/**
 * @param {Uint8Array} data
 * @param {Chunk} chunk
 * @param {number} from the first byte that its checksum covers
 */
function verify(data, chunk, from) {
  must(crc32(data.subarray(from, chunk.end)) === readU32(data, chunk.end), `wrong checksum of chunk '${chunk.type}'`);
}

/** @param {Uint8Array} data */
async function verifyWhole(data) {
  let crc = 0;
  const end = data.length - 4;
  for (let at = 0; at < end; at += SLICE) {
    if (at) await breathe();
    crc = crc32(data.subarray(at, Math.min(at + SLICE, end)), crc);
  }
  must(crc === readU32(data, end), 'wrong checksum of the whole file');
}

/** @param {Reader} reader */
function readLayouts(reader) {
  /** @type {Layout[]} */
  const layouts = [];
  /** @type {Group[]} */
  const groups = [];
  const count = reader.varint();
  must(count > 0 && count <= reader.left, 'impossible layouts in the header');
  for (let i = 0; i < count; i++) {
    const layout = readLayout(reader, i);
    for (const group of layout.groups) group.number = groups.push(group) - 1;
    layouts.push(layout);
  }
  return { layouts, groups };
}

/**
 * @param {Reader} reader
 * @param {number} number
 * @returns {Layout}
 */
function readLayout(reader, number) {
  const code = reader.byte();
  const which = code & 31;
  if (which >= MODES.length) throw new VlaeError('UnsupportedVersion', `mode ${which} is unknown here: ${NEWER}`);
  const mode = MODES[which];
  const indexed = mode === 'P' || mode === 'PA';
  const kind = reader.optional(code & 32, () => reader.byte(), 0);
  if (kind >= TYPES.length) throw new VlaeError('UnsupportedVersion', `sample type ${kind} is unknown here: ${NEWER}`);
  const type = TYPES[kind];
  const usual = mode === '1' ? 2 : type === 'int16' ? 65536 : 256;
  const levels = reader.optional(code & 64, () => reader.varint(), usual);
  must(levels >= 2 && levels <= (indexed ? 256 : 65536), 'impossible levels in the header');
  must(levels === usual || (kind === 0 && mode !== '1'), 'impossible levels in the header');
  must(kind === 0 || !(indexed || mode === '1'), 'an impossible type in the header');
  const channels = mode === 'bands' ? reader.byte() : CHANNELS[which];
  must(channels > 0, 'impossible channels in the header');
  let palette = null;
  if (indexed) {
    const [colours, columns] = [reader.varint(), reader.byte()];
    must(colours >= 1 && colours <= 256 && (columns === 3 || columns === 4), 'an impossible palette in the header');
    palette = { colours, channels: columns, data: Uint8Array.from(readForm(reader, [1, colours], columns, 256, [RAW, LZMA, WEBP])) };
  }
  const coded = channels * (TYPE_BYTES[type] ?? 1);
  let origin = null;
  /** @type {[Group['kind'], number][]} kinds and geometries of the groups of an origin */
  let own = [];
  if (code & 128) {
    const form = reader.byte();
    const data = reader.take(reader.varint());
    origin = { form, data };
    own = groupsOfOrigin(form, data, mode, kind, levels);
  }
  /** @type {Group[]} */
  const groups = [];
  for (let first = 0; first < coded || groups.length < own.length; ) {
    const [what, geometry] = own[groups.length] ?? ['samples', 0];
    const group = readGroup(reader, number, what === 'exceptions' || what === 'coefficients' ? 0 : first, levels, what);
    group.geometry = geometry;
    groups.push(group);
    if (what === 'source') {
      must(group.channels === 1 && group.scale.join() === '1,1' && !group.values.length && !group.chains, 'impossible source planes in the header');
      first = groups.length;
    } else if (what === 'exceptions' || what === 'coefficients') {
      const simple = group.model === null && group.laneSymbols === 32768 && group.scale.join() === '1,1' && !group.values.length;
      must(simple && !group.chains && group.channels === (mode[0] === 'L' ? 1 : 3), 'impossible planes of an origin in the header');
      first = group.channels;
    } else {
      must(!origin || !group.chains, 'impossible planes of an origin in the header');
      first += group.channels;
    }
    must(first <= coded || what !== 'samples', 'groups of planes in the header do not fit');
  }
  if (origin?.form === VALUES) must(groups[0].channels === 3, 'impossible planes of an origin in the header');
  return { mode, type, levels, channels, origin, palette, groups };
}

/**
 * @param {number} form
 * @param {Uint8Array} data
 * @param {string} mode
 * @param {number} kind of the type
 * @param {number} levels
 * @returns {[Group['kind'], number][]}
 */
function groupsOfOrigin(form, data, mode, kind, levels) {
  const coloured = ['RGB', 'RGBA', 'RGBa', 'RGBX'].includes(mode);
  const fits = kind === 0 && levels === 256 && (coloured || (form === JPEG && (mode === 'L' || mode === 'LA')));
  must(fits && form >= SOURCE_PLANES && form <= JPEG, 'an impossible origin in the header');
  if (form === SOURCE_PLANES) {
    const geometry = data[2];
    must(data.length === 3 && geometry < 64 && ((geometry >> 2) & 3 & ~geometry) === 0, 'an impossible origin in the header');
    const chroma = /** @type {[Group['kind'], number][]} */ (geometry & 16 ? [] : [['source', geometry], ['source', geometry]]);
    return [['source', 0], ...chroma, ['exceptions', 0]];
  }
  if (form === VALUES) {
    must(data.length === 2, 'an impossible origin in the header');
    return [['samples', 0]];
  }
  must(data.length > 0 && data.length < 65536, 'an impossible origin in the header');
  return [['coefficients', 0], ['exceptions', 0]];
}

/**
 * @param {Reader} reader
 * @param {number} layout
 * @param {number} channel
 * @param {number} levels of the layout
 * @param {Group['kind']} kind
 * @returns {Group}
 */
function readGroup(reader, layout, channel, levels, kind) {
  const [channels, flags] = [reader.byte(), reader.byte()];
  must(channels > 0, 'a group of no planes in the header');
  const model = flags & 1 ? hex(reader.take(8)) : null;
  must(model === null || channels === 1 || channels === 3, 'a model of so many channels in the header');
  const coded = reader.optional(flags & 2, () => reader.varint(), levels);
  must(coded >= 2 && coded <= levels && (coded === levels || (flags & 128) > 0), 'impossible coded levels in the header');
  const number = reader.optional(flags & 4, () => reader.byte(), 0);
  const [shift, learning] = [number & 15, number >> 4];
  must(shift <= (coded > 256 ? MAX_SHIFT : 0), 'an impossible shift in the header');
  const one = /** @type {[number, number]} */ ([1, 1]);
  const scale = reader.optional(flags & 8, () => /** @type {[number, number]} */ ([reader.byte(), reader.byte()]), one);
  const tileSize = 8 * reader.optional(flags & 16, () => reader.varint(), 64);
  const laneSymbols = reader.optional(flags & 32, () => reader.varint(), 32768);
  const chains = reader.optional(flags & 64, () => reader.varint(), 0);
  must(!learning || (learning !== 8 && model !== null && !chains), 'impossible learning in the header');
  must(Math.min(...scale) > 0 && tileSize >= 8 && tileSize <= 4096 && laneSymbols > 0 && laneSymbols < 2 ** 32, 'an impossible group of planes in the header');
  /** @type {Uint16Array[]} */
  const values = [];
  if (flags & 128) {
    const tables = reader.byte();
    must(tables === 1 || (tables === channels && tables <= 4), 'impossible tables of values in the header');
    for (let i = 0; i < tables; i++) values.push(readValues(reader, coded, levels));
  }
  return {
    number: 0, layout, kind, channel, channels, model, levels: coded, shift, learning, scale, tileSize, laneSymbols, chains, values,
    geometry: 0, pictures: [], adapter: null, records: [],
  };
}

/**
 * @param {Reader} reader
 * @param {number} most entries
 * @param {number} levels
 */
function readValues(reader, most, levels) {
  const count = reader.varint();
  must(count >= 1 && count <= most, 'an impossible table of values in the header');
  const n = levels > 256 ? 65536 : 256;
  const steps = readForm(reader, [1, count], 1, n, [RAW, LZMA]);
  const table = new Uint16Array(count);
  for (let i = 0, value = 0; i < count; i++) {
    value = (value + steps[i] + (i ? 1 : 0)) % n;
    table[i] = value;
  }
  must(table.every((value) => value < levels) && new Set(table).size === count, 'an impossible table of values in the header');
  return table;
}

/**
 * The samples of a stored form.
 *
 * @param {Reader} reader
 * @param {[number, number]} shape
 * @param {number} channels
 * @param {number} levels
 * @param {number[]} methods
 */
function readForm(reader, shape, channels, levels, methods) {
  const method = reader.byte();
  must(methods.includes(method), 'a table of an unknown form in the header');
  return restore(method, reader.take(reader.varint()), [shape], channels, levels)[0];
}

/**
 * @param {Reader} reader
 * @param {Layout[]} layouts
 * @param {Limits} limits
 */
function readPictures(reader, layouts, limits) {
  /** @type {Contents['pictures']} */
  const pictures = [];
  const used = layouts.map(() => 0);
  const runs = reader.varint();
  let pixels = 0;
  must(runs > 0 && runs <= reader.left, 'impossible runs of pictures in the header');
  for (let i = 0; i < runs; i++) {
    const [count, layout, width, height] = [reader.varint(), reader.varint(), reader.varint(), reader.varint()];
    const sized = width > 0 && height > 0 && width < 2 ** 32 && height < 2 ** 32;
    must(count > 0 && layout < layouts.length && sized, 'impossible sizes of pictures in the header');
    pixels += count * width * height;
    checkLimits(limits, { pictures: pictures.length + count });
    used[layout] += count;
    for (let k = 0; k < count; k++) pictures.push({ layout, width, height });
  }
  must(used.every((count) => count > 0), 'a layout without pictures in the header');
  layouts.forEach(({ groups }, i) => must(groups.every(({ chains }) => chains <= used[i]), 'more chains than pictures in the header'));
  return pictures;
}

/**
 * @param {Region} region
 * @param {Contents['pictures']} pictures
 */
function checkRegion({ x, y, width, height }, pictures) {
  if (pictures.length > 1) throw new VlaeError('InputError', 'the file holds a list of pictures, so there are no regions: decode all of it');
  const [picture] = pictures;
  const whole = [x, y, width, height].every(Number.isInteger);
  if (!whole || x < 0 || y < 0 || width < 1 || height < 1 || x + width > picture.width || y + height > picture.height)
    throw new VlaeError('InputError', `the region does not lie in the picture of ${picture.width}x${picture.height} pixels`);
}

/**
 * Checks what pictures take, and gives the groups their sizes; the bytes that all pictures take.
 *
 * @param {Contents['pictures']} pictures
 * @param {Layout[]} layouts
 * @param {Group[]} groups
 * @param {Limits} limits
 * @param {Region | null} region
 */
function checkPictures(pictures, layouts, groups, limits, region) {
  let [pixels, bytes] = [0, PICTURE_BYTES * pictures.length];
  for (const { layout, width, height } of pictures) {
    const { channels, type, levels } = layouts[layout];
    const count = region ? region.width * region.height : width * height;
    pixels += count;
    bytes += count * channels * (TYPE_BYTES[type] ?? (levels <= 256 ? 1 : 2));
  }
  for (const group of groups) for (const table of group.values) bytes += ENTRY_BYTES * table.length;
  checkLimits(limits, { pixels, memory: bytes });
  /** @type {Map<number, number[]>} */
  const members = new Map(layouts.map((_, i) => [i, []]));
  pictures.forEach(({ layout }, i) => members.get(layout)?.push(i));
  const each = groups.reduce((sum, { layout }) => sum + (members.get(layout)?.length ?? 0), 0);
  checkLimits(limits, { memory: bytes + PICTURE_BYTES * each });
  for (const group of groups)
    group.pictures = (members.get(group.layout) ?? []).map((i) => ({ picture: i, ...sizeOf(group, pictures[i].width, pictures[i].height) }));
  return bytes;
}

/**
 * @param {Group} group
 * @param {number} width
 * @param {number} height
 */
function sizeOf({ kind, geometry, scale }, width, height) {
  if (kind !== 'source') return { width: Math.ceil(width / scale[0]), height: Math.ceil(height / scale[1]) };
  const { halved, shifted } = placing(geometry);
  const count = (/** @type {number} */ size, /** @type {number} */ i) => Math.max(1, Math.ceil((size - shifted[i]) / halved[i]));
  return { width: count(width, 0), height: count(height, 1) };
}

/**
 * The tiles of a plane that a region of it touches, row by row.
 *
 * @param {number} width
 * @param {number} height
 * @param {number} size
 * @param {Region} [region]
 * @returns {Region[]}
 */
export function tileGrid(width, height, size, region = { x: 0, y: 0, width, height }) {
  const found = [];
  for (let y = Math.floor(region.y / size) * size; y < region.y + region.height; y += size)
    for (let x = Math.floor(region.x / size) * size; x < region.x + region.width; x += size)
      found.push({ x, y, width: Math.min(size, width - x), height: Math.min(size, height - y) });
  return found;
}

/**
 * @param {Region} region
 * @param {number} by
 * @param {number} width
 * @param {number} height
 */
function grown({ x, y, width: w, height: h }, by, width, height) {
  const [left, top] = [Math.max(0, x - by), Math.max(0, y - by)];
  return { x: left, y: top, width: Math.min(width, x + w + by) - left, height: Math.min(height, y + h + by) - top };
}

/**
 * A region grown to whole tiles.
 *
 * @param {Region} region
 * @param {number} size
 * @param {number} width
 * @param {number} height
 */
export function wholeTiles({ x, y, width: w, height: h }, size, width, height) {
  const [left, top] = [Math.floor(x / size) * size, Math.floor(y / size) * size];
  const [right, bottom] = [Math.ceil((x + w) / size) * size, Math.ceil((y + h) / size) * size];
  return { x: left, y: top, width: Math.min(width, right) - left, height: Math.min(height, bottom) - top };
}

/**
 * The samples of a group that a region of the only picture needs.
 *
 * @param {Region} region
 * @param {Layout} layout
 * @param {Group} group
 * @param {{width: number, height: number}} picture
 * @returns {Region}
 */
function samplesOf(region, layout, group, { width, height }) {
  if (group.kind === 'samples' || group.kind === 'exceptions') {
    const [sx, sy] = group.scale;
    const [x, y] = [Math.floor(region.x / sx), Math.floor(region.y / sy)];
    return { x, y, width: Math.ceil((region.x + region.width) / sx) - x, height: Math.ceil((region.y + region.height) / sy) - y };
  }
  const exceptions = layout.groups.find(({ kind }) => kind === 'exceptions');
  const around = group.kind === 'coefficients' ? UNIT + ENLARGED : ENLARGED;
  const wanted = grown(wholeTiles(region, exceptions?.tileSize ?? 512, width, height), around, width, height);
  const chroma = layout.groups[1];
  if (group.kind === 'coefficients' || chroma.kind !== 'source') return wanted;
  const { halved, shifted } = placing(chroma.geometry); // chroma is decoded by tiles, each of which needs the luma beside it
  const { width: columns, height: rows } = sizeOf(chroma, width, height);
  const first = (/** @type {number} */ at, /** @type {number} */ i, /** @type {number} */ count) =>
    Math.min(Math.max(0, Math.floor((at - shifted[i]) / halved[i])), count - 1);
  const [column, row] = [first(wanted.x, 0, columns), first(wanted.y, 1, rows)];
  const inside = {
    x: column,
    y: row,
    width: Math.min(Math.floor((wanted.width - 1) / halved[0]) + 1, columns - column),
    height: Math.min(Math.floor((wanted.height - 1) / halved[1]) + 1, rows - row),
  };
  const tiles = wholeTiles(grown(inside, 1, columns, rows), chroma.tileSize, columns, rows);
  if (group !== layout.groups[0]) return tiles;
  const left = Math.min(Math.max(0, halved[0] * tiles.x + shifted[0]), width - 1);
  const top = Math.min(Math.max(0, halved[1] * tiles.y + shifted[1]), height - 1);
  const right = Math.min(width, halved[0] * (tiles.x + tiles.width) + shifted[0]);
  const bottom = Math.min(height, halved[1] * (tiles.y + tiles.height) + shifted[1]);
  const beside = { x: left, y: top, width: Math.max(1, right - left), height: Math.max(1, bottom - top) };
  return grown(beside, ENLARGED, width, height);
}

/**
 * Reads the table of records, and gives the groups those that are needed.
 *
 * @param {Reader} reader
 * @param {Uint8Array} streams
 * @param {Pick<Contents, 'layouts' | 'groups' | 'pictures' | 'region'> & {limits: Limits, memory: number}} file
 */
function listRecords(reader, streams, { layouts, groups, pictures, region, limits, memory }) {
  const tilesIn = (/** @type {{width: number, height: number}} */ { width, height }, /** @type {number} */ size) =>
    Math.ceil(width / size) * Math.ceil(height / size);
  const tiles = groups.map((group) => group.pictures.reduce((sum, picture) => sum + tilesIn(picture, group.tileSize), 0));
  const all = tiles.reduce((sum, count) => sum + count, 0);
  must(all <= 64 * streams.length, 'the data are too few for so many tiles');
  checkLimits(limits, { memory: memory + PICTURE_BYTES * all });
  const counts = groups.map((group, i) => group.chains || tiles[i]);
  let left = counts.reduce((sum, count) => sum + count, 0);
  must(reader.left >= 6 * left - 1, 'the table of tiles is too short');
  let offset = 0;
  groups.forEach((group, g) => {
    const wanted = region ? samplesOf(region, layouts[group.layout], group, pictures[0]) : null;
    const pieces = piecesOf(group);
    for (let i = 0; i < counts[g]; i++) {
      left--;
      const code = reader.byte();
      const length = left ? reader.varint() : streams.length - offset;
      const crc = reader.u32();
      must(offset + length <= streams.length, 'the table of tiles does not agree with the data');
      const stream = streams.subarray(offset, offset + length);
      offset += length;
      const some = pieces(i);
      if (wanted && !touches(some[0], wanted)) continue;
      const record = { method: code & 127, differences: code > 127, stream, crc, pieces: some };
      checkRecord(group, record, layouts[group.layout], pictures, limits);
      group.records.push(record);
    }
  });
  must(reader.left === 0 && offset === streams.length, 'the table of tiles does not agree with the data');
}

/**
 * @param {Region} one
 * @param {Region} other
 */
function touches(one, other) {
  const across = one.x < other.x + other.width && other.x < one.x + one.width;
  return across && one.y < other.y + other.height && other.y < one.y + one.height;
}

/**
 * What the stream of each record of a group holds.
 *
 * @param {Group} group
 * @returns {(index: number) => Piece[]}
 */
function piecesOf(group) {
  const whole = group.pictures.map(({ picture, width, height }) => ({ picture, x: 0, y: 0, width, height }));
  const { chains } = group;
  if (chains)
    return (index) => {
      const some = [];
      for (let i = index; i < whole.length; i += chains) some.push(whole[i]);
      return some;
    };
  const tiles = whole.flatMap(({ picture, width, height }) => tileGrid(width, height, group.tileSize).map((tile) => ({ picture, ...tile })));
  return (index) => [tiles[index]];
}

/**
 * @param {Group} group
 * @param {StreamRecord} record
 * @param {Layout} layout
 * @param {Contents['pictures']} pictures
 * @param {Limits} limits
 */
function checkRecord(group, { method, differences, stream, pieces }, layout, pictures, limits) {
  if (method > COEFFICIENTS) throw new VlaeError('UnsupportedVersion', `coding method ${method} is unknown here: ${NEWER}`);
  const stored = group.chains ? [RAW, LZMA] : [RAW, LZMA, WEBP];
  const coded = group.model === null ? [] : group.chains ? [CHAIN] : [NO_LATENTS, LATENTS];
  const allowed = group.kind === 'exceptions' ? [EXCEPTIONS] : group.kind === 'coefficients' ? [COEFFICIENTS] : [...stored, ...coded];
  must(allowed.includes(method), 'a tile has a method for other planes');
  if (differences) {
    const i = pieces[0].picture;
    const [here, before] = [pictures[i], pictures[i - 1]];
    const alike = before && here.layout === before.layout && here.width === before.width && here.height === before.height;
    const own = layout.origin !== null && group.channel < 3;
    must(stored.includes(method) && !group.chains && !own && alike, 'a tile has differences from no picture');
  }
  if (method === WEBP) {
    must(group.levels <= 256 && group.channels <= 4, 'a tile is of samples that WebP does not have');
    checkLimits(limits, { memory: WEBP_BYTES * pieces[0].width * pieces[0].height });
  }
  if (method === EXCEPTIONS) return;
  const area = pieces.reduce((sum, { width, height }) => sum + width * height, 0);
  const tiles = pieces.reduce((sum, { width, height }) => sum + Math.ceil(width / group.tileSize) * Math.ceil(height / group.tileSize), 0);
  must(tiles <= 64 * stream.length, 'a tile has too few bytes for its pixels');
  if (method === NO_LATENTS || method === LATENTS || method === CHAIN)
    must(area * group.channels <= 8192 + 1024 * stream.length, 'a tile has too few bytes for its pixels');
}

