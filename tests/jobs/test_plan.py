"""What is made of which files, and what is refused before any work."""

import os

import pytest

from vlae_codec import errors
from vlae_codec.jobs.plan import CODED, PICTURES, into_folder, make_plan


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("one.png", "in/a.JPG", "in/deep/b.v1.tif", "in/notes.txt", "in/.c.png", "in/.git/d.png", "in/x.vlae"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


def names(tasks):
    return [(str(source), str(output)) for source, output in tasks]


def test_into_folder(here):
    assert not into_folder(["one.png"], "one.vlae")
    assert not into_folder(["missing.png"], "one.vlae")
    assert not into_folder([""], "one.vlae")
    assert into_folder(["in"], "out")
    assert into_folder(["one.png"], "in")
    assert into_folder(["one.png", "missing.png"], "out")
    assert into_folder(["one.png"], "new/")


def test_sanity(here):
    plan = make_plan(["one.png", "in"], "out/put", PICTURES, ".vlae", False)
    assert names(plan.tasks) == [
        ("one.png", "out/put/one.vlae"),
        ("in/a.JPG", "out/put/a.vlae"),
        ("in/deep/b.v1.tif", "out/put/deep/b.v1.vlae"),
    ]
    assert sorted(str(path) for path, _ in plan.skipped) == ["in/.c.png", "in/.git", "in/notes.txt", "in/x.vlae"]
    assert os.path.isdir("out/put/deep")
    plan = make_plan(["in"], "out", CODED, ".png", False)
    assert names(plan.tasks) == [("in/x.vlae", "out/x.png")]
    assert len(plan.skipped) == 5


def test_names(here):
    """A file that is named is taken; an ending that says no type of file is part of the name."""
    plan = make_plan(["in/notes.txt", "scan.001", "scan.002", "x"], "out", PICTURES, ".vlae", False)
    assert [task.output.name for task in plan.tasks] == ["notes.txt.vlae", "scan.001.vlae", "scan.002.vlae", "x.vlae"]
    assert not plan.skipped


def test_beside_the_pictures(here):
    assert names(make_plan(["in"], "in", PICTURES, ".vlae", False).tasks)[0] == ("in/a.JPG", "in/a.vlae")


def test_links(here):
    """Files and folders behind links are taken, the same folder once, and what no file is is not."""
    (here / "in" / "link.png").symlink_to(here / "one.png")
    (here / "in" / "broken.png").symlink_to(here / "missing")
    (here / "in" / "loop").symlink_to(here / "in")
    (here / "in" / "again").symlink_to(here / "in" / "deep")
    (here / "other" / "sub").mkdir(parents=True)
    (here / "other" / "sub" / "e.png").write_text("e")
    (here / "other" / "back").symlink_to(here / "in")
    (here / "in" / "a-link").symlink_to(here / "other")
    (here / "in" / "self").symlink_to("self")
    os.mkfifo(here / "in" / "pipe.png")
    plan = make_plan(["in"], "out", PICTURES, ".vlae", False)
    assert names(plan.tasks) == [
        ("in/a.JPG", "out/a.vlae"),
        ("in/link.png", "out/link.vlae"),
        ("in/deep/b.v1.tif", "out/deep/b.v1.vlae"),
        ("in/a-link/sub/e.png", "out/a-link/sub/e.vlae"),
    ]
    reasons = {str(path): reason for path, reason in plan.skipped}
    assert reasons["in/broken.png"] == reasons["in/pipe.png"] == "it is no regular file"
    assert "met before" in reasons["in/loop"]
    assert "met before" in reasons["in/again"]
    assert "met before" in reasons["in/a-link/back"]
    assert reasons["in/.git"] == reasons["in/.c.png"] == "it is hidden"


def test_existing_outputs(here):
    """What stays, by existence or by time; what is older is overwritten without `force`."""
    (here / "out").mkdir()
    for name, time in (("one.png", 100), ("out/one.vlae", 100), ("in/a.JPG", 101), ("out/a.vlae", 100)):
        (here / name).touch()
        os.utime(name, (time, time))
    plan = make_plan(["one.png", "in"], "out", PICTURES, ".vlae", False, skip_existing=True)
    assert [task.output.name for task in plan.tasks] == ["b.v1.vlae"]
    assert [task.output.name for task in plan.left] == ["one.vlae", "a.vlae"]
    plan = make_plan(["one.png", "in"], "out", PICTURES, ".vlae", False, newer=True)
    assert [task.output.name for task in plan.tasks] == ["a.vlae", "b.v1.vlae"]
    assert [task.output.name for task in plan.left] == ["one.vlae"]
    plan = make_plan(["one.png"], "out", PICTURES, ".vlae", False, newer=True)
    assert not plan.tasks


def refused(error, match, sources, output, wanted, suffix, force=False):
    before = sorted(map(str, os.listdir()))
    with pytest.raises(error, match=match):
        make_plan(sources, output, wanted, suffix, force)
    assert sorted(map(str, os.listdir())) == before
    return True


def test_invalid(here):
    (here / "empty").mkdir()
    assert refused(errors.InputError, "no pictures in empty", ["empty"], "out", PICTURES, ".vlae")
    assert refused(errors.InputError, "no .vlae files in in/deep", ["in/deep"], "out", CODED, ".png")
    assert refused(errors.OutputError, "one.png would be a folder", ["in"], "one.png", PICTURES, ".vlae")
    assert refused(errors.OutputError, "folder", ["in", "one.png"], "all.vlae", PICTURES, ".vlae")
    assert refused(errors.OutputError, "cannot write", ["in"], "in/notes.txt/deep", PICTURES, ".vlae")
    (here / "in" / "a.vlae").write_text("a picture with the wrong name")
    assert refused(errors.OutputError, "input file", ["in/a.JPG", "in/a.vlae"], "in", PICTURES, ".vlae", force=True)


def test_existing(here):
    (here / "out").mkdir()
    (here / "out" / "one.vlae").write_text("precious")
    assert refused(
        errors.OutputExists, "out/one.vlae exists already.*--force", ["one.png", "in"], "out", PICTURES, ".vlae"
    )
    (here / "out" / "a.vlae").write_text("precious")
    assert refused(errors.OutputExists, "one.vlae and 1 more", ["one.png", "in"], "out", PICTURES, ".vlae")
    assert not (here / "out" / "deep").exists()
    assert len(make_plan(["one.png", "in"], "out", PICTURES, ".vlae", True).tasks) == 3
    (here / "out" / "one.vlae").unlink()
    (here / "out" / "one.vlae").mkdir()
    with pytest.raises(errors.OutputError, match="regular"):
        make_plan([here / "one.png"], "out", PICTURES, ".vlae", True)


def test_unreadable_folder(here, monkeypatch):
    """It is a problem of its own; the others go on."""

    def scandir(path, real=os.scandir):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)  # root may read everything
    plan = make_plan(["in"], "out", PICTURES, ".vlae", False)
    assert [task.source.name for task in plan.tasks] == ["a.JPG"]
    assert plan.problems == ["cannot read in/deep (Permission denied): give the path of a readable file"]
    assert refused(errors.InputError, "in/deep", ["in/deep"], "out2", PICTURES, ".vlae")


def test_read_only_output(here):
    if not os.path.isdir("/proc/self"):
        pytest.skip("this system has no folder that is read-only to all")
    assert refused(errors.OutputError, "/proc/new", ["in"], "/proc/new", PICTURES, ".vlae")
