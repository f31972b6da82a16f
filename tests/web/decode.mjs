// Decodes files and writes a line of JSON for each: node decode.mjs OPTIONS FILE...; OPTIONS as JSON.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { decode, toPng } from '../../web/src/index.js';

const [given, ...files] = process.argv.slice(2);
const { models = [], png = '', ...options } = JSON.parse(given);
options.models = models.map((path) => new Uint8Array(readFileSync(path)));
const digest = (array) => createHash('sha256').update(new Uint8Array(array.buffer, array.byteOffset, array.byteLength)).digest('hex');
for (const file of files) {
  let line;
  try {
    const { pictures } = await decode(new Uint8Array(readFileSync(file)), options);
    const metadata = (picture) => Object.fromEntries(Object.entries(picture.metadata).map(([name, value]) => [name, Buffer.from(value).toString('hex')]));
    line = pictures.map((picture) => [picture.width, picture.height, picture.mode, picture.levels, digest(picture.data), metadata(picture)]);
    if (png) (await import('node:fs')).writeFileSync(png, (await toPng(pictures[0])).data);
  } catch (error) {
    line = { code: error.code ?? error.name, message: error.message };
  }
  console.log(JSON.stringify(line));
}
