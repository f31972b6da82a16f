"""The viewer page in a headless Chromium, opened from disk: pytest -m browser."""

import io

import make_golden  # type: ignore[import-not-found]
import numpy as np
import pytest
from PIL import Image
from test_web_node import digest, shown  # type: ignore[import-not-found]

from vlae_codec import compress
from vlae_codec.api import decompress_pictures
from vlae_codec.archive.writer import create_archive
from vlae_codec.bench import chromium
from vlae_codec.weights.model import weights_folder

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium.PATH is None, reason="there is no Chromium"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
DONE = "document.querySelector('#stage').dataset.state"
HASH = """
(async () => {
  const found = [];
  for (const { data, mode } of viewer.pictures) {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
    found.push([mode, Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('')]);
  }
  return found;
})()
"""


@pytest.fixture(scope="module")
def browser(web, tmp_path_factory):
    """A browser with the page, which has all models."""
    from vlae_codec.web import page

    path = tmp_path_factory.mktemp("page") / "viewer.html"
    models = [*sorted(weights_folder().glob("*.safetensors"))]
    path.write_text(page.make_page(models=models), "utf-8")
    with chromium.Chromium() as opened:
        opened.open(path.as_uri())
        yield opened


def show(browser, *paths):
    browser.run(f"delete {DONE}")
    browser.choose("#files", *paths)
    browser.wait(DONE)
    return browser.run(DONE)


def test_refusals(browser, tmp_path):
    """The page says what is wrong, and goes on."""
    data = bytearray((make_golden.DATA / "mountains.vlae").read_bytes())
    data[5000] ^= 1
    path = tmp_path / "damaged.vlae"
    path.write_bytes(data)
    assert show(browser, path) == "failed"
    assert "damaged" in browser.run("document.querySelector('#message').textContent")
    assert show(browser, make_golden.DATA / "colour.vlae") == "failed"
    assert "8cb89b9034e0854c" in browser.run("document.querySelector('#message').textContent")
    assert show(browser, make_golden.DATA / "mountains.vlae") == "done"


def test_weights(browser):
    """The weights of a model that the page lacks can be given to it, alone or with the file."""
    file, weights = make_golden.DATA / "colour.vlae", make_golden.DATA / "tiny.safetensors"
    assert show(browser, file) == "failed"
    assert show(browser, weights) == "done"
    wanted = [shown(one) for one in decompress_pictures(file.read_bytes(), model=weights, threads=1)]
    assert browser.run(HASH) == [[one[2], one[4]] for one in wanted]


def test_golden(browser):
    """All golden files, to the same hashes as on the command line; nothing is asked of a network."""
    weights = make_golden.DATA / "tiny.safetensors"
    shipped = {"mountains", "learning", "learning-deep", "luma", "mnist-binary", "cifar10", "mixed"}
    for path in sorted(make_golden.DATA.glob("*.vlae")):
        own = path.stem in shipped or path.stem.startswith("past-")
        assert show(browser, *([path] if own else [weights, path])) == "done", path.name
        model = None if own else weights
        wanted = [shown(one) for one in decompress_pictures(path.read_bytes(), model=model, threads=1)]
        assert browser.run(HASH) == [[one[2], one[4]] for one in wanted], path.name
    requests = [line for line in browser.logs if '"request"' in line]
    assert requests
    assert all('"url": "file:' in line or '"url": "blob:' in line for line in requests), requests


def test_archive(browser, tmp_path):
    """The members of an archive, one after another; the page reads no more of it than it shows."""
    path, wanted = tmp_path / "set.vlae", {f"{i}.png": make_golden.synthetic(40, 30, i) for i in range(3)}
    create_archive(path, wanted, effort=1, threads=1)
    assert show(browser, path) == "done"
    for i, (name, pixels) in enumerate(wanted.items()):
        assert browser.run("document.querySelector('#name').textContent") == f"set.vlae/{name}"
        assert browser.run("document.querySelector('#which').textContent") == f"{i + 1}/3"
        assert browser.run(HASH) == [["RGB", digest(pixels)]]
        if i < 2:
            browser.run(f"delete {DONE}; viewer.turn(1)")
            browser.wait(DONE)


def test_network_is_forbidden(browser):
    violated = """new Promise((resolve) => {
      document.addEventListener('securitypolicyviolation', (event) => resolve(event.effectiveDirective));
      fetch('http://127.0.0.1:1/').catch(() => 0);
    })"""
    assert browser.run(violated) == "connect-src"


def press(browser, key):
    browser.run(f"document.dispatchEvent(new KeyboardEvent('keydown', {{ key: '{key}' }})), 0")


def test_keys(browser):
    """Keys zoom, and show what the file holds."""
    show(browser, make_golden.DATA / "mountains.vlae")
    before = browser.run("viewer.scale")
    press(browser, "+")
    assert browser.run("viewer.scale") > before
    press(browser, "i")
    assert not browser.run("document.querySelector('#info').hidden")
    assert "320 × 240" in browser.run("document.querySelector('#info').textContent")


def test_png(browser):
    """What the page saves has the very samples."""
    show(browser, make_golden.DATA / "mountains.vlae")
    browser.run("URL.createObjectURL = (blob) => { window.saved = blob; return 'blob:none'; }; viewer.save()")
    browser.wait("!!window.saved")
    found = browser.run("saved.arrayBuffer().then((data) => Array.from(new Uint8Array(data)))")
    pixels = np.asarray(Image.open(io.BytesIO(bytes(found))))
    assert np.array_equal(pixels, np.asarray(Image.open(make_golden.EXAMPLE)))


SAVE = "window.saved = null; URL.createObjectURL = (blob) => { window.saved = blob; return 'blob:none'; }, 0"
SAVED = "saved.arrayBuffer().then((data) => Array.from(new Uint8Array(data)))"
DROP = """
(async () => {
  const moved = new DataTransfer();
  moved.items.add(new File([Uint8Array.from(%s)], 'dropped.png'));
  document.dispatchEvent(new DragEvent('drop', { dataTransfer: moved }));
})()
"""


def test_compress(browser, tmp_path):
    """A PNG that is opened, or dropped, becomes the file of the command line, and says what it is not."""
    path = tmp_path / "photo.png"
    Image.open(make_golden.EXAMPLE).crop((40, 60, 140, 150)).save(path, dpi=(300, 300))
    browser.run(SAVE)
    assert show(browser, path) == "done", browser.run("document.querySelector('#message').textContent")
    wanted = compress(path, effort=1, origin="none", threads=1)
    assert browser.run(HASH) == [["RGB", digest(np.asarray(Image.open(path)))]]
    press(browser, "s")
    browser.wait("!!window.saved")
    assert bytes(browser.run(SAVED)) == wanted
    share = f"{len(wanted)} bytes" if len(wanted) < 10000 else f"{len(wanted) / 1000:.1f} kB"
    assert browser.run("document.querySelector('#made').textContent").startswith(share)
    assert browser.run("document.querySelector('#save').textContent") == "Save .vlae"
    assert browser.run("document.querySelector('#notes').hidden")
    data = bytearray(path.read_bytes())
    data[data.index(b"pHYs") + 5] ^= 1
    browser.run(f"delete {DONE}, {SAVE}")
    browser.run(DROP % list(data))
    browser.wait(DONE)
    press(browser, "s")
    browser.wait("!!window.saved")
    path.write_bytes(data)
    assert bytes(browser.run(SAVED)) == compress(path, effort=1, origin="none", threads=1)
    assert "the damaged chunk pHYs" in browser.run("document.querySelector('#notes').textContent")
    Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30)).save(path)
    assert show(browser, path) == "failed"
    assert "16 bits" in browser.run("document.querySelector('#message').textContent")
    assert browser.run("document.querySelector('#notes').hidden")
    show(browser, make_golden.DATA / "mountains.vlae")
    assert browser.run("document.querySelector('#save').textContent") == "Save PNG"


def test_large(browser, tmp_path):
    """A picture of 1.2 megapixels of 16 bits. `bench.web` measures whether the page stays awake meanwhile."""
    rows, columns = np.mgrid[:1000, :1200]
    pixels = ((rows * 7 + columns * 13) % 65536).astype(np.uint16)
    path = tmp_path / "large.vlae"
    path.write_bytes(compress(pixels, effort=1))
    assert show(browser, path) == "done"
    assert browser.run(HASH) == [["L", digest(pixels)]]


def test_export(browser, tmp_path):
    """A page with pictures inside shows them at once."""
    from click.testing import CliRunner

    from vlae_codec.cli import main

    path = tmp_path / "page.html"
    names = ["mountains", "luma"]
    files = [str(make_golden.DATA / f"{name}.vlae") for name in names]
    result = CliRunner().invoke(main, ["view", "--export", str(path), *files])
    assert not result.exit_code, result.output
    browser.open(path.as_uri())
    browser.wait(DONE)
    (wanted,) = decompress_pictures((make_golden.DATA / "mountains.vlae").read_bytes(), threads=1)
    assert browser.run(HASH) == [["RGB", digest(wanted.pixels)]]
    assert browser.run("document.querySelector('#which').textContent") == "1/2"
    browser.screenshot(tmp_path / "page.png")
    assert len(set(Image.open(tmp_path / "page.png").convert("RGB").resize((100, 70)).get_flattened_data())) > 500
