import { crc32 } from './bytes.js';
import { Core } from './core.js';
import { VlaeError, corrupt, must } from './errors.js';
import { decodeRows, popCoefficients } from './jpeg.js';
import { readModel } from './model.js';
import { Networks } from './networks.js';
import { planesBeside, rebuild, triples } from './origins.js';
import { restore } from './stored.js';
import { popTiles } from './tiles.js';

/** @typedef {import('./origins.js').Region} Region */

/**
 * Work on one stream or strip, which a worker does alone. Arrays in it are the job's own.
 *
 * @typedef {TilesJob | StoredJob | RebuildJob | MendJob | CoefficientsJob | RowsJob} Job
 *
 * @typedef {{kind: 'tiles', model: string, adapter: Uint8Array | null, key: string, channels: number, method: number,
 *   stream: Uint8Array, crc: number, shapes: [number, number][], levels: number, shift: number, own: number, laneSymbols: number,
 *   side: import('./origins.js').Beside | null, conversion: number, escape: number}} TilesJob own: levels that the model must have; conversion: 0,
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
 *
 * @typedef {Uint8Array | Uint16Array | Int16Array} Found
 */

const KEPT = 1 << 27; // bytes of models and sets that stay in memory between jobs
const MOST_NETWORKS = 8;

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

  /** @param {TilesJob} job */
  tiles(job) {
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
    let { local } = networks;
    if (job.adapter) {
      const key = `${job.key} ${job.model}`;
      const known = this.adapted.get(key);
      local = known ?? networks.adapted(job.adapter);
      this.adapted.set(key, local);
    }
    let set = 0;
    if (job.conversion) {
      set = this.sets.get(job.conversion) ?? triples(this.core, job.conversion);
      this.sets.set(job.conversion, set);
    }
    const side = job.side ? planesBeside(job.side).slice(0, config.side) : [];
    must(side.length === config.side, 'a model of planes that are not there');
    const { levels, shift, channels: coded, laneSymbols, escape } = job;
    const coding = { levels, shift, coded, laneSymbols, side, set, escape };
    const found = networks;
    return this.core.scoped(() => popTiles(found, local, coding, job.method, job.stream, job.shapes));
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
