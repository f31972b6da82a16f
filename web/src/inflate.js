const LENGTHS = { base: /** @type {number[]} */ ([]), extra: [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0] };
const DISTANCES = { base: /** @type {number[]} */ ([]), extra: Array.from({ length: 30 }, (_, i) => Math.max(0, (i >> 1) - 1)) };
for (let i = 0, at = 3; i < 28; at += 1 << LENGTHS.extra[i++]) LENGTHS.base.push(at);
LENGTHS.base.push(258);
for (let i = 0, at = 1; i < 30; at += 1 << DISTANCES.extra[i++]) DISTANCES.base.push(at);
const ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/** What `inflate` throws for data that are no zlib stream. */
class Wrong extends Error {}

/** A canonical prefix code. */
class Code {
  /** @param {ArrayLike<number>} lengths */
  constructor(lengths) {
    this.counts = new Uint16Array(16);
    for (let i = 0; i < lengths.length; i++) this.counts[lengths[i]]++;
    this.counts[0] = 0;
    const next = new Uint16Array(16);
    let left = 1;
    for (let n = 1; n < 16; n++) {
      left = 2 * left - this.counts[n];
      if (left < 0) throw new Wrong();
      next[n] = next[n - 1] + this.counts[n - 1];
    }
    this.left = left;
    this.order = new Uint16Array(next[15] + this.counts[15]);
    for (let i = 0; i < lengths.length; i++) if (lengths[i]) this.order[next[lengths[i]]++] = i;
  }
}

class Inflater {
  /**
   * @param {Uint8Array} data
   * @param {number} most
   */
  constructor(data, most) {
    this.data = data;
    this.most = most;
    this.at = 2;
    this.bits = 0;
    this.count = 0;
    this.out = new Uint8Array(Math.min(most, Math.max(1024, 4 * data.length)));
    this.size = 0;
  }

  /** @param {number} n at most 16 */
  take(n) {
    while (this.count < n) {
      if (this.at >= this.data.length) throw new RangeError();
      this.bits |= this.data[this.at++] << this.count;
      this.count += 8;
    }
    const value = this.bits & ((1 << n) - 1);
    this.bits >>>= n;
    this.count -= n;
    return value;
  }

  /** @param {Code} code */
  symbol(code) {
    let [value, first, at] = [0, 0, 0];
    for (let n = 1; n < 16; n++) {
      value |= this.take(1);
      const count = code.counts[n];
      if (value - first < count) return code.order[at + value - first];
      at += count;
      first = (first + count) << 1;
      value <<= 1;
    }
    throw new Wrong();
  }

  /** @param {number} more bytes; whether there is room */
  room(more) {
    if (this.size + more <= this.out.length) return true;
    if (this.size + more > this.most) return false;
    const larger = new Uint8Array(Math.min(this.most, Math.max(2 * this.out.length, this.size + more)));
    larger.set(this.out.subarray(0, this.size));
    this.out = larger;
    return true;
  }

  /** @returns {[Code, Code]} */
  codes() {
    const [lengths, distances, own] = [this.take(5) + 257, this.take(5) + 1, this.take(4) + 4];
    if (lengths > 286 || distances > 30) throw new Wrong();
    const first = new Uint8Array(19);
    for (let i = 0; i < own; i++) first[ORDER[i]] = this.take(3);
    const code = new Code(first);
    if (code.left) throw new Wrong();
    const all = new Uint8Array(lengths + distances);
    for (let i = 0; i < all.length; ) {
      const symbol = this.symbol(code);
      if (symbol < 16) {
        all[i++] = symbol;
        continue;
      }
      if (symbol === 16 && !i) throw new Wrong();
      const value = symbol === 16 ? all[i - 1] : 0;
      const count = symbol === 16 ? 3 + this.take(2) : symbol === 17 ? 3 + this.take(3) : 11 + this.take(7);
      if (i + count > all.length) throw new Wrong();
      all.fill(value, i, i + count);
      i += count;
    }
    if (!all[256]) throw new Wrong();
    const found = /** @type {[Code, Code]} */ ([new Code(all.subarray(0, lengths)), new Code(all.subarray(lengths))]);
    for (const { left, order } of found) if (left && order.length > 1) throw new Wrong();
    return found;
  }

  /** Inflates all blocks; false if there was no room for all. */
  blocks() {
    for (let last = 0; !last; ) {
      last = this.take(1);
      const kind = this.take(2);
      if (kind === 3) throw new Wrong();
      if (kind === 0) {
        this.take(this.count & 7);
        const [length, check] = [this.take(16), this.take(16)];
        if (length !== (check ^ 65535)) throw new Wrong();
        const there = Math.min(length, this.data.length - this.at);
        const fits = this.room(there) ? there : this.most - this.size;
        this.room(fits);
        this.out.set(this.data.subarray(this.at, this.at + fits), this.size);
        this.at += fits;
        this.size += fits;
        if (fits < there) return false;
        if (there < length) throw new RangeError();
      } else if (!this.block(...(kind === 1 ? FIXED : this.codes()))) return false;
    }
    return true;
  }

  /**
   * @param {Code} literals
   * @param {Code} distances
   */
  block(literals, distances) {
    for (;;) {
      const symbol = this.symbol(literals);
      if (symbol === 256) return true;
      if (symbol < 256) {
        if (!this.room(1)) return false;
        this.out[this.size++] = symbol;
        continue;
      }
      if (symbol > 285) throw new Wrong();
      let length = LENGTHS.base[symbol - 257] + this.take(LENGTHS.extra[symbol - 257]);
      const far = this.symbol(distances);
      if (far > 29) throw new Wrong();
      const distance = DISTANCES.base[far] + this.take(DISTANCES.extra[far]);
      if (distance > this.size) throw new Wrong();
      const fits = this.room(length);
      if (!fits) {
        length = this.most - this.size;
        this.room(length);
      }
      for (; length; length--, this.size++) this.out[this.size] = this.out[this.size - distance];
      if (!fits) return false;
    }
  }
}

const FIXED = /** @type {[Code, Code]} */ ([
  new Code(Uint8Array.from({ length: 288 }, (_, i) => (i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8))),
  new Code(new Uint8Array(30).fill(5)),
]);

/**
 * The Adler-32 of bytes.
 *
 * @param {Uint8Array} data
 */
export function adler32(data) {
  let [a, b] = [1, 0];
  for (let at = 0; at < data.length; ) {
    for (const end = Math.min(at + 3800, data.length); at < end; at++) {
      a += data[at];
      b += a;
    }
    a %= 65521;
    b %= 65521;
  }
  return ((b << 16) | a) >>> 0;
}

/**
 * What a zlib stream holds, `most` bytes of it at most. state: `end` if all is there, `more` if there is more, `cut` if
 * the stream ends too early, `wrong` if it is none or its checksum is wrong. Bytes behind the stream do not matter.
 *
 * @param {Uint8Array} data
 * @param {number} most
 * @returns {{data: Uint8Array, state: 'end' | 'more' | 'cut' | 'wrong'}}
 */
export function inflate(data, most) {
  const inflater = new Inflater(data, most);
  /** @type {'end' | 'more' | 'cut' | 'wrong'} */
  let state = 'end';
  try {
    if (data.length < 2) throw new RangeError();
    if ((data[0] & 15) !== 8 || data[0] > 127 || ((data[0] << 8) | data[1]) % 31 || data[1] & 32) throw new Wrong();
    if (!inflater.blocks()) state = 'more';
    else {
      inflater.take(inflater.count & 7);
      const [high, low] = [0, 1].map(() => [inflater.take(8), inflater.take(8)]).map(([a, b]) => (a << 8) | b);
      if (((high << 16) | low) >>> 0 !== adler32(inflater.out.subarray(0, inflater.size))) state = 'wrong';
    }
  } catch (error) {
    if (error instanceof Wrong) state = 'wrong';
    else if (error instanceof RangeError) state = 'cut';
    else throw error;
  }
  return { data: inflater.out.subarray(0, inflater.size), state };
}
