import { corrupt, must } from './errors.js';

/**
 * A number that is unsigned LEB128 in its shortest form, and where the next field begins. Numbers from 2^53 on are
 * more than any file that is read here can hold.
 *
 * @param {Uint8Array} data
 * @param {number} at
 * @returns {[number, number]}
 */
export function readVarint(data, at) {
  let value = 0;
  for (let scale = 1; ; scale *= 128) {
    must(at < data.length && scale < 2 ** 57, 'a number does not end');
    const byte = data[at++];
    value += (byte & 127) * scale;
    if (byte < 128) {
      must(byte > 0 || scale === 1, 'a number is not in its shortest form');
      must(value <= Number.MAX_SAFE_INTEGER, 'a number is too large');
      return [value, at];
    }
  }
}

/** Takes fields from a chunk. */
export class Reader {
  /** @param {Uint8Array} data */
  constructor(data) {
    this.data = data;
    this.at = 0;
  }

  get left() {
    return this.data.length - this.at;
  }

  varint() {
    const [value, at] = readVarint(this.data, this.at);
    this.at = at;
    return value;
  }

  /** @param {number} count */
  take(count) {
    must(count <= this.left, 'a field does not end');
    this.at += count;
    return this.data.subarray(this.at - count, this.at);
  }

  byte() {
    return this.take(1)[0];
  }

  u32() {
    return readU32(this.take(4), 0);
  }

  /**
   * A field in brackets: it stands only where it says something else than its absence.
   *
   * @template T
   * @param {number} there whether it stands
   * @param {() => T} read
   * @param {T} otherwise
   */
  optional(there, read, otherwise) {
    if (!there) return otherwise;
    const found = read();
    must(String(found) !== String(otherwise), 'a field of the header says nothing');
    return found;
  }
}

/**
 * @param {Uint8Array} data
 * @param {number} at
 */
export function readU32(data, at) {
  return (data[at] | (data[at + 1] << 8) | (data[at + 2] << 16) | (data[at + 3] << 24)) >>> 0;
}

const CRC_TABLES = makeCrcTables();

function makeCrcTables() {
  const tables = new Uint32Array(4 * 256);
  for (let i = 0; i < 256; i++) {
    let crc = i;
    for (let k = 0; k < 8; k++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
    tables[i] = crc;
  }
  for (let i = 256; i < 1024; i++) tables[i] = (tables[i - 256] >>> 8) ^ tables[tables[i - 256] & 255];
  return tables;
}

/**
 * The CRC32 of bytes, or of what `before` is the CRC32 of and then these.
 *
 * @param {Uint8Array} data
 * @param {number} [before]
 */
export function crc32(data, before = 0) {
  const t = CRC_TABLES;
  let crc = ~before;
  let i = 0;
  for (const end = data.length - 3; i < end; i += 4) {
    crc ^= data[i] | (data[i + 1] << 8) | (data[i + 2] << 16) | (data[i + 3] << 24);
    crc = t[768 + (crc & 255)] ^ t[512 + ((crc >>> 8) & 255)] ^ t[256 + ((crc >>> 16) & 255)] ^ t[crc >>> 24];
  }
  for (; i < data.length; i++) crc = t[(crc ^ data[i]) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/**
 * All parts, one after another.
 *
 * @param {Uint8Array[]} parts
 */
export function joined(parts) {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/**
 * The text of UTF-8; throws CorruptFile for bytes that are none.
 *
 * @param {Uint8Array} data
 */
export function utf8(data) {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data);
  } catch {
    throw corrupt('a name is no UTF-8');
  }
}

/** @param {Uint8Array} data */
export function hex(data) {
  return Array.from(data, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

const ROUNDS = sha256Constants();

function sha256Constants() {
  /** @type {number[]} */
  const primes = [];
  for (let n = 2; primes.length < 64; n++) if (primes.every((p) => n % p)) primes.push(n);
  return {
    first: primes.slice(0, 8).map((p) => rootFraction(p, 2n)),
    each: Uint32Array.from(primes, (p) => rootFraction(p, 3n)),
  };
}

/**
 * The first 32 bits behind the point of a root, exactly: floats of engines differ.
 *
 * @param {number} n
 * @param {bigint} degree
 */
function rootFraction(n, degree) {
  const wanted = BigInt(n) << (32n * degree);
  let root = 0n;
  for (let bit = 1n << 37n; bit; bit >>= 1n) if ((root + bit) ** degree <= wanted) root += bit;
  return Number(root & 0xffffffffn);
}

/**
 * SHA-256 (FIPS 180-4). Browsers have it only where a page is of a secure origin, so it stands here.
 *
 * @param {Uint8Array[]} parts
 * @returns {Uint8Array} 32 bytes
 */
export function sha256(parts) {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const data = new Uint8Array(Math.ceil((length + 9) / 64) * 64);
  let at = 0;
  for (const part of parts) {
    data.set(part, at);
    at += part.length;
  }
  data[length] = 128;
  const view = new DataView(data.buffer);
  view.setUint32(data.length - 8, Math.floor(length / 2 ** 29));
  view.setUint32(data.length - 4, (length << 3) >>> 0);
  const h = Uint32Array.from(ROUNDS.first);
  const w = new Uint32Array(64);
  const k = ROUNDS.each;
  for (let block = 0; block < data.length; block += 64) {
    for (let i = 0; i < 16; i++) w[i] = view.getUint32(block + 4 * i);
    for (let i = 16; i < 64; i++) {
      const a = w[i - 15];
      const b = w[i - 2];
      const s0 = ((a >>> 7) | (a << 25)) ^ ((a >>> 18) | (a << 14)) ^ (a >>> 3);
      const s1 = ((b >>> 17) | (b << 15)) ^ ((b >>> 19) | (b << 13)) ^ (b >>> 10);
      w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    let [a, b, c, d, e, f, g, last] = h;
    for (let i = 0; i < 64; i++) {
      const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const t1 = (last + s1 + ((e & f) ^ (~e & g)) + k[i] + w[i]) | 0;
      const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      last = g;
      g = f;
      f = e;
      e = (d + t1) | 0;
      d = c;
      c = b;
      b = a;
      a = (t1 + t2) | 0;
    }
    [a, b, c, d, e, f, g, last].forEach((value, i) => (h[i] += value));
  }
  const out = new Uint8Array(32);
  h.forEach((value, i) => new DataView(out.buffer).setUint32(4 * i, value));
  return out;
}
