import { CHANNELS, MODES, breathe, checkLimits, tileGrid } from './container.js';
import { LIMITS, bytesOf, cut, decode, openPool, restPool, settings } from './decode.js';
import { VlaeError } from './errors.js';
import { keep } from './keep.js';
import { readModel } from './model.js';
import { findScale, findValues, lightnessOrder, numbersOf, stepsOf } from './plan.js';
import { isPng, readPng } from './readpng.js';
import { spreadPlaces } from './choice.js';
import { writeFile } from './write.js';

/** @typedef {import('./write.js').Planes} Planes */
/** @typedef {import('./keep.js').Kept} Kept */
/** @typedef {import('./model.js').Model} Model */

/**
 * Samples that are to be compressed, 8 bits each, as `decode` gives them; ImageData is one such thing.
 *
 * @typedef {Object} Given
 * @property {number} width
 * @property {number} height
 * @property {Uint8Array | Uint8ClampedArray} data row by row, channels side by side
 * @property {number} [channels] by default what `data` has
 * @property {string} [mode] what the channels mean; by default L, LA, RGB or RGBA
 * @property {number} [levels] samples are 0 .. levels - 1; by default 256, of mode 1 it is 2
 * @property {{colours: number, channels: number, data: Uint8Array} | null} [palette]
 * @property {Record<string, Uint8Array>} [metadata]
 */

/**
 * @typedef {Object} EncodeOptions
 * @property {(picture: import('./decode.js').Picture) => void} [onRead] called with the picture before it is compressed
 * @property {(progress: {done: number, total: number}) => void} [onProgress] called while tiles are coded, and decoded again
 * @property {Uint8Array} [model] a weight file, for the planes that it codes
 * @property {AbortSignal} [signal]
 * @property {number} [threads] workers; 0: the calling thread does all work
 * @property {number} [memoryLimit] bytes, as of `decode`
 * @property {Partial<import('./container.js').Limits>} [limits]
 */

/**
 * A file, decoded and compared already.
 *
 * @typedef {Object} Encoded
 * @property {Uint8Array<ArrayBuffer>} data
 * @property {boolean} same whether `vlae-codec compress --effort 1 --origin none` writes these very bytes ...
 * @property {boolean} larger ... and if not, whether it may write less: a part of the picture is drawn
 * @property {string[]} notes what of the PNG is not kept
 * @property {import('./decode.js').Decoded} picture what the file decodes to
 */

/**
 * A group of planes on its way.
 *
 * @typedef {Object} Group
 * @property {number} channel
 * @property {number} channels
 * @property {number} width in samples of the group
 * @property {number} height
 * @property {Uint8Array} samples
 * @property {number} levels
 * @property {[number, number]} scale
 * @property {{count: number, form: Kept}[]} values
 */

const TILE_SIZE = 512;
const LANE_SYMBOLS = 32768;
const LARGEST_TILE = 4096;
const RECORD = 7; // bytes of a record in the header
const CHUNK = 8; // of a chunk, beside its payload
const STYLE_ROUNDS = [[128, 3], [1024, 1]]; // so many of the pixels that are looked at, or more, say which styles, so many, are left
const WORTH = 24; // bytes that a style must save
const [LOOK, SIGHT, SHARE, FEW] = [4096, 16, 160, 256]; // pixels by which ways are compared, and tiles they are of

/**
 * The .vlae file of a PNG, or of samples, at effort 1. Throws VlaeError: InputError for what is no picture, Unsupported
 * for what is not compressed here.
 *
 * @param {Uint8Array | ArrayBuffer | Blob | Given} input
 * @param {EncodeOptions} [options]
 * @returns {Promise<Encoded>}
 */
export async function encode(input, options = {}) {
  const { signal } = options;
  const stopped = () => new VlaeError('Aborted', 'compressing was stopped');
  const check = () => {
    if (signal?.aborted) throw stopped();
  };
  check();
  const memory = options.memoryLimit ?? options.limits?.memory ?? LIMITS.memory;
  const limits = { ...LIMITS, ...options.limits, memory };
  const picture = await pictureOf(input, limits);
  check();
  const depth = 32 - Math.clz32(picture.levels - 1);
  options.onRead?.({ ...picture, type: 'unsigned', depth, origin: null });
  const { pool, key } = await openPool(options.threads, memory);
  const abort = () => pool.end(stopped());
  signal?.addEventListener('abort', abort);
  const encoding = new Encoding(picture, pool, options, check);
  let data;
  try {
    check();
    data = await encoding.run();
    restPool(pool, key);
  } catch (error) {
    pool.end(stopped());
    throw error instanceof RangeError ? new VlaeError('ImageTooLarge', error.message) : error;
  } finally {
    signal?.removeEventListener('abort', abort);
  }
  const { threads, model } = options;
  const onTile = (/** @type {import('./decode.js').Progress} */ { done, total }) => encoding.tell(1 + done / total);
  const found = await decode(data, { signal, threads, limits, onTile, models: model ? [model] : [] });
  encoding.tell(2);
  if (!(await isEqual(found.data, picture.data))) throw new VlaeError('CorruptFile', 'the compressed picture did not come back exactly: please report this picture');
  return { data, same: encoding.same, larger: encoding.larger, notes: picture.notes, picture: found };
}

/**
 * @param {ArrayLike<number>} one
 * @param {Uint8Array} other
 */
async function isEqual(one, other) {
  if (one.length !== other.length) return false;
  for (let begin = 0; begin < one.length; begin += 1 << 22) {
    await breathe();
    for (let i = begin; i < Math.min(begin + (1 << 22), one.length); i++) if (one[i] !== other[i]) return false;
  }
  return true;
}

/**
 * @param {Uint8Array | ArrayBuffer | Blob | Given} input
 * @param {import('./container.js').Limits} limits
 * @returns {Promise<import('./readpng.js').Read>}
 */
async function pictureOf(input, limits) {
  const file = input instanceof Uint8Array || input instanceof ArrayBuffer || (typeof Blob !== 'undefined' && input instanceof Blob);
  if (file) {
    const data = await bytesOf(input);
    if (isPng(data)) return readPng(data, limits);
    throw new VlaeError('Unsupported', "only PNG files are compressed here: 'vlae-codec compress' takes others");
  }
  return checked(/** @type {Given} */ (input), limits);
}

/**
 * Samples of a caller, checked.
 *
 * @param {Given} given
 * @param {import('./container.js').Limits} limits
 */
function checked(given, limits) {
  const { width, height, data, palette = null, metadata = {} } = given ?? {};
  const natural = (/** @type {number} */ n) => Number.isSafeInteger(n) && n > 0;
  if (!natural(width) || !natural(height)) throw new VlaeError('InputError', 'a picture needs a width and a height');
  if (ArrayBuffer.isView(data) && !(data instanceof Uint8Array || data instanceof Uint8ClampedArray))
    throw new VlaeError('Unsupported', "only samples of 8 bits are compressed here: 'vlae-codec compress' takes others");
  const channels = given.channels ?? data?.length / (width * height);
  if (!natural(channels) || data.length !== width * height * channels) throw new VlaeError('InputError', 'samples do not fit their picture');
  const mode = given.mode ?? ['L', 'LA', 'RGB', 'RGBA'][channels - 1] ?? 'bands';
  const levels = given.levels ?? (mode === '1' ? 2 : 256);
  const wanted = CHANNELS[MODES.indexOf(mode)] ?? (mode === 'bands' && channels < 256 ? channels : 0);
  if (wanted !== channels) throw new VlaeError('InputError', `a picture of mode ${mode} does not have ${channels} channels`);
  const indexed = mode === 'P' || mode === 'PA';
  const fits = palette && [3, 4].includes(palette.channels) && palette.colours > 0 && palette.colours <= 256 && palette.data.length === palette.colours * palette.channels;
  if (indexed ? !fits : palette) throw new VlaeError('InputError', `a picture of mode ${mode} ${indexed ? 'needs a palette' : 'has none'}`);
  if (!(levels >= 2 && levels <= 256) || (mode === '1') !== (levels === 2 && mode === '1')) throw new VlaeError('InputError', `there are no ${levels} levels`);
  checkLimits(limits, { pixels: width * height, memory: 2 * data.length });
  const samples = new Uint8Array(data.buffer, data.byteOffset, data.length);
  if (levels < 256) for (const value of samples) if (value >= levels) throw new VlaeError('InputError', `a sample is ${value}, but there are ${levels} levels`);
  return { width, height, channels, mode, levels, data: samples, palette, metadata, notes: /** @type {string[]} */ ([]), sure: true };
}

/** One picture on its way. */
class Encoding {
  /**
   * @param {import('./readpng.js').Read} picture
   * @param {import('./pool.js').Pool} pool
   * @param {EncodeOptions} options
   * @param {() => void} check throws if all was stopped
   */
  constructor(picture, pool, options, check) {
    this.picture = picture;
    this.pool = pool;
    this.options = options;
    this.check = check;
    this.same = picture.sure;
    this.larger = false;
    this.done = this.total = 0;
    /** @type {Map<string, {model: Model, file: Uint8Array}>} */
    this.models = new Map();
  }

  /** @param {number} halves 1 when all is coded, 2 when all came back */
  tell(halves) {
    this.options.onProgress?.({ done: (halves * this.total) / 2, total: this.total });
  }

  async run() {
    const { mode, levels, channels, width, height, palette, metadata } = this.picture;
    const colour = /^(RGB|CMYK|YCbCr|LAB|HSV)/.test(mode);
    const counts = colour ? [3, ...Array(channels - 3).fill(1)] : Array(channels).fill(1);
    const form = palette && this.note(keep({ data: palette.data, rows: 1, columns: palette.colours, channels: palette.channels }, 256, true));
    const layout = { mode, levels, channels, palette: palette && form && { colours: palette.colours, channels: palette.channels, form } };
    this.total = counts.length * Math.ceil(width / TILE_SIZE) * Math.ceil(height / TILE_SIZE);
    /** @type {Planes[]} */
    let groups = [];
    let [channel, drawn] = [0, false];
    for (const count of counts) {
      const found = await this.group(channel, count);
      groups.push(found.planes);
      drawn ||= found.drawn;
      channel += count;
    }
    if (drawn && (channels === 2 || channels === 4)) {
      const together = await this.whole({ channel: 0, channels, width, height, samples: this.picture.data, levels, scale: [1, 1], values: [] });
      if (sizeOf(together) < groups.reduce((sum, planes) => sum + sizeOf(planes), 0)) groups = [together];
    }
    for (const { values, records } of groups) for (const one of [...values.map(({ form: made }) => made), ...records]) this.note(/** @type {Kept} */ (one));
    return writeFile(layout, width, height, groups, metadata);
  }

  /**
   * Notes whether a stream is that of the command line.
   *
   * @param {Kept} kept
   */
  note(kept) {
    this.same &&= kept.same;
    this.larger ||= kept.larger;
    return kept;
  }

  /**
   * A group of planes, and whether it may be smaller without a model.
   *
   * @param {number} channel
   * @param {number} channels
   */
  async group(channel, channels) {
    const found = await this.model(channel, channels);
    const plain = await this.plan(channel, channels);
    let best = plain;
    if (found && found.model.config.levels !== 2) {
      const mapped = await this.mapped(plain);
      if (mapped) {
        const [before, after] = [await this.cost(found, plain), await this.cost(found, mapped)];
        if (after < before) best = mapped;
      }
    }
    /** @type {Planes} */
    let planes;
    let drawn = true;
    if (found) {
      const style = await this.style(found, best);
      planes = { ...describe(best), model: found.model.id, style, records: await this.tiles(best, found, style) };
      const stored = planes.records.filter(({ method }) => method > 1).length;
      drawn = 2 * stored >= planes.records.length;
      if (stored === planes.records.length) planes.model = planes.style = null;
    } else planes = await this.whole(best);
    if (!drawn) return { planes, drawn };
    const whole = await this.whole(plain);
    return { planes: sizeOf(whole) < sizeOf(planes) ? whole : planes, drawn };
  }

  /**
   * The model of a group of planes, if there is one.
   *
   * @param {number} channel
   * @param {number} channels
   */
  async model(channel, channels) {
    const { mode } = this.picture;
    const kind = mode === '1' ? '1' : /** @type {Record<number, string>} */ ({ 1: 'L', 3: 'RGB' })[channels];
    if (!kind) return null;
    const codes = (/** @type {Model} */ { config }) => !config.side && config.levels === (kind === '1' ? 2 : 256) && (kind !== 'RGB' || config.channels === 3);
    const given = this.options.model;
    if (given) {
      const model = readModel(given);
      if (codes(model)) return { model, file: given };
      if (!channel) throw new VlaeError('InputError', `the model does not code pictures of mode ${kind}`);
    }
    const name = { 1: 'mnist-binary', L: 'luma', RGB: 'photo' }[kind] ?? 'photo';
    let known = this.models.get(name);
    if (!known) {
      const file = await settings.loadNamed(name);
      if (!file) throw new VlaeError('UnknownModel', `the model ${name} is not at hand: 'vlae-codec compress' has it`);
      known = { model: readModel(file), file };
      this.models.set(name, known);
      await breathe();
    }
    return known;
  }

  /**
   * A group of planes as it stands: one sample for each block of equal ones.
   *
   * @param {number} channel
   * @param {number} channels
   * @returns {Promise<Group>}
   */
  async plan(channel, channels) {
    const { width, height, levels, data, channels: all } = this.picture;
    const scale = await findScale(this.picture, channel, channels);
    const [sx, sy] = scale;
    const [w, h] = [Math.ceil(width / sx), Math.ceil(height / sy)];
    if (channels === all && sx === 1 && sy === 1) return { channel, channels, width, height, samples: data, levels, scale, values: [] };
    const samples = new Uint8Array(w * h * channels);
    for (let y = 0, at = 0; y < h; y++) {
      if (y % 256 === 255) await breathe();
      for (let x = 0; x < w; x++) for (let c = 0, from = (y * sy * width + x * sx) * all + channel; c < channels; c++) samples[at++] = data[from + c];
    }
    return { channel, channels, width: w, height: h, samples, levels, scale, values: [] };
  }

  /**
   * The same by the numbers of the values that occur, or of a palette's colours in the order of their lightness; null
   * where that is not tried.
   *
   * @param {Group} group
   * @returns {Promise<Group | null>}
   */
  async mapped(group) {
    const { palette, levels } = this.picture;
    const tables = palette && !group.channel ? [lightnessOrder(palette, levels)] : await findValues(group);
    if (!tables.length) return null;
    const values = tables.map((table) => ({ count: table.length, form: keep({ data: stepsOf(table), rows: 1, columns: table.length, channels: 1 }, 256, false) }));
    const most = Math.max(2, ...tables.map(({ length }) => length));
    return { ...group, samples: await numbersOf(group, tables), levels: most, values };
  }

  /**
   * About the bits of a group of planes, as some of its pixels tell.
   *
   * @param {{model: Model, file: Uint8Array}} model
   * @param {Group} group
   */
  async cost(model, group) {
    const { cost, count } = await this.look(model, group, 1, null);
    return Number(((cost * BigInt(group.width * group.height)) / BigInt(count)) >> 20n) + 8 * sizeOf({ ...describe(group), records: [] });
  }

  /**
   * What some pixels of a group of planes, or each `step`-th of them, take in a style, in units of 2^-20 bits; and how
   * many there are.
   *
   * @param {{model: Model, file: Uint8Array}} model
   * @param {Group} group
   * @param {number} step
   * @param {Uint8Array | null} style
   */
  async look(model, group, step, style) {
    const { seen, all } = lookedAt(group);
    let begin = 0;
    const costs = await Promise.all(
      seen.map(async (place) => {
        const first = begin;
        begin += place.width * place.height;
        const inside = all.filter((at) => at >= first && at < first + place.width * place.height).map((at) => at - first);
        const some = inside.filter((_, i) => i % step === 0);
        const [found] = await this.do(model, () => ({ kind: 'look', ...this.tile(group, place, model.model, style), places: some }));
        return found[0];
      }),
    );
    return { cost: BigInt(costs.reduce((sum, one) => sum + one, 0)), count: all.length };
  }

  /**
   * The style of the model by which a group of planes needs least, as some of its pixels tell, found stage by stage; null:
   * none is worth it.
   *
   * @param {{model: Model, file: Uint8Array}} model
   * @param {Group} group
   */
  async style(model, group) {
    const [stages, styles] = model.model.config.styles;
    if (!stages) return null;
    const count = lookedAt(group).all.length;
    const cost = async (/** @type {Uint8Array} */ style, /** @type {number} */ step) => (await this.look(model, group, step, style)).cost;
    let best = new Uint8Array(stages);
    let step = 1;
    for (let stage = 0; stage < stages; stage++) {
      const before = best;
      const withStyle = (/** @type {number} */ number) => Uint8Array.from(before, (one, i) => (i === stage ? number : one));
      let left = Array.from({ length: styles + 1 }, (_, number) => ({ style: withStyle(number), cost: 0n }));
      for (const [pixels, most] of STYLE_ROUNDS) {
        step = Math.max(1, Math.floor(count / pixels));
        for (const one of left) one.cost = await cost(one.style, step);
        left = left.sort((one, other) => Number(one.cost - other.cost)).slice(0, most);
      }
      best = left[0].style;
    }
    const less = (await cost(new Uint8Array(stages), step)) - (await cost(best, step));
    const saved = (less * BigInt(step * group.width * group.height)) / BigInt(count);
    return saved > BigInt(8 * WORTH * 2 ** 20) ? best : null;
  }

  /**
   * @param {Group} group
   * @param {import('./origins.js').Region} place
   * @param {Model} model
   * @param {Uint8Array | null} style
   */
  tile(group, place, model, style) {
    const { channels, levels } = group;
    const { width, height } = place;
    return { model: model.id, adapter: style, key: `style ${style}`, samples: cut(group.samples, group.width, place, channels), width, height, channels, levels, own: this.picture.mode === '1' ? 2 : 256 };
  }

  /**
   * @param {{file: Uint8Array} | null} model
   * @param {() => import('./engine.js').Job} make
   */
  do(model, make) {
    this.check();
    return this.pool.run(make, () => 0, model?.file ?? null);
  }

  /**
   * The records of all tiles of a group.
   *
   * @param {Group} group
   * @param {{model: Model, file: Uint8Array}} model
   * @param {Uint8Array | null} style
   * @returns {Promise<Kept[]>}
   */
  tiles(group, model, style) {
    const places = tileGrid(group.width, group.height, TILE_SIZE);
    const usual = Math.ceil(this.picture.width / TILE_SIZE) * Math.ceil(this.picture.height / TILE_SIZE);
    this.total += places.length - usual;
    return Promise.all(
      places.map(async (place) => {
        const found = await this.do(model, () => ({ kind: 'encode', ...this.tile(group, place, model.model, style), laneSymbols: LANE_SYMBOLS }));
        this.tell(++this.done / this.total);
        return keptOf(found);
      }),
    );
  }

  /**
   * A group of planes without a model, in one tile, or few.
   *
   * @param {Group} group
   * @returns {Promise<Planes & {records: Kept[]}>}
   */
  async whole(group) {
    const { channels, levels, width, height } = group;
    const tileSize = Math.min(8 * Math.ceil(Math.max(width, height) / 8), LARGEST_TILE);
    const records = await Promise.all(
      tileGrid(width, height, tileSize).map(async (place) => {
        const make = () => ({ kind: /** @type {'keep'} */ ('keep'), samples: cut(group.samples, group.width, place, channels), width: place.width, height: place.height, channels, levels });
        return keptOf(await this.do(null, make));
      }),
    );
    return { ...describe(group), tileSize, records };
  }
}

/**
 * @param {import('./engine.js').Found[]} found
 * @returns {Kept}
 */
function keptOf([stream, [method, same, larger]]) {
  return { method, stream: /** @type {Uint8Array} */ (stream), same: same === 1, larger: larger === 1 };
}

/**
 * The tiles of a group of planes of which some pixels tell what all take, and these pixels, numbered throughout.
 *
 * @param {Group} group
 */
function lookedAt({ width, height }) {
  const places = tileGrid(width, height, TILE_SIZE);
  const seen = [...new Set(Array.from({ length: SIGHT }, (_, i) => Math.floor((i * places.length) / SIGHT)))].map((i) => places[i]);
  const area = seen.reduce((sum, tile) => sum + tile.width * tile.height, 0);
  return { seen, all: spreadPlaces(area, Math.min(LOOK, Math.max(FEW, Math.floor((width * height) / SHARE)))) };
}

/**
 * @param {Group} group
 * @returns {Planes}
 */
function describe({ channels, levels, scale, values }) {
  return { channels, model: null, style: null, levels, scale, tileSize: TILE_SIZE, values, records: [] };
}

/**
 * About the bytes that a group of planes takes in a file.
 *
 * @param {Planes} planes
 */
function sizeOf({ values, records, model, style }) {
  const tables = values.reduce((sum, { form }) => sum + form.stream.length + 4, 0);
  const streams = records.reduce((sum, { stream }) => sum + stream.length + RECORD, 0);
  return streams + tables + (style !== null ? style.length + CHUNK : 0) + (model !== null ? 12 : 2);
}
