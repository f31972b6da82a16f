import { serve } from './worker.js';

/** What a worker of this package runs, in browsers and in Node. */
async function start() {
  if (typeof self !== 'undefined' && typeof self.postMessage === 'function') {
    const scope = /** @type {any} */ (self);
    const answer = serve((reply, transfer) => scope.postMessage(reply, transfer));
    scope.onmessage = (/** @type {MessageEvent} */ event) => answer(event.data);
    return;
  }
  const { parentPort } = await import('node:worker_threads');
  const answer = serve((reply, transfer) => parentPort?.postMessage(reply, transfer));
  parentPort?.on('message', answer);
}

start();
