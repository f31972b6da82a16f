"""Writing files so that nothing half-done is left."""

import os

import pytest

from vlae_codec import errors, files


def test_sanity(tmp_path):
    path = tmp_path / "file"
    files.write_file(path, b"one")
    with pytest.raises(errors.OutputExists):
        files.write_file(path, b"two")
    assert files.read_file(path) == b"one"
    files.write_file(path, b"two", force=True)
    assert files.read_file(path) == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_permissions(tmp_path):
    old = os.umask(0o027)
    try:
        files.write_file(tmp_path / "file", b"")
    finally:
        os.umask(old)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_symbolic_link(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"one")
    link.symlink_to(real)
    files.write_file(link, b"two", force=True)
    assert link.is_symlink()
    assert real.read_bytes() == b"two"


def test_invalid(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    for bad in (path / "below", tmp_path / "missing" / "file", tmp_path, os.devnull, "nul\0l"):
        with pytest.raises(errors.OutputError):
            files.write_file(bad, b"two", force=True)
    with pytest.raises(errors.OutputError, match="is the input"):
        files.check_output(path, force=True, source=tmp_path / "." / "file")


@pytest.mark.parametrize(
    ("failure", "seen"), [(OSError(28, "disk full"), errors.OutputError), (KeyboardInterrupt(),) * 2]
)
def test_nothing_left(tmp_path, monkeypatch, failure, seen):
    def fail(*_):
        raise failure

    path = tmp_path / "file"
    path.write_bytes(b"one")
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(seen if isinstance(seen, type) else type(seen)):
        files.write_file(path, b"two", force=True)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"one"
