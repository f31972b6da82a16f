// Compresses files and writes a line of JSON for each: node encode.mjs OPTIONS FILE...; OPTIONS as JSON.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { encode } from '../../web/src/index.js';

const [given, ...files] = process.argv.slice(2);
const { model = '', again = false, stop = '', ...options } = JSON.parse(given);
if (model) options.model = new Uint8Array(readFileSync(model));
const digest = (data) => createHash('sha256').update(data).digest('hex');
for (const file of files) {
  let line;
  const seen = [];
  const controller = new AbortController();
  options.signal = controller.signal;
  options.onProgress = ({ done, total }) => {
    seen.push(done / total);
    if (stop === 'tile') controller.abort();
  };
  if (stop === 'start') controller.abort();
  try {
    const found = await encode(new Uint8Array(readFileSync(file)), options);
    const { same, larger, notes } = found;
    line = { digest: digest(found.data), size: found.data.length, same, larger, notes, progress: seen.at(-1) ?? 0 };
    if (again) line.again = digest((await encode(found.picture, options)).data);
  } catch (error) {
    line = { code: error.code ?? error.name, message: error.message };
  }
  console.log(JSON.stringify(line));
}
