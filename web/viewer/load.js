import { unpackLzma2 } from '../src/lzma2.js';
import { readDigits } from './digits.js';

/** Runs the code of the page, which the element before holds packed: the policy knows its hash. */
function load() {
  const held = /** @type {HTMLElement} */ (document.getElementById('packed'));
  const text = held.textContent ?? '';
  const data = new Uint8Array((text.length / 5) * 4);
  readDigits(text, 0, text.length, data);
  const code = document.createElement('script');
  code.id = 'code';
  code.textContent = new TextDecoder().decode(unpackLzma2(data.subarray(0, Number(held.dataset.size)), Number(held.dataset.whole)));
  held.replaceWith(code);
}

load();
