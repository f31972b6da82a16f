import { readU32 } from './bytes.js';
import { VlaeError, must } from './errors.js';
import { LEARN, LEARN_NUMBERS, REDUCTIONS, taught, windowOffsets } from './model.js';

/** @typedef {import('./core.js').Core} Core */
/** @typedef {import('./model.js').Model} Model */
/** @typedef {import('./model.js').Layer} Layer */

const LAYER_FORM = 'pppppiiii';
const [TAUGHT_FORM, TAUGHT_SIZE] = ['plppppp', 40];
const RECTIFIED = -128; // the stored zero of a rectified activation
const SMALLEST_HEAD = 1n << 32n;
const WHOLE = 1 << 24;
const RECORD = 6; // bytes of what an adapter says of a layer
const STYLE_UNIT = -1; // a number of a style is worth 2^STYLE_UNIT steps of an output
const NONE = new Int8Array(0);

/**
 * What an adapter changes in a layer: the product of left (inputs, rank) and right (rank, outputs) by 2^product, and bias
 * by 2^unit.
 *
 * @typedef {{name: string, rank: number, product: number, unit: number, left: Int8Array, right: Int8Array, bias: Int8Array}} Change
 */

/** A network in the core's memory. */
export class Network {
  /**
   * @param {Core} core
   * @param {number[]} layers addresses of structs
   * @param {Layer[]} forms
   * @param {boolean} skip
   */
  constructor(core, layers, forms, skip) {
    this.core = core;
    this.inputs = forms[0].inputs;
    const last = forms[forms.length - 1];
    this.outputs = last.outputs;
    this.wide = last.limits !== null; // outputs are int32
    const joined = new Uint8Array(36 * layers.length);
    layers.forEach((at, i) => joined.set(core.bytes(at, 36), 36 * i));
    const given = core.put(joined);
    this.size = core.call('pack_size', 'a network', given, layers.length, Number(skip));
    this.at = core.alloc(this.size);
    core.call('pack', 'a network', given, layers.length, Number(skip), this.at, BigInt(this.size));
  }

  /**
   * The address of memory in which the core works on so many rows of a wave, and its size.
   *
   * @param {number} [rows]
   * @param {number} [lanes]
   * @param {number} [channels]
   * @returns {[number, bigint]}
   */
  scratch(rows = 0, lanes = 1, channels = 1) {
    const size = this.core.call('scratch_size', 'a network', this.at, BigInt(this.size), rows, BigInt(lanes), channels);
    return [this.core.alloc(size), BigInt(size)];
  }

  /**
   * The address of the outputs, int8 or int32, of n rows of int8 inputs.
   *
   * @param {number} rows
   * @param {number} n
   */
  run(rows, n) {
    const { core } = this;
    const out = core.alloc(n * this.outputs * (this.wide ? 4 : 1));
    core.scoped(() => {
      core.call('run', 'a network', this.at, BigInt(this.size), rows, BigInt(n), out, ...this.scratch());
    });
    return out;
  }
}

/** A model in the core's memory. */
export class Networks {
  /**
   * @param {Core} core
   * @param {Model} model
   */
  constructor(core, model) {
    this.core = core;
    this.model = model;
    const { config } = model;
    const fixed = [...model.layers.values()].filter(({ name }) => !name.startsWith(LEARN));
    this.layers = new Map(fixed.map((layer) => [layer.name, this.place(layer)]));
    this.tables = ['sigmoid', 'exp', 'inverse', 'outer_scale', 'outer_inverse'].map((name) => core.put(this.data(`tables.${name}`)));
    this.tablesAt = core.struct('ppppp', this.tables);
    const one = (/** @type {string} */ name) => this.network([name]);
    this.stem = one('encoder.stem');
    this.down = REDUCTIONS[config.stride].map((_, i) => one(`encoder.down.${i}`));
    this.encoderGrid = [one('encoder.grid.0'), one('encoder.grid.1')];
    this.posterior = one('encoder.out');
    this.topdownGrid = [one('topdown.grid.0'), one('topdown.grid.1')];
    this.spread = one('topdown.spread');
    this.fine = one('topdown.fine');
    this.context = one('topdown.out');
    this.prior = this.makePrior();
    this.localNames = [...Array.from({ length: config.layers }, (_, i) => `local.hidden.${i}`), 'local.out'];
    this.local = this.network(this.localNames, true);
    this.null = this.makeNull();
    /** @type {number[][] | null} the fields of each layer that learns */
    this.taught = null;
    /** @type {Map<number, number>} */
    this.learners = new Map();
  }

  /** @param {string} name */
  data(name) {
    const tensor = this.model.tensors.get(name);
    if (!tensor) throw new VlaeError('WeightsError', `the weight file lacks tensor ${name}`);
    return tensor.data;
  }

  /**
   * The address of a layer's struct.
   *
   * @param {Layer} layer
   */
  place(layer) {
    const { core } = this;
    const [weight, multiplier, addend] = ['weight', 'multiplier', 'addend'].map((part) => core.put(this.data(`${layer.name}.${part}`)));
    let [low, high] = [0, 0];
    if (layer.limits) {
      const expand = (/** @type {number} */ i) => Int32Array.from((layer.limits ?? []).flatMap((limit) => Array(limit[0]).fill(limit[i])));
      [low, high] = [core.put(expand(1)), core.put(expand(2))];
    }
    return core.struct(LAYER_FORM, [weight, multiplier, addend, low, high, layer.inputs, layer.outputs, layer.digits, layer.shift]);
  }

  /**
   * @param {string[]} names
   * @param {boolean} [skip]
   * @param {Map<string, number>} [layers]
   */
  network(names, skip = false, layers = this.layers) {
    const of = (/** @type {string} */ name) => /** @type {Layer} */ (this.model.layers.get(name));
    return new Network(this.core, names.map((name) => layers.get(name) ?? 0), names.map(of), skip);
  }

  /** The address of the struct of the prior. */
  makePrior() {
    const { core } = this;
    const c = this.model.config;
    const nets = [];
    for (let t = 0; t + 1 < c.flow_steps; t++) nets.push(this.network([`affine.${t}.hidden.0`, `affine.${t}.out`], true));
    const affine = nets.length;
    if (c.flow_steps) nets.push(this.network(['mixture.hidden.0', 'mixture.hidden.1', 'mixture.out'], true));
    const base = c.flow_steps ? null : this.data('base');
    const offsets = windowOffsets(c.prior_window);
    const window = core.put(BigInt64Array.from(offsets.flat(), BigInt));
    const columns = Math.max(...nets.map((net) => net.outputs), base ? base.length / 4 : 0);
    const nine = (/** @type {number[]} */ values) => [...values, ...Array(9 - values.length).fill(0)];
    return core.struct('ppppppppplllllllll' + 'ppppppp' + 'iiiiii', [
      ...nine(nets.map((net) => net.at)), ...nine(nets.map((net) => net.size)),
      base ? core.put(base) : 0, window, ...this.tables,
      affine, offsets.length, (c.prior_window[0] >> 1) + 1, c.flow_steps ? c.prior_mixtures : 1, columns, c.latents,
    ]);
  }

  /** (stride, stride, context) uint8: the features without latents, 128 more than they are. */
  makeNull() {
    const { stride, context } = this.model.config;
    const data = this.data('null');
    return Uint8Array.from({ length: stride * stride * context }, (_, i) => data[i % data.length] ^ 128);
  }

  /**
   * The address of the struct that says how the local network learns while it codes.
   *
   * @param {number} learning of the group of planes, not 0
   */
  learning(learning) {
    const { core, learners, model } = this;
    const known = learners.get(learning);
    if (known) return known;
    must(model.layers.has(`${LEARN}out.up`), 'the model cannot learn while it codes');
    this.taught ??= taught(model.config).map((name) => this.makeTaught(`${LEARN}${name}`));
    const [last] = this.taught;
    const layers = learning > 8 ? this.taught : [[...last.slice(0, -1), 0]]; // nothing goes back from the last one alone
    const joined = new Uint8Array(TAUGHT_SIZE * layers.length);
    layers.forEach((fields, i) => joined.set(core.bytes(core.struct(TAUGHT_FORM, fields), TAUGHT_SIZE), TAUGHT_SIZE * i));
    const slope = layers.length > 1 ? core.put(this.data(`${LEARN}slope`)) : 0;
    const found = core.struct('ppii', [core.put(joined), slope, layers.length, (learning & 7) - 1]);
    learners.set(learning, found);
    return found;
  }

  /**
   * The fields of the struct of a layer that learns, the last one 0 if derivatives do not go back from it.
   *
   * @param {string} name of its tensors
   */
  makeTaught(name) {
    const { core, model } = this;
    const layers = ['down', 'up'].map((part) => /** @type {Layer} */ (model.layers.get(`${name}.${part}`)));
    const net = new Network(core, layers.map((layer) => this.place(layer)), layers, false);
    const numbers = LEARN_NUMBERS.map(([part]) => `${name}.${part}`).map((part) => (model.tensors.has(part) ? core.put(this.data(part)) : 0));
    return [net.at, net.size, ...numbers];
  }

  /**
   * The local network, changed by an adapter.
   *
   * @param {Uint8Array} payload of the adapter's chunk: the numbers of a style of the model, or an adapter of the file's own
   */
  adapted(payload) {
    const { core } = this;
    const layers = new Map();
    let hidden = 0;
    for (const { name, rank, product, unit, left, right, bias } of payload.length < RECORD && payload.length ? this.style(payload) : this.changes(payload)) {
      const { inputs, outputs, digits, shift } = /** @type {Layer} */ (this.model.layers.get(name));
      const form = core.words(this.layers.get(name) ?? 0, 9).slice();
      const moved = core.alloc(8 * outputs);
      core.bytes(moved, 8 * outputs).fill(0);
      const addend = core.alloc(8 * outputs);
      if (rank) {
        const weight = core.alloc(inputs * outputs * digits);
        core.scoped(() => {
          const zero = core.put(BigInt64Array.from({ length: inputs }, (_, j) => BigInt(j < hidden ? RECTIFIED : 0)));
          const given = [this.layers.get(name) ?? 0, core.put(left), core.put(right), rank, product, zero];
          core.call('merge', 'an adapter', ...given, weight, moved, core.alloc(4 * outputs));
        });
        form[0] = weight;
      }
      const numbers = (/** @type {number} */ at) => new BigInt64Array(core.memory.buffer, at, outputs);
      const [now, old, factor, change] = [addend, form[2], form[1], moved].map(numbers);
      const exponent = BigInt(unit + shift);
      for (let o = 0; o < outputs; o++) {
        const added = exponent >= 0n ? BigInt(bias[o]) << exponent : BigInt(bias[o]) >> -exponent;
        now[o] = old[o] + factor[o] * change[o] + added;
      }
      form[2] = addend;
      layers.set(name, core.put(form));
      hidden = outputs;
    }
    return this.network(this.localNames, true, layers);
  }

  /**
   * What an adapter of the file's own changes in each layer.
   *
   * @param {Uint8Array} payload
   * @returns {Change[]}
   */
  changes(payload) {
    const names = this.localNames;
    const damaged = 'an adapter does not fit its model';
    must(payload.length >= RECORD * names.length, damaged);
    const stack = new SmallStack(payload.subarray(RECORD * names.length));
    const found = names.map((name, i) => {
      const [rank, product, unit, ...scales] = payload.subarray(RECORD * i, RECORD * (i + 1));
      must(rank <= 64 && product >= 40 && product <= 72 && unit >= 40 && unit <= 72 && Math.max(...scales) < 160, damaged);
      const { inputs, outputs } = /** @type {Layer} */ (this.model.layers.get(name));
      const [left, right, bias] = [inputs * rank, rank * outputs, outputs].map((count, k) => stack.numbers(count, this.borders(scales[k])));
      return { name, rank, product: product - 64, unit: unit - 64, left, right, bias };
    });
    stack.checkEmpty();
    return found;
  }

  /**
   * What a style of the model changes in each layer.
   *
   * @param {Uint8Array} numbers of each stage
   * @returns {Change[]}
   */
  style(numbers) {
    const { config, layers } = this.model;
    const [stages, count] = config.styles;
    must(numbers.length === stages && numbers.every((number) => number <= count), 'a style that its model does not have');
    const data = this.data('styles');
    const outputs = data.length / stages / count;
    const sums = new Int32Array(outputs);
    numbers.forEach((number, stage) => {
      const at = (stage * count + number - 1) * outputs;
      if (number) for (let o = 0; o < outputs; o++) sums[o] += (data[at + o] << 24) >> 24;
    });
    let at = 0;
    return this.localNames.map((name) => {
      const end = at + /** @type {Layer} */ (layers.get(name)).outputs;
      const bias = Int8Array.from(sums.subarray(at, end), (sum) => Math.max(-127, Math.min(127, sum)));
      at = end;
      return { name, rank: 0, product: 0, unit: STYLE_UNIT, left: NONE, right: NONE, bias };
    });
  }

  /**
   * (257,) the borders of the intervals of 256 numbers under a logistic of a scale index.
   *
   * @param {number} scale
   */
  borders(scale) {
    const { core } = this;
    return core.scoped(() => {
      const rows = Int32Array.from({ length: 3 * 256 }, (_, i) => (i % 3 === 2 ? scale : 0));
      const offsets = core.put(new Int32Array(256).fill(128 * 64));
      const struct = core.struct('pppppp' + 'l' + 'iiiiii', [core.put(rows), offsets, 0, 0, 0, 0, 256, 3, 1, 1, 0, 256, 1]);
      const symbols = core.put(Uint8Array.from({ length: 256 }, (_, i) => i));
      const [starts, freqs] = [core.alloc(4 * 256), core.alloc(4 * 256)];
      core.call('intervals', 'an adapter', struct, this.tablesAt, symbols, starts, freqs);
      const found = new Uint32Array(257);
      found.set(new Uint32Array(core.memory.buffer, starts, 256));
      found[256] = WHOLE;
      return found;
    });
  }
}

/** A message of one lane, for the few numbers of an adapter. */
class SmallStack {
  /** @param {Uint8Array} data */
  constructor(data) {
    must(data.length >= 8 && data.length % 4 === 0, 'the message of an adapter has a wrong length');
    this.head = BigInt(readU32(data, 0)) | (BigInt(readU32(data, 4)) << 32n);
    must(this.head >= SMALLEST_HEAD, 'the message of an adapter');
    this.words = Array.from({ length: data.length / 4 - 2 }, (_, i) => readU32(data, 8 + 4 * i));
  }

  /**
   * Numbers -128 .. 127, popped.
   *
   * @param {number} count
   * @param {Uint32Array} borders
   */
  numbers(count, borders) {
    const found = new Int8Array(count);
    for (let i = 0; i < count; i++) {
      const cf = Number(this.head & 0xffffffn);
      let [low, high] = [0, 256];
      while (high - low > 1) {
        const middle = (low + high) >> 1;
        if (borders[middle] <= cf) low = middle;
        else high = middle;
      }
      this.head = BigInt(borders[low + 1] - borders[low]) * (this.head >> 24n) + BigInt(cf - borders[low]);
      if (this.head < SMALLEST_HEAD) {
        const word = this.words.pop();
        must(word !== undefined, 'the message of an adapter ran out');
        this.head = (this.head << 32n) | BigInt(/** @type {number} */ (word));
      }
      found[i] = low - 128;
    }
    return found;
  }

  checkEmpty() {
    must(this.head === SMALLEST_HEAD && !this.words.length, 'the message of an adapter is not empty at its end');
  }
}
