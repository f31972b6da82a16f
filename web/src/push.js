import { crc32 } from './bytes.js';
import { Trial, needOf, spreadPlaces, twister } from './choice.js';
import { LATENTS, NO_LATENTS, SLACK, TilePopper } from './tiles.js';

/** @typedef {import('./networks.js').Networks} Networks */

const LANES = 32; // of the stack that latents are drawn from for a trial
const PARTS = 8; // of the pixels that are looked at, one after the other
const TRIED = 1 << 16; // pixels of a tile from which on a stripe says which mode is tried
const STRIPE = 8; // of so many columns one
const SAMPLE = 1 << 10; // of its pixels at most
const CLEAR = 250; // hundredths of a standard deviation of what they say, beyond which no more are looked at

/** @typedef {{method: number, stream: Uint8Array}} Attempt */

/** Codes one tile. */
export class TilePusher extends TilePopper {
  /**
   * @param {Networks} networks
   * @param {import('./networks.js').Network} local
   * @param {import('./tiles.js').Coding} coding
   * @param {Uint8Array} samples (height, width, coded channels)
   * @param {number} height
   * @param {number} width
   */
  constructor(networks, local, coding, samples, height, width) {
    super(networks, local, coding, 0, Math.max(1, Math.floor(samples.length / coding.laneSymbols)));
    const { core, config } = this;
    this.samples = samples;
    this.height = height;
    this.width = width;
    this.count = height * width * config.channels;
    const whole = new Uint8Array(this.count);
    const { coded } = coding;
    if (coded === config.channels) whole.set(samples);
    else for (let i = 0; i < whole.length; i++) whole[i] = samples[Math.floor(i / config.channels)];
    this.seed = crc32(whole);
    /** @type {TilePusher | null} */
    this.part = null;
    if (this.stretch) for (let i = 0; i < whole.length; i++) whole[i] <<= this.stretch;
    this.x = core.alloc(this.count + SLACK);
    core.bytes(this.x, this.count + SLACK).fill(0);
    core.bytes(this.x, this.count).set(whole);
    this.plain = this.plainContext(height, width);
    this.starts = core.alloc(4 * this.count);
    this.freqs = core.alloc(4 * this.count);
    this.first = height; // row from which on intervals without latents are known
    this.below = 0; // what these rows take
    /** @type {Map<number, Int32Array>} */
    this.parameters = new Map();
  }

  /** The smaller one of the streams with and without latents; in a large tile a stripe says which one that is. */
  code() {
    const found = !this.large || this.stripe.tryLatents().gain() > 0n ? this.with() : null;
    if (found && this.large) return found;
    const plain = this.without();
    return found && found.stream.length < plain.stream.length ? found : plain;
  }

  /** Whether its stripe says if it has latents. */
  get large() {
    return this.height * this.width >= TRIED && this.height > this.config.stride;
  }

  /** Of the columns in the middle of a large tile, over its whole height; of a small one itself. */
  get stripe() {
    const { networks, local, coding, config, height, width } = this;
    if (this.large && !this.part) {
      const { coded } = coding;
      const columns = Math.ceil(width / (STRIPE * config.stride)) * config.stride;
      const first = Math.floor(Math.max(0, width - columns) / (2 * config.stride)) * config.stride;
      const samples = new Uint8Array(height * columns * coded);
      for (let y = 0; y < height; y++) {
        const at = (y * width + first) * coded;
        samples.set(this.samples.subarray(at, at + columns * coded), y * columns * coded);
      }
      this.part = new TilePusher(networks, local, coding, samples, height, columns);
    }
    return this.part ?? this;
  }

  without() {
    return /** @type {Attempt} */ (this.attempt(0));
  }

  with() {
    for (let split = this.chooseSplit(); split > 0; split -= this.config.stride) {
      const found = this.attempt(split);
      if (found) return found;
    }
    return null;
  }

  /**
   * Makes the intervals known without latents, from a row on.
   *
   * @param {number} row
   */
  know(row) {
    const { width, height, config } = this;
    if (row >= this.first) return;
    const [begin, n] = [row * width, (this.first - row) * width];
    const at = 4 * begin * config.channels;
    this.intervals(this.plain, height, 0, begin, n, this.starts + at, this.freqs + at);
    this.below += this.cost(this.freqs + at, n, config.channels, this.coding.coded);
    this.first = row;
  }

  /**
   * Puts intervals of pixels: of n from `begin` on, or of those whose places are in memory.
   *
   * @param {[number, number]} context address, and rows after which it repeats
   * @param {number} last row of the tile that is known
   * @param {number} places
   * @param {number} begin
   * @param {number} n
   * @param {number} starts
   * @param {number} freqs
   */
  intervals([context, period], last, places, begin, n, starts, freqs) {
    const { core, config, coding, local, width } = this;
    core.scoped(() => {
      const structs = this.structs(this.x, last * width * config.channels, width, last, context, period);
      const scratch = local.scratch(0, 1, config.channels);
      core.call('band_intervals', 'a tile', ...structs, places, BigInt(begin), BigInt(n), coding.coded, starts, freqs, ...scratch);
    });
  }

  /**
   * What symbols take.
   *
   * @param {number} freqs
   * @param {number} n rows
   * @param {number} channels
   * @param {number} coded
   */
  cost(freqs, n, channels, coded) {
    return this.core.call('costs', 'frequencies', freqs, BigInt(n), channels, coded, 0);
  }

  /**
   * What each of n pixels takes.
   *
   * @param {number} freqs
   * @param {number} n
   */
  costs(freqs, n) {
    const { core } = this;
    return core.scoped(() => {
      const each = core.alloc(8 * n);
      core.call('costs', 'frequencies', freqs, BigInt(n), this.config.channels, this.coding.coded, each);
      return Array.from(new BigInt64Array(core.memory.buffer, each, n), Number);
    });
  }

  /**
   * The parameters of the posterior of the rows above `split`.
   *
   * @param {number} split
   */
  posteriorOf(split) {
    const { core, width } = this;
    const { stride } = this.config;
    let found = this.parameters.get(split);
    if (!found) {
      const cells = (split / stride) * Math.ceil(width / stride);
      found = core.scoped(() => core.words(this.posterior(this.x, width, split), cells * this.networks.posterior.outputs).slice());
      this.parameters.set(split, found);
    }
    return found;
  }

  /** Rows that have latents: the most whose posterior the rows below can pay for. */
  chooseSplit() {
    const { stride, latents } = this.config;
    let split = Math.floor((this.height - 1) / stride) * stride;
    if (!split) return 0;
    const need = needOf(this.stripe.posteriorOf(split), split / stride, latents, Math.ceil(this.width / stride));
    for (; split; split -= stride) {
      this.know(split);
      if (this.below >= need[split / stride - 1]) break;
    }
    return split;
  }

  /**
   * Pops latents from a stack under the posterior; their address, and what they give back. Null if the stack ran out.
   *
   * @param {number} split
   * @param {number} stack
   * @param {number} lanes
   */
  drawLatents(split, stack, lanes) {
    const { core, networks, width } = this;
    const { stride, latents } = this.config;
    const cells = (split / stride) * Math.ceil(width / stride);
    const z = core.alloc(cells * latents);
    const cost = core.scoped(() => {
      const rows = this.latentRows(core.put(this.posteriorOf(split)), cells);
      const size = (Math.floor(Math.min(cells, lanes) / 8) + 1) * 4096;
      core.bytes(z, cells * latents).fill(0);
      const given = [rows, networks.tablesAt, stack, 0n, z, core.alloc(size), BigInt(size)];
      if (Number(core.exported.vlae_pop_rows(...given)) === -1) return null;
      const [starts, freqs] = [core.alloc(4 * cells * latents), core.alloc(4 * cells * latents)];
      core.call('intervals', 'the latents', rows, networks.tablesAt, z, starts, freqs);
      return this.cost(freqs, cells * latents, 1, 1);
    });
    return cost === null ? null : { z, cost };
  }

  /**
   * What latents take under the prior; with a stack they are pushed onto it.
   *
   * @param {number} split
   * @param {number} z
   * @param {number} stack
   */
  priorOf(split, z, stack) {
    const { core, networks, width } = this;
    const { stride, latents, prior_window: window } = this.config;
    const [rows, columns] = [split / stride, Math.ceil(width / stride)];
    const count = rows * columns * latents;
    return core.scoped(() => {
      const [starts, freqs] = [core.alloc(4 * count), core.alloc(4 * count)];
      const size = core.call('prior_scratch', 'the latents', networks.prior, rows, columns, 1n);
      core.call('prior_intervals', 'the latents', networks.prior, z, rows, columns, starts, freqs, core.alloc(size), BigInt(size));
      if (stack) core.call('push_region', 'the latents', stack, starts, freqs, rows, columns, (window[0] >> 1) + 1, latents, latents);
      return this.cost(freqs, count, 1, 1);
    });
  }

  /** What latents, drawn with bits from nowhere, do to some of the pixels. */
  tryLatents() {
    const { core, height, width } = this;
    const { stride, latents, channels } = this.config;
    const rows = Math.floor((height - 1) / stride) * stride;
    const across = Math.ceil(width / stride);
    return core.scoped(() => {
      const bits = twister(2 * LANES + (rows / stride) * across * latents);
      const heads = core.put(Uint32Array.from({ length: 2 * LANES }, (_, i) => (i % 2 ? 1 : bits[i / 2])));
      const words = bits.subarray(LANES);
      const stack = core.struct('pplll', [heads, core.put(words), LANES, words.length, words.length]);
      const drawn = this.drawLatents(rows, stack, LANES);
      if (!drawn) throw new Error('a trial has too few bits');
      const trial = new Trial(this.priorOf(rows, drawn.z, 0) - drawn.cost, rows * width);
      const context = this.contextOf(drawn.z, rows / stride, across, width);
      const places = spreadPlaces(rows * width, SAMPLE);
      const look = (/** @type {[number, number]} */ way, /** @type {number[]} */ some) =>
        core.scoped(() => {
          const at = core.put(BigInt64Array.from(some, BigInt));
          const [starts, freqs] = [core.alloc(4 * channels * some.length), core.alloc(4 * channels * some.length)];
          this.intervals(way, rows, at, 0, some.length, starts, freqs);
          return this.costs(freqs, some.length);
        });
      for (let k = 0; k < PARTS; k++) {
        const some = places.filter((_, i) => i % PARTS === k);
        trial.add(look(this.plain, some), look([context, rows], some));
        if (trial.enough && trial.clear(CLEAR)) break;
      }
      return trial;
    });
  }

  /**
   * What some pixels take without latents.
   *
   * @param {number[]} places
   */
  look(places) {
    const { core, height } = this;
    const { channels } = this.config;
    return core.scoped(() => {
      const at = core.put(BigInt64Array.from(places, BigInt));
      const [starts, freqs] = [core.alloc(4 * channels * places.length), core.alloc(4 * channels * places.length)];
      this.intervals(this.plain, height, at, 0, places.length, starts, freqs);
      return this.cost(freqs, places.length, channels, this.coding.coded);
    });
  }

  /**
   * The stream with so many rows of latents; null if the rows below do not pay for them.
   *
   * @param {number} split
   * @returns {Attempt | null}
   */
  attempt(split) {
    const { core, config, coding, height, width, lanes } = this;
    const { stride, latents, channels, window } = config;
    this.know(split);
    const across = Math.ceil(width / stride);
    const room = height * width * coding.coded + (split / stride) * across * latents;
    const heads = core.put(Uint32Array.from({ length: 2 * lanes }, (_, i) => (i % 2 ? 1 : i ? 0 : this.seed)));
    const words = core.alloc(4 * room);
    const stack = core.struct('pplll', [heads, words, lanes, 0, room]);
    const slope = (window[0] >> 1) + 1;
    const push = (/** @type {number} */ starts, /** @type {number} */ freqs, /** @type {number} */ rows) =>
      core.call('push_region', 'a tile', stack, starts, freqs, rows, width, slope, channels, coding.coded);
    const at = 4 * split * width * channels;
    push(this.starts + at, this.freqs + at, height - split);
    if (split) {
      const drawn = this.drawLatents(split, stack, lanes);
      if (!drawn) return null;
      const starts = core.alloc(at);
      const freqs = core.alloc(at);
      core.scoped(() => {
        const context = this.contextOf(drawn.z, split / stride, across, width);
        this.intervals([context, split], split, 0, 0, split * width, starts, freqs);
      });
      push(starts, freqs, split);
      this.priorOf(split, drawn.z, stack);
    }
    const size = Number(new DataView(core.memory.buffer).getBigInt64(stack + 16, true));
    const lead = split ? 2 : 0;
    const stream = new Uint8Array(lead + 8 * lanes + 4 * size);
    if (split) stream.set([(split / stride) & 255, split / stride >> 8]);
    stream.set(core.bytes(heads, 8 * lanes), lead);
    stream.set(core.bytes(words, 4 * size), lead + 8 * lanes);
    return { method: split ? LATENTS : NO_LATENTS, stream };
  }
}
