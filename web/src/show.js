/** @typedef {import('./decode.js').Picture} Picture */
/** @typedef {import('./origins.js').Region} Region */

/**
 * The values that are shown as black and white: those that unsigned samples can have, of others the least and the
 * largest that there are.
 *
 * @param {Picture} picture
 * @param {boolean} [observed] also of unsigned samples those that there are
 * @returns {[number, number]}
 */
export function rangeOf(picture, observed = false) {
  if (picture.type === 'unsigned' && !observed) return [0, picture.levels - 1];
  let [low, high] = [Infinity, -Infinity];
  for (let i = 0; i < picture.data.length; i++) {
    const value = sampleAt(picture, i);
    if (!Number.isFinite(value)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return low < high ? [low, high] : Number.isFinite(low) ? [low, low + 1] : [0, 1];
}

/**
 * @param {Picture} picture
 * @param {number} i
 */
function sampleAt({ data, type }, i) {
  return type === 'float16' ? half(data[i]) : data[i];
}

/** @param {number} bits of a float16 */
function half(bits) {
  const sign = bits & 32768 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction);
}

/**
 * Colours of a picture, or a part of it, for a screen: red, green, blue and alpha of 8 bits. Wider samples are scaled;
 * CMYK, LAB and the like are converted without a profile.
 *
 * @param {Picture} picture
 * @param {Region} [region]
 * @param {[number, number]} [range] values shown as black and white
 * @returns {Uint8ClampedArray<ArrayBuffer>}
 */
export function toRgba(picture, region = { x: 0, y: 0, width: picture.width, height: picture.height }, range = rangeOf(picture)) {
  const { mode, width, channels } = picture;
  const out = new Uint8ClampedArray(4 * region.width * region.height);
  const paint = painterOf(picture, mode, channels);
  const [low, high] = range;
  const plain = picture.type === 'unsigned' && picture.levels === 256 && low === 0 && high === 255;
  const indexed = mode === 'P' || mode === 'PA';
  const sample = new Float64Array(channels);
  for (let y = 0, at = 0; y < region.height; y++)
    for (let x = 0, i = ((region.y + y) * width + region.x) * channels; x < region.width; x++, i += channels, at += 4) {
      for (let c = 0; c < channels; c++)
        sample[c] = plain || indexed ? picture.data[i + c] : ((sampleAt(picture, i + c) - low) * 255) / (high - low);
      paint(sample, out, at);
    }
  return out;
}

/** @typedef {(s: Float64Array, out: Uint8ClampedArray, at: number) => void} Painter puts a pixel of samples 0 .. 255 */

/**
 * @param {Picture} picture
 * @param {string} mode
 * @param {number} channels
 * @returns {Painter}
 */
function painterOf(picture, mode, channels) {
  /** @type {(out: Uint8ClampedArray, at: number, r: number, g: number, b: number, a: number) => void} */
  const put = (out, at, r, g, b, a) => {
    out[at] = r;
    out[at + 1] = g;
    out[at + 2] = b;
    out[at + 3] = a;
  };
  switch (mode) {
    case 'LA':
      return (s, out, at) => put(out, at, s[0], s[0], s[0], s[1]);
    case 'RGB':
    case 'RGBX':
      return (s, out, at) => put(out, at, s[0], s[1], s[2], 255);
    case 'RGBA':
      return (s, out, at) => put(out, at, s[0], s[1], s[2], s[3]);
    case 'La':
      return (s, out, at) => put(out, at, (s[0] * 255) / s[1], (s[0] * 255) / s[1], (s[0] * 255) / s[1], s[1]);
    case 'RGBa':
      return (s, out, at) => put(out, at, (s[0] * 255) / s[3], (s[1] * 255) / s[3], (s[2] * 255) / s[3], s[3]);
    case 'P':
    case 'PA': {
      const palette = picture.palette ?? { colours: 1, channels: 3, data: new Uint8Array(3) };
      return (s, out, at) => {
        const i = Math.min(s[0], palette.colours - 1) * palette.channels;
        const [r, g, b, a] = palette.data.subarray(i, i + palette.channels);
        put(out, at, r, g, b, mode === 'PA' ? (s[1] * 255) / (picture.levels - 1) : (a ?? 255));
      };
    }
    case 'CMYK':
      return (s, out, at) => put(out, at, ...inked(s), 255);
    case 'YCbCr':
      return (s, out, at) =>
        put(out, at, s[0] + 1.402 * (s[2] - 128), s[0] - 0.344136 * (s[1] - 128) - 0.714136 * (s[2] - 128), s[0] + 1.772 * (s[1] - 128), 255);
    case 'LAB':
      return (s, out, at) => put(out, at, ...fromLab(s), 255);
    case 'HSV':
      return (s, out, at) => put(out, at, ...fromHsv(s), 255);
    case 'bands':
      if (channels > 2) return (s, out, at) => put(out, at, s[0], s[1], s[2], 255);
  }
  return (s, out, at) => put(out, at, s[0], s[0], s[0], 255);
}

/**
 * @param {Float64Array} s
 * @returns {[number, number, number]}
 */
function inked(s) {
  const light = (255 - s[3]) / 255;
  return [(255 - s[0]) * light, (255 - s[1]) * light, (255 - s[2]) * light];
}

/**
 * @param {Float64Array} s hue, saturation and value
 * @returns {[number, number, number]}
 */
function fromHsv([h, s, v]) {
  const of = (/** @type {number} */ n) => {
    const k = (n + (h * 6) / 255) % 6;
    return v - ((v * s) / 255) * Math.max(0, Math.min(k, 4 - k, 1));
  };
  return [of(5), of(3), of(1)];
}

/**
 * sRGB of CIELAB (D50), a and b being signed bytes, by the usual formulas.
 *
 * @param {Float64Array} s
 * @returns {[number, number, number]}
 */
function fromLab(s) {
  const signed = (/** @type {number} */ v) => (v > 127 ? v - 256 : v);
  const fy = ((s[0] * 100) / 255 + 16) / 116;
  const cube = (/** @type {number} */ t) => (t > 6 / 29 ? t ** 3 : 3 * (6 / 29) ** 2 * (t - 4 / 29));
  const [x, y, z] = [0.9642 * cube(fy + signed(s[1]) / 500), cube(fy), 0.8249 * cube(fy - signed(s[2]) / 200)];
  const linear = [3.1339 * x - 1.6169 * y - 0.4906 * z, -0.9788 * x + 1.9161 * y + 0.0335 * z, 0.0719 * x - 0.229 * y + 1.4052 * z];
  const [r, g, b] = linear.map((v) => 255 * (v <= 0.0031308 ? 12.92 * v : 1.055 * Math.max(v, 0) ** (1 / 2.4) - 0.055));
  return [r, g, b];
}
