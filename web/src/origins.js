import { corrupt } from './errors.js';

/** @typedef {import('./core.js').Core} Core */

/**
 * A place in a picture or a plane.
 *
 * @typedef {Object} Region
 * @property {number} x
 * @property {number} y
 * @property {number} width
 * @property {number} height
 */

/**
 * What a picture was before it was RGB; halved and phase of columns and of rows.
 *
 * @typedef {Object} Origin
 * @property {number} conversion 0 grey, 1 jfif, 2 photocd, 3 webp, 4 to 15 swscale, swscale444, libyuv of each matrix
 * @property {number} enlargement 0 none, 1 box, 2 triangle, 3 photocd
 * @property {[number, number]} halved 1 or 2
 * @property {[number, number]} phase
 */

const MATRICES = ['BT.601', 'BT.709', 'BT.601 of full range', 'BT.709 of full range'];
const VIDEO = 'video as libswscale decodes it';
export const ORIGIN_WORDS = ['grey, stored as RGB', 'decoded from a JPEG', 'from a PhotoCD', 'decoded from a lossy WebP'].concat(
  [VIDEO, VIDEO, 'AVIF or video as libyuv decodes it'].flatMap((words) => MATRICES.map((matrix) => `${words}, ${matrix}`)),
);
// of each matrix scale and black of Y, and the factors of Cr in red, Cb in blue, Cb and Cr in green
const SWSCALE = [[9539, 16, 13075, 16525, -3209, -6660], [9539, 16, 14686, 17305, -1747, -4366], [8192, 0, 11485, 14516, -2819, -5850], [8192, 0, 12901, 15201, -1534, -3835]];
const LIBYUV = [[18997, -1160, 102, 128, -25, -52], [18997, -1160, 115, 128, -14, -34], [16320, 32, 90, 113, -22, -46], [16320, 32, 101, 119, -12, -30]];
const JFIF = 1;
const [NONE, TRIANGLE, COSITED] = [0, 2, 3]; // 1 is a box

/**
 * The origin of a form of source planes. Throws CorruptFile for one that there is not.
 *
 * @param {Uint8Array} data
 * @returns {Origin}
 */
export function sourceOrigin([conversion, enlargement, geometry]) {
  const bit = (/** @type {number} */ i) => (geometry >> i) & 1;
  /** @type {[number, number]} */
  const halved = [1 + bit(0), 1 + bit(1)];
  const plain = halved[0] === 1 && halved[1] === 1;
  const known = conversion < ORIGIN_WORDS.length && enlargement <= 3 && geometry < 64;
  const fits = (enlargement === NONE) === plain && (conversion !== 0 || plain) && !!bit(4) === (conversion === 0);
  if (!known || !fits || !!bit(5) !== (enlargement === COSITED) || bit(2) >= halved[0] || bit(3) >= halved[1])
    throw corrupt('the file names an origin that does not exist');
  return { conversion, enlargement, halved, phase: [bit(2), bit(3)] };
}

/** Tables of a conversion: luma, red of Cr, green of Cb, green of Cr, blue of Cb, 256 each; and their shift.
 * @param {number} conversion 1 to 15
 * @returns {[Int32Array, number]}
 */
export function formula(conversion) {
  const formulas = /** @type {[number, ...((x: number) => number)[]][]} */ ([
    [16, (x) => x * 65536, (x) => ((91881 * (x - 128) + 32768) >> 16) << 16, (x) => -22554 * (x - 128),
      (x) => -46802 * (x - 128) + 32768, (x) => ((116130 * (x - 128) + 32768) >> 16) << 16],
    [16, (x) => 89024 * x, (x) => 119374 * (x - 137), (x) => -12714 * ((145352 * (x - 156)) >> 16),
      (x) => -33358 * ((119374 * (x - 137)) >> 16), (x) => 145352 * (x - 156)],
    [6, (x) => (19077 * x) >> 8, (x) => ((26149 * x) >> 8) - 14234, (x) => 8708 - ((6419 * x) >> 8),
      (x) => -((13320 * x) >> 8), (x) => ((33050 * x) >> 8) - 17685],
    ...SWSCALE.map(([scale, black, ...factors]) => {
      const high = (/** @type {number} */ factor, /** @type {number} */ c) => ((8 * factor * c) >> 16) << 16;
      const [r, b, g, h] = factors.map((factor) => (/** @type {number} */ x) => high(factor, x - 128));
      return [16, (/** @type {number} */ x) => high(scale, x - black), r, g, h, b];
    }),
    ...SWSCALE.map(([scale, black, ...factors]) => {
      const [r, b, g, h] = factors.map((factor, i) => (/** @type {number} */ x) => factor * (x - 128) + (i === 2 ? 0 : 4096));
      return [13, (/** @type {number} */ x) => scale * (x - black), r, g, h, b];
    }),
    ...LIBYUV.map(([scale, black, ...factors]) => {
      const [r, b, g, h] = factors.map((factor) => (/** @type {number} */ x) => factor * (x - 128));
      return [6, (/** @type {number} */ x) => ((257 * scale * x) >> 16) + black, r, g, h, b];
    }),
  ]);
  const tables = new Int32Array(5 * 256);
  const [shift, ...five] = formulas[conversion - 1];
  five.forEach((table, k) => {
    for (let x = 0; x < 256; x++) tables[256 * k + x] = table(x);
  });
  return [tables, shift];
}

/**
 * The samples of so many columns (axis 0) or rows (1) of chroma.
 *
 * @param {Origin} origin
 * @param {number} axis
 * @param {number} size
 */
function samplesOf({ halved, phase, enlargement }, axis, size) {
  if (halved[axis] === 1) return size;
  return enlargement === COSITED ? Math.max(1, (size + 1 - phase[axis]) >> 1) : (size + 1 + phase[axis]) >> 1;
}

/**
 * Near sample, far sample and quarters of the far one, of so many columns or rows from `begin` on.
 *
 * @param {Origin} origin
 * @param {number} axis
 * @param {number} size of the picture
 * @param {number} begin
 * @param {number} count
 */
function axisOf(origin, axis, size, begin, count) {
  const out = new Int32Array(3 * count);
  const last = samplesOf(origin, axis, size) - 1;
  const { enlargement } = origin;
  const phase = origin.phase[axis];
  for (let i = 0; i < count; i++) {
    let [near, far, quarters] = [begin + i, begin + i, 0];
    if (origin.halved[axis] === 2) {
      const x = begin + i + (enlargement === COSITED ? -phase : phase);
      near = far = x >> 1;
      if (enlargement === COSITED) [far, quarters] = [near + 1, 2 * (x & 1)];
      else if (enlargement === TRIANGLE) [far, quarters] = [near + 2 * (x & 1) - 1, 1];
    }
    out.set([near, far].map((sample) => Math.min(Math.max(sample, 0), last)), 3 * i);
    out[3 * i + 2] = quarters;
  }
  return out;
}

/**
 * The grid of a region, and the part of a plane of chroma that it needs.
 *
 * @param {Origin} origin
 * @param {number} width of the picture
 * @param {number} height
 * @param {Region} region
 */
function gridOf(origin, width, height, region) {
  const axes = [axisOf(origin, 0, width, region.x, region.width), axisOf(origin, 1, height, region.y, region.height)];
  const [columns, rows] = axes.map((axis) => {
    let [first, last] = [Infinity, 0];
    for (let i = 0; i < axis.length; i++) if (i % 3 < 2) [first, last] = [Math.min(first, axis[i]), Math.max(last, axis[i])];
    for (let i = 0; i < axis.length; i++) if (i % 3 < 2) axis[i] -= first;
    return [first, last - first + 1];
  });
  const [hx, hy] = origin.halved;
  let bias = [8, 8, 8, 8];
  if (origin.conversion === JFIF && origin.enlargement === TRIANGLE) bias = hx === 2 ? (hy === 2 ? [8, 7, 8, 7] : [4, 8, 4, 8]) : [4, 4, 8, 8];
  const [dx, dy] = [(region.x + origin.phase[0]) & 1, (region.y + origin.phase[1]) & 1];
  bias = [0, 1, 2, 3].map((i) => bias[i ^ (dx + 2 * dy)]);
  return { axes, bias, chroma: { x: columns[0], y: rows[0], width: columns[1], height: rows[1] } };
}

/**
 * The part of each source plane that a region of a picture is rebuilt from.
 *
 * @param {Origin} origin
 * @param {number} width
 * @param {number} height
 * @param {Region} region
 * @returns {Region[]}
 */
export function needs(origin, width, height, region) {
  if (origin.conversion === 0) return [region];
  const { chroma } = gridOf(origin, width, height, region);
  return [region, chroma, chroma];
}

/**
 * RGB of a region of a picture, from those parts of its source planes that `needs` names.
 *
 * @param {Core} core
 * @param {Origin} origin
 * @param {Uint8Array[]} planes
 * @param {number} width
 * @param {number} height
 * @param {Region} region
 */
export function rebuild(core, origin, planes, width, height, region) {
  const count = region.width * region.height;
  if (origin.conversion === 0) {
    const out = new Uint8Array(3 * count);
    for (let i = 0; i < count; i++) out.fill(planes[0][i], 3 * i, 3 * i + 3);
    return out;
  }
  const { axes, bias, chroma } = gridOf(origin, width, height, region);
  const [tables, shift] = formula(origin.conversion);
  const struct = core.struct('pppp' + 'llll' + 'iiiii', [
    core.put(tables), 0, core.put(axes[0]), core.put(axes[1]), region.width, region.height, chroma.width, chroma.height, shift, ...bias,
  ]);
  const given = planes.map((plane) => core.put(plane));
  const size = 4 * chroma.width + 4 * region.width + 192;
  const rgb = core.alloc(3 * count);
  core.call('origin_rebuild', 'an origin', struct, ...given, rgb, core.alloc(size), BigInt(size));
  return core.bytes(rgb, 3 * count).slice();
}

/**
 * The address of the set of triples that a conversion gives, 2^19 words of 32 bits.
 *
 * @param {Core} core
 * @param {number} conversion 1 to 15
 */
export function triples(core, conversion) {
  const words = 1 << 18;
  const set = core.alloc(8 * words);
  core.scoped(() => {
    const [tables, shift] = formula(conversion);
    const axis = core.put(new Int32Array(3));
    const struct = core.struct('pppp' + 'llll' + 'iiiii', [core.put(tables), 0, axis, axis, 1, 1, 1, 1, shift, 8, 8, 8, 8]);
    core.call('origin_triples', 'an origin', struct, set, BigInt(words));
  });
  return set;
}

/**
 * The size of a source plane, and where it stands in the picture; geometry: of a plane of chroma, 0 of luma.
 *
 * @param {number} geometry
 */
export function placing(geometry) {
  const cosited = (geometry & 32) !== 0;
  const halved = [1 + (geometry & 1), 1 + ((geometry >> 1) & 1)];
  const phase = [(geometry >> 2) & 1, (geometry >> 3) & 1];
  return { halved, cosited, shifted: cosited ? phase : phase.map((p) => -p) };
}

/**
 * What is known beside a tile of chroma: luma, as much of it as is needed, and a tile of the plane of chroma before.
 *
 * @typedef {Object} Beside
 * @property {{data: Uint8Array, region: Region, width: number, height: number}} luma of a plane of this width and height
 * @property {number} geometry
 * @property {Region} place of the tile in its plane
 * @property {Uint8Array | null} before
 */

/**
 * Columns or rows of luma, one or several with equal weights, of each of so many columns or rows of chroma.
 *
 * @param {number} geometry
 * @param {number} axis
 * @param {number} begin
 * @param {number} count
 * @param {number} size of luma
 * @returns {number[][]}
 */
function tapsOf(geometry, axis, begin, count, size) {
  const { halved, cosited, shifted } = placing(geometry);
  const taps = halved[axis] === 1 ? [0] : cosited ? [-1, 0, 0, 1] : [0, 1];
  const near = (/** @type {number} */ at) => Math.min(Math.max(at, 0), size - 1);
  return Array.from({ length: count }, (_, i) => taps.map((tap) => near(halved[axis] * (begin + i) + shifted[axis] + tap)));
}

/**
 * The part of luma that a part of a plane of chroma needs beside it.
 *
 * @param {number} width of luma
 * @param {number} height
 * @param {number} geometry
 * @param {Region} place in the plane of chroma
 * @returns {Region}
 */
export function lumaNeeded(width, height, geometry, place) {
  const columns = tapsOf(geometry, 0, place.x, place.width, width).flat();
  const rows = tapsOf(geometry, 1, place.y, place.height, height).flat();
  const [x, y] = [columns[0], rows[0]]; // they rise
  return { x, y, width: columns[columns.length - 1] + 1 - x, height: rows[rows.length - 1] + 1 - y };
}

/**
 * The planes beside a tile of chroma: luma at its places, and the plane of chroma before.
 *
 * @param {Beside} beside
 * @returns {Uint8Array[]}
 */
export function planesBeside({ luma, geometry, place, before }) {
  const { data, region } = luma;
  const columns = tapsOf(geometry, 0, place.x, place.width, luma.width).map((taps) => taps.map((x) => x - region.x));
  const rows = tapsOf(geometry, 1, place.y, place.height, luma.height).map((taps) => taps.map((y) => (y - region.y) * region.width));
  const shift = (columns[0].length >> 1) + (rows[0].length >> 1);
  const half = (1 << shift) >> 1;
  const out = new Uint8Array(place.width * place.height);
  let at = 0;
  for (const below of rows)
    for (const column of columns) {
      let sum = half;
      for (let i = 0; i < below.length; i++) for (let k = 0; k < column.length; k++) sum += data[below[i] + column[k]];
      out[at++] = sum >> shift;
    }
  return [out, before ?? new Uint8Array(out.length).fill(128)];
}
