import { corrupt, must } from './errors.js';

/** @typedef {import('./core.js').Core} Core */

const IMPOSSIBLE = 'the parameters of a JPEG are impossible';
// ITU-T T.81, tables K.1 and K.2, row by row
const STANDARD = [
  '16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62 18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99',
  '17 18 24 47 99 99 99 99 18 21 26 66 99 99 99 99 24 26 56 99 99 99 99 99 47 66' + ' 99'.repeat(38),
].map((table) => table.split(' ').map(Number));

/**
 * What coefficients need beside their blocks.
 *
 * @typedef {Object} Parameters
 * @property {[number, number][]} sampling columns and rows of each component
 * @property {number[][]} tables steps of each component
 * @property {boolean} padded
 * @property {boolean} converted three components are Y, Cb, Cr
 * @property {number[]} around columns and rows of the JPEG before the picture, columns and rows behind it
 */

/** @param {number} number 1 .. 200 */
function standardTable(number) {
  const quality = ((number - 1) % 100) + 1;
  const scale = quality < 50 ? Math.floor(5000 / quality) : 200 - 2 * quality;
  return STANDARD[number > 100 ? 1 : 0].map((step) => Math.min(Math.max(Math.floor((step * scale + 50) / 100), 1), 255));
}

/**
 * @param {Uint8Array} data
 * @returns {Parameters}
 */
export function readParameters(data) {
  const flags = data[0];
  const start = flags & 4 ? 5 : 1;
  const around = flags & 4 ? Array.from(data.subarray(1, 5)) : [0, 0, 0, 0];
  const count = data[start];
  must(flags < 8 && [1, 3, 4].includes(count) && data.length >= start + 1 + 2 * count, IMPOSSIBLE);
  const entries = Array.from({ length: count }, (_, i) => data.subarray(start + 1 + 2 * i, start + 3 + 2 * i));
  const sampling = entries.map(([factors]) => /** @type {[number, number]} */ ([factors >> 4, factors & 15]));
  must(sampling.flat().every((n) => n >= 1 && n <= 4), IMPOSSIBLE);
  const numbers = entries.map((entry) => entry[1]);
  const most = Math.max(...numbers);
  must(most < count, IMPOSSIBLE);
  /** @type {number[][]} */
  const tables = [];
  let at = start + 1 + 2 * count;
  for (let i = 0; i <= most; i++) {
    const kind = at < data.length ? data[at++] : 254;
    if (kind >= 1 && kind <= 200) {
      tables.push(standardTable(kind));
      continue;
    }
    must(kind === 0 || kind === 255, IMPOSSIBLE);
    const wide = kind ? 2 : 1;
    must(at + 64 * wide <= data.length, IMPOSSIBLE);
    const steps = Array.from({ length: 64 }, (_, k) => data[at + wide * k] + (wide === 2 ? 256 * data[at + 2 * k + 1] : 0));
    must(Math.min(...steps) >= 1, IMPOSSIBLE);
    tables.push(steps);
    at += 64 * wide;
  }
  must(at === data.length, IMPOSSIBLE);
  let next = 0; // tables are numbered in the order of the first component that has each, equal ones once
  for (const number of numbers) {
    must(number <= next, IMPOSSIBLE);
    next = Math.max(next, number + 1);
  }
  must(new Set(tables.map(String)).size === tables.length, IMPOSSIBLE);
  const found = { sampling, tables: numbers.map((n) => tables[n]), padded: (flags & 1) === 1, converted: (flags & 2) === 0, around };
  const [mostH, mostV] = mostOf(found);
  must(around.every((lacks, i) => lacks < 8 * (i % 2 ? mostV : mostH)) && (around.some((lacks) => lacks > 0) || !(flags & 4)), IMPOSSIBLE);
  return found;
}

/**
 * Width and height of the JPEG that a picture of this size is, or is a part of.
 *
 * @param {Parameters} parameters
 * @param {{width: number, height: number}} picture
 * @returns {[number, number]}
 */
export function wholeSize({ around: [left, top, right, bottom] }, { width, height }) {
  return [left + width + right, top + height + bottom];
}

/** @param {Pick<Parameters, 'sampling'>} parameters */
function mostOf({ sampling }) {
  return [Math.max(...sampling.map(([h]) => h)), Math.max(...sampling.map(([, v]) => v))];
}

/**
 * Rows and columns of blocks of a component of a JPEG of this size.
 *
 * @param {Parameters} parameters
 * @param {number} component
 * @param {number} width
 * @param {number} height
 */
export function blockGrid(parameters, component, width, height) {
  const [h, v] = parameters.sampling[component];
  const [mostH, mostV] = mostOf(parameters);
  if (parameters.padded && parameters.sampling.length > 1)
    return [v * Math.ceil(height / (8 * mostV)), h * Math.ceil(width / (8 * mostH))];
  return [Math.ceil((height * v) / (8 * mostV)), Math.ceil((width * h) / (8 * mostH))];
}

/**
 * The blocks of a component that stand at a tile: first row, first column, rows and columns of them.
 *
 * @param {Parameters} parameters
 * @param {number} component
 * @param {{width: number, height: number}} picture of which the tile is
 * @param {{x: number, y: number, width: number, height: number}} tile
 */
export function blocksAt(parameters, component, { width, height }, tile) {
  const [h, v] = parameters.sampling[component];
  const [mostH, mostV] = mostOf(parameters);
  const [rows, columns] = blockGrid(parameters, component, ...wholeSize(parameters, { width, height }));
  const top = Math.floor((tile.y * v) / (8 * mostV));
  const left = Math.floor((tile.x * h) / (8 * mostH));
  const bottom = tile.y + tile.height === height ? rows : Math.floor(((tile.y + tile.height) * v) / (8 * mostV));
  const right = tile.x + tile.width === width ? columns : Math.floor(((tile.x + tile.width) * h) / (8 * mostH));
  return { top, left, rows: bottom - top, columns: right - left };
}

/**
 * The blocks of all components at a tile, (rows, columns, 64) each, from their stream.
 *
 * @param {Core} core
 * @param {Parameters} parameters
 * @param {[number, number][]} shapes rows and columns of each
 * @param {Uint8Array} stream
 */
export function popCoefficients(core, parameters, shapes, stream) {
  const fields = [];
  const places = [];
  for (let i = 0; i < 4; i++) {
    if (i >= shapes.length) {
      fields.push(0, 0, 0, 0, 0, 0, 0, 0);
      continue;
    }
    const [rows, columns] = shapes[i];
    const size = 128 * rows * columns;
    const at = core.alloc(size);
    core.bytes(at, size).fill(0);
    places.push([at, 64 * rows * columns]);
    fields.push(at, core.put(Int32Array.from(parameters.tables[i])), rows, columns, 0, rows, ...parameters.sampling[i]);
  }
  const struct = core.struct('ppiiiiii'.repeat(4) + 'i', [...fields, shapes.length]);
  const size = core.call('coefficients_scratch', 'coefficients', struct);
  const data = core.put(stream.length ? stream : new Uint8Array(1));
  const length = Math.max(stream.length, 1);
  core.call('pop_coefficients', 'coefficients', struct, data, BigInt(length), core.alloc(size), BigInt(size));
  return places.map(([at, count]) => new Int16Array(core.memory.buffer, at, count).slice());
}

/**
 * Columns and rows of pixels that a sample of a component covers, and columns and rows of its samples.
 *
 * @param {Parameters} parameters
 * @param {number} component
 * @param {number} width
 * @param {number} height
 */
function coverOf(parameters, component, width, height) {
  const [h, v] = parameters.sampling[component];
  const [mostH, mostV] = mostOf(parameters);
  if (mostH % h || mostV % v) throw corrupt('the sampling factors of a JPEG fit no whole number of pixels');
  const [across, down] = [mostH / h, mostV / v];
  return { across, down, columns: Math.ceil(width / across), rows: Math.ceil(height / down) };
}

/**
 * First and last (not included) row of blocks, and columns of blocks, that rows of a JPEG are made of.
 *
 * @param {Parameters} parameters
 * @param {number} component
 * @param {number} width
 * @param {number} height
 * @param {number} top
 * @param {number} bottom
 */
export function blockRows(parameters, component, width, height, top, bottom) {
  const { down, rows, columns } = coverOf(parameters, component, width, height);
  const first = Math.max(Math.floor(top / down) - 1, 0) >> 3;
  const last = Math.min(Math.floor((bottom - 1) / down) + 1, rows - 1) >> 3;
  return { first, last: last + 1, columns: Math.ceil(columns / 8) };
}

/**
 * Rows of a JPEG, all channels side by side; blocks: of each component those that `blockRows` names.
 *
 * @param {Core} core
 * @param {Parameters} parameters
 * @param {Int16Array[]} blocks
 * @param {number} width
 * @param {number} height
 * @param {number} top
 * @param {number} bottom
 */
export function decodeRows(core, parameters, blocks, width, height, top, bottom) {
  const count = (bottom - top) * width;
  const planes = blocks.map((some, i) => {
    const { across, down, columns, rows } = coverOf(parameters, i, width, height);
    const { first, last, columns: wide } = blockRows(parameters, i, width, height, top, bottom);
    const out = core.alloc(count);
    core.scoped(() => {
      const size = 64 * (last - first) * wide;
      const samples = core.alloc(size);
      const table = core.put(Int32Array.from(parameters.tables[i]));
      core.call('idct', 'coefficients', core.put(some), BigInt(last - first), BigInt(wide), table, samples, BigInt(size));
      const numbers = [Math.min(8 * (last - first), rows - 8 * first), 8 * wide, 8 * first, rows, columns].map(BigInt);
      const place = [top, bottom - top, width].map(BigInt);
      core.call('enlarge', 'the samples of a JPEG', samples, ...numbers, across, down, ...place, out);
    });
    return out;
  });
  if (planes.length === 1) return core.bytes(planes[0], count).slice();
  const out = core.alloc(3 * count);
  if (planes.length === 3 && parameters.converted) {
    core.call('jfif', 'the planes of a JPEG', planes[0], planes[1], planes[2], BigInt(count), out);
    return core.bytes(out, 3 * count).slice();
  }
  const channels = planes.length;
  const found = new Uint8Array(channels * count);
  planes.forEach((at, c) => core.bytes(at, count).forEach((value, i) => (found[channels * i + c] = value)));
  return found;
}
