import { decode } from './index.js';
import { toRgba } from './show.js';

/**
 * `<vlae-img src="photo.vlae" alt="...">`: shows the first picture of a file. Events: `load`, and `error` with the
 * VlaeError as its `detail`. `decoded` is the promise of what `decode` returns.
 */
export class VlaeImage extends HTMLElement {
  static observedAttributes = ['src', 'alt'];

  constructor() {
    super();
    this.canvas = document.createElement('canvas');
    this.canvas.style.cssText = 'max-width: 100%; display: block';
    this.attachShadow({ mode: 'open' }).append(this.canvas);
    /** @type {AbortController | null} */
    this.running = null;
    /** @type {Promise<import('./decode.js').Decoded> | null} */
    this.decoded = null;
  }

  /**
   * @param {string} name
   * @param {string | null} before
   * @param {string | null} value
   */
  attributeChangedCallback(name, before, value) {
    if (name === 'alt') {
      this.canvas.setAttribute('role', 'img');
      this.canvas.setAttribute('aria-label', value ?? '');
    } else if (before !== value) {
      this.running?.abort();
      if (value) this.decoded = this.show(value);
    }
  }

  disconnectedCallback() {
    this.running?.abort();
  }

  /** @param {string} src */
  async show(src) {
    const running = new AbortController();
    this.running = running;
    try {
      const response = await fetch(src, { signal: running.signal });
      if (!response.ok) throw new Error(`${src} cannot be read: ${response.status}`);
      const found = await decode(await response.arrayBuffer(), {
        signal: running.signal,
        onStart: ([{ width, height }]) => ([this.canvas.width, this.canvas.height] = [width, height]),
        onTile: ({ picture, region, so }) => void (picture === 0 && this.paint(so, region)),
      });
      this.paint(found, { x: 0, y: 0, width: found.width, height: found.height });
      this.dispatchEvent(new Event('load'));
      return found;
    } catch (error) {
      if (!running.signal.aborted) this.dispatchEvent(new CustomEvent('error', { detail: error }));
      throw error;
    }
  }

  /**
   * @param {import('./decode.js').Picture} picture
   * @param {import('./origins.js').Region} region
   */
  paint(picture, region) {
    const context = this.canvas.getContext('2d');
    const rows = 128;
    for (let y = region.y; y < region.y + region.height; y += rows) {
      const part = { ...region, y, height: Math.min(rows, region.y + region.height - y) };
      context?.putImageData(new ImageData(toRgba(picture, part), part.width, part.height), part.x, part.y);
    }
  }
}

customElements.define('vlae-img', VlaeImage);
