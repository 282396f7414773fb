"""The digits that examples learn from: read, split, or refused."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from funcad import random
from funcad.examples.command import UsageError
from funcad.examples.digits import Split, hold_out, load_digits, read_idx

KEY = random.key(0)


def idx(array):
    """A file of the idx format, from its specification."""
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_set(folder, name, count=20, seed=0, packed=False):
    """Random images and labels under MNIST's names."""
    chance = np.random.default_rng(seed)
    images = chance.integers(0, 256, (count, 4, 3))
    labels = chance.integers(0, 10, count)
    for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
        path, content = folder / f"{name}-{kind}-ubyte", idx(array)
        if packed:
            path, content = path.with_name(path.name + ".gz"), gzip.compress(content)
        path.write_bytes(content)
    return images, labels


@given(hnp.arrays(np.uint8, hnp.array_shapes(max_dims=4, min_side=0)), st.booleans())
def test_an_idx_file_is_read_back(tmp_path_factory, array, packed):
    path = tmp_path_factory.mktemp("idx") / "file"
    path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    found = read_idx(path)
    assert found.dtype == np.uint8 and found.shape == array.shape
    assert np.array_equal(found, array)


@given(st.data(), st.booleans())
def test_an_idx_file_cut_short_is_refused(tmp_path_factory, data, packed):
    path = tmp_path_factory.mktemp("idx") / "file"
    whole = idx(np.arange(12).reshape(3, 4))
    whole = gzip.compress(whole) if packed else whole
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(UsageError, match="cut short|damaged|no idx file|decompress"):
        read_idx(path)


@given(st.binary(max_size=40))
def test_what_is_no_idx_file_is_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("idx") / "file"
    path.write_bytes(b"\x1f" + content)
    with pytest.raises(UsageError, match="no idx file of bytes|decompress"):
        read_idx(path)


def test_bytes_too_many_are_refused_with_both_counts(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(idx(np.zeros((2, 3))) + b"\0")
    with pytest.raises(UsageError, match=r"shape \(2, 3\), which takes 6 .* holds 7"):
        read_idx(path)


@pytest.mark.parametrize("shape", [(0, 2**32 - 1, 2**32 - 1), (1,) * 65])
def test_a_shape_that_no_array_has_is_refused(tmp_path, shape):
    path = tmp_path / "file"
    header = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    path.write_bytes(header + b"\0" * (len(shape) == 65))
    with pytest.raises(UsageError, match="is damaged: it announces"):
        read_idx(path)


def test_any_damaged_byte_of_a_compressed_file_is_an_error_or_harmless(tmp_path):
    path, array = tmp_path / "file", np.arange(60).reshape(3, 4, 5)
    whole = gzip.compress(idx(array))
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 8]) + whole[place + 1 :])
        try:
            found = read_idx(path)
        except UsageError:
            continue
        assert np.array_equal(found, array), place


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", ["train", "t10k"])
def test_one_set_is_split_four_fifths_to_one(tmp_path, name, packed):
    images, labels = write_set(tmp_path, name, count=23, packed=packed)
    training, test = load_digits(tmp_path, KEY)
    assert len(training.labels) == 19 and len(test.labels) == 4
    assert training.images.dtype == test.images.dtype == np.float32
    assert training.labels.dtype == np.int64
    np.testing.assert_allclose(training.images.mean(), 0, atol=1e-6)
    np.testing.assert_allclose(training.images.std(), 1, atol=1e-6)
    # Each image is there once, with its own label, scaled as all others are.
    found = np.concatenate([training.images, test.images]).reshape(23, -1)
    order = np.argsort(images.reshape(23, -1) @ np.arange(12))
    there = np.argsort(found @ np.arange(12))
    found_labels = np.concatenate([training.labels, test.labels])
    assert np.array_equal(found_labels[there], labels[order])
    scale, shift = np.polyfit(images[order].ravel(), found[there].ravel(), 1)
    np.testing.assert_allclose(
        found[there].ravel(), scale * images[order].ravel() + shift, atol=1e-5
    )


def test_two_sets_are_taken_as_they_are(tmp_path):
    _, labels = write_set(tmp_path, "train", count=7)
    _, test_labels = write_set(tmp_path, "t10k", count=3, seed=1, packed=True)
    training, test = load_digits(tmp_path, KEY)
    assert np.array_equal(training.labels, labels)
    assert np.array_equal(test.labels, test_labels)


def test_the_key_decides_the_split():
    whole = Split(np.zeros((50, 1, 1), np.float32), np.arange(50))
    parts = [hold_out(whole, random.key(seed)) for seed in (0, 0, 1)]
    assert np.array_equal(parts[0][1].labels, parts[1][1].labels)
    assert not np.array_equal(parts[0][1].labels, parts[2][1].labels)
    assert sorted([*parts[0][0].labels, *parts[0][1].labels]) == list(range(50))


def test_without_a_folder_the_digits_are_those_of_scikit_learn():
    training, test = load_digits(None, KEY)
    assert training.images.shape == (1438, 8, 8) and test.images.shape == (359, 8, 8)
    assert set(training.labels) == set(range(10))


def refused(folder):
    with pytest.raises(UsageError) as caught:
        load_digits(folder, KEY)
    return str(caught.value)


def test_files_that_hold_no_digits_are_refused_by_name(tmp_path):
    assert "no folder" in refused(tmp_path / "absent")
    assert "neither train-images-idx3-ubyte nor t10k" in refused(tmp_path)
    write_set(tmp_path, "t10k")
    images, labels = (
        tmp_path / f"t10k-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1")
    )

    kept = labels.read_bytes()
    labels.unlink()
    assert "no t10k-labels-idx1-ubyte" in refused(tmp_path)
    labels.write_bytes(idx(np.zeros(19)))
    message = refused(tmp_path)
    assert "20 images" in message and "shape (19,)" in message
    labels.write_bytes(idx(np.full(20, 10)))
    assert "a label 10" in refused(tmp_path)
    labels.unlink()
    labels.mkdir()
    assert "Is a directory" in refused(tmp_path)
    labels.rmdir()
    labels.write_bytes(kept)

    images.write_bytes(idx(np.zeros((20, 12))))
    assert "not images" in refused(tmp_path)
    images.write_bytes(idx(np.zeros((0, 4, 3))))
    assert "not images" in refused(tmp_path)
    images.write_bytes(idx(np.full((20, 4, 3), 7)))
    assert "same shade" in refused(tmp_path)
    images.write_bytes(kept)
    assert "not images" in refused(tmp_path)


def test_four_images_are_too_few_to_split(tmp_path):
    write_set(tmp_path, "t10k", count=4)
    assert "there are only 4" in refused(tmp_path)


def test_sets_of_other_sizes_do_not_go_together(tmp_path):
    write_set(tmp_path, "train")
    write_set(tmp_path, "t10k")
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(np.ones((20, 5, 3))))
    assert "belong to different sets" in refused(tmp_path)
