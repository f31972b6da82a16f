import { VlaeError, corrupt } from './errors.js';

const PAGE = 65536;
const ALIGNMENT = 64;
const SIZES = { p: 4, i: 4, l: 8 };

/** @typedef {Uint8Array | Int8Array | Uint16Array | Int16Array | Uint32Array | Int32Array | BigInt64Array | BigUint64Array} Numbers */

/** The C core, compiled to WebAssembly, and its memory, which grows upwards and is given back in one step. */
export class Core {
  /**
   * @param {WebAssembly.Module} module
   * @param {number} limit bytes that its memory may have
   */
  constructor(module, limit) {
    /** @type {any} */
    const exported = new WebAssembly.Instance(module, {}).exports;
    exported.__wasm_call_ctors();
    if (exported.vlae_abi() !== 6) throw new VlaeError('Unsupported', 'the WebAssembly core is of another version');
    this.exported = exported;
    /** @type {WebAssembly.Memory} */
    this.memory = exported.memory;
    this.limit = limit;
    this.top = Math.ceil(exported.__heap_base.value / ALIGNMENT) * ALIGNMENT;
  }

  /**
   * The address of so many bytes, unset; they count from `top` on, to which a caller resets it.
   *
   * @param {number} size
   */
  alloc(size) {
    const at = this.top;
    const end = at + Math.ceil(size / ALIGNMENT) * ALIGNMENT;
    const missing = Math.ceil((end - this.memory.buffer.byteLength) / PAGE);
    if (missing > 0) {
      const tooMuch = new VlaeError('ImageTooLarge', `a tile needs ${end} bytes of memory, over the limit of ${this.limit}`);
      if (end > this.limit) throw tooMuch;
      try {
        this.memory.grow(missing);
      } catch {
        throw tooMuch;
      }
    }
    this.top = end;
    return at;
  }

  /**
   * The result of a function, after which all memory is given back that it allocated.
   *
   * @template T
   * @param {() => T} work
   */
  scoped(work) {
    const top = this.top;
    try {
      return work();
    } finally {
      this.top = top;
    }
  }

  /**
   * A view of memory, which ends with the next allocation.
   *
   * @param {number} at
   * @param {number} length
   */
  bytes(at, length) {
    return new Uint8Array(this.memory.buffer, at, length);
  }

  /**
   * @param {number} at
   * @param {number} length
   */
  words(at, length) {
    return new Int32Array(this.memory.buffer, at, length);
  }

  /**
   * The address of a copy of an array, with so many bytes more behind it.
   *
   * @param {Numbers} array
   * @param {number} [more]
   */
  put(array, more = 0) {
    const at = this.alloc(array.byteLength + more);
    this.bytes(at, array.byteLength).set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
    return at;
  }

  /**
   * The address of a struct. form: a letter a field, `p` a pointer, `i` int32_t, `l` int64_t.
   *
   * @param {string} form
   * @param {number[]} values
   */
  struct(form, values) {
    if (form.length !== values.length) throw new Error(`a struct of ${form.length} fields, not ${values.length}`);
    const at = this.alloc(8 * form.length + 8);
    const view = new DataView(this.memory.buffer, at);
    let offset = 0;
    for (let i = 0; i < form.length; i++) {
      const size = SIZES[/** @type {'p' | 'i' | 'l'} */ (form[i])];
      offset = Math.ceil(offset / size) * size;
      if (size === 8) view.setBigInt64(offset, BigInt(values[i]), true);
      else view.setInt32(offset, values[i], true);
      offset += size;
    }
    return at;
  }

  /**
   * What a function returns; throws for an error of it.
   *
   * @param {string} name without `vlae_`
   * @param {string} what it works on, for the message
   * @param {...(number | bigint)} values bigint for int64_t
   * @returns {number}
   */
  call(name, what, ...values) {
    const result = Number(this.exported[`vlae_${name}`](...values));
    if (result >= 0) return result;
    if (result === -1) throw corrupt(`the coded stream of ${what} ran out`);
    if (result === -3) throw new VlaeError('WeightsError', `${what} can exceed the bound of its sums, or is malformed`);
    throw corrupt(`${what} has a length or a number out of range`);
  }
}
