"""An archive as a sequence, and members back into files."""

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from archives import OPTIONS, TINY, Counted, made, small  # type: ignore[import-not-found]
from PIL import Image

import vlae_codec
from vlae_codec.archive.extract import check_archive, extract_archive
from vlae_codec.archive.filesystem import ArchiveFileSystem
from vlae_codec.archive.index import FOOTER
from vlae_codec.archive.salvage import lost_groups
from vlae_codec.archive.source import Source
from vlae_codec.archive.writer import append_archive, create_archive
from vlae_codec.errors import CorruptFile, InputError, OutputError, OutputExists
from vlae_codec.format.container import MAGIC
from vlae_codec.images.picture import Picture

READ = {"model": TINY, "threads": 1}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """(path, the pictures in it)."""
    pictures = small(30)
    return made(tmp_path_factory.mktemp("archive") / "set.vlae", pictures), pictures


def test_sequence(archive):
    path, pictures = archive
    with vlae_codec.open_archive(path, **READ) as opened:
        assert len(opened) == 30
        assert opened.names == list(pictures)
        for member, (name, pixels) in zip(opened, pictures.items(), strict=True):
            assert member.name == name
            assert np.array_equal(member.pixels, pixels)
            assert (member.width, member.height, member.mode, member.bits) == (8, 8, "RGB", 8)
        assert opened[-1].name == "sub/029.png"
        assert [member.name for member in opened[:2]] == ["000.png", "sub/001.png"]
        assert np.array_equal(opened["sub/003.png"].pixels, pictures["sub/003.png"])
        assert opened.has("000.png")
        assert not opened.has("nothing.png")
        with pytest.raises(IndexError):
            opened[30]
        with pytest.raises(InputError):
            opened["nothing.png"]
    with pytest.raises(InputError):
        _ = opened[0].pixels


def test_own_memory(archive):
    """What a caller does to the pixels of a member changes no other ones."""
    with vlae_codec.open_archive(archive[0], **READ) as opened:
        for _ in range(2):
            pixels = opened[0].pixels
            assert np.array_equal(pixels, archive[1]["000.png"])
            pixels[:] = 0


def test_object(archive):
    """An object that only seeks and reads is enough, and little of it is read for one member."""
    file = Counted(archive[0])
    opened = vlae_codec.open_archive(file, **READ)
    assert np.array_equal(opened[20].pixels, archive[1]["020.png"])
    opened.close()
    assert not file.closed
    file.close()


def test_part_of_a_group(archive, monkeypatch):
    """A member of a group of chains is decoded with its chain alone."""
    monkeypatch.setattr("vlae_codec.archive.groups.CHAIN_BITS", 1 << 12)
    path = archive[0].with_name("chains.vlae")
    made(path, archive[1])
    file = Counted(path)
    opened = vlae_codec.open_archive(file, **READ)
    list(opened.entries())
    start = file.bytes
    assert np.array_equal(opened[20].pixels, archive[1]["020.png"])
    (chain,) = opened._kept._kept
    assert 2 <= len(chain.numbers) < 10
    assert file.bytes - start < opened.entry(0).length + 4096
    file.close()


def test_pickle_and_threads(archive):
    with vlae_codec.open_archive(archive[0], **READ) as opened:
        again = pickle.loads(pickle.dumps(opened))
        member = pickle.loads(pickle.dumps(opened[3]))
    assert np.array_equal(again[3].pixels, archive[1]["sub/003.png"])
    assert np.array_equal(member.pixels, archive[1]["sub/003.png"])
    again.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of forking
def test_loader(archive):
    """Two workers of torch read one archive."""
    with vlae_codec.open_archive(archive[0], **READ) as opened:
        dataset: Any = opened.arrays
        loader: Any = torch.utils.data.DataLoader(dataset, batch_size=4, num_workers=2)
        batches = list(loader)
    whole = np.concatenate([batch.numpy() for batch in batches])
    assert np.array_equal(whole, np.stack(list(archive[1].values())))


def test_append(archive, tmp_path):
    path = tmp_path / "set.vlae"
    shutil.copy(archive[0], path)
    size = path.stat().st_size
    more = {"more/1.png": small(1)["000.png"], "gray.png": np.arange(64, dtype=np.uint8).reshape(8, 8)}
    assert append_archive(path, more, **OPTIONS).members == 2
    assert path.read_bytes()[:size] == archive[0].read_bytes()
    with vlae_codec.open_archive(path, **READ) as opened:
        assert len(opened) == 32
        assert all(np.array_equal(opened[name].pixels, pixels) for name, pixels in (archive[1] | more).items())
    with pytest.raises(InputError, match="already"):
        append_archive(path, more, **OPTIONS)
    added = append_archive(path, more, skip_existing=True, **OPTIONS)
    assert (added.members, added.left) == (0, list(more))
    changed = {"000.png": 255 - archive[1]["000.png"]}
    append_archive(path, changed, force=True, **OPTIONS)
    with vlae_codec.open_archive(path, **READ) as opened:
        assert len(opened) == 32
        assert np.array_equal(opened["000.png"].pixels, changed["000.png"])


def test_cut_off_append(archive, tmp_path):
    """However much of an append is on the disk, the old archive is whole until all of it is."""
    path = tmp_path / "set.vlae"
    shutil.copy(archive[0], path)
    old = path.stat().st_size
    append_archive(path, {"new.png": small(1)["000.png"]}, **OPTIONS)
    data = path.read_bytes()
    for length in {*range(old, len(data), 37), len(data) - 1, len(data) - FOOTER.size}:
        cut = vlae_codec.open_archive(io.BytesIO(data[:length]), **READ)
        assert len(cut) == 30
    path.write_bytes(data[:-1])
    append_archive(path, {"other.png": small(1)["000.png"]}, **OPTIONS)
    with vlae_codec.open_archive(path, **READ) as opened:
        assert opened.names[30:] == ["other.png"]


def test_many_pages(tmp_path, monkeypatch):
    monkeypatch.setattr("vlae_codec.archive.writer.PAGE_MEMBERS", 4)
    path = made(tmp_path / "set.vlae", small(10))
    append_archive(path, {"x.png": small(1)["000.png"]}, **OPTIONS)
    with vlae_codec.open_archive(path, **READ) as opened:
        assert [page.members for page in opened.pages] == [4, 4, 3]
        assert opened.names == [*small(10), "x.png"]


@pytest.fixture
def folder(tmp_path, synthetic):
    """A folder of files of many kinds."""
    top = tmp_path / "album"
    (top / "sub").mkdir(parents=True)
    pixels = synthetic(40, 48, 1)
    Image.fromarray(pixels).save(top / "photo.png")
    Image.fromarray(pixels).save(top / "photo.jpg", quality=80)
    Image.fromarray(pixels).quantize(8).save(top / "sub" / "colours.gif")
    pages = [Image.fromarray(pixels[..., 0]), Image.new("L", (9, 9))]
    pages[0].save(top / "sub" / "scan.tif", save_all=True, append_images=pages[1:])
    Image.fromarray(pixels).save(top / "large.png")
    os.chmod(top / "photo.jpg", 0o600)
    os.utime(top / "photo.jpg", ns=(10**18, 10**18 + 123456789))
    return top


def test_files(folder, tmp_path):
    path = tmp_path / "set.vlae"
    added = create_archive(path, [folder], effort=1, threads=1, keep=vlae_codec.Keep(exact=True))  # no model: as a JPEG
    assert (added.members, added.problems) == (5, [])
    out = tmp_path / "out"
    done = extract_archive(path, out, threads=1)
    assert (done.members, done.problems) == (5, [])
    back = {file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file()}
    names = {"photo.png", "photo.jpg", "sub/colours.gif.png", "sub/scan.tif", "large.png"}
    assert back == {f"album/{name}" for name in names}
    for name in ("photo.jpg", "photo.png"):
        assert (out / "album" / name).read_bytes() == (folder / name).read_bytes()
    status = (out / "album" / "photo.jpg").stat()
    assert (status.st_mode & 0o777, status.st_mtime_ns) == (0o600, 10**18 + 123456789)
    with Image.open(out / "album" / "sub" / "scan.tif") as pages:
        assert getattr(pages, "n_frames", 1) == 2
    with vlae_codec.open_archive(path, threads=1) as opened:
        member = opened["album/sub/scan.tif"]
        assert (member.count, len(member.pictures)) == (2, 2)
        assert opened["album/photo.jpg"].read() == (folder / "photo.jpg").read_bytes()
        assert opened["album/photo.jpg"].size == (folder / "photo.jpg").stat().st_size


def test_which_are_extracted(archive, tmp_path):
    def names(*wanted):
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        extract_archive(archive[0], out, wanted, **READ)
        return sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))

    assert names("000.png") == ["000.png"]
    assert len(names("sub")) == len(names("sub/*")) == 15
    assert names("*0.png", "sub/001.png") == ["000.png", "010.png", "020.png", "sub/001.png"]
    with pytest.raises(InputError, match="nothing"):
        names("nothing*")
    assert len(extract_archive(archive[0], tmp_path / "0", ["000.png"], **READ).problems) == 1  # it is there
    assert extract_archive(archive[0], tmp_path / "0", ["000.png"], skip_existing=True, **READ).left == ["000.png"]
    assert extract_archive(archive[0], tmp_path / "0", ["000.png"], force=True, **READ).members == 1


def test_problems(tmp_path, folder):
    """What is wrong with a picture stops no other."""
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    added = create_archive(tmp_path / "set.vlae", [folder], **OPTIONS)
    assert added.members == 5
    assert len(added.problems) == 1
    assert "broken.png" in added.problems[0]
    with pytest.raises(OutputExists):
        create_archive(tmp_path / "set.vlae", [folder], **OPTIONS)
    with pytest.raises(InputError, match="both"):
        create_archive(tmp_path / "two.vlae", [folder / "photo.png", folder / "photo.png"], **OPTIONS)
    with pytest.raises(InputError):
        create_archive(tmp_path / "none.vlae", [folder / "broken.png"], **OPTIONS)
    with pytest.raises(InputError, match="name"):
        create_archive(tmp_path / "none.vlae", {"../x.png": small(1)["000.png"]}, **OPTIONS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["album", "set.vlae"]


def test_damaged_group(tmp_path, folder):
    """Of a damaged group only what is damaged is lost."""
    path = tmp_path / "set.vlae"
    create_archive(path, [folder], **OPTIONS)
    data = bytearray(path.read_bytes())
    with vlae_codec.open_archive(path) as opened:
        bad = opened["album/sub/scan.tif"].entry
    data[bad.offset + bad.length // 2] ^= 1
    path.write_bytes(data)
    done = check_archive(path, **READ)
    assert done.members == 4
    assert len(done.problems) == 1
    assert "scan.tif" in done.problems[0]
    assert extract_archive(path, tmp_path / "out", **READ).members == 4


def test_damaged_chain(archive, tmp_path, monkeypatch):
    """Damage in one chain leaves the other chains of its group."""
    monkeypatch.setattr("vlae_codec.archive.groups.CHAIN_BITS", 1 << 12)
    path = made(tmp_path / "set.vlae", archive[1])
    data = bytearray(path.read_bytes())
    with vlae_codec.open_archive(path) as opened:
        entry = opened.entry(0)
    data[entry.offset + entry.length - 30] ^= 1
    path.write_bytes(data)
    done = check_archive(path, **READ)
    assert 15 < done.members < 30
    assert done.members + len(done.problems) == 30

    saved = extract_archive(path, tmp_path / "out", salvage=True, **READ)
    assert (saved.members, saved.problems, saved.found, saved.holes) == (done.members, [], 0, {})
    lost = {problem.split(":")[0] for problem in done.problems}
    assert {line.split(":")[0] for line in saved.lost} == lost
    assert not [name for name in lost if (tmp_path / "out" / name).exists()]  # nothing of them is left


def test_damaged_tile(archive, tmp_path, synthetic):
    """Of a damaged picture the good tiles come back, and the rest is grey."""
    path, wide = tmp_path / "set.vlae", synthetic(20, 1024, 1)
    create_archive(path, {"wide.png": wide, **small(2)}, **OPTIONS)
    data = bytearray(path.read_bytes())
    with vlae_codec.open_archive(path) as opened:
        entry = opened["wide.png"].entry
    data[entry.offset + entry.length - 30] ^= 1  # in the second tile
    path.write_bytes(data)
    assert len(extract_archive(path, tmp_path / "bad", **READ).problems) == 1
    tested = check_archive(path, salvage=True, **READ)
    saved = extract_archive(path, tmp_path / "out", salvage=True, **READ)
    for done in (tested, saved):
        assert (done.members, done.problems, done.lost) == (3, [], [])
        (hole,) = done.holes["wide.png"]
        assert hole[:7] == (0, 512, 0, 512, 20, 0, 3)
    back = np.asarray(Image.open(tmp_path / "out" / "wide.png"))
    assert np.array_equal(back[:, :512], wide[:, :512])
    assert (back[:, 512:] == 128).all()


def test_salvage(archive, tmp_path):
    """Without an index the pictures come back without their names."""
    path, out = tmp_path / "set.vlae", tmp_path / "out"
    data = archive[0].read_bytes()
    path.write_bytes(data[: -FOOTER.size - 10])
    with pytest.raises(CorruptFile, match="salvage"):
        extract_archive(path, out)
    done = extract_archive(path, out, salvage=True, threads=1)
    assert done.members == done.found == 0  # the model is not at hand
    assert (len(done.problems), len(done.lost)) == (1, 1)
    done = extract_archive(path, out, salvage=True, **READ)
    assert done.members == done.found == 30
    assert len(list((out / "lost+found").iterdir())) == 30


def test_lost_page(archive, tmp_path, monkeypatch):
    monkeypatch.setattr("vlae_codec.archive.writer.PAGE_MEMBERS", 3)
    path = made(tmp_path / "set.vlae", small(3))
    append_archive(path, {"x.png": small(1)["000.png"]}, **OPTIONS)
    data = bytearray(path.read_bytes())
    with vlae_codec.open_archive(path) as opened:
        data[opened.pages[0].offset + 5] ^= 1
    path.write_bytes(data)
    done = extract_archive(path, tmp_path / "out", salvage=True, **READ)
    assert (done.members, done.found, len(done.problems), len(done.lost)) == (4, 3, 0, 1)
    with pytest.raises(CorruptFile):
        extract_archive(path, tmp_path / "again", **READ)


def test_search_for_groups_is_bounded(tmp_path):
    path = tmp_path / "set.vlae"
    path.write_bytes((MAGIC + b"\x02H\x80\x80\x01") * 20000)
    source = Source(path)
    assert list(lost_groups(source, [])) == []
    source.close()


def test_evil_names(archive, tmp_path, monkeypatch):
    """A member that would leave the folder is refused wherever it comes from."""
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "sub").symlink_to(tmp_path / "elsewhere")
    done = extract_archive(archive[0], tmp_path / "out", **READ)
    assert done.members == 15
    assert len(done.problems) == 15
    assert not list((tmp_path / "elsewhere").iterdir())


def test_modes(tmp_path):
    """Whatever pictures are coded together come back, one by one."""
    rng = np.random.default_rng(1)
    pictures: dict[str, Any] = {
        "bits": rng.random((9, 7)) < 0.5,
        "grey": rng.integers(0, 256, (9, 7), np.uint8),
        "alpha": rng.integers(0, 256, (9, 7, 4), np.uint8),
        "deep": rng.integers(0, 65536, (9, 7), np.uint16),
        "floats": rng.random((9, 7)).astype(np.float32),
        "other": rng.integers(0, 256, (3, 5), np.uint8),
        "palette": Picture(rng.integers(0, 4, (6, 6), np.uint8), mode="P", palette=np.eye(4, 3, dtype=np.uint8)),
        "words": Picture(np.zeros((4, 4), np.uint8), metadata={"comment": b"a word"}),
    }
    create_archive(tmp_path / "set.vlae", pictures, effort=1, threads=1)
    with vlae_codec.open_archive(tmp_path / "set.vlae", threads=1) as opened:
        for name, given in pictures.items():
            back, pixels = opened[name].picture, given.pixels if isinstance(given, Picture) else given
            assert back.pixels.dtype == pixels.dtype
            assert np.array_equal(back.pixels, pixels)
        assert opened["words"].picture.metadata == {"comment": b"a word"}


def test_file_system(folder, tmp_path):
    path = tmp_path / "set.vlae"
    create_archive(path, [folder], effort=1, threads=1)
    fsspec.register_implementation("vlae", ArchiveFileSystem, clobber=True)
    fs = fsspec.filesystem("vlae", fo=str(path), threads=1)
    assert {one["name"] for one in fs.ls("")} == {"album"}
    assert fs.glob("album/*.jpg") == ["album/photo.jpg"]
    assert fs.info("album/photo.jpg")["size"] == (folder / "photo.jpg").stat().st_size
    assert fs.isdir("album/sub")
    assert fs.cat("album/photo.jpg") == (folder / "photo.jpg").read_bytes()
    assert fs.cat_file("album/photo.jpg", 0, 2) == b"\xff\xd8"
    with pytest.raises(FileNotFoundError):
        fs.cat("nothing")
    with pytest.raises(OSError, match="read"):
        fs.open("album/photo.jpg", "wb")
    fs.close()
    with fsspec.open(f"vlae://album/photo.png::file://{path}") as file, Image.open(file) as image:
        assert np.array_equal(np.asarray(image), np.asarray(Image.open(folder / "photo.png")))
    with vlae_codec.open_archive(f"file://{path}") as opened:
        assert len(opened) == 5


def test_without_fsspec(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(InputError, match=r"vlae-codec\[fsspec\]"):
        vlae_codec.open_archive("s3://bucket/set.vlae")


def test_locked(archive, tmp_path):
    """Two runs do not append at once."""
    fcntl = pytest.importorskip("fcntl")
    path = tmp_path / "set.vlae"
    shutil.copy(archive[0], path)
    with open(path, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another process"):
            append_archive(path, {"x.png": small(1)["000.png"]}, **OPTIONS)


def test_deterministic(tmp_path):
    assert made(tmp_path / "a", small(9)).read_bytes() == made(tmp_path / "b", small(9)).read_bytes()


def test_imports():
    """To open an archive and to list it takes no more than to decode a file."""
    code = "import sys, json, vlae_codec.archive.reader\n"
    code += "print(json.dumps([name for name in ('torch', 'fsspec') if name in sys.modules]))"
    root = Path(vlae_codec.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert json.loads(done.stdout) == []
