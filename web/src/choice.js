/**
 * What an encoder chooses for a tile, all in integers, as the Python package does it: whether it has latents, and how
 * many rows have them. Costs are in units of 2^-20 bits.
 */

const UNIT = 1 << 20;
const FEWEST = 64; // pixels by which a deviation is judged
const WORTH = 512n; // of what the pixels take, latents must save one part in so many

/**
 * The first numbers of the Mersenne twister (Matsumoto and Nishimura 1998) of seed 1.
 *
 * @param {number} count
 */
export function twister(count) {
  const [size, far] = [624, 397];
  const state = new Uint32Array(size);
  state[0] = 1;
  for (let i = 1; i < size; i++) state[i] = Math.imul(1812433253, state[i - 1] ^ (state[i - 1] >>> 30)) + i;
  const out = new Uint32Array(count);
  for (let n = 0, at = size; n < count; n++, at++) {
    if (at === size) {
      for (let i = 0; i < size; i++) {
        const mixed = (state[i] & 0x80000000) | (state[(i + 1) % size] & 0x7fffffff);
        state[i] = state[(i + far) % size] ^ (mixed >>> 1) ^ (mixed & 1 ? 0x9908b0df : 0);
      }
      at = 0;
    }
    let y = state[at];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    out[n] = y ^ (y >>> 18);
  }
  return out;
}

/**
 * One pixel of each of so many parts of an area, at a place that has no period.
 *
 * @param {number} area
 * @param {number} count
 */
export function spreadPlaces(area, count) {
  const n = Math.min(count, area);
  return Array.from({ length: n }, (_, i) => {
    const part = i * 65536 + Math.floor(((i * 2654435761) % 2 ** 32) / 65536);
    return Math.floor((part * area) / (n * 65536));
  });
}

/**
 * What latents of each row cost, added up from the first on, by the scales of their posterior.
 *
 * @param {Int32Array} params (cells, 1 + 2 latents), of all cells or of a stripe of the tile
 * @param {number} rows of latents
 * @param {number} latents
 * @param {number} cells of a row
 */
export function needOf(params, rows, latents, cells) {
  const columns = 1 + 2 * latents;
  const across = params.length / columns / rows;
  const spread = Math.floor(isqrt(cells * latents * UNIT * UNIT) / 2);
  const need = [];
  let sum = 64 * UNIT;
  for (let r = 0; r < rows; r++) {
    let expected = 0;
    for (let c = 0; c < across; c++)
      for (let k = 0; k < latents; k++) {
        const index = params[(r * across + c) * columns + 1 + latents + k];
        expected += Math.max(index * (UNIT / 16) - 4 * UNIT + Math.floor((UNIT * 2885) / 1000), Math.floor(UNIT / 20));
      }
    sum += Math.floor((expected * cells) / across) + spread;
    need.push(sum);
  }
  return need;
}

/** @param {number} n below 2^53 */
function isqrt(n) {
  let root = Math.floor(Math.sqrt(n));
  while (BigInt(root) * BigInt(root) > BigInt(n)) root--;
  while (BigInt(root + 1) * BigInt(root + 1) <= BigInt(n)) root++;
  return root;
}

/** What a tile's latents do to some of its pixels. */
export class Trial {
  /**
   * @param {number} kl what the latents take
   * @param {number} area pixels that those looked at stand for
   */
  constructor(kl, area) {
    this.kl = kl;
    this.area = area;
    /** @type {number[]} what they take without latents */
    this.costs = [];
    /** @type {number[]} what they take less with these */
    this.saved = [];
  }

  /**
   * @param {number[]} plain
   * @param {number[]} drawn
   */
  add(plain, drawn) {
    this.costs.push(...plain);
    this.saved.push(...plain.map((cost, i) => cost - drawn[i]));
  }

  get enough() {
    return this.saved.length >= FEWEST;
  }

  /**
   * What latents save on all pixels, less their own cost and what they must save at least, times the number of pixels
   * looked at.
   */
  gain() {
    const [saved, cost] = [this.saved, this.costs].map((some) => some.reduce((sum, one) => sum + BigInt(one), 0n));
    return (saved - cost / WORTH) * BigInt(this.area) - BigInt(this.kl) * BigInt(this.saved.length);
  }

  /**
   * Whether the gain is further from 0 than so much of its standard deviation.
   *
   * @param {number} hundredths
   */
  clear(hundredths) {
    const n = BigInt(this.saved.length);
    const area = BigInt(this.area);
    let [total, squares] = [0n, 0n];
    for (const saved of this.saved) {
      const short = BigInt(Math.floor(saved / 16));
      total += BigInt(saved);
      squares += short * short;
    }
    const gain = this.gain();
    const variance = (n * squares * 256n - total * total) * area * area;
    return 10000n * gain * gain * n > BigInt(hundredths * hundredths) * (variance > 0n ? variance : 0n);
  }
}
