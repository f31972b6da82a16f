import { hex, sha256, utf8 } from './bytes.js';
import { VlaeError } from './errors.js';

/**
 * The configuration of a model.
 *
 * @typedef {Object} Config
 * @property {number} channels
 * @property {number} levels
 * @property {[number, number]} window
 * @property {number} hidden
 * @property {number} layers
 * @property {number} mixtures
 * @property {number} context
 * @property {number} stride
 * @property {number} latents
 * @property {number} encoder
 * @property {number} topdown
 * @property {[number, number]} prior_window
 * @property {number} prior_hidden
 * @property {number} prior_mixtures
 * @property {number} flow_steps
 * @property {number} side
 * @property {[number, number]} styles stages, and styles in each
 */

/**
 * @typedef {Object} Tensor
 * @property {'I8' | 'I32' | 'I64'} type
 * @property {number[]} shape
 * @property {Uint8Array} data little-endian
 */

/**
 * A layer as the file has it; limits: what [count, low, high] its outputs have, of an output layer.
 *
 * @typedef {Object} Layer
 * @property {string} name
 * @property {number} inputs
 * @property {number} outputs
 * @property {number} digits
 * @property {number} shift
 * @property {[number, number, number][] | null} limits
 */

/**
 * @typedef {Object} Model
 * @property {string} id 16 hexadecimal digits
 * @property {Config} config
 * @property {Map<string, Tensor>} tensors
 * @property {Map<string, Layer>} layers
 * @property {number} work int8 products a pixel
 */

const WIDTHS = { I8: 1, I32: 4, I64: 8 };
const NAMES = { I8: 'int8', I32: 'int32', I64: 'int64' };
/** Ranges of numbers of the configuration. */
const RANGES = /** @type {Record<string, [number, number]>} */ ({
  channels: [1, 3], levels: [2, 256], hidden: [1, 4096], layers: [1, 8], mixtures: [1, 64], context: [1, 256],
  stride: [4, 28], latents: [1, 32], encoder: [1, 4096], topdown: [1, 4096], prior_hidden: [1, 4096],
  prior_mixtures: [1, 64], flow_steps: [0, 8], side: [0, 2],
});
const SIDE = 15; // features of a side plane
/** Of strides: how the encoder comes to a cell from patches of 4x4, so many of which to a side become one.
 * @type {Record<number, number[]>}
 */
export const REDUCTIONS = { 4: [], 8: [2], 16: [2, 2], 28: [7] };
/** Tables: their type, length, and the range of their numbers. */
const TABLES = /** @type {[string, 'I32' | 'I64', number, number, number][]} */ ([
  ['sigmoid', 'I32', 8193, 0, 1 << 20], ['exp', 'I32', 512, 1, 1 << 12], ['inverse', 'I64', 160, 1, 1 << 22],
  ['outer_scale', 'I64', 192, 1, 1 << 24], ['outer_inverse', 'I64', 192, 1, 1 << 20],
]);
/** Tensors that say how layers of the local network learn while it codes begin so. */
export const LEARN = 'learn.';
const LEARN_WIDTH = 512; // inputs of a layer that learns, and its bias, at most
const LEARN_PIXELS = 384; // between two steps
const LEARN_SLOPE = 1 << 12; // the largest factor of a derivative
const [LEARN_RANK, LEARN_HIDDEN_RANK] = [64, 32]; // hidden units of the preconditioner of the last layer, and of others
const LEARN_LIMIT = 1 << 24; // of its outputs
/** Its numbers in the core's order: name, whether there is one an input and the bias, not one an output, and the largest. */
export const LEARN_NUMBERS = /** @type {[string, boolean, number][]} */ ([
  ['diagonal', true, 1 << 16], ['reduce', true, 24], ['scale', false, 1 << 12], ['rate', false, 1 << 15], ['back', false, 1 << 16],
]);
const LARGEST = 1 << 26; // bytes of a weight file
const MOST_WORK = 1 << 24; // multiply-adds a pixel

/** @param {string} what */
function malformed(what) {
  return new VlaeError('WeightsError', `the weight file is malformed: ${what}`);
}

/**
 * (rows of) parameters of a distribution: how many of each kind there are, and their limits.
 *
 * @param {number} mixtures
 * @param {number} channels
 * @param {boolean} coupled
 * @returns {[number, number, number][]}
 */
export function parameterLimits(mixtures, channels, coupled) {
  const each = mixtures * channels;
  const pairs = coupled ? (mixtures * channels * (channels - 1)) / 2 : 0;
  return [[mixtures, -4096, 4096], [each, -32768, 32768], [each, 0, 159], [pairs, -1024, 1024]];
}

/** @param {[number, number, number][]} limits */
export function countOf(limits) {
  return limits.reduce((sum, [count]) => sum + count, 0);
}

/**
 * The offsets (row, column) of a causal window, in raster order.
 *
 * @param {[number, number]} window
 * @returns {[number, number][]}
 */
export function windowOffsets([wide, up]) {
  const reach = wide >> 1;
  /** @type {[number, number][]} */
  const found = [];
  for (let r = up; r > 0; r--) for (let c = -reach; c <= reach; c++) found.push([-r, c]);
  for (let c = -reach; c < 0; c++) found.push([0, c]);
  return found;
}

/**
 * The layers of the local network that can learn while it codes, from the last one on: all but the first.
 *
 * @param {Config} config
 */
export function taught({ layers }) {
  return ['out', ...Array.from({ length: layers - 1 }, (_, i) => `hidden.${layers - 1 - i}`)];
}

/** Features of a pixel that side planes give.
 * @param {Config} config
 */
export function sideFeatures(config) {
  return SIDE * config.side;
}

/**
 * The model of a weight file, checked. Throws WeightsError.
 *
 * @param {Uint8Array} file
 * @returns {Model}
 */
export function readModel(file) {
  const { metadata, entries, data } = readSafetensors(file);
  if (metadata['vlae-codec'] !== '1') throw malformed('it is not of this version of vlae-codec');
  /** @type {Record<string, any>} */
  let given;
  try {
    given = JSON.parse(metadata.config);
  } catch {
    throw malformed('its configuration is no JSON');
  }
  const config = checkConfig(given);
  const tensors = new Map();
  for (const [name, { type, shape, begin, end }] of entries) tensors.set(name, { type, shape, data: data.subarray(begin, end) });
  const { layers, work } = checkTensors(config, tensors);
  const id = modelId(given, tensors);
  if (metadata.id !== undefined && metadata.id !== id) throw malformed(`it holds model ${id} and says another`);
  return { id, config, tensors, layers, work };
}

/** @param {Uint8Array} file */
function readSafetensors(file) {
  if (file.length < 8 || file.length > LARGEST) throw malformed('its size');
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const length = Number(view.getBigUint64(0, true));
  if (length > file.length - 8) throw malformed('its header does not end');
  /** @type {Record<string, any>} */
  let header;
  try {
    header = JSON.parse(utf8(file.subarray(8, 8 + length)));
  } catch {
    throw malformed('its header is no JSON');
  }
  if (header === null || typeof header !== 'object') throw malformed('its header');
  const { __metadata__: metadata = {}, ...rest } = header;
  const data = file.subarray(8 + length);
  /** @type {[string, {type: 'I8' | 'I32' | 'I64', shape: number[], begin: number, end: number}][]} */
  const entries = [];
  for (const [name, entry] of Object.entries(rest)) {
    const [begin, end] = entry?.data_offsets ?? [];
    const shape = entry?.shape;
    const type = /** @type {'I8' | 'I32' | 'I64'} */ (entry?.dtype);
    const natural = (/** @type {unknown} */ n) => Number.isSafeInteger(n) && /** @type {number} */ (n) >= 0;
    if (!Object.hasOwn(WIDTHS, String(type)) || !Array.isArray(shape) || ![begin, end, ...shape].every(natural))
      throw malformed(`tensor ${name}`);
    const size = shape.reduce((/** @type {number} */ product, /** @type {number} */ n) => product * n, WIDTHS[type]);
    if (end > data.length || end - begin !== size) throw malformed(`the place of tensor ${name}`);
    entries.push([name, { type, shape, begin, end }]);
  }
  return { metadata, entries, data };
}

/**
 * @param {Record<string, any>} given
 * @returns {Config}
 */
function checkConfig(given) {
  if (given === null || typeof given !== 'object') throw malformed('its configuration');
  /** @type {any} */
  const config = { levels: 256, side: 0, styles: [0, 0], ...given };
  const names = [...Object.keys(RANGES), 'window', 'prior_window', 'styles'];
  if (Object.keys(config).length !== names.length) throw malformed('the keys of its configuration');
  for (const [name, [low, high]] of Object.entries(RANGES))
    if (!Number.isInteger(config[name]) || config[name] < low || config[name] > high) throw malformed(`its ${name}`);
  for (const name of ['window', 'prior_window']) {
    const window = config[name];
    const pair = Array.isArray(window) && window.length === 2 && window.every(Number.isInteger) ? window : [0, 0];
    const [wide, up] = pair;
    if (wide % 2 === 0 || wide < 3 || wide > 63 || up < 1 || up > 32) throw malformed(`its ${name}`);
  }
  const { styles } = config;
  const staged = Array.isArray(styles) && styles.length === 2 && styles.every((n, i) => Number.isInteger(n) && n >= 0 && n <= [4, 64][i]);
  if (!staged) throw malformed('its styles');
  const known = Object.hasOwn(REDUCTIONS, config.stride) && [2, 256].includes(config.levels) && config.channels !== 2;
  if (!known) throw malformed('its stride, levels or channels');
  return config;
}

/**
 * Every layer of a model: name, inputs, outputs, and limits of an output layer.
 *
 * @param {Config} c
 * @param {boolean} learns
 * @returns {[string, number, number, [number, number, number][] | null][]}
 */
function layerForms(c, learns) {
  const up = c.stride / 4;
  const seen = windowOffsets(c.prior_window).length * c.latents;
  const local = (windowOffsets(c.window).length + 1) * c.channels + c.context + sideFeatures(c);
  const pixel = parameterLimits(c.mixtures, c.channels, true);
  const posterior = parameterLimits(1, c.latents, false);
  const prior = parameterLimits(c.prior_mixtures, c.latents, true);
  /** @type {[string, number, number, [number, number, number][] | null][]} */
  const forms = [['encoder.stem', 16 * c.channels, c.encoder, null]];
  REDUCTIONS[c.stride].forEach((side, i) => forms.push([`encoder.down.${i}`, side * side * c.encoder, c.encoder, null]));
  for (let i = 0; i < 2; i++) forms.push([`encoder.grid.${i}`, 9 * c.encoder, c.encoder, null]);
  forms.push(['encoder.out', c.encoder, countOf(posterior), posterior]);
  forms.push(['topdown.grid.0', 9 * c.latents, c.topdown, null], ['topdown.grid.1', 9 * c.topdown, c.topdown, null]);
  forms.push(['topdown.spread', c.topdown, 32 * up * up, null], ['topdown.fine', 288, 32, null]);
  forms.push(['topdown.out', 32, 16 * c.context, null]);
  for (let t = 0; t + 1 < c.flow_steps; t++) {
    forms.push([`affine.${t}.hidden.0`, seen, c.prior_hidden, null]);
    forms.push([`affine.${t}.out`, c.prior_hidden + seen, 2 * c.latents, [[c.latents, -32768, 32768], [c.latents, -32, 63]]]);
  }
  if (c.flow_steps) {
    forms.push(['mixture.hidden.0', seen, c.prior_hidden, null], ['mixture.hidden.1', c.prior_hidden, c.prior_hidden, null]);
    forms.push(['mixture.out', c.prior_hidden + seen, countOf(prior), prior]);
  }
  for (let i = 0; i < c.layers; i++) forms.push([`local.hidden.${i}`, i ? c.hidden : local, c.hidden, null]);
  forms.push(['local.out', c.hidden + local, countOf(pixel), pixel]);
  for (const name of learns ? taught(c) : []) {
    const inputs = c.hidden + 1 + (name === 'out' ? local : 0);
    if (inputs > LEARN_WIDTH) throw malformed(`its layer ${name} is too wide to learn`);
    const rank = name === 'out' ? LEARN_RANK : LEARN_HIDDEN_RANK;
    forms.push([`${LEARN}${name}.down`, inputs, rank, null]);
    forms.push([`${LEARN}${name}.up`, rank, inputs, [[inputs, -LEARN_LIMIT, LEARN_LIMIT]]]);
  }
  return forms;
}

/**
 * How many pixels share one run of a layer.
 *
 * @param {string} name
 * @param {Config} config
 */
function pixelsOf(name, { stride }) {
  if (name.startsWith('local.')) return 1;
  if (name.startsWith(LEARN)) return Infinity; // only some files learn
  if (['encoder.stem', 'topdown.fine', 'topdown.out'].includes(name)) return 16;
  const reduction = /^encoder\.down\.(\d+)$/.exec(name);
  if (!reduction) return stride * stride;
  return REDUCTIONS[stride].slice(0, Number(reduction[1]) + 1).reduce((pixels, side) => pixels * side * side, 16);
}

/**
 * @param {Config} config
 * @param {Map<string, Tensor>} tensors
 */
function checkTensors(config, tensors) {
  const wanted = new Set();
  /**
   * @param {string} name
   * @param {'I8' | 'I32' | 'I64'} type
   * @param {...number[]} shapes
   */
  const expect = (name, type, ...shapes) => {
    const found = tensors.get(name);
    if (found?.type !== type || !shapes.some((shape) => String(shape) === String(found.shape))) throw malformed(`tensor ${name}`);
    wanted.add(name);
    return found;
  };
  for (const [name, type, length, low, high] of TABLES) checkRange(expect(`tables.${name}`, type, [length]), low, high);
  const sigmoid = viewOf(/** @type {Tensor} */ (tensors.get('tables.sigmoid')));
  for (let i = 4; i < sigmoid.byteLength; i += 4)
    if (sigmoid.getInt32(i, true) < sigmoid.getInt32(i - 4, true)) throw malformed('its table of the sigmoid');
  const { stride, context, flow_steps: steps } = config;
  expect('null', 'I8', [stride, stride, context], [context]);
  if (!steps) {
    const limits = parameterLimits(1, config.latents, false);
    const base = expect('base', 'I32', [1, countOf(limits)]);
    let at = 0;
    for (const [count, low, high] of limits)
      for (const end = at + count; at < end; at++) {
        const value = viewOf(base).getInt32(4 * at, true);
        if (value < low || value > high) throw malformed('tensor base');
      }
  }
  const layers = new Map();
  const learns = [...tensors.keys()].some((name) => name.startsWith(LEARN));
  let work = 0;
  for (const [name, inputs, outputs, limits] of layerForms(config, learns)) {
    if (inputs > 4096 || outputs > 4096) throw malformed(`the size of layer ${name}`);
    const weight = expect(`${name}.weight`, 'I8', [inputs, outputs], [inputs, 2 * outputs]);
    expect(`${name}.multiplier`, 'I64', [outputs]);
    expect(`${name}.addend`, 'I64', [outputs]);
    const shift = expect(`${name}.shift`, 'I64', [1]);
    checkRange(shift, 0, 40);
    const digits = weight.shape[1] / outputs;
    layers.set(name, { name, inputs, outputs, digits, shift: viewOf(shift).getInt32(0, true), limits });
    work += (inputs * outputs * digits) / pixelsOf(name, config);
  }
  const names = learns ? taught(config) : [];
  names.forEach((name, i) => {
    const { inputs, outputs, digits } = layers.get(`local.${name}`);
    if (digits !== (i ? 1 : 2)) throw malformed(`the layer ${name} has not the digits with which it could learn`);
    for (const [part, ofInputs, most] of LEARN_NUMBERS)
      if (part !== 'back' || i + 1 < names.length)
        checkRange(expect(`${LEARN}${name}.${part}`, 'I32', [ofInputs ? inputs + 1 : outputs]), 0, most);
  });
  if (names.length > 1) checkRange(expect(`${LEARN}slope`, 'I32', [layers.get('local.out').outputs]), 0, LEARN_SLOPE);
  if (config.styles[0]) {
    const local = [...layers.values()].filter(({ name }) => name.startsWith('local.'));
    const outputs = local.reduce((sum, layer) => sum + layer.outputs, 0);
    expect('styles', 'I8', [...config.styles, outputs]);
  }
  if (work > MOST_WORK) throw malformed(`it takes ${work} multiply-adds a pixel`);
  if (wanted.size !== tensors.size) throw malformed('it has tensors of no use');
  return { layers, work };
}

/**
 * @param {Tensor} tensor
 * @param {number} low
 * @param {number} high
 */
function checkRange(tensor, low, high) {
  const view = viewOf(tensor);
  const wide = tensor.type === 'I64';
  for (let i = 0; i < view.byteLength; i += wide ? 8 : 4) {
    const value = wide ? Number(view.getBigInt64(i, true)) : view.getInt32(i, true);
    if (value < low || value > high) throw malformed('a number is out of its range');
  }
}

/** @param {Tensor} tensor */
function viewOf({ data }) {
  return new DataView(data.buffer, data.byteOffset, data.byteLength);
}

/**
 * 16 hexadecimal digits that name a model by its configuration and integers.
 *
 * @param {Record<string, any>} given the configuration as the file has it
 * @param {Map<string, Tensor>} tensors
 */
function modelId(given, tensors) {
  const text = (/** @type {any} */ value) => (Array.isArray(value) ? `[${value.join(', ')}]` : String(value));
  const json = Object.keys(given).sort().map((name) => `"${name}": ${text(given[name])}`).join(', ');
  const encoder = new TextEncoder();
  /** @type {Uint8Array[]} */
  const parts = [encoder.encode(`{${json}}`)];
  for (const name of [...tensors.keys()].sort()) {
    const { type, shape, data } = /** @type {Tensor} */ (tensors.get(name));
    const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(', ')})`;
    parts.push(encoder.encode(`${name} ${NAMES[type]} ${tuple}`), data);
  }
  return hex(sha256(parts).subarray(0, 8));
}

/**
 * What a weight file says that it is, unverified: its id, '' if it says none, int8 products a pixel, and those that
 * learning takes beside, of the last layer alone and of all layers that can.
 *
 * @param {Uint8Array} file
 */
export function describeModel(file) {
  const { metadata, entries } = readSafetensors(file);
  const shapes = new Map(entries.map(([name, { shape }]) => [name, shape]));
  const products = (/** @type {string[]} */ names) => names.reduce((sum, name) => {
    const [rows, columns] = shapes.get(`${name}.weight`) ?? [0, 0];
    return sum + rows * columns;
  }, 0);
  const local = [...shapes.keys()].filter((name) => /^local\..*\.weight$/.test(name)).map((name) => name.replace(/\.weight$/, ''));
  let [last, whole] = [0, 0];
  for (const layer of local) {
    const own = layer.replace('local.', LEARN);
    const [inputs, outputs] = [`${own}.reduce`, `${layer}.addend`].map((name) => shapes.get(name)?.[0] ?? 0);
    const step = (outputs * products([`${own}.down`, `${own}.up`])) / LEARN_PIXELS;
    if (layer === 'local.out') last = outputs * inputs + step;
    whole += outputs * inputs * (shapes.has(`${own}.back`) ? 2 : 1) + step;
  }
  return { id: typeof metadata.id === 'string' ? metadata.id : '', work: products(local), last, whole };
}
