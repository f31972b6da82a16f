// What learning takes, and its names: node learning.mjs WEIGHTS FILE...; a line of JSON with the work of the weight file,
// then one a file with what its bytes are for.
import { readFileSync } from 'node:fs';
import { inspect } from '../../web/src/index.js';
import { describeModel } from '../../web/src/model.js';

const [weights, ...files] = process.argv.slice(2).map((path) => new Uint8Array(readFileSync(path)));
console.log(JSON.stringify(describeModel(weights)));
for (const file of files) console.log(JSON.stringify(Object.keys((await inspect(file)).sizes)));
