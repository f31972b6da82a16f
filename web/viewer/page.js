import { serve } from '../src/worker.js';
import { isArchive, openArchive } from '../src/archive.js';
import { decode, settings } from '../src/decode.js';
import { encode } from '../src/encode.js';
import { VlaeError } from '../src/errors.js';
import { unpackLzma2 } from '../src/lzma2.js';
import { webThread } from '../src/pool.js';
import { toPng } from '../src/png.js';
import { isPng } from '../src/readpng.js';
import { rangeOf, toRgba } from '../src/show.js';
import { readDigits } from './digits.js';

/** @typedef {import('../src/decode.js').Picture} Picture */
/** @typedef {import('../src/origins.js').Region} Region */
/** @typedef {{data: Uint8Array<ArrayBuffer>, words: string}} Made a .vlae file of a PNG, and what is to be said of it */
/**
 * What is to be shown: a file, or a member of an archive, whose size is that of its group.
 *
 * @typedef {Object} Source
 * @property {string} name
 * @property {number} size
 * @property {() => Promise<Uint8Array<ArrayBuffer>>} bytes
 * @property {Blob} [file]
 * @property {Made} [made]
 * @property {import('../src/archive.js').Archive} [archive]
 * @property {import('../src/archive.js').Member} [member]
 */

const SIDE = 256; // pixels of a part that is painted at once
const PART = 1000000; // digits that are read at once
const BUDGET = 8; // milliseconds of painting between two frames

/**
 * The bytes that an element of the page holds, five digits of base 85 for four of them.
 *
 * @param {HTMLElement} element
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
async function embedded(element) {
  const text = element.textContent ?? '';
  const packed = new Uint8Array((text.length / 5) * 4);
  for (let i = 0; i < text.length; i += PART) {
    if (i) await new Promise((resolve) => setTimeout(resolve, 0));
    readDigits(text, i, Math.min(i + PART, text.length), packed);
  }
  const data = packed.subarray(0, Number(element.dataset.size));
  return element.dataset.whole ? unpackLzma2(data, Number(element.dataset.whole)) : data;
}

/** @param {string} id */
function find(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no ${id}`);
  return found;
}

/** @param {number} size bytes */
function inWords(size) {
  if (size < 10000) return `${size} bytes`;
  return size < 1e7 ? `${(size / 1e3).toFixed(1)} kB` : `${(size / 1e6).toFixed(2)} MB`;
}

/** A picture as it is painted: parts of it on canvases of their own, so that its size has no limit. */
class Painting {
  /**
   * @param {Picture} picture
   * @param {() => void} changed
   */
  constructor(picture, changed) {
    this.picture = picture;
    this.changed = changed;
    this.across = Math.ceil(picture.width / SIDE);
    this.down = Math.ceil(picture.height / SIDE);
    /** @type {Map<number, HTMLCanvasElement>} */
    this.parts = new Map();
    /** @type {Set<number>} */
    this.dirty = new Set();
    /** @type {[number, number] | undefined} */
    this.range = picture.type === 'unsigned' ? undefined : [0, 1];
  }

  /** @param {Region} region which has changed */
  touch({ x, y, width, height }) {
    for (let row = Math.floor(y / SIDE); row * SIDE < y + height; row++)
      for (let column = Math.floor(x / SIDE); column * SIDE < x + width; column++) this.dirty.add(row * this.across + column);
  }

  touchAll() {
    this.touch({ x: 0, y: 0, width: this.picture.width, height: this.picture.height });
  }

  /** Paints what has changed, for a few milliseconds. */
  work() {
    const begin = performance.now();
    const { width, height } = this.picture;
    for (const i of this.dirty) {
      const [x, y] = [(i % this.across) * SIDE, Math.floor(i / this.across) * SIDE];
      const region = { x, y, width: Math.min(SIDE, width - x), height: Math.min(SIDE, height - y) };
      let canvas = this.parts.get(i);
      if (!canvas) {
        canvas = document.createElement('canvas');
        [canvas.width, canvas.height] = [region.width, region.height];
        this.parts.set(i, canvas);
      }
      const colours = toRgba(this.picture, region, this.range);
      canvas.getContext('2d')?.putImageData(new ImageData(colours, region.width, region.height), 0, 0);
      this.dirty.delete(i);
      if (performance.now() - begin > BUDGET) break;
    }
    return this.dirty.size > 0;
  }
}

/** The page. */
class Viewer {
  constructor() {
    this.canvas = /** @type {HTMLCanvasElement} */ (find('view'));
    this.stage = find('stage');
    this.progress = /** @type {HTMLProgressElement} */ (find('progress'));
    /** @type {Source[]} */
    this.sources = [];
    /** @type {Source[]} */
    this.weights = []; // of models that the page has not
    this.at = 0; // of the sources
    this.number = 0; // of the picture in the file
    /** @type {Picture[]} */
    this.pictures = [];
    /** @type {Record<string, number>} */
    this.sizes = {};
    /** @type {Painting[]} */
    this.paintings = [];
    this.scale = 1; // screen pixels a pixel
    this.left = this.top = 0; // of the picture on the screen, in screen pixels
    this.fitted = true;
    this.waiting = false;
    this.finished = false;
    /** @type {AbortController | null} */
    this.running = null;
    /** @type {Map<number, PointerEvent>} */
    this.pointers = new Map();
    this.listen();
  }

  listen() {
    const click = (/** @type {string} */ id, /** @type {() => void} */ act) => find(id).addEventListener('click', act);
    const files = /** @type {HTMLInputElement} */ (find('files'));
    click('open', () => files.click());
    files.addEventListener('change', () => {
      this.openFiles([...(files.files ?? [])]);
      files.value = ''; // the same file may be chosen again
    });
    click('before', () => this.turn(-1));
    click('after', () => this.turn(1));
    click('in', () => this.zoom(1.25));
    click('out', () => this.zoom(0.8));
    click('fit', () => this.fit());
    click('full', () => this.zoom(1 / this.scale));
    click('save', () => this.save());
    click('about', () => this.toggleInfo());
    find('levels').addEventListener('change', () => this.stretch());
    document.addEventListener('keydown', (event) => this.key(event));
    document.addEventListener('dragover', (event) => this.over(event, true));
    document.addEventListener('dragenter', (event) => this.over(event, true));
    document.addEventListener('dragleave', (event) => this.over(event, false));
    document.addEventListener('drop', (event) => {
      this.over(event, false);
      this.openFiles(event.dataTransfer?.files ?? null);
    });
    this.canvas.addEventListener('wheel', (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
    }, { passive: false });
    this.canvas.addEventListener('pointerdown', (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, event);
    });
    for (const kind of ['pointerup', 'pointercancel']) this.canvas.addEventListener(kind, (event) => this.pointers.delete(/** @type {PointerEvent} */ (event).pointerId));
    this.canvas.addEventListener('pointermove', (event) => this.drag(event));
    this.canvas.addEventListener('dblclick', () => (this.fitted ? this.zoom(1 / this.scale) : this.fit()));
    new ResizeObserver(() => (this.fitted ? this.fit() : this.draw())).observe(this.stage);
  }

  /**
   * @param {DragEvent} event
   * @param {boolean} over
   */
  over(event, over) {
    event.preventDefault();
    this.stage.classList.toggle('over', over);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = 60;
    const acts = /** @type {Record<string, () => void>} */ ({
      '+': () => this.zoom(1.25), '=': () => this.zoom(1.25), '-': () => this.zoom(0.8), 0: () => this.fit(), 1: () => this.zoom(1 / this.scale),
      n: () => this.turn(1), PageDown: () => this.turn(1), p: () => this.turn(-1), PageUp: () => this.turn(-1), o: () => find('files').click(),
      s: () => this.save(), i: () => this.toggleInfo(), a: () => find('levels').click(), Escape: () => this.stop(),
      ArrowLeft: () => this.move(step, 0), ArrowRight: () => this.move(-step, 0), ArrowUp: () => this.move(0, step), ArrowDown: () => this.move(0, -step),
    });
    if (!Object.hasOwn(acts, event.key)) return;
    event.preventDefault();
    acts[event.key]();
  }

  /** @param {FileList | File[] | null} files */
  openFiles(files) {
    const given = [...(files ?? [])].map((file) => ({ name: file.name, size: file.size, file, bytes: async () => new Uint8Array(await file.arrayBuffer()) }));
    const weights = given.filter(({ name }) => name.endsWith('.safetensors'));
    const pictures = given.filter((one) => !weights.includes(one));
    this.weights.push(...weights);
    if (pictures.length) this.open(pictures);
    else if (weights.length && this.sources.length && !this.finished) this.load();
  }

  /** @param {Source[]} sources */
  open(sources) {
    this.sources = sources;
    this.at = this.number = 0;
    return this.load();
  }

  /**
   * The members of an archive, as sources; null for another file.
   *
   * @param {Source} source
   * @returns {Promise<Source[] | null>}
   */
  async membersOf(source) {
    if (source.member || source.made) return null;
    const file = source.file ?? new Blob([await source.bytes()]);
    if (!isArchive(new Uint8Array(await file.slice(0, 8).arrayBuffer()))) return null;
    const archive = await openArchive(file);
    if (!archive.members.length) throw new VlaeError('InputError', 'the archive is empty');
    return archive.members.map((member) => ({ name: `${source.name}/${member.name}`, size: member.length, bytes: source.bytes, archive, member }));
  }

  /** Decodes the file that is to be shown; a PNG is compressed first, and an archive becomes its members. */
  async load() {
    const source = this.sources[this.at];
    this.running?.abort();
    const running = new AbortController();
    this.running = running;
    [this.pictures, this.paintings, this.sizes, this.finished] = [[], [], {}, false];
    document.title = find('name').textContent = source.name;
    this.say('');
    this.show();
    this.progress.hidden = false;
    this.progress.value = 0;
    try {
      const members = await this.membersOf(source);
      if (this.running !== running) return;
      if (members) {
        this.sources.splice(this.at, 1, ...members);
        if (this.number) this.at += members.length - 1; // one came from behind
        await this.load();
        return;
      }
      const found = await this.read(source, running);
      if (this.running !== running) return;
      this.sizes = found.sizes;
      this.finished = true;
      found.pictures.forEach((picture, i) => (this.pictures[i] = picture));
      this.paintings.forEach((painting, i) => (painting.picture = found.pictures[i]));
      for (const painting of this.paintings) if (painting.picture.type !== 'unsigned') this.paint(painting);
      if (source.made) this.paintings[0].touchAll(); // what was seen so far is the PNG
      this.show();
      this.draw();
    } catch (error) {
      if (this.running !== running) return;
      const wrong = /** @type {Error} */ (error);
      const code = wrong instanceof VlaeError ? wrong.code : '';
      find('made').hidden = true;
      if (code === 'Aborted') this.say('');
      else this.say(`${source.name}: ${wrong.message}${code === 'NotAVlaeFile' ? ' and no PNG' : ''}`, true);
    }
    this.progress.hidden = true;
    this.stage.dataset.state = this.finished ? 'done' : 'failed';
  }

  /**
   * What a file decodes to; that of a PNG is kept.
   *
   * @param {Source} source
   * @param {AbortController} running
   */
  async read(source, running) {
    const options = {
      signal: running.signal,
      models: await Promise.all(this.weights.map((one) => one.bytes())),
      first: () => this.visible(),
      onStart: (/** @type {Picture[]} */ pictures) => this.begin(pictures, running),
      onTile: (/** @type {import('../src/decode.js').Progress} */ { picture, region, done, total }) => {
        if (this.running !== running) return;
        this.progress.value = done / total;
        this.paintings[picture]?.touch(region);
        this.draw();
      },
    };
    if (source.archive && source.member) {
      const found = await source.archive.read(source.member, options);
      if (this.paintings.length) return found;
      this.begin(found.pictures, running);
      for (const painting of this.running === running ? this.paintings : []) painting.touchAll();
      return found;
    }
    const bytes = source.made?.data ?? (await source.bytes());
    if (!isPng(bytes)) return decode(bytes, options);
    const { data, notes, larger, picture } = await encode(bytes, {
      signal: running.signal,
      onRead: (read) => {
        this.begin([read], running);
        if (this.running !== running) return;
        this.paintings[0].touchAll();
        const made = find('made');
        [made.hidden, made.textContent] = [false, 'compressing …'];
        find('save').textContent = 'Save .vlae';
      },
      onProgress: ({ done, total }) => {
        if (this.running === running) this.progress.value = done / total;
      },
    });
    const lost = notes.length ? [`Not kept: ${notes.join('; ')}.`] : [];
    const drawn = larger ? ['The picture, or a part of it, is drawn: the command line may make a smaller file of it.'] : [];
    source.made = { data, words: [...lost, ...drawn].join(' ') };
    return picture;
  }

  /**
   * @param {Picture[]} pictures
   * @param {AbortController} running
   */
  begin(pictures, running) {
    if (this.running !== running) return;
    this.pictures = pictures;
    this.paintings = pictures.map((picture) => new Painting(picture, () => this.draw()));
    this.number = Math.min(this.number, pictures.length - 1);
    this.fit();
    this.show();
  }

  stop() {
    this.running?.abort();
  }

  /** @param {number} by pictures */
  turn(by) {
    const number = this.number + by;
    if (number >= 0 && number < this.pictures.length) {
      this.number = number;
      this.fit();
      this.show();
      return;
    }
    if (this.at + by < 0 || this.at + by >= this.sources.length) return;
    this.at += by;
    this.number = by > 0 ? 0 : Number.MAX_SAFE_INTEGER;
    this.load();
  }

  get picture() {
    return this.pictures[this.number];
  }

  /** @returns {Region | null} the part of the picture that is seen */
  visible() {
    if (!this.picture) return null;
    const { clientWidth, clientHeight } = this.stage;
    const ratio = devicePixelRatio;
    const [x, y] = [-this.left / this.scale, -this.top / this.scale];
    return { x, y, width: (clientWidth * ratio) / this.scale, height: (clientHeight * ratio) / this.scale };
  }

  fit() {
    const { picture } = this;
    if (!picture) return;
    const [wide, high] = [this.stage.clientWidth * devicePixelRatio, this.stage.clientHeight * devicePixelRatio];
    const most = Math.max(1, Math.floor(Math.min(wide / picture.width, high / picture.height) / 2));
    this.scale = Math.min(wide / picture.width, high / picture.height, most);
    [this.left, this.top] = [(wide - picture.width * this.scale) / 2, (high - picture.height * this.scale) / 2];
    this.fitted = true;
    this.draw();
  }

  /**
   * @param {number} by
   * @param {number} [x] the place that stays, CSS pixels
   * @param {number} [y]
   */
  zoom(by, x = this.stage.clientWidth / 2, y = this.stage.clientHeight / 2) {
    if (!this.picture) return;
    const scale = Math.min(Math.max(this.scale * by, 1 / 64), 64);
    const [px, py] = [x * devicePixelRatio, y * devicePixelRatio];
    this.left = px - ((px - this.left) * scale) / this.scale;
    this.top = py - ((py - this.top) * scale) / this.scale;
    this.scale = scale;
    this.fitted = false;
    this.draw();
  }

  /**
   * @param {number} dx
   * @param {number} dy
   */
  move(dx, dy) {
    this.left += dx * devicePixelRatio;
    this.top += dy * devicePixelRatio;
    this.fitted = false;
    this.draw();
  }

  /** @param {PointerEvent} event */
  drag(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before || !this.picture) return;
    const other = [...this.pointers.values()].find(({ pointerId }) => pointerId !== event.pointerId);
    this.pointers.set(event.pointerId, event);
    this.move((event.clientX - before.clientX) / (other ? 2 : 1), (event.clientY - before.clientY) / (other ? 2 : 1));
    if (!other) return;
    const far = (/** @type {PointerEvent} */ one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
    const box = this.canvas.getBoundingClientRect();
    this.zoom(far(event) / Math.max(far(before), 1), (event.clientX + other.clientX) / 2 - box.x, (event.clientY + other.clientY) / 2 - box.y);
  }

  /** Draws with the next frame. */
  draw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.frame();
    });
  }

  frame() {
    const { canvas, stage } = this;
    const [wide, high] = [Math.round(stage.clientWidth * devicePixelRatio), Math.round(stage.clientHeight * devicePixelRatio)];
    if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
    const context = canvas.getContext('2d');
    const painting = this.paintings[this.number];
    if (!context) return;
    context.clearRect(0, 0, wide, high);
    if (!painting) return;
    const more = painting.work();
    const { width, height } = painting.picture;
    this.board(context, width, height);
    context.imageSmoothingEnabled = this.scale < 2;
    const edge = (/** @type {number} */ at, /** @type {number} */ begin) => Math.round(begin + at * this.scale);
    for (const [i, part] of painting.parts) {
      const [x, y] = [(i % painting.across) * SIDE, Math.floor(i / painting.across) * SIDE];
      const [left, top, right, bottom] = [edge(x, this.left), edge(y, this.top), edge(x + part.width, this.left), edge(y + part.height, this.top)];
      if (right > 0 && bottom > 0 && left < wide && top < high) context.drawImage(part, left, top, right - left, bottom - top);
    }
    find('scale').textContent = `${Math.round(100 * this.scale)} %`;
    if (more) this.draw();
  }

  /**
   * A chequered board, which is seen through what is transparent.
   *
   * @param {CanvasRenderingContext2D} context
   * @param {number} width
   * @param {number} height
   */
  board(context, width, height) {
    const { mode, palette } = this.paintings[this.number].picture;
    if (!/[Aa]$/.test(mode) && palette?.channels !== 4) return;
    const tile = document.createElement('canvas');
    tile.width = tile.height = 16;
    const small = tile.getContext('2d');
    if (!small) return;
    small.fillStyle = '#bbb';
    small.fillRect(0, 0, 16, 16);
    small.fillStyle = '#eee';
    small.fillRect(0, 0, 8, 8);
    small.fillRect(8, 8, 8, 8);
    context.fillStyle = context.createPattern(tile, 'repeat') ?? '#bbb';
    context.fillRect(this.left, this.top, width * this.scale, height * this.scale);
  }

  stretch() {
    const painting = this.paintings[this.number];
    if (painting) this.paint(painting);
  }

  /**
   * Paints a picture anew, with the range that its box asks for.
   *
   * @param {Painting} painting
   */
  paint(painting) {
    const observed = /** @type {HTMLInputElement} */ (find('levels')).checked;
    painting.range = rangeOf(painting.picture, observed);
    painting.touchAll();
    this.draw();
  }

  /** Shows what is known of the picture and the file. */
  show() {
    const { picture } = this;
    const many = this.pictures.length > 1 || this.sources.length > 1;
    find('turn').hidden = !many;
    const place = this.sources.length > 1 ? `${this.at + 1}/${this.sources.length}` : '';
    find('which').textContent = this.pictures.length > 1 ? `${place ? `${place}: ` : ''}${this.number + 1}/${this.pictures.length}` : place;
    const save = /** @type {HTMLButtonElement} */ (find('save'));
    const { size, made } = this.sources[this.at] ?? {};
    save.disabled = !this.finished;
    [save.textContent, save.title] = made ? ['Save .vlae', 'Save as .vlae (s)'] : ['Save PNG', 'Save as PNG (s)'];
    find('made').hidden = !made;
    if (made) find('made').textContent = `${inWords(made.data.length)}, ${((100 * made.data.length) / size).toFixed(1)} % of the PNG`;
    find('notes').hidden = !made?.words;
    find('notes').textContent = made?.words ?? '';
    find('stretch').hidden = !picture || (picture.type === 'unsigned' && picture.levels <= 256);
    this.fillInfo();
  }

  toggleInfo() {
    const info = find('info');
    info.hidden = !info.hidden;
    find('about').setAttribute('aria-pressed', String(!info.hidden));
  }

  fillInfo() {
    const info = find('info');
    info.replaceChildren();
    const { picture } = this;
    if (!picture) return;
    /** @param {string} title @param {[string, string][]} rows */
    const list = (title, rows) => {
      const heading = document.createElement('h2');
      heading.textContent = title;
      const box = document.createElement('dl');
      for (const [name, value] of rows) {
        const [term, text] = [document.createElement('dt'), document.createElement('dd')];
        [term.textContent, text.textContent] = [name, value];
        box.append(term, text);
      }
      info.append(heading, box);
    };
    const { width, height, mode, depth, type, origin, palette } = picture;
    const bytes = this.pictures.reduce((sum, one) => sum + (one.width * one.height * one.channels * one.depth) / 8, 0);
    const { size: given, made, member } = this.sources[this.at];
    const size = made ? made.data.length : given;
    const samples = `${depth} bits${type === 'unsigned' ? '' : `, ${type}`}`;
    const rows = /** @type {[string, string][]} */ ([['Size', `${width} × ${height}`], ['Kind', mode], ['Samples', samples]]);
    if (palette) rows.push(['Palette', `${palette.colours} colours`]);
    if (origin) rows.push(['Origin', origin]);
    list('Picture', rows);
    const named = Object.entries(picture.metadata);
    if (named.length) list('Metadata', named.map(([name, value]) => [name, describeValue(name, value)]));
    const before = /** @type {[string, string][]} */ (made ? [['PNG', inWords(given)], ['Of the PNG', `${((100 * size) / given).toFixed(1)} %`]] : []);
    const ofRaw = /** @type {[string, string][]} */ (member?.shared ? [] : [['Of raw', `${((100 * size) / bytes).toFixed(1)} %`]]);
    list('File', [['Pictures', String(this.pictures.length)], [member?.shared ? 'Bytes of its group' : 'Bytes', inWords(size)], ...ofRaw, ...before]);
    const parts = Object.entries(this.sizes).filter(([, part]) => part > 0);
    if (!parts.length) return;
    const heading = document.createElement('h2');
    heading.textContent = 'Where the bytes went';
    info.append(heading);
    for (const [name, part] of parts) {
      const [line, bar] = [document.createElement('div'), document.createElement('div')];
      line.textContent = `${name}: ${inWords(part)}`;
      bar.className = 'bar';
      bar.style.width = `${(100 * part) / size}%`;
      info.append(line, bar);
    }
  }

  async save() {
    const { picture } = this;
    const button = /** @type {HTMLButtonElement} */ (find('save'));
    if (!picture || button.disabled) return;
    button.disabled = true;
    try {
      const { name, made } = this.sources[this.at];
      if (made) this.give(made.data, `${name.replace(/\.png$/i, '')}.vlae`, 'application/octet-stream');
      else {
        const { data, exact } = await toPng(picture);
        this.give(data, `${name.replace(/\.vlae$/, '')}${this.pictures.length > 1 ? `-${this.number + 1}` : ''}.png`, 'image/png');
        if (!exact) this.say(`A PNG has no samples of this kind (${picture.mode}, ${picture.type}): it was saved as it is shown, in 8 bits.`);
      }
    } catch (error) {
      this.say(`the PNG cannot be made: ${/** @type {Error} */ (error).message}`, true);
    }
    button.disabled = false;
  }

  /**
   * Lets the reader save a file.
   *
   * @param {Uint8Array<ArrayBuffer>} data
   * @param {string} name
   * @param {string} type
   */
  give(data, name, type) {
    const link = document.createElement('a');
    link.download = name;
    link.href = URL.createObjectURL(new Blob([data], { type }));
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  /**
   * @param {string} text
   * @param {boolean} [wrong]
   */
  say(text, wrong = false) {
    const message = find('message');
    message.textContent = text;
    message.classList.toggle('wrong', wrong);
  }
}

/**
 * @param {string} name
 * @param {Uint8Array} value
 */
function describeValue(name, value) {
  const readable = ['resolution', 'comment', 'description', 'frame', 'xmp'].includes(name);
  return readable && value.length < 2000 ? new TextDecoder().decode(value) : inWords(value.length);
}

function startViewer() {
  const source = find('code').textContent ?? '';
  const script = URL.createObjectURL(new Blob([source], { type: 'text/javascript' }));
  settings.loadCore = async () => WebAssembly.compile(await embedded(find('core')));
  /** @type {Map<HTMLElement, Promise<Uint8Array>>} */
  const unpacked = new Map();
  const modelOf = async (/** @type {'ids' | 'names'} */ key, /** @type {string} */ wanted) => {
    for (const element of /** @type {HTMLElement[]} */ ([...document.querySelectorAll('.models')])) {
      const place = (element.dataset[key] ?? '').split('/').indexOf(wanted);
      if (place < 0) continue;
      const all = unpacked.get(element) ?? embedded(element);
      unpacked.set(element, all);
      const sizes = (element.dataset.sizes ?? '').split('/').map(Number);
      const begin = sizes.slice(0, place).reduce((sum, size) => sum + size, 0);
      return (await all).slice(begin, begin + sizes[place]);
    }
    return null;
  };
  settings.loadModel = (id) => modelOf('ids', id);
  settings.loadNamed = (name) => modelOf('names', name);
  settings.makeThread = webThread(() => new Worker(script));
  settings.threads = Math.max(1, Math.min(8, navigator.hardwareConcurrency || 2));
  const viewer = new Viewer();
  const inside = /** @type {HTMLElement[]} */ ([...document.querySelectorAll('.picture')]);
  if (inside.length) {
    viewer.open(inside.map((element) => ({ name: element.dataset.name ?? '', size: Number(element.dataset.size), bytes: () => embedded(element) })));
  }
  return viewer;
}

function startWorker() {
  const scope = /** @type {any} */ (self);
  const answer = serve((reply, transfer) => scope.postMessage(reply, transfer));
  scope.onmessage = (/** @type {MessageEvent} */ event) => answer(event.data);
}

if (typeof document === 'undefined') startWorker();
else /** @type {any} */ (window).viewer = startViewer();
