// Compresses files as zlib does, or to LZMA2, and writes what comes out: node packed.mjs FOLDER. FOLDER has cases.json,
// [file, level, window bits, filtered] each; level 0 stands for LZMA2.
import { readFileSync, writeFileSync } from 'node:fs';
import { inflate } from '../../web/src/inflate.js';
import { packLzma2 } from '../../web/src/packlzma2.js';
import { zlibCompress } from '../../web/src/zlib.js';

const folder = process.argv[2];
const states = [];
JSON.parse(readFileSync(`${folder}/cases.json`, 'utf8')).forEach(([file, level, window, filtered], i) => {
  const data = new Uint8Array(readFileSync(`${folder}/${file}`));
  const made = level ? zlibCompress(data, level, window, filtered) : packLzma2(data, 3, 8);
  writeFileSync(`${folder}/${i}.out`, made);
  if (!level) return;
  const { data: back, state } = inflate(made, data.length);
  const cut = inflate(made.subarray(0, made.length - 1), data.length).state;
  const more = data.length ? inflate(made, data.length - 1).state : 'more';
  states.push(`${Buffer.from(back).equals(Buffer.from(data))} ${state} ${cut} ${more}`);
});
console.log([...new Set(states)].join('\n'));
