/**
 * What can be wrong, by the names that the Python package has for it; `Unsupported` is what this module cannot do.
 *
 * @typedef {'NotAVlaeFile' | 'UnsupportedVersion' | 'TruncatedFile' | 'CorruptFile' | 'ImageTooLarge' | 'UnknownModel'
 *   | 'WeightsError' | 'InputError' | 'Aborted' | 'Unsupported'} ErrorCode
 */

/** An error of this module. Its `code` says of which kind. */
export class VlaeError extends Error {
  /**
   * @param {ErrorCode} code
   * @param {string} message
   */
  constructor(code, message) {
    super(message);
    this.name = 'VlaeError';
    /** @type {ErrorCode} */
    this.code = code;
  }
}

const AGAIN = 'get a fresh copy of the file';

/**
 * @param {string} what
 * @returns {VlaeError}
 */
export function corrupt(what) {
  return new VlaeError('CorruptFile', `${what}: the file is damaged, ${AGAIN}`);
}

/**
 * Throws CorruptFile unless a rule holds.
 *
 * @param {boolean} holds
 * @param {string} what is wrong if not
 */
export function must(holds, what) {
  if (!holds) throw corrupt(what);
}
