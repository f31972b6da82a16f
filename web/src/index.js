import { settings } from './decode.js';
import { nodeThread, webThread } from './pool.js';

/** What this package is used by; see docs/web.md. */
export { openArchive } from './archive.js';
export { decode, inspect } from './decode.js';
export { encode } from './encode.js';
export { VlaeError } from './errors.js';
export { toRgba } from './show.js';
export { toPng } from './png.js';

const node = typeof process !== 'undefined' && process.versions?.node !== undefined;

/** @param {string} path from the root of the package */
async function load(path) {
  const url = new URL(`../${path}`, import.meta.url);
  if (node) {
    const { readFile } = await import('node:fs/promises');
    return new Uint8Array(await readFile(url));
  }
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} cannot be read: ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

/** @type {Map<string, Promise<Uint8Array>>} */
const models = new Map();

settings.loadCore = async () => WebAssembly.compile(await load('core.wasm'));
const names = async () => /** @type {Record<string, string>} */ (JSON.parse(new TextDecoder().decode(await load('weights/index.json'))));
settings.loadNamed = async (name) => {
  const found = Object.entries(await names()).find(([, file]) => file === `${name}.safetensors`);
  return found ? settings.loadModel(found[0]) : null;
};
settings.loadModel = async (id) => {
  const files = await names();
  if (!Object.hasOwn(files, id)) return null;
  const known = models.get(id) ?? load(`weights/${files[id]}`);
  models.set(id, known);
  return known;
};
const script = new URL('./thread.js', import.meta.url);
settings.makeThread = node ? nodeThread(script) : webThread(() => new Worker(script, { type: 'module' }));
if (!node) settings.threads = Math.max(1, Math.min(8, navigator.hardwareConcurrency || 2));
else settings.threads = 2;
