const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%.()*+-;,=:?@^_`{|}~'; // those of web/page.py
const VALUES = new Uint8Array(128);
for (let i = 0; i < 85; i++) VALUES[DIGITS.charCodeAt(i)] = i;

/**
 * Puts the bytes that digits of base 85 stand for, four for five of them, where they belong in all.
 *
 * @param {string} text
 * @param {number} begin a multiple of five, as is `end`
 * @param {number} end
 * @param {Uint8Array} out
 */
export function readDigits(text, begin, end, out) {
  const view = new DataView(out.buffer);
  for (let i = begin, at = (begin / 5) * 4; i < end; i += 5, at += 4) {
    let value = 0;
    for (let k = 0; k < 5; k++) value = value * 85 + VALUES[text.charCodeAt(i + k)];
    view.setUint32(at, value);
  }
}
