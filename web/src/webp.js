import { corrupt, must } from './errors.js';

/*
 * Lossless WebP (RFC 9649, section 3): the data of a chunk 'VP8L'. Colours are 4 bytes a pixel here: red, green, blue,
 * alpha. A browser has a decoder of its own, but none that is exact for colours of transparent pixels, and Node none.
 */

const WRONG = 'a stored tile is no lossless WebP';
const LENGTH_ORDER = [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const [GREEN, RED, BLUE, ALPHA, DISTANCE] = [0, 1, 2, 3, 4];
const ROOT = 8; // bits that the first table of a code looks at

/** Near places that short codes of distances mean, the nearest first: columns to the left, and rows up. */
const NEAR = nearPlaces();

function nearPlaces() {
  const found = [];
  for (let y = 0; y < 8; y++) for (let x = -7; x <= 8; x++) if (y ? true : x > 0) found.push([x, y]);
  const far = (/** @type {number[]} */ [x, y]) => x * x + y * y;
  return found.sort((a, b) => far(a) - far(b) || Math.abs(a[0]) - Math.abs(b[0]) || b[0] - a[0]);
}

class Bits {
  /** @param {Uint8Array} data */
  constructor(data) {
    this.data = data;
    this.at = 0;
    this.bits = 0;
    this.count = 0;
  }

  fill() {
    while (this.count <= 24) {
      if (this.at >= this.data.length + 8) throw corrupt(WRONG);
      this.bits |= (this.data[this.at++] ?? 0) << this.count;
      this.count += 8;
    }
  }

  /** @param {number} n at most 24 */
  take(n) {
    if (this.count < n) this.fill();
    const value = this.bits & ((1 << n) - 1);
    this.bits >>>= n;
    this.count -= n;
    return value;
  }

  /** Whether bits were taken that the data do not have. */
  get over() {
    return 8 * this.at - this.count > 8 * this.data.length;
  }
}

/** A canonical prefix code, its codes read from the highest bit on. */
class Code {
  /** @param {ArrayLike<number>} lengths of the codes of all symbols, at most 15 */
  constructor(lengths) {
    const counts = new Uint16Array(16);
    for (let i = 0; i < lengths.length; i++) counts[lengths[i]]++;
    counts[0] = 0;
    let left = 1;
    let longest = 0;
    let symbols = 0;
    for (let n = 1; n < 16; n++) {
      left = 2 * left - counts[n];
      must(left >= 0, WRONG);
      symbols += counts[n];
      if (counts[n]) longest = n;
    }
    must(symbols === 1 || (left === 0 && symbols > 0), WRONG);
    this.counts = counts;
    this.only = -1;
    this.order = new Uint16Array(symbols);
    const next = new Uint16Array(16);
    for (let n = 1; n < 15; n++) next[n + 1] = next[n] + counts[n];
    for (let i = 0; i < lengths.length; i++) if (lengths[i]) this.order[next[lengths[i]]++] = i;
    if (symbols === 1) this.only = this.order[0];
    this.root = symbols === 1 ? 0 : Math.min(ROOT, longest);
    this.table = new Uint16Array(symbols === 1 ? 0 : 1 << this.root); // 16 * symbol + length, or 0
    let code = 0;
    let at = 0;
    for (let n = 1; n <= this.root && symbols > 1; n++, code <<= 1)
      for (let i = 0; i < counts[n]; i++, code++, at++)
        for (let j = mirrored(code, n); j < this.table.length; j += 1 << n) this.table[j] = 16 * this.order[at] + n;
  }

  /** @param {Bits} bits */
  read(bits) {
    if (this.only >= 0) return this.only;
    if (bits.count < 15) bits.fill();
    const entry = this.table[bits.bits & (this.table.length - 1)];
    if (entry) {
      bits.bits >>>= entry & 15;
      bits.count -= entry & 15;
      return entry >> 4;
    }
    let code = 0;
    let first = 0;
    let at = 0;
    for (let n = 1; n < 16; n++) {
      code = 2 * code + bits.take(1);
      const count = this.counts[n];
      if (code - first < count) return this.order[at + code - first];
      at += count;
      first = 2 * (first + count);
    }
    throw corrupt(WRONG);
  }
}

/**
 * @param {number} code
 * @param {number} n bits
 */
function mirrored(code, n) {
  let out = 0;
  for (let i = 0; i < n; i++) out |= ((code >> i) & 1) << (n - 1 - i);
  return out;
}

/**
 * @param {Bits} bits
 * @param {number} size of the alphabet
 */
function readCode(bits, size) {
  const lengths = new Uint8Array(size);
  if (bits.take(1)) {
    const two = bits.take(1);
    const symbols = [bits.take(bits.take(1) ? 8 : 1)];
    if (two) symbols.push(bits.take(8));
    for (const symbol of symbols) {
      must(symbol < size, WRONG);
      lengths[symbol] = 1;
    }
    return new Code(lengths);
  }
  const own = new Uint8Array(19);
  const count = 4 + bits.take(4);
  for (let i = 0; i < count; i++) own[LENGTH_ORDER[i]] = bits.take(3);
  const code = new Code(own);
  let most = size;
  if (bits.take(1)) {
    most = 2 + bits.take(2 + 2 * bits.take(3));
    must(most <= size, WRONG);
  }
  let before = 8;
  for (let i = 0; i < size && most > 0; most--) {
    const symbol = code.read(bits);
    if (symbol < 16) {
      lengths[i++] = symbol;
      if (symbol) before = symbol;
      continue;
    }
    const [least, more] = symbol === 16 ? [3, 2] : symbol === 17 ? [3, 3] : [11, 7];
    const repeat = least + bits.take(more);
    must(i + repeat <= size, WRONG);
    lengths.fill(symbol === 16 ? before : 0, i, i + repeat);
    i += repeat;
  }
  must(!bits.over, WRONG);
  return new Code(lengths);
}

/**
 * A number of a prefix and the bits behind it.
 *
 * @param {Bits} bits
 * @param {number} prefix
 */
function readNumber(bits, prefix) {
  if (prefix < 4) return prefix + 1;
  const more = (prefix - 2) >> 1;
  return ((2 + (prefix & 1)) << more) + bits.take(more) + 1;
}

/**
 * The pixels of an entropy-coded image.
 *
 * @param {Bits} bits
 * @param {number} width
 * @param {number} height
 * @param {boolean} main whether parts of it may have codes of their own
 */
function readImage(bits, width, height, main) {
  const cacheBits = bits.take(1) ? bits.take(4) : 0;
  must(cacheBits <= 11, WRONG);
  let groupBits = 0;
  let groupOf = new Uint8Array(0);
  let groupCount = 1;
  if (main && bits.take(1)) {
    groupBits = 2 + bits.take(3);
    groupOf = readImage(bits, (width + (1 << groupBits) - 1) >> groupBits, (height + (1 << groupBits) - 1) >> groupBits, false);
    for (let i = 0; i < groupOf.length; i += 4) groupCount = Math.max(groupCount, 1 + groupOf[i] * 256 + groupOf[i + 1]);
  }
  const groups = [];
  const cacheSize = cacheBits ? 1 << cacheBits : 0;
  for (let i = 0; i < groupCount; i++) {
    must(!bits.over, WRONG);
    groups.push([256 + 24 + cacheSize, 256, 256, 256, 40].map((size) => readCode(bits, size)));
  }
  const across = (width + (1 << groupBits) - 1) >> groupBits;
  const total = width * height;
  const out = new Uint8Array(4 * total);
  const pixels = new Uint32Array(out.buffer);
  const cache = new Uint32Array(cacheSize);
  const keep = (/** @type {number} */ i) => {
    const argb = (out[4 * i + 3] << 24) | (out[4 * i] << 16) | (out[4 * i + 1] << 8) | out[4 * i + 2];
    cache[Math.imul(0x1e35a7bd, argb) >>> (32 - cacheBits)] = pixels[i];
  };
  let [x, y] = [0, 0];
  let codes = groups[0];
  const groupMask = groupOf.length ? (1 << groupBits) - 1 : -1;
  for (let i = 0; i < total; ) {
    if (groupOf.length && (x & groupMask) === 0) {
      const at = 4 * ((y >> groupBits) * across + (x >> groupBits));
      codes = groups[groupOf[at] * 256 + groupOf[at + 1]];
    }
    const symbol = codes[GREEN].read(bits);
    let count = 1;
    if (symbol < 256) {
      out[4 * i + 1] = symbol;
      out[4 * i] = codes[RED].read(bits);
      out[4 * i + 2] = codes[BLUE].read(bits);
      out[4 * i + 3] = codes[ALPHA].read(bits);
      if (cacheSize) keep(i);
    } else if (symbol < 280) {
      count = readNumber(bits, symbol - 256);
      let far = readNumber(bits, codes[DISTANCE].read(bits));
      if (far > 120) far -= 120;
      else far = Math.max(1, NEAR[far - 1][0] + NEAR[far - 1][1] * width);
      must(far <= i && i + count <= total, WRONG);
      for (let j = i; j < i + count; j++) {
        pixels[j] = pixels[j - far];
        if (cacheSize) keep(j);
      }
    } else {
      pixels[i] = cache[symbol - 280];
      if (cacheSize) keep(i);
    }
    i += count;
    if (count === 1) {
      if (++x === width) {
        x = 0;
        y++;
        if ((y & 63) === 0) must(!bits.over, WRONG);
      }
    } else {
      y = Math.floor(i / width);
      x = i - y * width;
      if (groupOf.length && i < total) {
        const at = 4 * ((y >> groupBits) * across + (x >> groupBits));
        codes = groups[groupOf[at] * 256 + groupOf[at + 1]];
      }
    }
  }
  must(!bits.over, WRONG);
  return out;
}

/**
 * A predicted colour, added to the pixel at `i` (in bytes); up: bytes of a row.
 *
 * @param {Uint8Array} p
 * @param {number} i
 * @param {number} up
 * @param {number} mode
 */
function predict(p, i, up, mode) {
  const [left, top, topLeft, topRight] = [i - 4, i - up, i - up - 4, i - up + 4];
  if (mode === 0 || mode > 13) {
    p[i + 3] += 255;
    return;
  }
  if (mode === 11) {
    let [byLeft, byTop] = [0, 0]; // how far the estimate left + top - corner is from each
    for (let c = 0; c < 4; c++) {
      byLeft += Math.abs(p[top + c] - p[topLeft + c]);
      byTop += Math.abs(p[left + c] - p[topLeft + c]);
    }
    const from = byLeft < byTop ? left : top;
    for (let c = 0; c < 4; c++) p[i + c] += p[from + c];
    return;
  }
  for (let c = 0; c < 4; c++) {
    const [l, t, tl, tr] = [p[left + c], p[top + c], p[topLeft + c], p[topRight + c]];
    let v;
    switch (mode) {
      case 1: v = l; break;
      case 2: v = t; break;
      case 3: v = tr; break;
      case 4: v = tl; break;
      case 5: v = (((l + tr) >> 1) + t) >> 1; break;
      case 6: v = (l + tl) >> 1; break;
      case 7: v = (l + t) >> 1; break;
      case 8: v = (tl + t) >> 1; break;
      case 9: v = (t + tr) >> 1; break;
      case 10: v = (((l + tl) >> 1) + ((t + tr) >> 1)) >> 1; break;
      case 12: v = clamp(l + t - tl); break;
      default: {
        const mean = (l + t) >> 1;
        v = clamp(mean + Math.trunc((mean - tl) / 2));
      }
    }
    p[i + c] += v;
  }
}

/** @param {number} x */
function clamp(x) {
  return x < 0 ? 0 : x > 255 ? 255 : x;
}

/**
 * @param {Uint8Array} p
 * @param {number} width
 * @param {number} height
 * @param {number} bits
 * @param {Uint8Array} modes
 */
function undoPrediction(p, width, height, bits, modes) {
  const up = 4 * width;
  const across = (width + (1 << bits) - 1) >> bits;
  p[3] += 255;
  for (let x = 1; x < width; x++) predict(p, 4 * x, up, 1);
  for (let y = 1; y < height; y++) {
    predict(p, y * up, up, 2);
    for (let x = 1; x < width; x++) predict(p, y * up + 4 * x, up, modes[4 * ((y >> bits) * across + (x >> bits)) + 1] & 15);
  }
}

/**
 * @param {Uint8Array} p
 * @param {number} width
 * @param {number} height
 * @param {number} bits
 * @param {Uint8Array} factors
 */
function undoColours(p, width, height, bits, factors) {
  const signed = new Int8Array(p.buffer, p.byteOffset, p.length);
  const f = new Int8Array(factors.buffer, factors.byteOffset, factors.length);
  const across = (width + (1 << bits) - 1) >> bits;
  for (let y = 0, i = 0; y < height; y++)
    for (let x = 0; x < width; x++, i += 4) {
      const at = 4 * ((y >> bits) * across + (x >> bits));
      p[i] += (f[at + 2] * signed[i + 1]) >> 5;
      p[i + 2] += ((f[at + 1] * signed[i + 1]) >> 5) + ((f[at] * signed[i]) >> 5);
    }
}

/**
 * The pixels of indices, of which several may be in one byte of green.
 *
 * @param {Uint8Array} p
 * @param {number} width
 * @param {number} height
 * @param {number} bits
 * @param {Uint8Array} table
 */
function undoIndices(p, width, height, bits, table) {
  const colours = new Uint8Array(4 * 256); // those beyond the table are 0
  colours.set(table);
  const from = new Uint32Array(colours.buffer);
  const out = new Uint8Array(4 * width * height);
  const pixels = new Uint32Array(out.buffer);
  const across = (width + (1 << bits) - 1) >> bits;
  const each = 8 >> bits;
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const green = p[4 * (y * across + (x >> bits)) + 1];
      pixels[y * width + x] = from[(green >> ((x & ((1 << bits) - 1)) * each)) & ((1 << each) - 1)];
    }
  return out;
}

/**
 * Red, green, blue and alpha of the data of a chunk 'VP8L'. Throws CorruptFile for what is none, or of another size.
 *
 * @param {Uint8Array} data
 * @param {number} width
 * @param {number} height
 */
export function unpackWebp(data, width, height) {
  const bits = new Bits(data);
  must(bits.take(8) === 0x2f && bits.take(14) + 1 === width && bits.take(14) + 1 === height, `${WRONG} of its size`);
  const transparent = bits.take(1);
  must(bits.take(3) === 0, WRONG);
  /** @type {((p: Uint8Array) => Uint8Array)[]} */
  const undo = [];
  let seen = 0;
  let wide = width;
  while (bits.take(1)) {
    const kind = bits.take(2);
    must(((seen >> kind) & 1) === 0, WRONG);
    seen |= 1 << kind;
    const now = wide;
    if (kind < 2) {
      const size = 2 + bits.take(3);
      const part = readImage(bits, (now + (1 << size) - 1) >> size, (height + (1 << size) - 1) >> size, false);
      undo.push((p) => {
        (kind ? undoColours : undoPrediction)(p, now, height, size, part);
        return p;
      });
    } else if (kind === 2) {
      undo.push((p) => {
        for (let i = 0; i < p.length; i += 4) {
          p[i] += p[i + 1];
          p[i + 2] += p[i + 1];
        }
        return p;
      });
    } else {
      const colours = bits.take(8) + 1;
      const table = readImage(bits, colours, 1, false);
      for (let i = 4; i < table.length; i++) table[i] += table[i - 4];
      const packed = colours <= 2 ? 3 : colours <= 4 ? 2 : colours <= 16 ? 1 : 0;
      undo.push((p) => undoIndices(p, now, height, packed, table));
      wide = (now + (1 << packed) - 1) >> packed;
    }
  }
  /** @type {Uint8Array} */
  let pixels = readImage(bits, wide, height, true);
  for (const step of undo.reverse()) pixels = step(pixels);
  if (!transparent) for (let i = 3; i < pixels.length; i += 4) pixels[i] = 255;
  return pixels;
}
