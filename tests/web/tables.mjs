// Prints shift and tables of all conversions: node tables.mjs.
import { ORIGIN_WORDS, formula } from '../../web/src/origins.js';

const all = ORIGIN_WORDS.slice(1).map((words, i) => {
  const [tables, shift] = formula(i + 1);
  return [words, shift, Array.from(tables)];
});
console.log(JSON.stringify(all));
