// Reads archives and writes a line of JSON for each: node archive.mjs MODEL FILE...; members in the order of the index.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { openArchive } from '../../web/src/index.js';

const [model, ...files] = process.argv.slice(2);
const options = { models: [new Uint8Array(readFileSync(model))], threads: 0 };
const digest = ({ data }) => createHash('sha256').update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)).digest('hex');
for (const file of files) {
  let line = [];
  try {
    const archive = await openArchive(new Uint8Array(readFileSync(file)));
    for (const member of archive.members) {
      const { pictures } = await archive.read(member, options);
      line.push([member.name, member.width, member.height, pictures.map(digest)]);
    }
  } catch (error) {
    line = { code: error.code ?? error.name, message: error.message };
  }
  console.log(JSON.stringify(line));
}
