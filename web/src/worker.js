import { Engine } from './engine.js';
import { VlaeError } from './errors.js';

/**
 * A message to a worker: first that it starts with, then weight files and jobs; and its answers to jobs.
 *
 * @typedef {{module: WebAssembly.Module, limit: number} | {weights: Uint8Array} | {job: import('./engine.js').Job}} Request
 * @typedef {{found: import('./engine.js').Found[]} | {code: string, message: string}} Reply
 */

/**
 * What answers the messages of a pool.
 *
 * @param {(reply: Reply, transfer: ArrayBuffer[]) => void} send
 * @returns {(request: Request) => void}
 */
export function serve(send) {
  /** @type {Engine | undefined} */
  let engine;
  /** @type {Error | undefined} */
  let failed; // what a weight file failed with, which the next job tells
  return (request) => {
    try {
      if ('module' in request) engine = new Engine(request.module, request.limit);
      else if (!engine) throw new Error('a worker has no core');
      else if ('weights' in request) engine.load(request.weights);
      else {
        if (failed) throw failed;
        const found = engine.run(request.job);
        send({ found }, found.map((array) => /** @type {ArrayBuffer} */ (array.buffer)));
      }
    } catch (thrown) {
      const error = thrown instanceof Error ? thrown : new Error(String(thrown));
      if (!('job' in request)) {
        failed = error;
        return;
      }
      failed = undefined;
      const code = error instanceof VlaeError ? error.code : error instanceof RangeError ? 'ImageTooLarge' : 'CorruptFile';
      send({ code, message: error.message }, []);
    }
  };
}
