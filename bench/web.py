"""Decoding in a browser and in Node, beside the command line; and compressing in a browser.

    python -m bench.web PICTURE... [--mosaic COLUMNSxROWS] [--effort N] [--origin NAME] [--screenshot FILE]
        [--jxl FOLDER]
    python -m bench.web PICTURE.png... --encode [--mosaic COLUMNSxROWS]

PICTURE is a picture file, which is compressed first, or a .vlae file. Each is decoded by the native core with 2
threads, by Node with 2 workers and by the viewer page in a headless Chromium, opened from disk, and all samples are
compared. MB are 10^6 bytes of samples. "awake" is the longest time for which the page's thread did not run a timer, in
milliseconds, and "WebP" how long the browser takes for the same picture as lossless WebP. "JXL" is how long the npm
package @jsquash/jxl takes in Node for it as JPEG XL of effort 7, if FOLDER is where `npm pack @jsquash/jxl` was
unpacked; for RGB pictures, with the extra bench. A mosaic puts all pictures side by side, again and again, into one.
The load of the machine is printed, since it changes all of this.

With --encode the page compresses PNG files, and so does the Python package, at effort 1 without a search for origins
and with 2 threads. Both decode what they made and compare. The bytes are compared, too.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vlae_codec import compress, decompress
from vlae_codec.web import build, page
from vlae_codec.weights.model import weights_folder

from .chromium import Chromium

DONE = "document.querySelector('#stage').dataset.state"
HASH = """
(async () => {
  const { data } = viewer.pictures[0];
  const hash = await crypto.subtle.digest('SHA-256', new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, '0')).join('');
})()
"""
WATCH = """
window.worst = 0;
window.loaded = 0;
let before = performance.now();
setInterval(() => {
  const now = performance.now();
  window.worst = Math.max(window.worst, now - before - 5);
  before = now;
}, 5);
const load = viewer.load.bind(viewer);
viewer.load = async () => {
  const begin = performance.now();
  await load();
  window.loaded = performance.now() - begin;
};
"""
NODE = """
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
const { decode } = await import(process.argv[1]);
for (const path of process.argv.slice(2)) {
  const bytes = new Uint8Array(readFileSync(path));
  const begin = performance.now();
  const { data } = await decode(bytes, { threads: 2 });
  const seconds = (performance.now() - begin) / 1000;
  const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  console.log(JSON.stringify([seconds, createHash('sha256').update(raw).digest('hex')]));
}
"""


JXL_NODE = """
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
globalThis.ImageData ??= class { constructor(data) { this.data = data; } };
const [folder, ...files] = process.argv.slice(1);
const { default: decode, init } = await import(`${folder}/decode.js`);
await init(new WebAssembly.Module(readFileSync(new URL(`${folder}/codec/dec/jxl_dec.wasm`))));
for (const path of files) {
  const bytes = new Uint8Array(readFileSync(path));
  const begin = performance.now();
  const { data } = await decode(bytes.buffer);
  const seconds = (performance.now() - begin) / 1000;
  const rgb = data.filter((_, i) => i % 4 < 3);
  console.log(JSON.stringify([seconds, createHash('sha256').update(rgb).digest('hex')]));
}
"""


def digest(pixels: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def mosaic(pictures: list[np.ndarray], columns: int, rows: int) -> np.ndarray:
    """(H, W, 3): so many pictures of the first one's size; the others' as far as they fit."""
    h, w, _ = pictures[0].shape
    fitting = [one for one in pictures if one.shape == (h, w, 3)]
    out = np.empty((rows * h, columns * w, 3), np.uint8)
    for i in range(rows * columns):
        y, x = i // columns * h, i % columns * w
        out[y : y + h, x : x + w] = fitting[i % len(fitting)]
    return out


def load(browser: Chromium, path: Path) -> tuple[float, float]:
    """(seconds, longest milliseconds without an answer) until the page is done with a file."""
    browser.run(f"delete {DONE}; worst = 0; loaded = 0")
    browser.choose("#files", path)
    browser.wait("loaded", 900)
    state, seconds, worst = browser.run(f"[{DONE}, loaded / 1000, worst]")
    if state != "done":
        raise SystemExit(f"{path}: {browser.run('document.querySelector(`#message`).textContent')}")
    return seconds, worst


def in_chromium(paths: list[Path], screenshot: Path | None, folder: Path) -> list[tuple[float, float, str]]:
    """(seconds, longest milliseconds without an answer, hash of the samples) of each file."""
    html = folder / "viewer.html"
    html.write_text(page.make_page(models=sorted(weights_folder().glob("*.safetensors"))), "utf-8")
    found = []
    with Chromium() as browser:
        browser.open(html.as_uri())
        browser.run(WATCH)
        for path in paths:
            seconds, worst = load(browser, path)
            found.append((seconds, worst, browser.run(HASH)))
        if screenshot:
            browser.screenshot(screenshot)
    return found


MADE = """
(async () => {
  const { data } = viewer.sources[0].made;
  const hash = await crypto.subtle.digest('SHA-256', data);
  return [data.length, Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, '0')).join('')];
})()
"""


def encode_all(paths: list[Path], folder: Path) -> None:
    """Prints how long each takes, and whether the bytes are the same."""
    html = folder / "viewer.html"
    html.write_text(page.make_page(models=sorted(weights_folder().glob("*.safetensors"))), "utf-8")
    heads = (("MB", 6), ("native s", 9), ("Chromium s", 11), ("MB/s", 6), ("awake ms", 9), ("bytes", 10))
    print(f"{'file':24} " + " ".join(f"{head:>{width}}" for head, width in heads))
    with Chromium() as browser:
        browser.open(html.as_uri())
        browser.run(WATCH)
        for path in paths:
            begin = time.perf_counter()
            wanted = compress(path, effort=1, origin="none", threads=2)
            native = time.perf_counter() - begin
            seconds, worst = load(browser, path)
            size, found = browser.run(MADE)
            mega = browser.run("viewer.pictures[0].data.length") / 1e6
            word = "the same" if found == hashlib.sha256(wanted).hexdigest() else f"others, {len(wanted)} natively"
            times = f"{native:9.2f} {seconds:11.2f} {mega / seconds:6.2f} {worst:9.0f}"
            print(f"{path.stem[:24]:24} {mega:6.2f} {times} {size:10} {word}")


def webp_in_chromium(pictures: list[np.ndarray]) -> list[float]:
    """Seconds in which the browser decodes each as lossless WebP."""
    found = []
    with Chromium() as browser:
        for pixels in pictures:
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "WEBP", lossless=True, quality=20)
            text = base64.b64encode(file.getvalue()).decode()
            browser.run(f"blob = new Blob([Uint8Array.from(atob('{text}'), (c) => c.charCodeAt(0))])")
            browser.run("begin = performance.now()")
            found.append(browser.run("createImageBitmap(blob).then(() => performance.now() - begin)") / 1000)
    return found


def in_node(paths: list[Path]) -> list[tuple[float, str]]:
    """(seconds, hash of the samples) of each file."""
    entry = Path(build.__file__).parent / "src" / "index.js"
    command = ["node", "--input-type=module", "-e", NODE, entry.as_uri(), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def jxl_in_node(package: Path, pictures: list[np.ndarray], folder: Path) -> list[tuple[float, str]]:
    """(seconds, hash of the samples) in which the npm package @jsquash/jxl decodes each as JPEG XL of effort 7."""
    import imagecodecs

    paths = [folder / f"{i}.jxl" for i in range(len(pictures))]
    for path, pixels in zip(paths, pictures):
        path.write_bytes(imagecodecs.jpegxl_encode(pixels, lossless=True, effort=7))
    command = ["node", "--input-type=module", "-e", JXL_NODE, package.resolve().as_uri(), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE")
    parser.add_argument("--mosaic", metavar="COLUMNSxROWS")
    parser.add_argument("--effort", type=int, default=1)
    parser.add_argument("--origin", default="auto")
    parser.add_argument("--jxl", type=Path, metavar="FOLDER")
    parser.add_argument("--screenshot", type=Path)
    parser.add_argument("--encode", action="store_true")
    options: Any = parser.parse_args()
    build.build()
    with tempfile.TemporaryDirectory() as name:
        folder, paths = Path(name), []
        pictures = options.pictures
        if options.mosaic:
            columns, rows = map(int, options.mosaic.split("x"))
            whole = mosaic([np.asarray(Image.open(path).convert("RGB")) for path in pictures], columns, rows)
            pictures = [folder / "mosaic.png"]
            Image.fromarray(whole).save(pictures[0], compress_level=1)
        if options.encode:
            print(f"load {' '.join(f'{load:.1f}' for load in os.getloadavg())}, {os.cpu_count()} processors")
            encode_all(pictures, folder)
            print(f"load {' '.join(f'{load:.1f}' for load in os.getloadavg())}")
            return
        for path in pictures:
            if path.suffix == ".vlae":
                paths.append(path)
                continue
            paths.append(folder / f"{path.stem}.vlae")
            paths[-1].write_bytes(compress(path, effort=options.effort, origin=options.origin, threads=2))
        print(f"load {' '.join(f'{load:.1f}' for load in os.getloadavg())}, {os.cpu_count()} processors")
        native, samples = [], []
        for path in paths:
            data, begin = path.read_bytes(), time.perf_counter()
            samples.append(decompress(data, threads=2))
            native.append(time.perf_counter() - begin)
        node, chromium = in_node(paths), in_chromium(paths, options.screenshot, folder)
        webp = webp_in_chromium([one for one in samples if one.dtype == np.uint8])
        heads = (
            ("MB", 6),
            ("native s", 9),
            ("Node s", 8),
            ("Chromium s", 11),
            ("MB/s", 6),
            ("awake ms", 9),
            ("WebP s", 7),
            ("JXL s", 6),
        )
        jxl = jxl_in_node(options.jxl, samples, folder) if options.jxl else []
        print(f"{'file':24} " + " ".join(f"{head:>{width}}" for head, width in heads))
        for i, (path, pixels) in enumerate(zip(paths, samples)):
            seconds, worst, found = chromium[i]
            if {found, node[i][1], *(one[1] for one in jxl[i : i + 1])} != {digest(pixels)}:
                raise SystemExit(f"{path}: other samples")
            size = pixels.nbytes / 1e6
            times = f"{native[i]:9.2f} {node[i][0]:8.2f} {seconds:11.2f} {size / seconds:6.2f} {worst:9.0f}"
            others = f"{webp[i] if i < len(webp) else float('nan'):7.3f} {jxl[i][0] if jxl else float('nan'):6.2f}"
            print(f"{path.stem[:24]:24} {size:6.2f} {times} {others}")
        print(f"load {' '.join(f'{load:.1f}' for load in os.getloadavg())}; all samples are the same")


if __name__ == "__main__":
    main()
