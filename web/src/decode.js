import { CHAIN, EXCEPTIONS, JPEG, LATENTS, NO_LATENTS, SOURCE_PLANES, TYPE_BYTES, VALUES, breathe, checkLimits, readFile, tileGrid, wholeTiles } from './container.js';
import { VlaeError, corrupt, must } from './errors.js';
import { blockGrid, blockRows, blocksAt, readParameters, wholeSize } from './jpeg.js';
import { describeModel, readModel } from './model.js';
import { ORIGIN_WORDS, lumaNeeded, needs, sourceOrigin } from './origins.js';
import { Pool } from './pool.js';

/** @typedef {import('./container.js').Contents} Contents */
/** @typedef {import('./container.js').Group} Group */
/** @typedef {import('./container.js').Piece} Piece */
/** @typedef {import('./container.js').StreamRecord} StreamRecord */
/** @typedef {import('./container.js').Limits} Limits */
/** @typedef {import('./origins.js').Region} Region */

/** @typedef {Uint8Array | Uint16Array | Int8Array | Int16Array | Uint32Array | Int32Array | Float32Array | Float64Array} Samples */

/**
 * A picture, or the region of it that was asked for.
 *
 * @typedef {Object} Picture
 * @property {number} width
 * @property {number} height
 * @property {number} channels
 * @property {string} mode what the channels mean: L, RGB, 1, LA, RGBA, P, PA, CMYK, YCbCr, LAB, HSV, La, RGBa, RGBX, bands
 * @property {string} type unsigned, int8, int16, uint32, int32, float16, float32, float64
 * @property {number} levels unsigned samples are 0 .. levels - 1
 * @property {number} depth bits of a sample
 * @property {Samples} data row by row, channels side by side; float16 as its bits, in a Uint16Array
 * @property {{colours: number, channels: number, data: Uint8Array} | null} palette
 * @property {Record<string, Uint8Array>} metadata
 * @property {string | null} origin what it was before, in words
 */

/**
 * What has been decoded: a part of a picture that can be looked at, and how much of the file is done.
 *
 * @typedef {Object} Progress
 * @property {number} picture
 * @property {Region} region in the picture's `data`
 * @property {Picture} so so far
 * @property {number} done
 * @property {number} total
 */

/**
 * @typedef {Object} Options
 * @property {Region} [region] only this part of the only picture of the file
 * @property {() => Region | null} [first] what is to be decoded first, of each picture, asked whenever a worker is free
 * @property {(progress: Progress) => void} [onTile] called when a part is there
 * @property {(pictures: Picture[]) => void} [onStart] called with the pictures before there are samples
 * @property {Uint8Array[]} [models] weight files beside those that come with the package
 * @property {AbortSignal} [signal]
 * @property {number} [memoryLimit] bytes that pictures, and each worker, may take; 1 GiB
 * @property {Partial<Limits>} [limits]
 * @property {number} [threads] workers; 0: the calling thread does all work
 */

/** @typedef {Picture & {pictures: Picture[], sizes: Record<string, number>}} Decoded the first picture, and all */

/** Where the core, the models and workers come from; an entry point of the package sets it. */
export const settings = {
  /** @type {() => Promise<WebAssembly.Module>} */
  loadCore: () => Promise.reject(new VlaeError('Unsupported', 'there is no core')),
  /** @type {(id: string) => Promise<Uint8Array | null>} */
  loadModel: async () => null,
  /** @type {(name: string) => Promise<Uint8Array | null>} */
  loadNamed: async () => null,
  /** @type {import('./pool.js').MakeThread | null} */
  makeThread: null,
  threads: 2,
};

const STRIP = 256; // rows that are rebuilt at once
const SLICE = 1 << 20; // samples between which other things get their turn; a multiple of all sizes of a sample
export const LIMITS = { pixels: 2 ** 28, pictures: 2 ** 20, memory: 2 ** 30, seconds: 1800 };
const [SPEED, TILE_SECONDS] = [5e10, 2e-4]; // multiply-adds a second, as the estimates of the Python package have it
const REST = 30000; // milliseconds for which workers wait for another file

/** @type {Promise<WebAssembly.Module> | null} */
let core = null;
/** @type {{pool: Pool, key: string, timer: any} | null} */
let resting = null;
let files = 0;

/**
 * The pictures of a file, bit for bit as they were given. Throws VlaeError.
 *
 * @param {Uint8Array | ArrayBuffer | Blob} input
 * @param {Options} [options]
 * @returns {Promise<Decoded>}
 */
export async function decode(input, options = {}) {
  const { signal, region = null } = options;
  const stopped = () => new VlaeError('Aborted', 'decoding was stopped');
  if (signal?.aborted) throw stopped();
  const data = await bytesOf(input);
  const memory = options.memoryLimit ?? options.limits?.memory ?? LIMITS.memory;
  const limits = { ...LIMITS, ...options.limits, memory };
  const contents = await readFile(data, limits, region);
  await breathe();
  const weights = await modelsFor(contents, options.models ?? [], limits);
  const { pool, key } = await openPool(options.threads, limits.memory);
  const abort = () => pool.end(stopped());
  signal?.addEventListener('abort', abort);
  try {
    if (signal?.aborted) throw stopped();
    const decoding = new Decoding(contents, pool, weights, limits, options);
    await decoding.run();
    restPool(pool, key);
    const pictures = decoding.pictures;
    return { ...pictures[0], pictures, sizes: contents.sizes };
  } catch (error) {
    pool.end(stopped());
    throw error instanceof RangeError ? new VlaeError('ImageTooLarge', error.message) : error;
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

/**
 * What a file holds, without its samples. Throws VlaeError.
 *
 * @param {Uint8Array | ArrayBuffer | Blob} input
 * @returns {Promise<{pictures: Omit<Picture, 'data'>[], sizes: Record<string, number>, models: string[]}>}
 */
export async function inspect(input) {
  const contents = await readFile(await bytesOf(input), LIMITS, null);
  const pictures = contents.pictures.map((_, i) => describe(contents, i));
  return { pictures, sizes: contents.sizes, models: modelsOf(contents) };
}

/** @param {Uint8Array | ArrayBuffer | Blob} input */
export async function bytesOf(input) {
  if (input instanceof Uint8Array) return input;
  if (input instanceof ArrayBuffer) return new Uint8Array(input);
  if (typeof Blob !== 'undefined' && input instanceof Blob) return new Uint8Array(await input.arrayBuffer());
  throw new VlaeError('InputError', 'a .vlae file is given as a Uint8Array, an ArrayBuffer or a Blob');
}

/**
 * Workers, those of the file before if they rest.
 *
 * @param {number | undefined} asked how many
 * @param {number} memory bytes of each
 */
export async function openPool(asked, memory) {
  core ??= settings.loadCore();
  const module = await core;
  await breathe();
  const threads = settings.makeThread ? (asked ?? settings.threads) : 0;
  const key = `${threads} ${memory}`;
  return { pool: takePool(module, threads, memory, key), key };
}

/**
 * @param {WebAssembly.Module} module
 * @param {number} threads
 * @param {number} memory
 * @param {string} key
 */
function takePool(module, threads, memory, key) {
  if (resting && resting.key === key) {
    const { pool, timer } = resting;
    clearTimeout(timer);
    resting = null;
    pool.keep(true);
    return pool;
  }
  return new Pool(module, threads, memory, settings.makeThread ?? (() => Promise.reject(new Error('no threads'))));
}

/**
 * Keeps one pool for the next file, for a while.
 *
 * @param {Pool} pool
 * @param {string} key
 */
export function restPool(pool, key) {
  const rest = () => pool.end(new VlaeError('Aborted', 'no longer needed'));
  if (resting) {
    rest();
    return;
  }
  pool.keep(false);
  const timer = /** @type {any} */ (
    setTimeout(() => {
      resting = null;
      rest();
    }, REST)
  );
  timer?.unref?.();
  resting = { pool, key, timer };
}

/** @param {Contents} contents */
function modelsOf({ groups }) {
  const coded = (/** @type {StreamRecord} */ { method }) => [NO_LATENTS, LATENTS, CHAIN].includes(method);
  return [...new Set(groups.filter(({ records }) => records.some(coded)).map(({ model }) => model ?? ''))];
}

/**
 * The weight files that a file needs, by their ids. Throws UnknownModel, and ImageTooLarge for too much work.
 *
 * @param {Contents} contents
 * @param {Uint8Array[]} given
 * @param {Limits} limits
 */
async function modelsFor(contents, given, limits) {
  /** @type {Map<string, Uint8Array>} */
  const found = new Map();
  const wanted = modelsOf(contents);
  if (!wanted.length) return found;
  for (const file of given) found.set(describeModel(file).id || readModel(file).id, file);
  for (const id of wanted) {
    const file = found.get(id) ?? (await settings.loadModel(id));
    if (!file) throw new VlaeError('UnknownModel', `the file was made with the model ${id}, which is not at hand: give its weight file`);
    found.set(id, file);
  }
  for (const group of contents.groups) {
    const file = found.get(group.model ?? '');
    if (!file) continue;
    const coded = group.records.filter(({ method }) => method < 2 || method === CHAIN);
    const pixels = coded.flatMap(({ pieces }) => pieces).reduce((sum, { width, height }) => sum + width * height, 0);
    const { work, last, whole } = describeModel(file);
    const products = work + (group.learning > 8 ? whole : group.learning ? last : 0);
    checkLimits(limits, { seconds: (pixels * products) / SPEED + coded.length * TILE_SECONDS });
  }
  return found;
}

/**
 * @param {Contents} contents
 * @param {number} index
 * @returns {Omit<Picture, 'data'>}
 */
function describe({ layouts, pictures, metadata, region }, index) {
  const { width, height } = region ?? pictures[index];
  const { mode, type, levels, channels, palette, origin } = layouts[pictures[index].layout];
  const depth = type in TYPE_BYTES ? 8 * TYPE_BYTES[type] : 32 - Math.clz32(levels - 1);
  let words = null;
  if (origin?.form === SOURCE_PLANES) words = ORIGIN_WORDS[sourceOrigin(origin.data).conversion];
  else if (origin?.form === VALUES) words = `values of one ${ORIGIN_WORDS[origin.data[0] + 1] ?? 'unknown'}`;
  else if (origin?.form === JPEG) words = `${readParameters(origin.data).around.some(Boolean) ? 'a part of ' : ''}a JPEG, its coefficients`;
  return { width, height, channels, mode, type, levels, depth, palette, metadata: Object.fromEntries(metadata[index]), origin: words };
}

/** @param {string} type */
function arrayOf(type) {
  return { int8: Int8Array, int16: Int16Array, uint32: Uint32Array, int32: Int32Array, float16: Uint16Array, float32: Float32Array, float64: Float64Array }[type];
}

/** One file on its way. */
class Decoding {
  /**
   * @param {Contents} contents
   * @param {Pool} pool
   * @param {Map<string, Uint8Array>} weights
   * @param {Limits} limits
   * @param {Options} options
   */
  constructor(contents, pool, weights, limits, options) {
    this.contents = contents;
    this.pool = pool;
    this.weights = weights;
    this.limits = limits;
    this.options = options;
    this.serial = files++;
    this.corner = { x: contents.region?.x ?? 0, y: contents.region?.y ?? 0 };
    this.done = 0;
    this.total = contents.groups.reduce((sum, { records }) => sum + records.length, 0);
    /** @type {(Uint8Array | Uint16Array)[]} as they are coded, all coded channels side by side */
    this.symbols = [];
    /** @type {Picture[]} */
    this.pictures = contents.pictures.map((_, i) => {
      const found = describe(contents, i);
      const coded = found.channels * (TYPE_BYTES[found.type] ?? 1);
      const count = found.width * found.height * coded;
      const symbols = found.levels > 256 || found.type === 'int16' ? new Uint16Array(count) : new Uint8Array(count);
      this.symbols.push(symbols);
      return { ...found, data: symbols };
    });
  }

  async run() {
    this.options.onStart?.(this.pictures);
    const { groups } = this.contents;
    const plain = groups.filter(({ kind }) => kind === 'samples').map((group) => this.samples(group));
    const origins = [...new Set(groups.filter(({ kind }) => kind !== 'samples').map(({ layout }) => layout))];
    await Promise.all([...plain, ...origins.map((layout) => this.rebuild(layout))]);
    for (let i = 0; i < this.pictures.length; i++) {
      const { type } = this.pictures[i];
      if (type !== 'unsigned') {
        this.pictures[i].data = await valuesOf(this.symbols[i], type);
      }
    }
  }

  /**
   * Runs a job of a group; the error of one that fails names its tile.
   *
   * @param {Group} group
   * @param {StreamRecord} record
   * @param {() => import('./engine.js').Job} make the job
   */
  async do(group, record, make) {
    const [piece] = record.pieces;
    const name = group.chains ? `a chain of channel ${group.channel}` : `the tile at x=${piece.x * group.scale[0]}, y=${piece.y * group.scale[1]} of channel ${group.channel}`;
    try {
      return await this.pool.run(make, () => this.rank(group, piece), this.weights.get(group.model ?? '') ?? null);
    } catch (error) {
      if (error instanceof VlaeError && error.code !== 'Aborted') throw new VlaeError(error.code, `${name}: ${error.message}`);
      throw error;
    }
  }

  /**
   * The order in which jobs are done: by their distance from where decoding begins, or as they stand in the file.
   *
   * @param {Group} group
   * @param {Piece} piece
   */
  rank(group, piece) {
    const first = this.options.first?.();
    if (!first) return 0;
    const picture = this.contents.pictures[piece.picture];
    const size = group.pictures.find((one) => one.picture === piece.picture) ?? picture;
    const [sx, sy] = [picture.width / size.width, picture.height / size.height];
    const far = (/** @type {number} */ begin, /** @type {number} */ end, /** @type {number} */ low, /** @type {number} */ high) => Math.max(0, low - end, begin - high);
    const dx = far(sx * piece.x, sx * (piece.x + piece.width), first.x, first.x + first.width);
    const dy = far(sy * piece.y, sy * (piece.y + piece.height), first.y, first.y + first.height);
    return Math.hypot(dx, dy);
  }

  /**
   * The symbols of each piece of a record of samples.
   *
   * @param {Group} group
   * @param {StreamRecord} record
   * @param {() => import('./origins.js').Beside | null} [side]
   * @returns {Promise<(Uint8Array | Uint16Array)[]>}
   */
  async symbolsOf(group, record, side = () => null) {
    const { method, stream, crc, pieces } = record;
    const { channels, levels, shift, learning, laneSymbols } = group;
    const layout = this.contents.layouts[group.layout];
    const shapes = (/** @type {Region[]} */ places) => places.map(({ width, height }) => /** @type {[number, number]} */ ([height, width]));
    if (![NO_LATENTS, LATENTS, CHAIN].includes(method)) {
      const stored = { kind: /** @type {'stored'} */ ('stored'), method, stream, crc, shapes: shapes(pieces), channels, levels };
      return /** @type {any} */ (this.do(group, record, () => stored));
    }
    let [conversion, escape] = [0, 0];
    if (layout.origin?.form === VALUES && group.channel === 0) {
      [conversion, escape] = [layout.origin.data[0] + 1, layout.origin.data[1]];
      must(conversion < ORIGIN_WORDS.length && escape >= 1 && escape <= 16, 'the file names an origin that does not exist');
    }
    const places = pieces.map(({ width, height }) => tileGrid(width, height, group.tileSize));
    const make = () => ({
      kind: /** @type {'tiles'} */ ('tiles'), model: group.model ?? '', adapter: group.adapter, key: `${this.serial}.${group.number}`,
      channels, method, stream, crc, shapes: shapes(places.flat()), levels, shift, learning, own: layout.mode === '1' ? 2 : 256, laneSymbols, side: side(),
      conversion, escape,
    });
    const tiles = /** @type {(Uint8Array | Uint16Array)[]} */ (await this.do(group, record, make));
    let next = 0;
    return pieces.map((piece, i) => {
      if (places[i].length === 1) return tiles[next++];
      const whole = new (levels > 256 ? Uint16Array : Uint8Array)(piece.width * piece.height * channels);
      for (const place of places[i]) copyRows(tiles[next++], place.width, whole, piece.width, place, channels);
      return whole;
    });
  }

  /** @param {Group} group */
  async samples(group) {
    const differing = group.records.some(({ differences }) => differences);
    if (differing) checkLimits(this.limits, { memory: 2 * this.symbols.reduce((sum, array) => sum + array.byteLength, 0) });
    /** @type {Map<number, Uint8Array | Uint16Array>} symbols of whole pictures, where some are differences */
    const kept = new Map();
    await Promise.all(
      group.records.map(async (record) => {
        const found = await this.symbolsOf(group, record);
        record.pieces.forEach((piece, i) => {
          if (differing) this.keep(group, kept, piece, found[i]);
          else this.put(group, piece, found[i]);
        });
        this.tick(group, differing ? null : record.pieces[0]);
      }),
    );
    if (differing) await this.addDifferences(group, kept);
  }

  /**
   * @param {Group} group
   * @param {Map<number, Uint8Array | Uint16Array>} kept
   * @param {Piece} piece
   * @param {Uint8Array | Uint16Array} found
   */
  keep(group, kept, piece, found) {
    const size = group.pictures.find(({ picture }) => picture === piece.picture) ?? piece;
    let whole = kept.get(piece.picture);
    if (!whole) {
      whole = new (group.levels > 256 ? Uint16Array : Uint8Array)(size.width * size.height * group.channels);
      kept.set(piece.picture, whole);
    }
    copyRows(found, piece.width, whole, size.width, piece, group.channels);
  }

  /**
   * @param {Group} group
   * @param {Map<number, Uint8Array | Uint16Array>} kept
   */
  async addDifferences(group, kept) {
    const differing = group.records.filter(({ differences }) => differences).map(({ pieces }) => pieces[0]);
    const sizes = new Map(group.pictures.map((size) => [size.picture, size]));
    for (const piece of differing.sort((a, b) => a.picture - b.picture || a.y - b.y || a.x - b.x)) {
      const [here, before] = [kept.get(piece.picture), kept.get(piece.picture - 1)];
      if (!here || !before) throw corrupt('a tile has differences from no picture');
      const width = sizes.get(piece.picture)?.width ?? 0;
      for (let y = piece.y; y < piece.y + piece.height; y++) {
        const begin = (y * width + piece.x) * group.channels;
        for (let i = begin; i < begin + piece.width * group.channels; i++) here[i] = (here[i] + before[i]) % group.levels;
      }
      await breathe();
    }
    for (const { picture, width, height } of group.pictures) {
      const whole = kept.get(picture);
      if (whole) this.put(group, { picture, x: 0, y: 0, width, height }, whole);
      this.tell({ picture, x: 0, y: 0, ...this.sizeOf(picture) });
    }
  }

  /** @param {number} picture */
  sizeOf(picture) {
    const { width, height } = this.pictures[picture];
    return { width, height };
  }

  /**
   * Puts the values of the symbols of a piece where they stand in the picture, or in the region.
   *
   * @param {Group} group
   * @param {Piece} piece
   * @param {Uint8Array | Uint16Array} found
   */
  put(group, piece, found) {
    const { channels, channel, values } = group;
    const [sx, sy] = group.scale;
    const into = this.symbols[piece.picture];
    const { width, height } = this.pictures[piece.picture];
    const all = into.length / (width * height);
    if (values.length) {
      const table = (/** @type {number} */ c) => values[values.length > 1 ? c : 0];
      for (let i = 0; i < found.length; i++) must(found[i] < table(i % channels).length, 'a sample has no value');
    }
    const [left, top] = [piece.x * sx - this.corner.x, piece.y * sy - this.corner.y];
    const [right, bottom] = [Math.min(left + piece.width * sx, width), Math.min(top + piece.height * sy, height)];
    for (let y = Math.max(top, 0); y < bottom; y++) {
      const row = Math.floor((y - top) / sy) * piece.width;
      const first = Math.max(left, 0);
      if (sx === 1 && channels === all && !values.length) {
        const from = (row + first - left) * channels;
        into.set(found.subarray(from, from + (right - first) * channels), (y * width + first) * all);
        continue;
      }
      for (let x = first; x < right; x++) {
        const from = (row + Math.floor((x - left) / sx)) * channels;
        const to = (y * width + x) * all + channel;
        for (let c = 0; c < channels; c++) into[to + c] = values.length ? values[values.length > 1 ? c : 0][found[from + c]] : found[from + c];
      }
    }
  }

  /**
   * Counts a record as done, and tells of the place of its first piece.
   *
   * @param {Group} group
   * @param {Piece | null} piece
   */
  tick(group, piece) {
    this.done++;
    if (!piece) return;
    const [sx, sy] = group.scale;
    if (group.chains) for (const { picture } of group.records.flatMap(({ pieces }) => pieces)) this.tell({ picture, x: 0, y: 0, ...this.sizeOf(picture) });
    else this.tell({ picture: piece.picture, x: piece.x * sx - this.corner.x, y: piece.y * sy - this.corner.y, width: piece.width * sx, height: piece.height * sy });
  }

  /**
   * Tells of a part of a picture, as far as it is in it.
   *
   * @param {Piece} piece
   */
  tell({ picture, x, y, width, height }) {
    const { onTile } = this.options;
    if (!onTile) return;
    const whole = this.sizeOf(picture);
    const [left, top] = [Math.max(x, 0), Math.max(y, 0)];
    const region = { x: left, y: top, width: Math.min(x + width, whole.width) - left, height: Math.min(y + height, whole.height) - top };
    if (region.width > 0 && region.height > 0) onTile({ picture, region, so: this.pictures[picture], done: this.done, total: this.total });
  }

  // ------------------------------------------------------------------------------------------------- origins

  /**
   * Decodes what the pictures of a layout were, and makes their colours of it.
   *
   * @param {number} number of the layout
   */
  async rebuild(number) {
    checkLimits(this.limits, { memory: 3 * this.symbols.reduce((sum, array) => sum + array.byteLength, 0) });
    const layout = this.contents.layouts[number];
    const own = layout.groups.filter(({ kind }) => kind !== 'samples');
    const exceptions = own[own.length - 1];
    const { origin } = layout;
    if (!origin) throw corrupt('planes of an origin without one');
    if (origin.form === JPEG) {
      const parameters = readParameters(origin.data);
      must(parameters.sampling.length === own[0].channels, 'a JPEG has other components than its picture');
      const blocks = await this.coefficients(own[0], parameters);
      const [left, above] = parameters.around;
      for (const { picture, ...size } of exceptions.pictures) {
        const [width, height] = wholeSize(parameters, size);
        await this.strips(exceptions, picture, ({ x, y, width: w, height: h }) => {
          const [top, bottom] = [above + y, above + y + h];
          const some = /** @type {Int16Array[][]} */ (blocks.get(picture));
          const parts = () =>
            some.map(([all], i) => {
              const { first, last, columns } = blockRows(parameters, i, width, height, top, bottom);
              const [, across] = blockGrid(parameters, i, width, height);
              return cutBlocks(all, across, first, last, columns);
            });
          return { job: () => ({ kind: 'rows', parameters, blocks: parts(), width, height, top, bottom }), x: 0, width, from: left + x, take: w };
        });
      }
    } else {
      const found = sourceOrigin(origin.data);
      const planes = await this.sourcePlanes(own.slice(0, -1));
      for (const { picture, width, height } of exceptions.pictures)
        await this.strips(exceptions, picture, (region) => {
          const parts = () =>
            needs(found, width, height, region).map((place, i) => {
              const { data, width: across } = /** @type {Plane[]} */ (planes.get(picture))[i];
              return cut(data, across, place);
            });
          return { job: () => ({ kind: 'rebuild', origin: found, planes: parts(), width, height, region }), x: region.x, width: region.width, from: region.x, take: region.width };
        });
    }
    await this.mend(exceptions);
  }

  /**
   * @typedef {{data: Uint8Array, width: number, height: number}} Plane
   */

  /**
   * The source planes of each picture.
   *
   * @param {Group[]} groups
   */
  async sourcePlanes(groups) {
    /** @type {Map<number, Plane[]>} */
    const planes = new Map();
    for (const group of groups) {
      for (const { picture, width, height } of group.pictures)
        planes.set(picture, [...(planes.get(picture) ?? []), { data: new Uint8Array(width * height), width, height }]);
      await Promise.all(
        group.records.map(async (record) => {
          const [piece] = record.pieces;
          const known = /** @type {Plane[]} */ (planes.get(piece.picture));
          const into = known[group.channel];
          const [found] = await this.symbolsOf(group, record, () => (group.channel ? beside(group, known, piece) : null));
          copyRows(found, piece.width, into.data, into.width, piece, 1);
          if (!group.channel) this.preview(piece, /** @type {Uint8Array} */ (found));
          this.tick(group, group.channel ? null : piece);
        }),
      );
    }
    return planes;
  }

  /**
   * Shows luma until there are colours.
   *
   * @param {Piece} piece
   * @param {Uint8Array} luma
   */
  preview(piece, luma) {
    const { width, height } = this.pictures[piece.picture];
    const into = this.symbols[piece.picture];
    const all = into.length / (width * height);
    const [left, top] = [piece.x - this.corner.x, piece.y - this.corner.y];
    const [first, last] = [Math.max(left, 0), Math.min(left + piece.width, width)];
    for (let y = Math.max(top, 0); y < Math.min(top + piece.height, height); y++) {
      const row = (y - top) * piece.width - left;
      for (let x = first, at = (y * width + first) * all; x < last; x++, at += all) {
        const value = luma[row + x];
        into[at] = value;
        if (all < 3) continue;
        into[at + 1] = value;
        into[at + 2] = value;
      }
    }
  }

  /**
   * The blocks of all components of each picture.
   *
   * @param {Group} group
   * @param {import('./jpeg.js').Parameters} parameters
   */
  async coefficients(group, parameters) {
    /** @type {Map<number, Int16Array[][]>} */
    const blocks = new Map();
    for (const { picture, ...size } of group.pictures) {
      const shapes = parameters.sampling.map((_, i) => blockGrid(parameters, i, ...wholeSize(parameters, size)));
      checkLimits(this.limits, { memory: shapes.reduce((sum, [rows, columns]) => sum + 128 * rows * columns, 0) });
      blocks.set(picture, shapes.map(([rows, columns]) => [new Int16Array(64 * rows * columns)]));
    }
    await Promise.all(
      group.records.map(async (record) => {
        const [piece] = record.pieces;
        const size = group.pictures.find(({ picture }) => picture === piece.picture) ?? piece;
        const places = parameters.sampling.map((_, i) => blocksAt(parameters, i, size, piece));
        const shapes = places.map(({ rows, columns }) => /** @type {[number, number]} */ ([rows, columns]));
        const { stream, crc } = record;
        const found = /** @type {Int16Array[]} */ (await this.do(group, record, () => ({ kind: 'coefficients', parameters, shapes, stream, crc })));
        const into = /** @type {Int16Array[][]} */ (blocks.get(piece.picture));
        found.forEach((some, i) => {
          const { left, top, rows, columns } = places[i];
          const [, across] = blockGrid(parameters, i, ...wholeSize(parameters, size));
          for (let r = 0; r < rows; r++) into[i][0].set(some.subarray(64 * r * columns, 64 * (r + 1) * columns), 64 * ((top + r) * across + left));
        });
        this.tick(group, null);
      }),
    );
    return blocks;
  }

  /**
   * What is rebuilt of a picture: all, or whole tiles around the region.
   *
   * @param {Group} exceptions
   * @param {number} picture
   * @returns {Region}
   */
  rebuiltRegion(exceptions, picture) {
    const { width, height } = this.contents.pictures[picture];
    const { region } = this.contents;
    return region ? wholeTiles(region, exceptions.tileSize, width, height) : { x: 0, y: 0, width, height };
  }

  /**
   * Rebuilds a picture strip by strip, into a plane of its own: exceptions are coded by whole tiles.
   *
   * @param {Group} exceptions
   * @param {number} picture
   * @param {(region: Region) => {job: () => import('./engine.js').Job, x: number, width: number, from: number, take: number}} make
   */
  async strips(exceptions, picture, make) {
    const where = this.rebuiltRegion(exceptions, picture);
    const { channels } = exceptions;
    const rebuilt = new Uint8Array(where.width * where.height * channels);
    this.rebuilt.set(picture, rebuilt);
    const tops = Array.from({ length: Math.ceil(where.height / STRIP) }, (_, i) => where.y + STRIP * i);
    await Promise.all(
      tops.map(async (top) => {
        const region = { x: where.x, y: top, width: where.width, height: Math.min(STRIP, where.y + where.height - top) };
        const { job, x, width, from, take } = make(region);
        const rank = () => this.rank(exceptions, { picture, ...region });
        const [found] = /** @type {Uint8Array[]} */ (await this.pool.run(job, rank));
        const given = found.length / (width * region.height);
        for (let r = 0; r < region.height; r++) {
          const begin = (r * width + from - x) * given;
          rebuilt.set(found.subarray(begin, begin + take * given), ((top - where.y + r) * where.width) * channels);
        }
        this.show(exceptions, picture, region);
      }),
    );
  }

  /** @type {Map<number, Uint8Array>} */
  rebuilt = new Map();

  /**
   * Puts a part of what was rebuilt into the picture.
   *
   * @param {Group} exceptions
   * @param {number} picture
   * @param {Region} region
   */
  show(exceptions, picture, region) {
    const where = this.rebuiltRegion(exceptions, picture);
    const rebuilt = /** @type {Uint8Array} */ (this.rebuilt.get(picture));
    this.put(exceptions, { picture, ...region }, cut(rebuilt, where.width, { ...region, x: region.x - where.x, y: region.y - where.y }, exceptions.channels));
    this.tell({ picture, x: region.x - this.corner.x, y: region.y - this.corner.y, width: region.width, height: region.height });
  }

  /**
   * Decodes the pixels in which pictures differ from what was rebuilt.
   *
   * @param {Group} group
   */
  async mend(group) {
    await Promise.all(
      group.records.map(async (record) => {
        const [piece] = record.pieces;
        const { stream, crc, method } = record;
        must(method === EXCEPTIONS, 'exceptions of another method');
        if (!stream.length) must(crc === 0, 'wrong checksum');
        else {
          const where = this.rebuiltRegion(group, piece.picture);
          const rebuilt = /** @type {Uint8Array} */ (this.rebuilt.get(piece.picture));
          const place = { ...piece, x: piece.x - where.x, y: piece.y - where.y };
          const base = () => {
            const part = cut(rebuilt, where.width, place, group.channels);
            return group.channels === 3 ? part : Uint8Array.from({ length: 3 * part.length }, (_, i) => part[Math.floor(i / 3)]);
          };
          const { width, height } = piece;
          const [mended] = /** @type {Uint8Array[]} */ (await this.do(group, record, () => ({ kind: 'mend', base: base(), width, height, stream, crc })));
          const found = group.channels === 3 ? mended : mended.filter((_, i) => i % 3 === 0);
          copyRows(found, width, rebuilt, where.width, place, group.channels);
          this.show(group, piece.picture, piece);
        }
        this.tick(group, null);
      }),
    );
    for (const { picture } of group.pictures) this.rebuilt.delete(picture);
  }
}

/**
 * What is known beside a part of a plane of chroma, of which a worker makes the planes.
 *
 * @param {Group} group
 * @param {{data: Uint8Array, width: number, height: number}[]} known
 * @param {Piece} piece
 * @returns {import('./origins.js').Beside}
 */
function beside(group, known, piece) {
  const [{ data, width, height }, first] = known;
  const region = lumaNeeded(width, height, group.geometry, piece);
  const luma = { data: cut(data, width, region), region, width, height };
  const { x, y, width: w, height: h } = piece;
  return { luma, geometry: group.geometry, place: { x, y, width: w, height: h }, before: group.channel === 2 ? cut(first.data, first.width, piece) : null };
}

/**
 * A part of an array (rows, width, channels), copied.
 *
 * @param {Uint8Array} from
 * @param {number} width
 * @param {Region} region
 * @param {number} [channels]
 */
export function cut(from, width, region, channels = 1) {
  const row = region.width * channels;
  const out = new Uint8Array(row * region.height);
  for (let r = 0; r < region.height; r++) {
    const begin = ((region.y + r) * width + region.x) * channels;
    out.set(from.subarray(begin, begin + row), r * row);
  }
  return out;
}

/**
 * Rows of blocks, copied.
 *
 * @param {Int16Array} all
 * @param {number} across blocks of a row
 * @param {number} first
 * @param {number} last
 * @param {number} columns
 */
function cutBlocks(all, across, first, last, columns) {
  const out = new Int16Array(64 * (last - first) * columns);
  for (let r = first; r < last; r++) out.set(all.subarray(64 * r * across, 64 * (r * across + columns)), 64 * (r - first) * columns);
  return out;
}

/**
 * Copies an array of so many columns to a place in a wider one.
 *
 * @param {Uint8Array | Uint16Array} from
 * @param {number} columns
 * @param {Uint8Array | Uint16Array} into
 * @param {number} width
 * @param {{x: number, y: number, height: number}} place
 * @param {number} channels
 */
function copyRows(from, columns, into, width, { x, y, height }, channels) {
  const row = columns * channels;
  for (let r = 0; r < height; r++) into.set(from.subarray(r * row, (r + 1) * row), ((y + r) * width + x) * channels);
}

/**
 * Samples of another type than unsigned, of the values that are coded.
 *
 * @param {Uint8Array | Uint16Array} symbols
 * @param {string} type
 * @returns {Promise<Samples>}
 */
async function valuesOf(symbols, type) {
  const make = /** @type {any} */ (arrayOf(type));
  const size = TYPE_BYTES[type] ?? 1;
  const less = type === 'int8' ? 128 : 32768;
  const little = new Uint8Array(size > 1 ? symbols.length : 0);
  const out = size > 1 ? new make(little.buffer) : new make(symbols.length);
  for (let begin = 0; begin < symbols.length; begin += SLICE) {
    await breathe();
    const end = Math.min(begin + SLICE, symbols.length);
    if (size === 1) for (let i = begin; i < end; i++) out[i] = symbols[i] - less;
    else for (let i = begin; i < end; i += size) putLittle(symbols, little, i, size, type);
  }
  return out;
}

/**
 * Puts the bytes of a sample of several, the highest first and made to rise with it, as they are in memory.
 *
 * @param {Uint8Array | Uint16Array} symbols
 * @param {Uint8Array} little
 * @param {number} i
 * @param {number} size
 * @param {string} type
 */
function putLittle(symbols, little, i, size, type) {
  const negative = type.startsWith('float') && symbols[i] < 128; // bits of a float below 0 are all flipped
  for (let k = 0; k < size; k++) {
    let byte = symbols[i + k];
    if (negative) byte ^= 255;
    else if (k === 0 && type !== 'uint32') byte ^= 128;
    little[i + size - 1 - k] = byte;
  }
}
