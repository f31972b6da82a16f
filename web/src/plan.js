import { breathe } from './container.js';

/**
 * How planes are coded, as the Python package chooses it: blocks of equal samples, and tables of the values that occur.
 *
 * @typedef {{width: number, height: number, channels: number, levels: number}} Form
 */

const SPARSE = 0.8; // of the values that there can be: if no more occur, a table of them may pay
const NARROW = 0.98; // of all values, if some are missing between common ones or were clipped
const COMMON = 256; // samples for one of a value that is common
const STRIP = 64; // of so many rows one is looked at first

/**
 * Columns and rows of the largest blocks of which all samples are equal.
 *
 * @param {{width: number, height: number, channels: number, data: Uint8Array}} picture
 * @param {number} channel the first
 * @param {number} channels
 * @returns {Promise<[number, number]>}
 */
export async function findScale({ width, height, channels: all, data }, channel, channels) {
  const across = await period(width, height, (x, y) => (y * width + x) * all, all);
  return [across, await period(height, width, (y, x) => (y * width + x) * all, all * width)];

  /**
   * @param {number} length along which blocks are looked for
   * @param {number} others
   * @param {(at: number, other: number) => number} index
   * @param {number} step between neighbours
   */
  async function period(length, others, index, step) {
    let found = 0;
    for (const stride of [STRIP, 1]) {
      const changed = new Uint8Array(length);
      let looked = 0;
      for (let other = 0; other < others; other += stride) {
        for (let at = 1; at < length; at++) {
          if (changed[at]) continue;
          const here = index(at, other) + channel;
          for (let c = 0; c < channels; c++) if (data[here + c] !== data[here - step + c]) changed[at] = 1;
        }
        looked += length;
        if (looked > 1 << 20) {
          await breathe();
          looked = 0;
        }
      }
      for (let at = 1; at < length && found !== 1; at++) if (changed[at]) found = divisor(found, at);
      if (found === 1) return 1;
    }
    if (!found) return Math.min(255, length);
    for (let factor = 255; factor > 1; factor--) if (found % factor === 0) return factor;
    return 1;
  }
}

/**
 * @param {number} a
 * @param {number} b
 */
function divisor(a, b) {
  while (b) [a, b] = [b, a % b];
  return a;
}

/**
 * The values that samples have, a table for each channel or one for all; none where most values occur.
 *
 * @param {Form & {samples: Uint8Array}} group
 * @returns {Promise<number[][]>}
 */
export async function findValues(group) {
  if (!hasGaps(await countsOf(group, STRIP), group.levels)) return [];
  const counts = await countsOf(group, 1);
  if (!hasGaps(counts, group.levels)) return [];
  const used = (/** @type {(value: number) => boolean} */ test) => Array.from({ length: group.levels }, (_, value) => value).filter(test);
  const tables = counts.map((channel) => used((value) => channel[value] > 0));
  const union = used((value) => counts.some((channel) => channel[value] > 0));
  if (tables.length > 1 && union.length <= 1.05 * Math.max(...tables.map(({ length }) => length))) return [union];
  return tables;
}

/**
 * How often each value occurs in each channel, in every `step`-th row.
 *
 * @param {Form & {samples: Uint8Array}} group
 * @param {number} step
 */
async function countsOf({ width, height, channels, levels, samples }, step) {
  const counts = Array.from({ length: channels }, () => new Float64Array(levels));
  const row = width * channels;
  let looked = 0;
  for (let y = 0; y < height; y += step) {
    for (let i = y * row; i < (y + 1) * row; ) for (let c = 0; c < channels; c++) counts[c][samples[i++]]++;
    looked += row;
    if (looked > 1 << 21) {
      await breathe();
      looked = 0;
    }
  }
  return counts;
}

/**
 * Whether many values do not occur: a few, if their neighbours are common or levels were clipped to others.
 *
 * @param {Float64Array[]} counts
 * @param {number} levels
 */
function hasGaps(counts, levels) {
  const used = counts.map((channel) => channel.reduce((sum, count) => sum + Number(count > 0), 0));
  const most = Math.max(...used);
  if (most < 2) return false;
  const first = (/** @type {Float64Array} */ channel) => channel.findIndex((count) => count > 0);
  const last = (/** @type {Float64Array} */ channel) => channel.reduce((found, count, value) => (count > 0 ? value : found), -1);
  const spans = counts.reduce((sum, channel) => sum + last(channel) - first(channel) + 1, 0);
  if (used.reduce((sum, count) => sum + count, 0) <= SPARSE * spans) return true;
  if (most > NARROW * levels) return false;
  return counts.some((channel) => {
    const total = channel.reduce((sum, count) => sum + count, 0);
    const common = (/** @type {number} */ value) => channel[value] * COMMON > total;
    if (common(first(channel)) || common(last(channel))) return true;
    for (let value = 1; value + 1 < levels; value++) if (!channel[value] && common(value - 1) && common(value + 1)) return true;
    return false;
  });
}

/**
 * Indices below the levels in the order of their colours' lightness, those beyond the palette last.
 *
 * @param {{colours: number, channels: number, data: Uint8Array}} palette
 * @param {number} levels
 */
export function lightnessOrder({ colours, channels, data }, levels) {
  const known = Math.min(colours, levels);
  const light = (/** @type {number} */ i) => 299 * data[i * channels] + 587 * data[i * channels + 1] + 114 * data[i * channels + 2];
  const order = Array.from({ length: known }, (_, i) => i).sort((a, b) => light(a) - light(b) || a - b);
  for (let i = known; i < levels; i++) order.push(i);
  return order;
}

/**
 * The entries of a table as they stand in a file: the first, then each less the one before and 1.
 *
 * @param {number[]} table
 */
export function stepsOf(table) {
  return Uint8Array.from(table, (value, i) => (i ? value - table[i - 1] - 1 : value) & 255);
}

/**
 * The numbers of samples in their tables.
 *
 * @param {Form & {samples: Uint8Array}} group
 * @param {number[][]} tables
 */
export async function numbersOf({ channels, samples }, tables) {
  const inverse = tables.map((table) => {
    const found = new Uint8Array(256);
    table.forEach((value, i) => (found[value] = i));
    return found;
  });
  const out = new Uint8Array(samples.length);
  for (let i = 0; i < samples.length; i++) {
    if (i % (1 << 22) === (1 << 22) - 1) await breathe();
    out[i] = inverse[tables.length > 1 ? i % channels : 0][samples[i]];
  }
  return out;
}
