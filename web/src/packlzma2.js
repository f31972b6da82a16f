import { joined } from './bytes.js';

/**
 * LZMA2 streams, which `lzma2.js` reads: a search that is quick, not the best one.
 */

const [LITERAL_STATES, TOP, SHORTEST, LONGEST] = [7, 2 ** 24, 2, 273];
const DICTIONARY = 1 << 20;
const [CHUNK, CHUNK_PACKED] = [1 << 21, 1 << 16]; // bytes that a chunk may hold, and that it may take
const MARGIN = 64; // bytes of a chunk that one symbol more may take
const [HASH, TRIED, GOOD] = [1 << 15, 48, 64];

/** Bits of a range coder. */
class Encoder {
  constructor() {
    this.out = new Uint8Array(CHUNK_PACKED + 4096);
    this.low = this.cache = this.pending = this.at = 0;
    this.range = 0;
    this.begin();
  }

  begin() {
    this.low = 0;
    this.range = 0xffffffff;
    this.cache = 0;
    this.pending = 1;
    this.at = 0;
  }

  /** Bytes that the chunk takes if it ends here. */
  get size() {
    return this.at + this.pending + 4;
  }

  shift() {
    if (this.low < 0xff000000 || this.low >= 2 ** 32) {
      const carry = this.low >= 2 ** 32 ? 1 : 0;
      for (let byte = this.cache; this.pending; this.pending--, byte = 255) this.out[this.at++] = byte + carry;
      this.cache = Math.floor(this.low / 2 ** 24) & 255;
    }
    this.pending++;
    this.low = (this.low % 2 ** 24) * 256;
  }

  /**
   * @param {Uint16Array} probabilities of a 0
   * @param {number} i
   * @param {number} bit
   */
  bit(probabilities, i, bit) {
    const p = probabilities[i];
    const bound = (this.range >>> 11) * p;
    if (bit) {
      this.low += bound;
      this.range -= bound;
      probabilities[i] = p - (p >> 5);
    } else {
      this.range = bound;
      probabilities[i] = p + ((2048 - p) >> 5);
    }
    while (this.range < TOP) {
      this.range = (this.range * 256) >>> 0;
      this.shift();
    }
  }

  /**
   * @param {number} value
   * @param {number} count bits of even chances, the highest first
   */
  direct(value, count) {
    for (let i = count - 1; i >= 0; i--) {
      this.range >>>= 1;
      if ((value >>> i) & 1) this.low += this.range;
      while (this.range < TOP) {
        this.range = (this.range * 256) >>> 0;
        this.shift();
      }
    }
  }

  /**
   * @param {Uint16Array} probabilities
   * @param {number} base
   * @param {number} value
   * @param {number} count bits, the highest first
   */
  tree(probabilities, base, value, count) {
    for (let i = count - 1, node = 1; i >= 0; i--) {
      const bit = (value >> i) & 1;
      this.bit(probabilities, base + node, bit);
      node = 2 * node + bit;
    }
  }

  /**
   * The same, the lowest bit first.
   *
   * @param {Uint16Array} probabilities
   * @param {number} base
   * @param {number} value
   * @param {number} count
   */
  reverse(probabilities, base, value, count) {
    for (let i = 0, node = 1; i < count; i++) {
      const bit = (value >> i) & 1;
      this.bit(probabilities, base + node, bit);
      node = 2 * node + bit;
    }
  }

  end() {
    for (let i = 0; i < 5; i++) this.shift();
    return this.out.slice(0, this.at);
  }
}

/** @param {number} count */
function even(count) {
  return new Uint16Array(count).fill(1024);
}

class Lengths {
  constructor() {
    this.choice = even(2);
    this.low = even(16 * 8);
    this.middle = even(16 * 8);
    this.high = even(256);
  }

  /**
   * @param {Encoder} coder
   * @param {number} length
   * @param {number} place
   */
  put(coder, length, place) {
    const value = length - SHORTEST;
    coder.bit(this.choice, 0, Number(value >= 8));
    if (value < 8) return coder.tree(this.low, 8 * place, value, 3);
    coder.bit(this.choice, 1, Number(value >= 16));
    if (value < 16) return coder.tree(this.middle, 8 * place, value - 8, 3);
    return coder.tree(this.high, 0, value - 16, 8);
  }
}

class Packer {
  /**
   * @param {Uint8Array} data
   * @param {number} lc bits of the byte before that literals depend on
   * @param {number} lp bits of their place
   * @param {number} pb bits of the place that all else depends on
   */
  constructor(data, lc, lp, pb) {
    this.data = data;
    this.lc = lc;
    this.lp = lp;
    this.pb = pb;
    this.coder = new Encoder();
    this.head = new Int32Array(HASH).fill(-1);
    this.before = new Int32Array(Math.min(DICTIONARY, data.length));
    this.noted = 0; // places up to here are noted
    this.literals = even(768 << (lc + lp));
    this.isMatch = even(12 * 16);
    this.isRep = even(12);
    this.isRep0 = even(12);
    this.isRep1 = even(12);
    this.isRep2 = even(12);
    this.isLong = even(12 * 16);
    this.slots = even(4 * 64);
    this.special = even(128);
    this.align = even(16);
    this.lengths = new Lengths();
    this.repLengths = new Lengths();
    this.state = 0;
    /** @type {number[]} the last distances, less 1 */
    this.reps = [0, 0, 0, 0];
  }

  /**
   * Notes all places below one.
   *
   * @param {number} end
   */
  note(end) {
    const { data } = this;
    for (const last = Math.min(end, data.length - 2); this.noted < last; this.noted++) {
      const hash = this.hash(this.noted);
      this.before[this.noted % this.before.length] = this.head[hash];
      this.head[hash] = this.noted;
    }
    this.noted = Math.max(this.noted, end);
  }

  /** @param {number} at */
  hash(at) {
    const { data } = this;
    return (Math.imul(data[at] | (data[at + 1] << 8) | (data[at + 2] << 16), 0x9e3779b1) >>> 17) & (HASH - 1);
  }

  /**
   * How long the bytes at a place are those of another, `most` at most.
   *
   * @param {number} at
   * @param {number} from
   * @param {number} most
   */
  same(at, from, most) {
    const { data } = this;
    let length = 0;
    while (length < most && data[from + length] === data[at + length]) length++;
    return length;
  }

  /**
   * What is best taken at a place: a length (1: a literal), a distance, and which of the last distances it is, or -1.
   *
   * @param {number} at
   */
  find(at) {
    const { data, reps } = this;
    const left = Math.min(LONGEST, data.length - at);
    let best = { length: 1, distance: 0, rep: -1, worth: 0 };
    reps.forEach((rep, i) => {
      const length = rep < at ? this.same(at, at - rep - 1, left) : 0;
      if (length >= SHORTEST && 8 * length - 6 - i > best.worth) best = { length, distance: rep, rep: i, worth: 8 * length - 6 - i };
    });
    if (best.length >= GOOD || at + 3 > data.length) return best;
    let [tried, longest] = [0, Math.max(2, best.length)];
    for (let from = this.head[this.hash(at)]; from >= 0 && at - from <= DICTIONARY - LONGEST && tried < TRIED; from = this.before[from % this.before.length], tried++) {
      if (data[from + longest] !== data[at + longest] && longest < left) continue;
      const length = this.same(at, from, left);
      if (length <= longest) continue;
      longest = length;
      const worth = 8 * length - 12 - 2 * Math.log2(at - from);
      if (worth > best.worth) best = { length, distance: at - from - 1, rep: -1, worth };
      if (length >= GOOD) break;
    }
    return best;
  }

  pack() {
    const { data, coder } = this;
    /** @type {Uint8Array[]} */
    const parts = [];
    let first = true;
    for (let at = 0; at < data.length; ) {
      const begin = at;
      coder.begin();
      const found = { length: 0, distance: 0, rep: -1, worth: 0 };
      let next = this.find(at);
      while (at < data.length && at - begin < CHUNK - LONGEST && coder.size < CHUNK_PACKED - MARGIN) {
        Object.assign(found, next);
        this.note(at + 1);
        next = this.find(at + 1);
        if (found.length > 1 && found.length < GOOD && next.worth > found.worth + 8) found.length = 1;
        this.put(at, found.length, found.distance, found.rep);
        at += found.length;
        if (found.length > 1) {
          this.note(at);
          next = this.find(at);
        }
      }
      const body = coder.end();
      const size = at - begin - 1;
      const control = (first ? 0xe0 : 0x80) | (size >> 16);
      const head = [control, (size >> 8) & 255, size & 255, (body.length - 1) >> 8, (body.length - 1) & 255];
      if (first) head.push((this.pb * 5 + this.lp) * 9 + this.lc);
      parts.push(Uint8Array.from(head), body);
      first = false;
    }
    parts.push(Uint8Array.of(0));
    return joined(parts);
  }

  /**
   * @param {number} at
   * @param {number} length
   * @param {number} distance less 1
   * @param {number} rep
   */
  put(at, length, distance, rep) {
    const { coder, state, reps } = this;
    const place = at & ((1 << this.pb) - 1);
    coder.bit(this.isMatch, 16 * state + place, Number(length > 1));
    if (length === 1) {
      this.literal(at);
      this.state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6;
      return;
    }
    coder.bit(this.isRep, state, Number(rep >= 0));
    if (rep < 0) {
      this.lengths.put(coder, length, place);
      this.distance(distance, length);
      this.reps = [distance, ...reps.slice(0, 3)];
      this.state = state < LITERAL_STATES ? 7 : 10;
      return;
    }
    coder.bit(this.isRep0, state, Number(rep > 0));
    if (rep === 0) coder.bit(this.isLong, 16 * state + place, 1);
    else {
      coder.bit(this.isRep1, state, Number(rep > 1));
      if (rep > 1) coder.bit(this.isRep2, state, rep - 2);
    }
    this.reps = [distance, ...reps.filter((_, i) => i !== rep)];
    this.repLengths.put(coder, length, place);
    this.state = state < LITERAL_STATES ? 8 : 11;
  }

  /** @param {number} at */
  literal(at) {
    const { data, coder, literals, lc, lp } = this;
    const before = at ? data[at - 1] : 0;
    const base = 768 * (((at & ((1 << lp) - 1)) << lc) + (before >> (8 - lc)));
    const symbol = data[at] | 256;
    if (this.state < LITERAL_STATES) {
      for (let i = 7; i >= 0; i--) coder.bit(literals, base + (symbol >> (i + 1)), (symbol >> i) & 1);
      return;
    }
    let matched = data[at - this.reps[0] - 1];
    let offset = 256;
    for (let i = 7; i >= 0; i--) {
      matched <<= 1;
      const bit = (symbol >> i) & 1;
      coder.bit(literals, base + offset + (matched & offset) + (symbol >> (i + 1)), bit);
      if (((matched >> 8) & 1) !== bit) offset = 0;
    }
  }

  /**
   * @param {number} distance less 1
   * @param {number} length
   */
  distance(distance, length) {
    const { coder } = this;
    const bits = 32 - Math.clz32(distance);
    const slot = distance < 4 ? distance : 2 * (bits - 1) + ((distance >> (bits - 2)) & 1);
    coder.tree(this.slots, 64 * Math.min(length - SHORTEST, 3), slot, 6);
    if (slot < 4) return;
    const footer = (slot >> 1) - 1;
    const rest = distance - ((2 | (slot & 1)) << footer);
    if (slot < 14) coder.reverse(this.special, ((2 | (slot & 1)) << footer) - slot, rest, footer);
    else {
      coder.direct(rest >>> 4, footer - 4);
      coder.reverse(this.align, 0, rest & 15, 4);
    }
  }
}

/**
 * The LZMA2 stream of bytes, with its end mark.
 *
 * @param {Uint8Array} data
 * @param {number} step bytes of a pixel
 * @param {number} bits of a sample
 */
export function packLzma2(data, step, bits) {
  const [lc, lp, pb] = bits < 8 ? [0, 0, 0] : step === 4 ? [2, 2, 2] : step % 2 ? [4, 0, 0] : [0, 1, 1];
  return new Packer(data, lc, lp, pb).pack();
}
