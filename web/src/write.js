import { crc32, joined } from './bytes.js';
import { CHANNELS, MAGIC, MODES, breathe } from './container.js';

/**
 * The parts of a file that is written: the layout of its only picture, and its groups of planes.
 *
 * @typedef {{method: number, stream: Uint8Array}} Written a record
 *
 * @typedef {Object} Planes
 * @property {number} channels
 * @property {string | null} model
 * @property {Uint8Array | null} style of the model
 * @property {number} levels
 * @property {[number, number]} scale
 * @property {number} tileSize
 * @property {{count: number, form: Written}[]} values
 * @property {Written[]} records
 *
 * @typedef {Object} Layout
 * @property {string} mode
 * @property {number} levels
 * @property {number} channels
 * @property {{colours: number, channels: number, form: Written} | null} palette
 */

const TILE_SIZE = 512;
const text = new TextEncoder();

/**
 * @param {number} value
 * @returns {number[]}
 */
function varint(value) {
  const out = [];
  for (; value > 127; value = Math.floor(value / 128)) out.push((value % 128) | 128);
  return [...out, value];
}

/** @param {number} value */
function u32(value) {
  return [value & 255, (value >>> 8) & 255, (value >>> 16) & 255, value >>> 24];
}

/**
 * @param {Written} form
 * @returns {number[]}
 */
function packForm({ method, stream }) {
  return [method, ...varint(stream.length), ...stream];
}

/**
 * @param {Layout} layout
 * @param {Planes[]} groups
 */
function packLayout({ mode, levels, channels, palette }, groups) {
  const which = MODES.indexOf(mode);
  const several = levels !== (mode === '1' ? 2 : 256);
  const out = [which + (several ? 64 : 0)];
  if (several) out.push(...varint(levels));
  if (CHANNELS[which] === undefined) out.push(channels);
  if (palette) out.push(...varint(palette.colours), palette.channels, ...packForm(palette.form));
  for (const planes of groups) out.push(...packPlanes(planes, levels));
  return out;
}

/**
 * @param {Planes} planes
 * @param {number} levels of the layout
 */
function packPlanes(planes, levels) {
  const { model, scale, tileSize, values } = planes;
  const id = (model ?? '').match(/../g) ?? [];
  const tables = [values.length, ...values.flatMap(({ count, form }) => [...varint(count), ...packForm(form)])];
  const fields = /** @type {[boolean, number, number[]][]} */ ([
    [model !== null, 1, id.map((byte) => parseInt(byte, 16))],
    [planes.levels !== levels, 2, varint(planes.levels)],
    [scale[0] !== 1 || scale[1] !== 1, 8, scale],
    [tileSize !== TILE_SIZE, 16, varint(tileSize / 8)],
    [values.length > 0, 128, tables],
  ]).filter(([there]) => there);
  return [planes.channels, fields.reduce((sum, [, flag]) => sum + flag, 0), ...fields.flatMap(([, , bytes]) => bytes)];
}

/**
 * The file of one picture.
 *
 * @param {Layout} layout
 * @param {number} width
 * @param {number} height
 * @param {Planes[]} groups
 * @param {Record<string, Uint8Array>} metadata
 */
export async function writeFile(layout, width, height, groups, metadata) {
  const records = groups.flatMap((planes) => planes.records);
  const head = [1, ...packLayout(layout, groups), 1, 1, 0, ...varint(width), ...varint(height)];
  records.forEach(({ method, stream }, i) => {
    head.push(method, ...(i + 1 < records.length ? varint(stream.length) : []), ...u32(crc32(stream)));
  });
  /** @type {Uint8Array[]} */
  const parts = [];
  let crc = 0; // of the file
  const add = (/** @type {Uint8Array} */ part) => {
    parts.push(part);
    crc = crc32(part, crc);
  };
  add(Uint8Array.from([...MAGIC, 2, ...text.encode('H'), ...varint(head.length), ...head]));
  add(Uint8Array.from(u32(crc)));
  groups.forEach(({ style }, number) => {
    if (style === null) return;
    const payload = [...varint(number), ...style];
    const chunk = Uint8Array.from([...text.encode('A'), ...varint(payload.length), ...payload]);
    add(chunk);
    add(Uint8Array.from(u32(crc32(chunk))));
  });
  for (const name of Object.keys(metadata).sort()) {
    const value = metadata[name];
    const encoded = text.encode(name);
    if (!value.length) continue;
    const lead = [0, 1, encoded.length, ...encoded];
    const begin = Uint8Array.from([...text.encode('m'), ...varint(lead.length + value.length), ...lead]);
    add(begin);
    add(value);
    add(Uint8Array.from(u32(crc32(value, crc32(begin)))));
  }
  add(Uint8Array.from([...text.encode('D'), ...varint(records.reduce((sum, { stream }) => sum + stream.length, 0))]));
  for (const { stream } of records) {
    add(stream);
    await breathe();
  }
  add(Uint8Array.from(u32(crc)));
  return joined(parts);
}
