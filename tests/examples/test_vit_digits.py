"""The vision transformer: its two forms, its two engines, its training, its command."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from funcad import random, tree
from funcad.examples import vit_digits
from funcad.examples.digits import Digits, Split, load_digits
from funcad.examples.vit_digits import ENGINES, FORMS, State, main

KEY = random.key(0)


def small(form, **changes):
    """A form with few channels."""
    chosen = {"channels": 8, "batch": 7} | changes
    return FORMS[form]._replace(**chosen)


def batch_of(count=7, rows=5, pixels=4, seed=0, dtype=np.float64):
    chance = np.random.default_rng(seed)
    images = chance.normal(size=(count, rows, pixels)).astype(dtype)
    return Split(images, chance.integers(0, 10, count))


def model_of(form, engine, dtype=np.float64, seed=0):
    """Parameters, every one of which matters, and the engine that works on them."""
    sizes = form.sizes(batch_of().images)
    params = form.init(random.key(seed), sizes, dtype)
    shifts = random.split(random.key(seed + 1), len(tree.leaves(params)))
    leaves = [
        p + 0.3 * random.normal(key, p.shape, dtype)
        for p, key in zip(tree.leaves(params), shifts, strict=True)
    ]
    params = tree.unflatten(tree.structure(params), leaves)
    return params, ENGINES[engine](form, params, sizes)


# --------------------------------------------------------------------------- the models


def softmax(scores):
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def by_loops(params, image, residual):
    """Logits of one image, one head and one row at a time."""

    def norm(h, name):
        if not residual:
            return h
        centred = h - h.mean(axis=-1, keepdims=True)
        return block[name] * centred / np.sqrt(np.mean(centred**2, -1)[:, None] + 1e-5)

    def affine(weights, h):
        return h @ weights["weight"] + weights["bias"]

    def attention(weights, h):
        gathered = np.zeros_like(h)
        for query, key, value, out in zip(
            *(weights[name] for name in ("query", "key", "value", "out")), strict=True
        ):
            for t in range(len(h)):
                scores = (h[t] @ query) @ (h @ key).T / np.sqrt(query.shape[-1])
                gathered[t] += softmax(scores) @ (h @ value) @ out
        return gathered

    def feed_forward(weights, h):
        return affine(weights["down"], np.maximum(affine(weights["up"], h), 0))

    h = affine(params["embedding"], image) + params["position"]
    for block in params["blocks"]:
        h = residual * h + attention(block["attention"], norm(h, "norm_1"))
        h = residual * h + feed_forward(block["feed_forward"], norm(h, "norm_2"))
    block = params
    return affine(params["output"], norm(h, "norm").mean(axis=0))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("form", FORMS)
def test_logits_are_those_of_the_definition_row_by_row(form, engine):
    params, model = model_of(small(form), engine)
    images = batch_of().images
    expected = [by_loops(params, image, residual=form == "full") for image in images]
    np.testing.assert_allclose(model.logits(params, images), expected, rtol=1e-10)


@pytest.mark.parametrize("form", FORMS)
def test_the_gradient_of_the_loss_is_the_slope_of_the_loss(form):
    params, model = model_of(small(form), "grad")
    direction, _ = model_of(small(form), "grad", seed=5)
    batch = batch_of()

    def along(t):
        moved = tree.map(lambda p, d: p + t * d, params, direction)
        return float(model.loss_and_grads(moved, *batch)[0])

    _, grads = model.loss_and_grads(params, *batch)
    slope = sum(
        float(np.sum(g * d))
        for g, d in zip(tree.leaves(grads), tree.leaves(direction), strict=True)
    )
    h = 1e-6
    assert slope == pytest.approx((along(h) - along(-h)) / (2 * h), rel=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_both_engines_compute_the_same_loss_and_the_same_gradients(form):
    batch = batch_of()
    params, by_grad = model_of(small(form), "grad")
    _, by_graph = model_of(small(form), "graph")
    loss, grads = by_grad.loss_and_grads(params, *batch)
    other_loss, other_grads = by_graph.loss_and_grads(params, *batch)
    np.testing.assert_allclose(other_loss, loss, rtol=1e-12)
    assert tree.structure(other_grads) == tree.structure(grads)
    for found, expected in zip(
        tree.leaves(other_grads), tree.leaves(grads), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_a_probability_that_underflows_leaves_the_graph_s_loss_finite():
    params, model = model_of(small("plain"), "graph", np.float32)
    params["output"]["bias"] = np.float32([1e3] + 9 * [0])
    batch = batch_of(dtype=np.float32)
    loss, grads = model.loss_and_grads(params, batch.images, np.full(7, 3))
    assert np.isfinite(loss) and loss > 80
    assert all(np.all(np.isfinite(g)) for g in tree.leaves(grads))


@pytest.mark.parametrize("form", FORMS)
def test_the_model_knows_the_order_of_the_rows_and_of_nothing_else(form):
    params, model = model_of(small(form), "grad")
    images = batch_of().images
    assert not np.allclose(
        model.logits(params, images[:, ::-1]), model.logits(params, images)
    )
    params["position"] = np.zeros_like(params["position"])
    np.testing.assert_allclose(
        model.logits(params, images[:, ::-1]), model.logits(params, images)
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_all_stays_in_the_dtype_of_the_parameters(engine):
    form = small("full")
    params, model = model_of(form, engine, np.float32)
    optimiser = form.optimiser(10)
    step = vit_digits.make_step(model, optimiser)
    batch = batch_of(dtype=np.float32)
    state, loss = step(State(params, optimiser.init(params)), *batch)
    assert loss.dtype == np.float32
    assert {leaf.dtype for leaf in tree.leaves(state.params)} == {np.dtype("float32")}


def test_the_first_logits_of_the_plain_form_differ_between_images():
    sizes = FORMS["plain"].sizes(np.zeros((1, 28, 28)))
    images = batch_of(50, 28, 28, dtype=np.float32).images
    logits = vit_digits.plain(vit_digits.init_plain(KEY, sizes), images)
    spread = logits.std(axis=0).mean()
    assert 0.02 < spread < 2, spread


# ------------------------------------------------------------------------- the training


def run(digits, form, engine, epochs, seed=0):
    losses = []
    *_, last = vit_digits.train(
        digits, form, engine, epochs, random.key(seed), losses.append
    )
    return losses, last


@pytest.fixture(scope="module")
def digits():
    return load_digits(None, random.key(0))


def test_the_engines_agree_step_by_step(digits):
    """Gradient descent in float64, on the same batches from the same parameters."""
    form = FORMS["plain"]
    init = form.init
    form = form._replace(
        init=lambda key, sizes: init(key, sizes, np.float64), channels=16
    )
    first = Split(*[x[:430] for x in digits.training])
    first = first._replace(images=first.images.astype(np.float64))
    some = Digits(first, digits.test)
    losses, last = run(some, form, "grad", 4)
    other_losses, other_last = run(some, form, "graph", 4)
    assert len(losses) == 4 * 9
    assert losses[-1] < 0.97 * losses[0]
    np.testing.assert_allclose(other_losses, losses, rtol=1e-10)
    for found, expected in zip(
        tree.leaves(other_last.state.params),
        tree.leaves(last.state.params),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_plain_form_learns_digits(digits, engine):
    _, last = run(digits, FORMS["plain"]._replace(channels=32), engine, epochs=8)
    assert last.accuracy > 0.55


def test_the_full_form_learns_digits(digits):
    _, last = run(digits, FORMS["full"]._replace(channels=32, batch=20), "grad", 3)
    assert last.accuracy > 0.8


def test_the_plain_form_reads_more_than_half_of_mnist_s_digits():
    shared = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("FUNCAD_DATA", shared))
    if not (folder / "t10k-images-idx3-ubyte.gz").exists():
        pytest.skip(f"MNIST's files are not in {folder}")
    digits = load_digits(folder, random.key(0))
    assert len(digits.training.labels) == 8000 and len(digits.test.labels) == 2000
    _, last = run(digits, FORMS["plain"]._replace(channels=32, batch=20), "graph", 2)
    assert last.accuracy > 0.5


def test_a_run_is_decided_by_its_key(digits):
    some = Digits(Split(*[x[:60] for x in digits.training]), digits.test)
    (first, _), (again, _), (other, _) = (
        run(some, small("plain", batch=25), "grad", 2, seed) for seed in (3, 3, 4)
    )
    assert first == again != other
    assert len(first) == 2 * 3  # the last batch of an epoch is smaller


def test_accuracy_is_the_share_of_images_whose_greatest_logit_is_right():
    images = np.eye(10)[[0, 1, 2, 3, 4, 5]]
    split = Split(images, np.array([0, 1, 2, 9, 9, 5]))
    for batch in (1, 4, 6, 100):
        assert vit_digits.accuracy(np.multiply, 2.0, split, batch) == 4 / 6


# -------------------------------------------------------------------------- the command


@pytest.fixture
def mnist(tmp_path):
    """A folder with MNIST's names and images that tell their digits by a bright row."""
    labels = np.arange(60) % 10
    images = np.random.default_rng(0).integers(0, 40, (60, 12, 6))
    images[np.arange(60), labels] += 200
    for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
        header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
        content = gzip.compress(header + array.astype(np.uint8).tobytes())
        (tmp_path / f"t10k-{kind}-ubyte.gz").write_bytes(content)
    return tmp_path


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("form", FORMS)
def test_the_command_says_how_well_it_went(mnist, capsys, form, engine):
    options = ["--data", str(mnist), "--form", form, "--engine", engine, "--quick"]
    assert main(options) == 0
    printed = capsys.readouterr().out
    assert "48 images to learn from and 12 to be tested on" in printed
    assert "12 rows of 6 pixels" in printed and f"gradients by {engine}" in printed
    assert printed.count("training loss") == 2
    assert "% after epoch 2" in printed.splitlines()[-1]


def test_without_a_folder_the_command_learns_scikit_learn_s_digits(capsys):
    assert main(["--quick", "--epochs", "1", "--seed", "7"]) == 0
    printed = capsys.readouterr().out
    assert "500 images to learn from and 359 to be tested on" in printed
    assert "% after epoch 1" in printed.splitlines()[-1]


def test_digits_that_cannot_be_read_are_one_clear_line(mnist, tmp_path, capsys):
    def refused(folder):
        assert main(["--data", str(folder), "--quick"]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1
        return err

    assert "no folder" in refused(tmp_path / "absent")
    images = mnist / "t10k-images-idx3-ubyte.gz"
    images.write_bytes(images.read_bytes()[:-20])
    assert "cannot decompress" in refused(mnist)
    images.unlink()
    assert "neither train-images-idx3-ubyte" in refused(mnist)


@pytest.mark.parametrize(
    "options",
    [["--form", "huge"], ["--engine", "torch"], ["--epochs", "0"], ["--seed", "-1"]],
)
def test_an_option_outside_of_its_range_is_refused(options, capsys):
    with pytest.raises(SystemExit) as caught:
        main(options)
    assert caught.value.code == 2
    assert options[0] in capsys.readouterr().err
