import { crc32 } from './bytes.js';
import { Core } from './core.js';
import { VlaeError, corrupt, must } from './errors.js';
import { isBlank, keep, smaller } from './keep.js';
import { decodeRows, popCoefficients } from './jpeg.js';
import { readModel } from './model.js';
import { Networks } from './networks.js';
import { planesBeside, rebuild, triples } from './origins.js';
import { TilePusher } from './push.js';
import { restore } from './stored.js';
import { popTiles } from './tiles.js';

/** @typedef {import('./origins.js').Region} Region */

/**
 * Work on one stream or strip, which a worker does alone. Arrays in it are the job's own.
 *
 * @typedef {TilesJob | StoredJob | RebuildJob | MendJob | CoefficientsJob | RowsJob | EncodeJob | LookJob | KeepJob} Job
 *
 * @typedef {{kind: 'tiles', model: string, adapter: Uint8Array | null, key: string, channels: number, method: number,
 *   stream: Uint8Array, crc: number, shapes: [number, number][], levels: number, shift: number, learning: number, own: number,
 *   laneSymbols: number, side: import('./origins.js').Beside | null, conversion: number, escape: number}} TilesJob own: levels that the model must have; conversion: 0,
 *   or of the restricted form
 * @typedef {{kind: 'stored', method: number, stream: Uint8Array, crc: number, shapes: [number, number][],
 *   channels: number, levels: number}} StoredJob
 * @typedef {{kind: 'rebuild', origin: import('./origins.js').Origin, planes: Uint8Array[], width: number,
 *   height: number, region: Region}} RebuildJob
 * @typedef {{kind: 'mend', base: Uint8Array, height: number, width: number, stream: Uint8Array, crc: number}} MendJob
 * @typedef {{kind: 'coefficients', parameters: import('./jpeg.js').Parameters, shapes: [number, number][],
 *   stream: Uint8Array, crc: number}} CoefficientsJob
 * @typedef {{kind: 'rows', parameters: import('./jpeg.js').Parameters, blocks: Int16Array[], width: number,
 *   height: number, top: number, bottom: number}} RowsJob
 * @typedef {{model: string, adapter: Uint8Array | null, key: string, samples: Uint8Array, height: number, width: number,
 *   channels: number, levels: number, own: number}} TileJob a tile that is to be coded, and levels that the model must have
 * @typedef {TileJob & {kind: 'encode', laneSymbols: number}} EncodeJob
 * @typedef {TileJob & {kind: 'look', places: number[]}} LookJob what pixels at these places take
 * @typedef {{kind: 'keep', samples: Uint8Array, height: number, width: number, channels: number, levels: number}} KeepJob
 *
 * @typedef {Uint8Array | Uint16Array | Int16Array | Float64Array} Found
 */

const KEPT = 1 << 27; // bytes of models and sets that stay in memory between jobs
const MOST_NETWORKS = 40;

/** One instance of the core with what it has loaded. */
export class Engine {
  /**
   * @param {WebAssembly.Module} module
   * @param {number} limit bytes of memory
   */
  constructor(module, limit) {
    this.core = new Core(module, limit);
    this.begin = this.core.top;
    /** @type {Map<string, import('./model.js').Model>} */
    this.models = new Map();
    /** @type {Map<string, Networks>} */
    this.networks = new Map();
    /** @type {Map<string, import('./networks.js').Network>} */
    this.adapted = new Map();
    /** @type {Map<number, number>} */
    this.sets = new Map();
  }

  /** @param {Uint8Array} file a weight file */
  load(file) {
    const model = readModel(file);
    this.models.set(model.id, model);
    return model.id;
  }

  /**
   * The arrays that a job makes.
   *
   * @param {Job} job
   * @returns {Found[]}
   */
  run(job) {
    if (this.core.top > this.begin + KEPT || this.networks.size + this.adapted.size > MOST_NETWORKS) this.forget();
    if ('crc' in job && crc32(job.stream) !== job.crc) throw corrupt('wrong checksum');
    if (job.kind === 'stored') return restore(job.method, job.stream, job.shapes, job.channels, job.levels);
    if (job.kind === 'tiles') return this.tiles(job);
    if (job.kind === 'encode') return this.encode(job);
    if (job.kind === 'look') return [Float64Array.of(this.push(job, 32768, (pusher) => pusher.look(job.places)))];
    if (job.kind === 'keep') return told(keep(blockOf(job), job.levels, job.channels <= 4));
    return this.core.scoped(() => this.once(job));
  }

  /** @param {RebuildJob | MendJob | CoefficientsJob | RowsJob} job */
  once(job) {
    const { core } = this;
    switch (job.kind) {
      case 'rebuild':
        return [rebuild(core, job.origin, job.planes, job.width, job.height, job.region)];
      case 'mend':
        return [this.mend(job)];
      case 'coefficients':
        return popCoefficients(core, job.parameters, job.shapes, job.stream);
      case 'rows':
        return [decodeRows(core, job.parameters, job.blocks, job.width, job.height, job.top, job.bottom)];
    }
  }

  /**
   * The networks of a job's model.
   *
   * @param {TilesJob | TileJob} job
   */
  networksOf(job) {
    const model = this.models.get(job.model);
    if (!model) throw new VlaeError('UnknownModel', `the model ${job.model} is not there`);
    const { config } = model;
    const fits = config.levels === job.own && config.channels >= job.channels && (!config.side || config.channels === 1);
    must(fits, 'the model does not code such planes');
    let networks = this.networks.get(job.model);
    if (!networks) {
      networks = new Networks(this.core, model);
      this.networks.set(job.model, networks);
    }
    return networks;
  }

  /**
   * The local network of a job, changed by its adapter if it has one.
   *
   * @param {TilesJob | TileJob} job
   * @param {Networks} networks of its model
   */
  localOf({ adapter, key, model }, networks) {
    if (!adapter) return networks.local;
    const name = `${key} ${model}`;
    const local = this.adapted.get(name) ?? networks.adapted(adapter);
    this.adapted.set(name, local);
    return local;
  }

  /**
   * What is done with a tile that is to be coded.
   *
   * @template T
   * @param {TileJob} job
   * @param {number} laneSymbols
   * @param {(pusher: TilePusher) => T} work
   */
  push(job, laneSymbols, work) {
    const networks = this.networksOf(job);
    const { samples, height, width, channels: coded, levels } = job;
    const coding = { levels, shift: 0, coded, laneSymbols, side: [], set: 0, learn: 0, escape: 0 };
    const local = this.localOf(job, networks);
    return this.core.scoped(() => work(new TilePusher(networks, local, coding, samples, height, width)));
  }

  /** @param {EncodeJob} job */
  encode(job) {
    const block = blockOf(job);
    if (isBlank(block)) return told(keep(block, job.levels, true));
    return told(smaller(this.push(job, job.laneSymbols, (pusher) => pusher.code()), block, job.levels));
  }

  /** @param {TilesJob} job */
  tiles(job) {
    const networks = this.networksOf(job);
    const { config } = networks.model;
    const local = this.localOf(job, networks);
    let set = 0;
    if (job.conversion) {
      set = this.sets.get(job.conversion) ?? triples(this.core, job.conversion);
      this.sets.set(job.conversion, set);
    }
    const side = job.side ? planesBeside(job.side).slice(0, config.side) : [];
    must(side.length === config.side, 'a model of planes that are not there');
    const { levels, shift, channels: coded, laneSymbols, escape } = job;
    const learn = job.learning ? networks.learning(job.learning) : 0;
    const coding = { levels, shift, coded, laneSymbols, side, set, learn, escape };
    return this.core.scoped(() => popTiles(networks, local, coding, job.method, job.stream, job.shapes));
  }

  /** @param {MendJob} job */
  mend({ base, height, width, stream }) {
    const { core } = this;
    const damaged = 'the exceptions of a tile are damaged';
    const size = core.call('residual_scratch', damaged, height, width);
    const [from, out] = [core.put(base), core.alloc(base.length)];
    core.bytes(out, base.length).fill(0);
    const data = core.put(stream);
    core.call('residual_decode', damaged, from, out, height, width, data, BigInt(stream.length), core.alloc(size), BigInt(size));
    return core.bytes(out, base.length).slice();
  }

  /** Gives back the memory of all networks. */
  forget() {
    this.networks.clear();
    this.adapted.clear();
    this.sets.clear();
    this.core.top = this.begin;
  }
}

/**
 * @param {TileJob | KeepJob} job
 * @returns {import('./keep.js').Block}
 */
function blockOf({ samples, height, width, channels }) {
  return { data: samples, rows: height, columns: width, channels };
}

/**
 * A stream as a job's answer: its bytes; its method, and whether it is the Python package's, or perhaps larger.
 *
 * @param {import('./keep.js').Kept} kept
 * @returns {Found[]}
 */
function told({ method, stream, same, larger }) {
  return [stream, Uint8Array.of(method, Number(same), Number(larger))];
}
