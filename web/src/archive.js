import { Reader, crc32, readU32, utf8 } from './bytes.js';
import { decode } from './decode.js';
import { VlaeError, corrupt, must } from './errors.js';
import { inflate } from './inflate.js';

/** Archives of pictures, of which only what is asked for is read; docs/archive.md has every byte. */

/** @typedef {import('./decode.js').Decoded} Decoded */

/**
 * A member of an archive.
 *
 * @typedef {Object} Member
 * @property {string} name
 * @property {number} width of its first picture
 * @property {number} height
 * @property {number} pictures frames or pages
 * @property {number} offset of its group in the archive
 * @property {number} length bytes of the group
 * @property {number} first the number of its first picture in the group
 * @property {boolean} shared whether the group has other members
 */

const MAGIC = [0xf6, 0x56, 0x4c, 0x41, 0x52, 0x0d, 0x0a, 0x1a];
const END = [0xf6, 0x1a, 0x0a, 0x0d, 0x52, 0x41, 0x4c, 0x56];
const [START, FOOTER] = [9, 32];
const [PAGE_MEMBERS, PAGE_BYTES, MOST_MEMBERS] = [1024, 1 << 22, 1 << 20];
const [COLUMNS, TIME, SIZE] = [10, 7, 9];
const [LONGEST, SLICE] = [4096, 1 << 20];

/** @param {Uint8Array} data whether these are the first bytes of an archive */
export function isArchive(data) {
  return MAGIC.every((byte, i) => data[i] === byte);
}

/**
 * The archive in a file, its index read. Throws VlaeError.
 *
 * @param {Blob | Uint8Array<ArrayBuffer> | ArrayBuffer} input of a Blob only what is needed is read
 * @returns {Promise<Archive>}
 */
export async function openArchive(input) {
  const file = input instanceof Blob ? input : new Blob([input]);
  const start = await read(file, 0, START);
  if (!isArchive(start)) throw new VlaeError('NotAVlaeFile', 'not an archive of pictures');
  if (start[8] !== 1) throw new VlaeError('UnsupportedVersion', `version ${start[8]} of archives is unknown here`);
  const { root, end } = await findRoot(file);
  const members = [];
  for (const page of pagesOf(root, end)) {
    const data = await read(file, page.offset, page.length);
    must(crc32(data) === page.crc, "wrong checksum of a page of the archive's index");
    members.push(...membersOf(data, page.members, end));
    if (members.length > MOST_MEMBERS) throw new VlaeError('ImageTooLarge', `more than ${MOST_MEMBERS} members`);
  }
  const uses = new Map();
  for (const { offset } of members) uses.set(offset, (uses.get(offset) ?? 0) + 1);
  for (const member of members) member.shared = uses.get(member.offset) > 1;
  return new Archive(file, members);
}

/** An archive whose index was read. */
export class Archive {
  /**
   * @param {Blob} file
   * @param {Member[]} members
   */
  constructor(file, members) {
    this.file = file;
    this.members = members;
    /** @type {{offset: number, found: Promise<Decoded>} | null} the shared group that was decoded last */
    this.last = null;
  }

  /**
   * The pictures of a member. Throws VlaeError. Of a group of several members all pictures are decoded, and kept until
   * another one is: `onStart`, `onTile` and `first` then do nothing.
   *
   * @param {Member} member
   * @param {import('./decode.js').Options} [options]
   * @returns {Promise<Decoded>}
   */
  async read(member, options = {}) {
    const { offset, length, first, pictures } = member;
    const bytes = () => read(this.file, offset, length);
    let found;
    if (!member.shared) found = await decode(await bytes(), options);
    else {
      if (this.last?.offset !== offset) {
        const quiet = { ...options, onStart: undefined, onTile: undefined, first: undefined };
        this.last = { offset, found: bytes().then((data) => decode(data, quiet)) };
      }
      const { last } = this;
      try {
        found = await last.found;
      } catch (error) {
        if (this.last === last) this.last = null;
        throw error;
      }
    }
    const own = found.pictures.slice(first, first + pictures);
    must(own.length === pictures, 'a group of the archive lacks a picture');
    return { ...own[0], pictures: own, sizes: found.sizes };
  }
}

/**
 * @param {Blob} file
 * @param {number} offset
 * @param {number} length
 */
async function read(file, offset, length) {
  return new Uint8Array(await file.slice(offset, offset + length).arrayBuffer());
}

/**
 * The root before the last valid footer, and where that ends. What stands behind it is an addition that was cut off.
 *
 * @param {Blob} file
 */
async function findRoot(file) {
  let left = 4 * file.size + SLICE; // bytes of roots that are looked at: no file can ask for more
  for (let end = file.size; end >= START + FOOTER; ) {
    const begin = Math.max(START, end - SLICE);
    const data = await read(file, begin, end - begin);
    for (let at = data.length - FOOTER; at >= 0; at--) {
      if (!END.every((byte, i) => data[at + 24 + i] === byte)) continue;
      if (crc32(data.subarray(at, at + 20)) !== readU32(data, at + 20)) continue;
      const length = readU32(data, at) + 2 ** 32 * readU32(data, at + 4);
      if (length > begin + at - START || length > left) continue;
      left -= length;
      const root = await read(file, begin + at - length, length);
      if (crc32(root) === readU32(data, at + 16)) return { root, end: begin + at + FOOTER };
    }
    if (begin === START) break;
    end = begin + FOOTER - 1;
  }
  throw new VlaeError('TruncatedFile', 'the archive has no index: get a fresh copy of the file');
}

/** @param {number} value a number with a sign, as it is written */
function signed(value) {
  return value % 2 ? -(value + 1) / 2 : value / 2;
}

/**
 * @param {Uint8Array} root
 * @param {number} before all pages stand before it
 */
function pagesOf(root, before) {
  const reader = new Reader(root);
  const pages = [];
  let end = 0;
  for (let count = reader.varint(); count; count--) {
    const members = reader.varint();
    const offset = end + signed(reader.varint());
    const length = reader.varint();
    end = offset + length;
    const good = members >= 1 && members <= PAGE_MEMBERS && offset >= START && end <= before;
    must(good, "a page of the archive's index lies outside the archive");
    pages.push({ members, offset, length, crc: reader.u32() });
  }
  must(!reader.left, "the root of the archive's index is too long");
  return pages;
}

/**
 * @param {Uint8Array} data of a page
 * @param {number} count of members
 * @param {number} before all groups stand before it
 * @returns {Member[]}
 */
function membersOf(data, count, before) {
  const { data: raw, state } = inflate(data, PAGE_BYTES);
  must(state === 'end', "a page of the archive's index cannot be inflated");
  const reader = new Reader(raw);
  const groups = [];
  let end = 0;
  for (let left = reader.varint(); left; left--) {
    const offset = end + signed(reader.varint());
    const length = reader.varint();
    end = offset + length;
    must(offset >= START && length > 0 && end <= before, 'a group lies outside the archive');
    groups.push({ offset, length });
  }
  reader.byte(); // the unit of times
  const table = Array.from({ length: COLUMNS }, (_, c) => columnOf(reader, count, c));
  const lengths = Array.from({ length: 3 }, () => Array.from({ length: count }, () => reader.varint()));
  const ends = new Map();
  const now = new Array(COLUMNS).fill(0);
  let last = new Uint8Array();
  const members = [];
  for (let i = 0; i < count; i++) {
    for (let c = 0; c < COLUMNS; c++) if (c !== 1) now[c] += table[c][i];
    const [group, , pictures, width, height] = now;
    const good = group >= 0 && group < groups.length && [pictures, width, height].every((value) => value >= 1 && value < 2 ** 32);
    must(good, "impossible values of a member in the archive's index");
    const first = (ends.get(group) ?? 0) + table[1][i];
    must(first >= 0 && first < 2 ** 32, "impossible values of a member in the archive's index");
    ends.set(group, first + pictures);
    const [head, tail, between] = lengths.map((column) => column[i]);
    must(head + tail <= last.length && head + tail + between <= LONGEST, "a malformed name in the archive's index");
    const name = new Uint8Array(head + between + tail);
    name.set(last.subarray(0, head));
    name.set(reader.take(between), head);
    name.set(last.subarray(last.length - tail), head + between);
    last = name;
    members.push({ name: checked(utf8(name)), width, height, pictures, ...groups[group], first, shared: false });
  }
  must(!reader.left, "a page of the archive's index is too long");
  return members;
}

/**
 * The differences of a column; those of times, which may be larger than a number can be, and of sizes are passed by.
 *
 * @param {Reader} reader
 * @param {number} count
 * @param {number} column
 */
function columnOf(reader, count, column) {
  const passed = column === TIME || column === SIZE;
  return Array.from({ length: count }, () => {
    if (!passed) return signed(reader.varint());
    for (let bytes = 1; reader.byte() > 127; bytes++) must(bytes < 9, "a malformed number in the archive's index");
    return 0;
  });
}

/** @param {string} name */
function checked(name) {
  if (name.includes('\0') || name.split('/').some((part) => ['', '.', '..'].includes(part))) throw corrupt("a malformed name in the archive's index");
  return name;
}
