import { adler32 } from './inflate.js';

/**
 * Compression byte for byte as zlib 1.2.12 and later does it with its usual memory: encoders decide by its lengths, and
 * the chunks of a PNG are known again by its bytes.
 */

/** Of levels 1 to 9: good, lazy and nice lengths, and how many places are looked at. */
const RULES = [
  [4, 4, 8, 4], [4, 5, 16, 8], [4, 6, 32, 32], [4, 4, 16, 16], [8, 16, 32, 32], [8, 16, 128, 128], [8, 32, 128, 256],
  [32, 128, 258, 1024], [32, 258, 258, 4096],
];
const [SHORTEST, LONGEST] = [3, 258];
const AHEAD = LONGEST + SHORTEST + 1; // bytes that lie ready before a match is looked for
const TOO_FAR = 4096; // for a match of the shortest length
const HASH = 1 << 15;
const SYMBOLS = 16383; // of a block
const END = 256;
const [REPEAT, ZEROS, MANY_ZEROS] = [16, 17, 18];
const LENGTH_EXTRA = Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0]);
const DISTANCE_EXTRA = Uint8Array.from({ length: 30 }, (_, i) => Math.max(0, (i >> 1) - 1));
const OWN_EXTRA = Uint8Array.from({ length: 19 }, (_, i) => [2, 3, 7][i - REPEAT] ?? 0);
const OWN_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
const FIXED = Uint8Array.from({ length: 288 }, (_, i) => (i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8));
const FIXED_DISTANCES = new Uint8Array(30).fill(5);
const [LENGTH_BASE, LENGTH_CODE] = basesOf(LENGTH_EXTRA, 256);
const [DISTANCE_BASE, DISTANCE_CODE] = basesOf(DISTANCE_EXTRA, 32768);
LENGTH_CODE[255] = 28; // the longest has a code of its own
LENGTH_BASE[28] = 255;

/**
 * The first number of each code, and the code of each number.
 *
 * @param {Uint8Array} extra bits of each code
 * @param {number} count
 * @returns {[Uint16Array, Uint8Array]}
 */
function basesOf(extra, count) {
  const bases = new Uint16Array(extra.length);
  const codes = new Uint8Array(count);
  for (let code = 0, at = 0; code < extra.length && at < count; code++) {
    bases[code] = at;
    const end = Math.min(count, at + (1 << extra[code]));
    codes.fill(code, at, end);
    at = end;
  }
  return [bases, codes];
}

/** Bits of a stream, the lowest first. */
class Bits {
  /** @param {number} room bytes */
  constructor(room) {
    this.out = new Uint8Array(room);
    this.at = 0;
    this.bits = 0;
    this.count = 0;
  }

  /**
   * @param {number} value
   * @param {number} count at most 16
   */
  put(value, count) {
    this.bits |= value << this.count;
    this.count += count;
    while (this.count >= 8) {
      this.byte(this.bits & 255);
      this.bits >>>= 8;
      this.count -= 8;
    }
  }

  /** @param {number} value */
  byte(value) {
    if (this.at === this.out.length) {
      const more = new Uint8Array(2 * this.out.length);
      more.set(this.out);
      this.out = more;
    }
    this.out[this.at++] = value;
  }

  align() {
    if (this.count) this.put(0, 8 - this.count);
  }
}

/** A prefix code that is fitted to how often its symbols occur. */
class Tree {
  /**
   * @param {number} size
   * @param {number} longest bits
   * @param {Uint8Array} extra bits behind a symbol
   * @param {number} base the first symbol that has such
   * @param {Uint8Array | null} fixed lengths of the code that is there without
   */
  constructor(size, longest, extra, base, fixed) {
    this.size = size;
    this.longest = longest;
    this.extra = extra;
    this.base = base;
    this.fixed = fixed;
    this.counts = new Uint32Array(2 * size + 1);
    this.lengths = new Uint8Array(2 * size + 1);
    this.codes = new Uint16Array(size);
    this.last = 0;
    this.bits = this.fixedBits = 0; // of all symbols, in this code and in the fixed one
  }

  build() {
    const { counts, lengths, size } = this;
    const most = 2 * size + 1;
    const heap = new Uint16Array(most + 1);
    const depths = new Uint8Array(most);
    const parents = new Uint16Array(most);
    let [count, top] = [0, most];
    const before = (/** @type {number} */ n, /** @type {number} */ m) => counts[n] < counts[m] || (counts[n] === counts[m] && depths[n] <= depths[m]);
    const sift = (/** @type {number} */ k) => {
      const value = heap[k];
      for (let j = 2 * k; j <= count; j *= 2) {
        if (j < count && before(heap[j + 1], heap[j])) j++;
        if (before(value, heap[j])) break;
        heap[k] = heap[j];
        k = j;
      }
      heap[k] = value;
    };
    this.bits = this.fixedBits = 0;
    this.last = -1;
    for (let n = 0; n < size; n++) {
      lengths[n] = 0;
      if (counts[n]) heap[++count] = this.last = n;
    }
    while (count < 2) {
      const node = this.last < 2 ? ++this.last : 0;
      heap[++count] = node;
      counts[node] = 1;
      this.bits--;
      if (this.fixed) this.fixedBits -= this.fixed[node];
    }
    for (let n = count >> 1; n >= 1; n--) sift(n);
    let node = size;
    do {
      const n = heap[1];
      heap[1] = heap[count--];
      sift(1);
      const m = heap[1];
      heap[--top] = n;
      heap[--top] = m;
      counts[node] = counts[n] + counts[m];
      depths[node] = Math.max(depths[n], depths[m]) + 1;
      parents[n] = parents[m] = node;
      heap[1] = node++;
      sift(1);
    } while (count >= 2);
    heap[--top] = heap[1];
    this.measure(heap, top, parents);
    this.assign();
  }

  /**
   * Lengths of all symbols, none over the longest.
   *
   * @param {Uint16Array} heap nodes from `top` on, the root first
   * @param {number} top
   * @param {Uint16Array} parents
   */
  measure(heap, top, parents) {
    const { counts, lengths, longest, extra, base, fixed, last } = this;
    const most = 2 * this.size + 1;
    const of = new Uint16Array(longest + 1);
    let over = 0;
    lengths[heap[top]] = 0;
    let h = top + 1;
    for (; h < most; h++) {
      const n = heap[h];
      let length = lengths[parents[n]] + 1;
      if (length > longest) {
        length = longest;
        over++;
      }
      lengths[n] = length;
      if (n > last) continue;
      of[length]++;
      const more = n >= base ? extra[n - base] : 0;
      this.bits += counts[n] * (length + more);
      if (fixed) this.fixedBits += counts[n] * (fixed[n] + more);
    }
    if (!over) return;
    for (; over > 0; over -= 2) {
      let length = longest - 1;
      while (!of[length]) length--;
      of[length]--;
      of[length + 1] += 2;
      of[longest]--;
    }
    for (let length = longest; length; length--)
      for (let left = of[length]; left; ) {
        const n = heap[--h];
        if (n > last) continue;
        if (lengths[n] !== length) {
          this.bits += (length - lengths[n]) * counts[n];
          lengths[n] = length;
        }
        left--;
      }
  }

  assign() {
    assign(this.lengths, this.last + 1, this.codes);
  }

  clear() {
    this.counts.fill(0);
  }
}

/**
 * The codes of lengths, mirrored, since the highest bit comes first.
 *
 * @param {Uint8Array} lengths
 * @param {number} count
 * @param {Uint16Array} codes
 */
function assign(lengths, count, codes) {
  const of = new Uint16Array(16);
  for (let n = 0; n < count; n++) of[lengths[n]]++;
  of[0] = 0;
  const next = new Uint16Array(16);
  for (let length = 1; length < 16; length++) next[length] = (next[length - 1] + of[length - 1]) << 1;
  for (let n = 0; n < count; n++) {
    const length = lengths[n];
    if (!length) continue;
    let code = next[length]++;
    let mirrored = 0;
    for (let i = 0; i < length; i++, code >>= 1) mirrored = (mirrored << 1) | (code & 1);
    codes[n] = mirrored;
  }
}

const FIXED_CODES = new Uint16Array(288);
assign(FIXED, 288, FIXED_CODES);
const FIXED_DISTANCE_CODES = new Uint16Array(30);
assign(FIXED_DISTANCES, 30, FIXED_DISTANCE_CODES);

/** The symbols of the two trees of a block, themselves in a code: [symbol, repeats] each. */
class OwnLengths {
  constructor() {
    this.tree = new Tree(19, 7, OWN_EXTRA, 0, null);
    /** @type {[number, number][]} */
    this.found = [];
    this.shown = 0;
  }

  /** @param {Tree[]} trees */
  build(trees) {
    this.tree.clear();
    this.found = [];
    for (const { lengths, last } of trees) this.scan(lengths, last);
    for (const [symbol] of this.found) this.tree.counts[symbol]++;
    this.tree.build();
    for (this.shown = 19; this.shown > 4 && !this.tree.lengths[OWN_ORDER[this.shown - 1]]; ) this.shown--;
    return this.tree.bits + 3 * this.shown + 14;
  }

  /**
   * @param {Uint8Array} lengths
   * @param {number} last
   */
  scan(lengths, last) {
    let before = -1;
    for (let n = 0; n <= last; ) {
      const length = lengths[n];
      const most = length === 0 ? 138 : length === before ? 6 : 7;
      const least = length === 0 || length === before ? 3 : 4;
      let count = 1;
      while (count < most && n + count <= last && lengths[n + count] === length) count++;
      n += count;
      if (count < least) for (let i = 0; i < count; i++) this.found.push([length, 0]);
      else if (length) {
        if (length !== before) {
          this.found.push([length, 0]);
          count--;
        }
        this.found.push([REPEAT, count - 3]);
      } else this.found.push(count <= 10 ? [ZEROS, count - 3] : [MANY_ZEROS, count - 11]);
      before = length;
    }
  }

  /**
   * @param {Bits} bits
   * @param {Tree[]} trees
   */
  put(bits, [lengths, distances]) {
    bits.put(lengths.last - 256, 5);
    bits.put(distances.last, 5);
    bits.put(this.shown - 4, 4);
    for (let i = 0; i < this.shown; i++) bits.put(this.tree.lengths[OWN_ORDER[i]], 3);
    for (const [symbol, more] of this.found) {
      bits.put(this.tree.codes[symbol], this.tree.lengths[symbol]);
      if (OWN_EXTRA[symbol]) bits.put(more, OWN_EXTRA[symbol]);
    }
  }
}

class Deflater {
  /**
   * @param {Uint8Array} data
   * @param {number} level 1 .. 9
   * @param {number} window bits, 9 .. 15
   * @param {boolean} filtered whether short matches do not count
   */
  constructor(data, level, window, filtered) {
    this.data = data;
    const [good, lazy, nice, chain] = RULES[level - 1];
    this.good = good;
    this.lazy = lazy;
    this.nice = nice;
    this.chain = chain;
    this.filtered = filtered;
    this.size = 1 << window;
    this.far = this.size - AHEAD;
    this.head = new Int32Array(HASH); // 0 is no place: zlib never finds what stands there
    this.before = new Int32Array(this.size);
    this.at = 0;
    this.length = SHORTEST - 1;
    this.start = 0; // of the match
    this.begin = 0; // of the block
    this.base = 0; // of what zlib has in memory ...
    this.read = 0; // ... up to here
    this.literals = new Uint8Array(SYMBOLS);
    this.distances = new Uint16Array(SYMBOLS);
    this.count = 0;
    this.trees = [new Tree(286, 15, LENGTH_EXTRA, 257, FIXED), new Tree(30, 15, DISTANCE_EXTRA, 0, FIXED_DISTANCES)];
    this.own = new OwnLengths();
    this.bits = new Bits(Math.max(64, data.length >> 1));
  }

  /** Reads on, as zlib does: what lies too far back is forgotten. */
  fill() {
    const { data, size } = this;
    while (this.read - this.at < AHEAD) {
      if (this.at - this.base >= size + this.far) this.base += size;
      if (this.read === data.length) return;
      this.read = Math.min(data.length, this.base + 2 * size);
    }
  }

  /** @param {number} at which is noted; the place before it with the same hash */
  insert(at) {
    const { data, head } = this;
    const hash = ((data[at] << 10) ^ (data[at + 1] << 5) ^ data[at + 2]) & (HASH - 1);
    const found = head[hash];
    this.before[at & (this.size - 1)] = found;
    head[hash] = at;
    return found;
  }

  /**
   * The length of the longest match at the place, longer than `best`, if there is one; it begins at `start`.
   *
   * @param {number} from
   * @param {number} best
   */
  longest(from, best) {
    const { data, before, at } = this;
    const mask = this.size - 1;
    const left = Math.min(LONGEST, data.length - at);
    const nice = Math.min(this.nice, data.length - at);
    const limit = Math.max(0, at - this.far);
    let chain = best >= this.good ? this.chain >> 2 : this.chain;
    do {
      if (data[from + best] === data[at + best] && data[from + best - 1] === data[at + best - 1] && data[from] === data[at] && data[from + 1] === data[at + 1]) {
        let length = 2;
        while (length < left && data[from + length] === data[at + length]) length++;
        if (length > best) {
          this.start = from;
          best = length;
          if (length >= nice) break;
        }
      }
      from = before[from & mask];
    } while (from > limit && --chain);
    return Math.min(best, data.length - at);
  }

  /** @param {number} byte */
  literal(byte) {
    this.distances[this.count] = 0;
    this.literals[this.count++] = byte;
    this.trees[0].counts[byte]++;
  }

  /**
   * @param {number} distance
   * @param {number} length
   */
  match(distance, length) {
    this.distances[this.count] = distance;
    this.literals[this.count++] = length - SHORTEST;
    this.trees[0].counts[257 + LENGTH_CODE[length - SHORTEST]]++;
    this.trees[1].counts[DISTANCE_CODE[distance - 1]]++;
  }

  fast() {
    const { data } = this;
    while (this.at < data.length) {
      this.fill();
      const left = data.length - this.at;
      const found = left >= SHORTEST ? this.insert(this.at) : 0;
      this.length = 0;
      if (found && this.at - found <= this.far) this.length = this.longest(found, SHORTEST - 1);
      if (this.length >= SHORTEST) {
        this.match(this.at - this.start, this.length);
        const end = this.at + this.length;
        if (this.length <= this.lazy && left - this.length >= SHORTEST) while (++this.at < end) this.insert(this.at);
        this.at = end;
      } else this.literal(data[this.at++]);
      if (this.count === SYMBOLS) this.flush(false);
    }
    this.flush(true);
  }

  slow() {
    const { data } = this;
    let waiting = false; // the byte before is not coded yet
    while (this.at < data.length) {
      this.fill();
      const left = data.length - this.at;
      const found = left >= SHORTEST ? this.insert(this.at) : 0;
      const [before, from] = [this.length, this.start];
      this.length = SHORTEST - 1;
      if (found && before < this.lazy && this.at - found <= this.far) {
        this.length = this.longest(found, before);
        const useless = this.filtered || (this.length === SHORTEST && this.at - this.start > TOO_FAR);
        if (this.length <= 5 && useless) this.length = SHORTEST - 1;
      }
      if (before >= SHORTEST && this.length <= before) {
        this.match(this.at - 1 - from, before);
        const end = this.at + before - 1;
        while (++this.at < end) if (this.at <= data.length - SHORTEST) this.insert(this.at);
        waiting = false;
        this.length = SHORTEST - 1;
        if (this.count === SYMBOLS) this.flush(false);
      } else if (waiting) {
        this.literal(data[this.at - 1]);
        if (this.count === SYMBOLS) this.flush(false);
        this.at++;
      } else {
        waiting = true;
        this.at++;
      }
    }
    if (waiting) this.literal(data[data.length - 1]);
    this.flush(true);
  }

  /** @param {boolean} last whether this is the last block */
  flush(last) {
    const { bits, trees, own } = this;
    const [lengths, distances] = trees;
    lengths.counts[END] = 1;
    lengths.build();
    distances.build();
    const fitted = (lengths.bits + distances.bits + own.build(trees) + 10) >> 3;
    const fixed = (lengths.fixedBits + distances.fixedBits + 10) >> 3;
    const length = this.at - this.begin;
    if (length + 4 <= Math.min(fitted, fixed) && this.begin >= this.base) {
      bits.put(Number(last), 3);
      bits.align();
      for (const value of [length, length ^ 65535]) {
        bits.byte(value & 255);
        bits.byte(value >> 8);
      }
      for (let i = this.begin; i < this.at; i++) bits.byte(this.data[i]);
    } else if (fixed <= fitted) {
      bits.put(2 + Number(last), 3);
      this.putSymbols(FIXED_CODES, FIXED, FIXED_DISTANCE_CODES, FIXED_DISTANCES);
    } else {
      bits.put(4 + Number(last), 3);
      own.put(bits, trees);
      this.putSymbols(lengths.codes, lengths.lengths, distances.codes, distances.lengths);
    }
    lengths.clear();
    distances.clear();
    this.count = 0;
    this.begin = this.at;
  }

  /**
   * @param {Uint16Array} codes
   * @param {Uint8Array} lengths
   * @param {Uint16Array} distanceCodes
   * @param {Uint8Array} distanceLengths
   */
  putSymbols(codes, lengths, distanceCodes, distanceLengths) {
    const { bits } = this;
    for (let i = 0; i < this.count; i++) {
      const [literal, distance] = [this.literals[i], this.distances[i]];
      if (!distance) {
        bits.put(codes[literal], lengths[literal]);
        continue;
      }
      const code = LENGTH_CODE[literal];
      bits.put(codes[257 + code], lengths[257 + code]);
      if (LENGTH_EXTRA[code]) bits.put(literal - LENGTH_BASE[code], LENGTH_EXTRA[code]);
      const far = DISTANCE_CODE[distance - 1];
      bits.put(distanceCodes[far], distanceLengths[far]);
      if (DISTANCE_EXTRA[far]) bits.put(distance - 1 - DISTANCE_BASE[far], DISTANCE_EXTRA[far]);
    }
    bits.put(codes[END], lengths[END]);
  }
}

/**
 * The zlib stream of bytes, as zlib's `compress` makes it.
 *
 * @param {Uint8Array} data
 * @param {number} level 1 .. 9
 * @param {number} [window] bits, 9 .. 15
 * @param {boolean} [filtered] zlib's strategy of that name
 */
export function zlibCompress(data, level, window = 15, filtered = false) {
  const deflater = new Deflater(data, level, window, filtered);
  const { bits } = deflater;
  const kind = level < 2 ? 0 : level < 6 ? 1 : level === 6 ? 2 : 3;
  const header = ((8 | ((window - 8) << 4)) << 8) | (kind << 6);
  bits.byte(header >> 8);
  bits.byte((header & 255) + 31 - (header % 31));
  if (level < 4) deflater.fast();
  else deflater.slow();
  bits.align();
  const sum = adler32(data);
  for (let shift = 24; shift >= 0; shift -= 8) bits.byte((sum >>> shift) & 255);
  return bits.out.subarray(0, bits.at);
}
