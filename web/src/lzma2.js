import { corrupt, must } from './errors.js';

const FULL = 1 << 11; // probabilities are of 11 bits
const TOP = 2 ** 24;

/** A decoder of raw LZMA2 streams: it fills one buffer, which is also its dictionary. */
class Lzma2 {
  /**
   * @param {Uint8Array} data
   * @param {Uint8Array} out
   */
  constructor(data, out) {
    this.data = data;
    this.out = out;
    this.at = 0;
    this.end = 0; // of the chunk
    this.done = 0;
    this.base = 0; // where the dictionary begins
    this.range = 0;
    this.code = 0;
    this.lc = this.lpMask = this.pbMask = 0;
    this.probabilities = new Uint16Array(0);
    this.state = 0;
    this.distances = [0, 0, 0, 0];
  }

  run() {
    let needs = 3; // 3: a dictionary, 2: properties, 1: a state, 0: nothing
    for (;;) {
      const control = this.byte();
      if (control === 0) break;
      if (control < 128) {
        must(control <= 2 && (control === 1 || needs < 3), 'a stored tile does not decode');
        const size = this.word() + 1;
        if (control === 1) {
          this.base = this.done;
          needs = 2;
        }
        must(this.at + size <= this.data.length && this.done + size <= this.out.length, 'a stored tile does not decode');
        this.out.set(this.data.subarray(this.at, this.at + size), this.done);
        this.at += size;
        this.done += size;
        continue;
      }
      const size = (control & 31) * 65536 + this.word() + 1;
      this.end = this.word() + 1;
      const reset = (control >> 5) & 3;
      must(reset >= needs, 'a stored tile does not decode');
      if (reset === 3) this.base = this.done;
      if (reset >= 2) this.properties(this.byte());
      if (reset >= 1) this.reset();
      needs = 0;
      this.end += this.at;
      must(this.end <= this.data.length && this.done + size <= this.out.length, 'a stored tile does not decode');
      this.chunk(this.done + size);
      must(this.at === this.end && this.code === 0, 'a stored tile does not decode');
    }
    must(this.at === this.data.length && this.done === this.out.length, 'a stored tile has a wrong length');
  }

  byte() {
    must(this.at < this.data.length, 'a stored tile ends too early');
    return this.data[this.at++];
  }

  word() {
    return this.byte() * 256 + this.byte();
  }

  /** @param {number} byte */
  properties(byte) {
    must(byte < 225, 'a stored tile does not decode');
    this.lc = byte % 9;
    const lp = Math.floor(byte / 9) % 5;
    must(this.lc + lp <= 4, 'a stored tile does not decode');
    this.lpMask = (1 << lp) - 1;
    this.pbMask = (1 << Math.floor(byte / 45)) - 1;
    this.probabilities = new Uint16Array(LITERALS + (0x300 << (this.lc + lp)));
  }

  reset() {
    this.probabilities.fill(FULL >> 1);
    this.state = 0;
    this.distances = [0, 0, 0, 0];
  }

  next() {
    if (this.at >= this.end) throw corrupt('a stored tile ends too early');
    return this.data[this.at++];
  }

  /** @param {number} at of a probability */
  bit(at) {
    const p = this.probabilities[at];
    const bound = (this.range >>> 11) * p;
    let bit = 0;
    if (this.code < bound) {
      this.range = bound;
      this.probabilities[at] = p + ((FULL - p) >> 5);
    } else {
      this.range -= bound;
      this.code -= bound;
      this.probabilities[at] = p - (p >> 5);
      bit = 1;
    }
    if (this.range < TOP) {
      this.range = (this.range << 8) >>> 0;
      this.code = ((this.code << 8) | this.next()) >>> 0;
    }
    return bit;
  }

  /** @param {number} count */
  direct(count) {
    let value = 0;
    for (; count; count--) {
      this.range >>>= 1;
      const bit = this.code >= this.range ? 1 : 0;
      if (bit) this.code -= this.range;
      value = value * 2 + bit;
      if (this.range < TOP) {
        this.range = (this.range << 8) >>> 0;
        this.code = ((this.code << 8) | this.next()) >>> 0;
      }
    }
    return value;
  }

  /**
   * @param {number} at
   * @param {number} bits
   */
  tree(at, bits) {
    let node = 1;
    for (let i = 0; i < bits; i++) node = 2 * node + this.bit(at + node);
    return node - (1 << bits);
  }

  /**
   * @param {number} at
   * @param {number} bits
   */
  reversed(at, bits) {
    let node = 1;
    let value = 0;
    for (let i = 0; i < bits; i++) {
      const bit = this.bit(at + node);
      node = 2 * node + bit;
      value |= bit << i;
    }
    return value;
  }

  /**
   * @param {number} at
   * @param {number} place
   */
  length(at, place) {
    if (!this.bit(at)) return 2 + this.tree(at + 2 + 8 * place, 3);
    if (!this.bit(at + 1)) return 10 + this.tree(at + 130 + 8 * place, 3);
    return 18 + this.tree(at + 258, 8);
  }

  /** @param {number} limit where the chunk's bytes end */
  chunk(limit) {
    must(this.next() === 0, 'a stored tile does not decode');
    this.range = 0xffffffff;
    this.code = 0;
    for (let i = 0; i < 4; i++) this.code = ((this.code << 8) | this.next()) >>> 0;
    while (this.done < limit) {
      const place = (this.done - this.base) & this.pbMask;
      const state = this.state;
      if (!this.bit(MATCH + 16 * state + place)) {
        this.literal();
        continue;
      }
      let length;
      if (!this.bit(REPEAT + state)) {
        this.distances.unshift(0);
        this.distances.pop();
        length = this.length(LENGTHS, place);
        this.state = state < 7 ? 7 : 10;
        this.distances[0] = this.distance(Math.min(length - 2, 3));
      } else {
        must(this.done > this.base, 'a stored tile does not decode');
        if (!this.bit(REPEAT_0 + state)) {
          if (!this.bit(REPEAT_0_LONG + 16 * state + place)) {
            this.state = state < 7 ? 9 : 11;
            this.copy(1, limit);
            continue;
          }
        } else {
          let which = 1;
          if (this.bit(REPEAT_1 + state)) which = 2 + this.bit(REPEAT_2 + state);
          const [distance] = this.distances.splice(which, 1);
          this.distances.unshift(distance);
        }
        length = this.length(REPEAT_LENGTHS, place);
        this.state = state < 7 ? 8 : 11;
      }
      this.copy(length, limit);
    }
  }

  literal() {
    const { out, done, state } = this;
    const before = done > this.base ? out[done - 1] : 0;
    const place = (((done - this.base) & this.lpMask) << this.lc) + (before >> (8 - this.lc));
    const at = LITERALS + 0x300 * place;
    let symbol = 1;
    if (state >= 7) {
      must(this.distances[0] < done - this.base, 'a stored tile does not decode');
      let match = out[done - this.distances[0] - 1];
      while (symbol < 256) {
        const wanted = (match >> 7) & 1;
        match <<= 1;
        const bit = this.bit(at + ((1 + wanted) << 8) + symbol);
        symbol = 2 * symbol + bit;
        if (bit !== wanted) break;
      }
    }
    while (symbol < 256) symbol = 2 * symbol + this.bit(at + symbol);
    out[this.done++] = symbol;
    this.state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6;
  }

  /** @param {number} kind */
  distance(kind) {
    const slot = this.tree(SLOTS + 64 * kind, 6);
    if (slot < 4) return slot;
    const bits = (slot >> 1) - 1;
    const high = (2 | (slot & 1)) * 2 ** bits;
    if (slot < 14) return high + this.reversed(PLACES + high - slot, bits);
    const distance = high + this.direct(bits - 4) * 16 + this.reversed(ALIGNED, 4);
    must(distance !== 0xffffffff, 'a stored tile does not decode'); // an end mark, which LZMA2 has not
    return distance;
  }

  /**
   * @param {number} length
   * @param {number} limit
   */
  copy(length, limit) {
    const { out } = this;
    const far = this.distances[0] + 1;
    must(far <= this.done - this.base && this.done + length <= limit, 'a stored tile does not decode');
    for (const end = this.done + length; this.done < end; this.done++) out[this.done] = out[this.done - far];
  }
}

// Where the probabilities of each kind begin.
const MATCH = 0;
const REPEAT = MATCH + 12 * 16;
const REPEAT_0 = REPEAT + 12;
const REPEAT_1 = REPEAT_0 + 12;
const REPEAT_2 = REPEAT_1 + 12;
const REPEAT_0_LONG = REPEAT_2 + 12;
const SLOTS = REPEAT_0_LONG + 12 * 16;
const PLACES = SLOTS + 4 * 64; // `reversed` adds nodes from 1 on
const ALIGNED = PLACES + 128;
const LENGTHS = ALIGNED + 16;
const REPEAT_LENGTHS = LENGTHS + 2 + 128 + 128 + 256;
const LITERALS = REPEAT_LENGTHS + 2 + 128 + 128 + 256;

/**
 * The bytes of a raw LZMA2 stream with its end mark; throws CorruptFile for one that is not exactly so long.
 *
 * @param {Uint8Array} data
 * @param {number} length of what it holds
 */
export function unpackLzma2(data, length) {
  const out = new Uint8Array(length);
  new Lzma2(data, out).run();
  return out;
}
