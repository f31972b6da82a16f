import { crc32, readVarint } from './bytes.js';
import { must } from './errors.js';
import { REDUCTIONS, sideFeatures } from './model.js';

/** @typedef {import('./core.js').Core} Core */
/** @typedef {import('./networks.js').Network} Network */
/** @typedef {import('./networks.js').Networks} Networks */

export const SLACK = 64; // bytes behind pixels and features that the core may read
export const [NO_LATENTS, LATENTS] = [0, 1];
/** Places around a sample of a side plane. */
const AROUND = [-1, 0, 1].flatMap((r) => [-2, -1, 0, 1, 2].filter((c) => r || c).map((c) => [r, c]));

/**
 * How the tiles of a stream are coded.
 *
 * @typedef {Object} Coding
 * @property {number} levels
 * @property {number} shift
 * @property {number} coded channels, of which a group of one has as many equal ones as its model
 * @property {number} laneSymbols
 * @property {Uint8Array[]} side planes known beside the only tile
 * @property {number} set address of the set of triples of the restricted form, or 0
 * @property {number} learn address of the struct that says how the model learns while it codes, or 0: it does not
 * @property {number} escape
 */

/**
 * Rows of band B of each tile, and where the message begins.
 *
 * @param {number} method
 * @param {Uint8Array} stream
 * @param {[number, number][]} shapes
 * @param {number} stride
 * @returns {[number[], number]}
 */
function readSplits(method, stream, shapes, stride) {
  if (method === NO_LATENTS) return [[0], 0];
  if (method === LATENTS) {
    must(stream.length >= 2, 'a stream ends too early');
    const split = (stream[0] | (stream[1] << 8)) * stride;
    must(split > 0 && split < shapes[0][0], 'the bands of a tile are impossible');
    return [[split], 2];
  }
  /** @type {number[]} */
  const rows = [];
  for (let [length, at] = [1, 0]; ; ) {
    [length, at] = readVarint(stream, at);
    let value;
    [value, at] = readVarint(stream, at);
    must(rows.length + length < shapes.length, 'a chain has more bands than tiles');
    for (let left = length || shapes.length - rows.length; left; left--) rows.push(value);
    if (!length) return [rows.map((n, i) => Math.min(n, Math.floor(shapes[i][0] / stride)) * stride), at];
  }
}

/**
 * The tiles of a stream of the model: the symbols of the coded channels of each, row by row.
 *
 * @param {Networks} networks
 * @param {Network} local
 * @param {Coding} coding
 * @param {number} method
 * @param {Uint8Array} stream
 * @param {[number, number][]} shapes (rows, columns) of each tile
 * @returns {(Uint8Array | Uint16Array)[]}
 */
export function popTiles(networks, local, coding, method, stream, shapes) {
  const { core } = networks;
  const { stride, latents } = networks.model.config;
  const [splits, begin] = readSplits(method, stream, shapes, stride);
  const symbols = shapes.reduce((sum, [h, w]) => sum + h * w, 0) * coding.coded;
  const lanes = Math.max(1, Math.floor(symbols / coding.laneSymbols));
  const message = stream.slice(begin);
  must(message.length >= 8 * lanes && message.length % 4 === 0, `a message of ${lanes} lanes has a wrong length`);
  const room = shapes.reduce((sum, [, w], i) => sum + (splits[i] / stride) * Math.ceil(w / stride) * latents, 0);
  const size = message.length / 4 - 2 * lanes;
  const heads = core.put(message.subarray(0, 8 * lanes));
  const words = core.put(message.subarray(8 * lanes), 4 * room);
  const stack = core.struct('pplll', [heads, words, lanes, size, size + room]);
  const lanesAt = new Uint32Array(core.memory.buffer, heads, 2 * lanes);
  for (let i = 1; i < 2 * lanes; i += 2) must(lanesAt[i] > 0, 'a lane of a message');
  const popper = new TilePopper(networks, local, coding, stack, lanes);
  const found = new Array(shapes.length);
  const whole = new Array(shapes.length);
  for (let i = shapes.length - 1; i >= 0; i--) {
    const [h, w] = shapes[i];
    whole[i] = core.scoped(() => popper.pop(h, w, splits[i]));
    found[i] = channelsOf(whole[i], networks.model.config.channels, coding.coded);
  }
  let seed = 0;
  for (const tile of whole) seed = crc32(new Uint8Array(tile.buffer, tile.byteOffset, tile.byteLength), seed);
  const left = new DataView(core.memory.buffer);
  const ends = left.getBigInt64(stack + 16, true) === 0n;
  let empty = ends && left.getUint32(heads, true) === seed;
  for (let i = 0; i < lanes; i++)
    empty &&= left.getUint32(heads + 8 * i + 4, true) === 1 && (i === 0 || left.getUint32(heads + 8 * i, true) === 0);
  must(empty, 'a message is not empty at its end');
  return found;
}

/**
 * The first channels of a tile.
 *
 * @template {Uint8Array | Uint16Array} T
 * @param {T} tile
 * @param {number} channels
 * @param {number} coded
 * @returns {T}
 */
function channelsOf(tile, channels, coded) {
  if (channels === coded) return tile;
  const out = /** @type {T} */ (new /** @type {any} */ (tile.constructor)((tile.length / channels) * coded));
  for (let i = 0, j = 0; i < tile.length; i += channels) for (let c = 0; c < coded; c++) out[j++] = tile[i + c];
  return out;
}

/** Works on the tiles of a stream, one after another. */
export class TilePopper {
  /**
   * @param {Networks} networks
   * @param {Network} local
   * @param {Coding} coding
   * @param {number} stack address of its struct
   * @param {number} lanes
   */
  constructor(networks, local, coding, stack, lanes) {
    this.networks = networks;
    this.core = networks.core;
    this.config = networks.model.config;
    this.local = local;
    this.coding = coding;
    this.stack = stack;
    this.lanes = lanes;
    this.own = coding.levels === this.config.levels && coding.shift === 0;
    this.stretch = this.own && coding.levels === 2 ? 6 : 0;
    this.bits = 32 - Math.clz32(coding.levels - 1);
    this.wide = coding.levels > 256;
    this.features = this.config.context + sideFeatures(this.config);
  }

  /**
   * @param {number} height
   * @param {number} width
   * @param {number} split
   */
  pop(height, width, split) {
    const { core, config } = this;
    const count = height * width * config.channels;
    const bytes = count * (this.wide ? 2 : 1);
    const x = core.alloc(bytes + SLACK);
    core.bytes(x, bytes + SLACK).fill(0);
    if (split) {
      const rows = split / config.stride;
      const columns = Math.ceil(width / config.stride);
      const z = this.popLatents(rows, columns);
      core.scoped(() => {
        const context = this.besideContext(this.contextOf(z, rows, columns, width), split, width, height);
        this.popBand(x, bytes, width, 0, split, context, split);
      });
      core.scoped(() => this.pushLatents(x, width, split, z, rows * columns));
    }
    core.scoped(() => {
      const [context, period] = this.plainContext(height, width);
      this.popBand(x, bytes, width, split, height, context, period);
    });
    const found = this.wide ? new Uint16Array(core.memory.buffer, x, count).slice() : core.bytes(x, count).slice();
    if (this.stretch) for (let i = 0; i < count; i++) found[i] >>= this.stretch;
    return found;
  }

  /**
   * Pops the rows first .. last of a tile; context: address of (period, width, features) bytes.
   *
   * @param {number} x
   * @param {number} bytes of the tile
   * @param {number} width
   * @param {number} first
   * @param {number} last
   * @param {number} context
   * @param {number} period
   */
  popBand(x, bytes, width, first, last, context, period) {
    const { core, config, coding, local } = this;
    const structs = this.structs(x, bytes, width, last, context, period);
    const scratch = coding.learn ? this.learnScratch(structs[0], last - first) : local.scratch(last - first, this.lanes, config.channels);
    core.call('pop_band', 'a tile', ...structs, first, last, coding.coded, this.stack, ...scratch);
  }

  /**
   * The address of memory in which the core works on so many rows of a model that learns, and its size.
   *
   * @param {number} pixels address of the model's struct
   * @param {number} rows
   * @returns {[number, bigint]}
   */
  learnScratch(pixels, rows) {
    const size = this.core.call('learn_scratch', 'a tile', pixels, rows, BigInt(this.lanes));
    return [this.core.alloc(size), BigInt(size)];
  }

  /**
   * The addresses of the structs of the model and of a tile, down to row `last`.
   *
   * @param {number} x
   * @param {number} bytes of the tile
   * @param {number} width
   * @param {number} last
   * @param {number} context
   * @param {number} period
   */
  structs(x, bytes, width, last, context, period) {
    const { core, config, coding, local } = this;
    const features = period * width * this.features;
    const pixels = core.struct('pl' + 'ppppp' + 'pp' + 'iiiiiiiii', [
      local.at, local.size, ...this.networks.tables, coding.set, coding.learn, config.channels, ...config.window, this.features,
      config.mixtures, coding.levels, this.stretch, coding.shift, coding.escape,
    ]);
    const tile = core.struct('ppll' + 'iii', [x, context, bytes + SLACK, features + SLACK, last, width, period]);
    return [pixels, tile];
  }

  /**
   * The address of the features without latents, and the rows after which they repeat.
   *
   * @param {number} height
   * @param {number} width
   * @returns {[number, number]}
   */
  plainContext(height, width) {
    const { core, config, features } = this;
    const { stride, context } = config;
    const planes = this.coding.side;
    const period = planes.length ? height : stride;
    const size = period * width * features;
    const at = core.alloc(size + SLACK);
    const out = core.bytes(at, size + SLACK);
    const first = this.networks.null;
    for (let r = 0, to = 0; r < period; r++)
      for (let c = 0; c < width; c++, to += features) {
        const from = ((r % stride) * stride + (c % stride)) * context;
        for (let k = 0; k < context; k++) out[to + k] = first[from + k];
      }
    planes.forEach((plane, i) => putSide(out, plane, height, width, features, context + (AROUND.length + 1) * i));
    return [at, period];
  }

  /**
   * The address of the features of band B with those of the side planes behind, if there are such.
   *
   * @param {number} from
   * @param {number} rows
   * @param {number} width
   * @param {number} height of the tile
   */
  besideContext(from, rows, width, height) {
    const { core, features } = this;
    const { context } = this.config;
    const planes = this.coding.side;
    if (!planes.length) return from;
    const at = core.alloc(height * width * features + SLACK);
    const [given, out] = [core.bytes(from, rows * width * context), core.bytes(at, height * width * features + SLACK)];
    for (let i = 0; i < rows * width; i++) out.set(given.subarray(i * context, (i + 1) * context), i * features);
    planes.forEach((plane, i) => putSide(out, plane, height, width, features, context + (AROUND.length + 1) * i));
    return at;
  }

  /**
   * The address of latents, (rows, columns, latents) uint8.
   *
   * @param {number} rows
   * @param {number} columns
   */
  popLatents(rows, columns) {
    const { core } = this;
    const size = rows * columns * this.config.latents;
    const z = core.alloc(size);
    core.bytes(z, size).fill(0);
    core.scoped(() => {
      const { prior } = this.networks;
      const needed = core.call('prior_scratch', 'the latents', prior, rows, columns, BigInt(this.lanes));
      core.call('pop_prior', 'the latents', prior, z, rows, columns, this.stack, core.alloc(needed), BigInt(needed));
    });
    return z;
  }

  /**
   * The address of the features of the pixels under latents, 128 more than they are.
   *
   * @param {number} z
   * @param {number} rows
   * @param {number} columns
   * @param {number} width
   */
  contextOf(z, rows, columns, width) {
    const { core, config, networks } = this;
    const { latents, topdown, context, stride } = config;
    const centred = core.alloc(rows * columns * latents);
    const [from, to] = [core.bytes(z, rows * columns * latents), core.bytes(centred, rows * columns * latents)];
    for (let i = 0; i < to.length; i++) to[i] = (from[i] - 32) << 2;
    const [grid0, grid1] = networks.topdownGrid;
    const a = grid0.run(this.neighbours(centred, rows, columns, latents, 0), rows * columns);
    const b = grid1.run(this.neighbours(a, rows, columns, topdown, 128), rows * columns);
    const up = stride / 4;
    const spread = this.unpatch(networks.spread.run(b, rows * columns), rows, columns, up, 32, columns * up, 0);
    const [high, wide] = [rows * up, columns * up];
    const fine = networks.fine.run(this.neighbours(spread, high, wide, 32, 128), high * wide);
    return this.unpatch(networks.context.run(fine, high * wide), high, wide, 4, context, width, 128);
  }

  /**
   * Pushes the latents back under the posterior of band B.
   *
   * @param {number} x
   * @param {number} width
   * @param {number} split
   * @param {number} z
   * @param {number} cells
   */
  pushLatents(x, width, split, z, cells) {
    const { core, networks } = this;
    const { latents } = this.config;
    const rows = this.latentRows(this.posterior(x, width, split), cells);
    const [starts, freqs] = [core.alloc(4 * cells * latents), core.alloc(4 * cells * latents)];
    core.call('intervals', 'the latents', rows, networks.tablesAt, z, starts, freqs);
    core.call('push_region', 'the latents', this.stack, starts, freqs, cells, 1, 0, latents, latents);
  }

  /**
   * The address of the struct of distributions of latents.
   *
   * @param {number} params address of their parameters
   * @param {number} cells
   */
  latentRows(params, cells) {
    const { core } = this;
    const { latents } = this.config;
    const offsets = core.put(new Int32Array(cells * latents).fill(32 * 64));
    const columns = this.networks.posterior.outputs;
    return core.struct('pppppp' + 'l' + 'iiiiii', [params, offsets, 0, 0, 0, 0, cells, columns, 1, latents, 0, 64, latents]);
  }

  /**
   * The address of the parameters of the posterior of the rows above `split`.
   *
   * @param {number} x
   * @param {number} width
   * @param {number} split
   */
  posterior(x, width, split) {
    const { config, networks } = this;
    const { stride, encoder } = config;
    const across = Math.ceil(width / stride) * stride;
    let [h, w] = [split / 4, across / 4];
    let a = networks.stem.run(this.stemInputs(x, width, split, across), h * w);
    REDUCTIONS[stride].forEach((side, i) => {
      const patches = this.patches(a, h, w, encoder, side);
      [h, w] = [h / side, w / side];
      a = networks.down[i].run(patches, h * w);
    });
    for (const grid of networks.encoderGrid) a = grid.run(this.neighbours(a, h, w, encoder, 128), h * w);
    return networks.posterior.run(a, h * w);
  }

  /**
   * The address of the patches of 4 by 4 pixels of band B, as they enter the encoder.
   *
   * @param {number} x
   * @param {number} width
   * @param {number} height
   * @param {number} across columns, the last ones being copies of the last that is there
   */
  stemInputs(x, width, height, across) {
    const { core, coding } = this;
    const { channels } = this.config;
    const out = core.alloc(height * across * channels);
    const to = core.bytes(out, height * across * channels);
    const from = this.wide ? new Uint16Array(core.memory.buffer, x, height * width * channels) : core.bytes(x, height * width * channels);
    const scaled = coding.levels !== 256 && !this.stretch;
    for (let y = 0, at = 0; y < height; y += 4)
      for (let s = 0; s < across; s += 4)
        for (let r = y; r < y + 4; r++)
          for (let c = s; c < s + 4; c++) {
            const pixel = (r * width + Math.min(c, width - 1)) * channels;
            for (let k = 0; k < channels; k++) {
              const value = from[pixel + k];
              to[at++] = (scaled ? (value << 8) >> this.bits : value) ^ 128;
            }
          }
    return out;
  }

  /**
   * The address of the patches of (h, w, channels), `side` by `side` each.
   *
   * @param {number} a
   * @param {number} h
   * @param {number} w
   * @param {number} channels
   * @param {number} side
   */
  patches(a, h, w, channels, side) {
    const { core } = this;
    const out = core.alloc(h * w * channels);
    const [from, to] = [core.bytes(a, h * w * channels), core.bytes(out, h * w * channels)];
    for (let y = 0, at = 0; y < h; y += side)
      for (let x = 0; x < w; x += side)
        for (let r = y; r < y + side; r++, at += side * channels) {
          const begin = (r * w + x) * channels;
          to.set(from.subarray(begin, begin + side * channels), at);
        }
    return out;
  }

  /**
   * The address of (h size, cut, channels): the inverse of patches of (h, w), its first columns, all bytes xor `mask`.
   *
   * @param {number} rows
   * @param {number} h
   * @param {number} w
   * @param {number} size
   * @param {number} channels
   * @param {number} cut
   * @param {number} mask
   */
  unpatch(rows, h, w, size, channels, cut, mask) {
    const { core } = this;
    const length = h * size * cut * channels;
    const out = core.alloc(length + SLACK);
    const from = core.bytes(rows, h * w * size * size * channels);
    const to = core.bytes(out, length + SLACK);
    for (let y = 0, at = 0; y < h * size; y++)
      for (let x = 0; x < cut; x++) {
        let begin = ((Math.floor(y / size) * w + Math.floor(x / size)) * size * size + (y % size) * size + (x % size)) * channels;
        for (let k = 0; k < channels; k++) to[at++] = from[begin++] ^ mask;
      }
    return out;
  }

  /**
   * The address of the 3 by 3 neighbourhoods of (h, w, channels); outside stands for what is outside.
   *
   * @param {number} a
   * @param {number} h
   * @param {number} w
   * @param {number} channels
   * @param {number} outside
   */
  neighbours(a, h, w, channels, outside) {
    const { core } = this;
    const out = core.alloc(9 * h * w * channels);
    const [from, to] = [core.bytes(a, h * w * channels), core.bytes(out, 9 * h * w * channels)];
    for (let y = 0, at = 0; y < h; y++)
      for (let x = 0; x < w; x++)
        for (let r = y - 1; r <= y + 1; r++)
          for (let c = x - 1; c <= x + 1; c++, at += channels) {
            if (r < 0 || r >= h || c < 0 || c >= w) to.fill(outside, at, at + channels);
            else {
              const begin = (r * w + c) * channels;
              for (let k = 0; k < channels; k++) to[at + k] = from[begin + k];
            }
          }
    return out;
  }
}

/**
 * Puts the features that a side plane gives each pixel.
 *
 * @param {Uint8Array} out
 * @param {Uint8Array} plane (height, width)
 * @param {number} height
 * @param {number} width
 * @param {number} features
 * @param {number} first of the features of the plane
 */
function putSide(out, plane, height, width, features, first) {
  for (let y = 0, at = first; y < height; y++)
    for (let x = 0; x < width; x++, at += features) {
      const here = plane[y * width + x];
      for (let k = 0; k < AROUND.length; k++) {
        const r = y + AROUND[k][0];
        const c = x + AROUND[k][1];
        let difference = 0;
        if (r >= 0 && r < height && c >= 0 && c < width) {
          difference = plane[r * width + c] - here;
          difference = difference < -128 ? -128 : difference > 127 ? 127 : difference;
        }
        out[at + k] = difference + 128;
      }
      out[at + AROUND.length] = here;
    }
}
