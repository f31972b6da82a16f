import { VlaeError } from './errors.js';
import { serve } from './worker.js';

/**
 * What a pool sees of a worker; awake: whether it keeps the process alive.
 *
 * @typedef {Object} Thread
 * @property {(message: any) => void} post
 * @property {() => void} stop
 * @property {(awake: boolean) => void} keep
 *
 * @callback MakeThread
 * @param {(reply: import('./worker.js').Reply) => void} answered
 * @param {(error: Error) => void} broken
 * @returns {Thread | Promise<Thread>}
 */

/**
 * A worker and what it has.
 *
 * @typedef {Object} Member
 * @property {Thread} thread
 * @property {Set<string>} models
 * @property {Task | null} task
 *
 * @typedef {Object} Task
 * @property {() => import('./engine.js').Job} make called when a worker takes it, so that few jobs are in memory at a time
 * @property {() => number} rank tasks of lower rank are done first
 * @property {Uint8Array | null} weights of the job's model
 * @property {(found: import('./engine.js').Found[]) => void} resolve
 * @property {(error: Error) => void} reject
 */

const CONSIDERED = 4096; // tasks among which the next one is chosen

/** Workers that decode and make streams. */
export class Pool {
  /**
   * @param {WebAssembly.Module} module
   * @param {number} size workers; 0: the calling thread does the work
   * @param {number} limit bytes of memory of each
   * @param {MakeThread} makeThread
   */
  constructor(module, size, limit, makeThread) {
    this.module = module;
    this.size = size;
    this.limit = limit;
    this.makeThread = size ? makeThread : makeLocal;
    /** @type {Task[]} */
    this.waiting = [];
    this.head = 0; // the first that waits
    /** @type {Member[]} */
    this.members = [];
    this.starting = 0;
    /** @type {Error | null} */
    this.ended = null;
  }

  /**
   * The arrays that a job makes, in some worker.
   *
   * @param {() => import('./engine.js').Job} make the job
   * @param {() => number} rank
   * @param {Uint8Array | null} [weights] of its model
   * @returns {Promise<import('./engine.js').Found[]>}
   */
  run(make, rank, weights = null) {
    return new Promise((resolve, reject) => {
      if (this.ended) {
        reject(this.ended);
        return;
      }
      this.waiting.push({ make, rank, weights, resolve, reject });
      this.next();
    });
  }

  next() {
    while (this.head < this.waiting.length && !this.ended) {
      const free = this.members.find((member) => !member.task);
      if (!free) {
        if (this.members.length + this.starting < Math.max(this.size, 1)) this.grow();
        return;
      }
      const task = this.pick();
      free.task = task;
      const job = task.make();
      if ('model' in job && task.weights && !free.models.has(job.model)) {
        free.models.add(job.model);
        free.thread.post({ weights: task.weights });
      }
      free.thread.post({ job });
    }
  }

  /** The task of the lowest rank, of those that have waited longest. */
  pick() {
    const { waiting, head } = this;
    let best = head;
    let least = Infinity;
    for (let i = head; i < Math.min(waiting.length, head + CONSIDERED) && least > 0; i++) {
      const rank = waiting[i].rank();
      if (rank < least) [best, least] = [i, rank];
    }
    const task = waiting[best];
    waiting[best] = waiting[head];
    this.head++;
    if (this.head === waiting.length) {
      this.waiting = [];
      this.head = 0;
    }
    return task;
  }

  async grow() {
    this.starting++;
    /** @type {Member | null} */
    let member = null;
    try {
      const thread = await this.makeThread(
        (reply) => member && this.answered(member, reply),
        (error) => this.end(error),
      );
      if (this.ended) {
        thread.stop();
        return;
      }
      member = { thread, models: new Set(), task: null };
      thread.post({ module: this.module, limit: this.limit });
      this.members.push(member);
    } catch (error) {
      this.end(/** @type {Error} */ (error));
      return;
    } finally {
      this.starting--;
    }
    this.next();
  }

  /**
   * @param {Member} member
   * @param {import('./worker.js').Reply} reply
   */
  answered(member, reply) {
    const { task } = member;
    member.task = null;
    if (!task) return;
    if ('found' in reply) task.resolve(reply.found);
    else task.reject(new VlaeError(/** @type {any} */ (reply.code), reply.message));
    this.next();
  }

  /**
   * Whether the workers keep the process alive.
   *
   * @param {boolean} awake
   */
  keep(awake) {
    for (const { thread } of this.members) thread.keep(awake);
  }

  /**
   * Stops all workers. Jobs that are not done fail with the error.
   *
   * @param {Error} error
   */
  end(error) {
    if (this.ended) return;
    this.ended = error;
    for (const { thread, task } of this.members) {
      thread.stop();
      task?.reject(error);
    }
    for (const task of this.waiting.slice(this.head)) task.reject(error);
    this.waiting = [];
    this.head = 0;
    this.members = [];
  }
}

/** @type {MakeThread} The calling thread as a worker. */
function makeLocal(answered) {
  const answer = serve((reply) => queueMicrotask(() => answered(reply)));
  return { post: answer, stop() {}, keep() {} };
}

/**
 * A worker of a script.
 *
 * @param {() => Worker} make
 * @returns {MakeThread}
 */
export function webThread(make) {
  return (answered, broken) => {
    const worker = make();
    worker.onmessage = (event) => answered(event.data);
    worker.onerror = (event) => broken(new Error(event.message || 'a worker does not start'));
    return { post: (message) => worker.postMessage(message), stop: () => worker.terminate(), keep() {} };
  };
}

/**
 * A worker of Node.
 *
 * @param {URL} script
 * @returns {MakeThread}
 */
export function nodeThread(script) {
  return async (answered, broken) => {
    const { Worker } = await import('node:worker_threads');
    const worker = new Worker(script, { execArgv: [] }); // --input-type is for the caller's script alone
    worker.on('message', answered);
    worker.on('error', broken);
    return {
      post: (message) => worker.postMessage(message),
      stop: () => void worker.terminate(),
      keep: (awake) => (awake ? worker.ref() : worker.unref()),
    };
  };
}
