// Compares LZMA2 and WebP streams of a folder with what they hold, and prints how many are the same.
import { readFileSync, readdirSync } from 'node:fs';
import { unpackLzma2 } from '../../web/src/lzma2.js';
import { unpackWebp } from '../../web/src/webp.js';

const folder = process.argv[2];
let same = 0;
for (const name of readdirSync(folder)) {
  const [number, kind] = name.split('.');
  const data = new Uint8Array(readFileSync(`${folder}/${name}`));
  if (kind === 'lzma') {
    const raw = readFileSync(`${folder}/${number}.raw`);
    same += Number(raw.equals(unpackLzma2(data, raw.length)));
  } else if (kind === 'webp') {
    const pixels = readFileSync(`${folder}/${number}.pixels`);
    same += Number(pixels.equals(unpackWebp(data.subarray(4), data[2] + 256 * data[3], data[0] + 256 * data[1])));
  }
}
console.log(same);
