"""Chains of which no more is decoded than is asked for."""

from collections.abc import Iterator

import make_golden  # type: ignore[import-not-found]
import numpy as np
import pytest
from archives import OPTIONS, TINY, made, small  # type: ignore[import-not-found]

import vlae_codec
from vlae_codec.archive.chains import Chain, Chains
from vlae_codec.archive.writer import create_archive
from vlae_codec.coder import streams
from vlae_codec.errors import CorruptFile
from vlae_codec.format import container
from vlae_codec.images.picture import Picture
from vlae_codec.native import ans

READ = {"model": TINY, "threads": 1}


def counted(numbers: list[int], done: list[int], failing: int = -1) -> Iterator[tuple[int, Picture]]:
    """Pictures of one pixel, from the last to the first, and in `done` the numbers of those that were asked for."""
    for number in reversed(numbers):
        if number == failing:
            raise CorruptFile("damaged")
        done.append(number)
        yield number, Picture(np.full((1, 1), number, np.uint8))


def test_no_more_than_is_asked_for():
    done: list[int] = []
    chain = Chain([1, 4, 7], counted([1, 4, 7], done), 3)
    assert chain.picture(4).pixels[0, 0] == 4
    assert done == [7, 4]
    assert chain.picture(7).pixels[0, 0] == 7
    assert done == [7, 4]
    assert chain.picture(1).pixels[0, 0] == 1
    assert done == [7, 4, 1]
    with pytest.raises(CorruptFile, match="no picture 2"):
        chain.picture(2)


def test_failed_chain():
    """What came before the damage stays, and the reason comes again."""
    chain = Chain([0, 1], counted([0, 1], [], failing=0), 2)
    for _ in range(2):
        assert chain.picture(1).pixels[0, 0] == 1
        with pytest.raises(CorruptFile, match=r"^damaged$"):
            chain.picture(0)


def test_what_is_kept():
    chains = Chains(3 * (Chains.EACH + 2))
    made = [Chain([0, 1], counted([0, 1], []), 2) for _ in range(4)]
    for offset, chain in enumerate(made):
        chains.keep(offset, chain)
    assert [chains.find(offset, 1) for offset in range(4)] == [None, *made[1:]]  # the oldest has gone
    assert chains.find(1, 2) is None
    pixels = made[1].picture(0).pixels
    pixels[:] = 9
    assert made[1].picture(0).pixels[0, 0] == 0

    failed = Chain([0, 1], counted([0, 1], [], failing=1), 2)
    chains.keep(1, failed)
    assert chains.find(1, 0) is failed
    with pytest.raises(CorruptFile):
        failed.picture(0)
    assert chains.find(1, 0) is None  # it is read anew
    chains.keep(1, made[1])
    assert chains.find(1, 0) is made[1]
    chains.clear()
    assert chains.find(3, 0) is None


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return made(tmp_path_factory.mktemp("chains") / "set.vlae", small(12))


def test_members_of_one_chain(path, monkeypatch):
    """A member takes those behind it, once, and its stack is looked at where its first one is decoded."""
    popped, checks = [], []
    real, empty = streams.unwind, ans.is_empty

    def unwind(*args, **kwargs):
        for found in real(*args, **kwargs):
            popped.append(found)
            yield found

    monkeypatch.setattr(streams, "unwind", unwind)

    def is_empty(*args):
        checks.append(args)
        return empty(*args)

    monkeypatch.setattr(ans, "is_empty", is_empty)
    with vlae_codec.open_archive(path, **READ) as opened:
        names = opened.names
        for number, count in ((8, 4), (11, 4), (7, 5), (9, 5), (0, 12), (3, 12)):
            assert np.array_equal(opened[number].pixels, small(12)[names[number]])
            assert len(popped) == count
            assert bool(checks) == (count == 12)


def test_stack_that_is_not_empty(path, monkeypatch):
    """It is damage of the chain's first picture alone, for the checksum of the stream is right."""
    monkeypatch.setattr(ans, "is_empty", lambda *_: False)
    with vlae_codec.open_archive(path, **READ) as opened:
        assert np.array_equal(opened[1].pixels, small(12)[opened.names[1]])
        for _ in range(2):
            with pytest.raises(CorruptFile, match="not empty"):
                _ = opened[0].pixels
    with vlae_codec.open_archive(path, **READ) as opened, pytest.raises(CorruptFile, match="not empty"):
        _ = opened[0].pixels


def test_metadata_and_alpha(tmp_path):
    """Groups of several planes, and pictures that have metadata, one by one from either end."""
    pictures = {}
    for i in range(6):
        pixels = np.concatenate([make_golden.synthetic(9, 7, i), make_golden.synthetic(9, 7, 90 + i)[..., :1]], axis=-1)
        pictures[f"{i}.png"] = Picture(pixels, metadata={"comment": str(i).encode()} if i % 2 else {})
    create_archive(tmp_path / "set.vlae", pictures, **OPTIONS | {"model": None})
    for order in (range(6), reversed(range(6))):
        with vlae_codec.open_archive(tmp_path / "set.vlae", threads=1) as opened:
            for i in order:
                found, given = opened[i].picture, pictures[f"{i}.png"]
                assert np.array_equal(found.pixels, given.pixels)
                assert found.metadata == given.metadata


def test_chains_of_different_numbers():
    """Groups of planes in different numbers of chains are no chains of pictures: such a file is read as a whole."""
    pixels = np.concatenate([make_golden.synthetic(80, 80, 1), np.full((80, 80, 1), 7, np.uint8)], axis=-1)
    data = vlae_codec.compress_many([pixels] * 40, effort=1, threads=1, verify=False)
    header = container.read_header(data)
    assert len({planes.chains for planes in header.first.planes}) > 1
    assert container.read_chain(lambda offset, size: data[offset : offset + size], len(data), 3) is None
