"""Trompt: both ways to write it agree, learn, and are what the paper says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import funcad
from differences import assert_close, directional_derivative
from funcad import tree
from funcad.examples import trompt

SMALL = trompt.Sizes(columns=3, prompts=5, width=4, cells=3)


def params_of(sizes, seed=0, dtype="f8"):
    """Parameters none of which is zero, so that every part of the model matters."""
    rng = np.random.default_rng(seed)
    initial = trompt.init_params(rng, sizes, dtype)
    return tree.map(
        lambda p: (p + 0.3 * rng.normal(size=p.shape)).astype(dtype), initial
    )


def rows_of(sizes, batch, seed=0, dtype="f8"):
    rng = np.random.default_rng(seed)
    shape = (batch, sizes.columns)
    return rng.normal(size=shape).astype(dtype), rng.normal(size=batch).astype(dtype)


def both(transform, params, x, y):
    """What a transform of the loss gives for both models."""
    return [
        transform(lambda p, x, model=model: trompt.loss(model, p, x, y))(params, x)
        for model in (trompt.naive, trompt.rearranged)
    ]


SIZES = st.builds(
    trompt.Sizes,
    columns=st.integers(1, 4),
    prompts=st.integers(1, 4),
    width=st.integers(2, 5),
    cells=st.integers(1, 3),
)


@settings(max_examples=15)
@given(SIZES, st.integers(1, 4), st.integers(0, 99))
def test_rearranged_and_naive_agree_in_value_and_gradient(sizes, batch, seed):
    params = params_of(sizes, seed)
    x, y = rows_of(sizes, batch, seed)
    outputs = [model(params, x) for model in (trompt.naive, trompt.rearranged)]
    assert outputs[0].shape == (sizes.cells, batch)
    assert_close(outputs[1], outputs[0], rtol=1e-5, atol=1e-8)
    naive, rearranged = both(
        lambda f: funcad.value_and_grad(f, argnums=(0, 1)), params, x, y
    )
    assert_close(rearranged, naive, rtol=1e-5, atol=1e-8)


def test_they_agree_in_single_precision_and_compiled():
    sizes = trompt.Sizes(columns=4, prompts=16, width=16, cells=4)
    params = params_of(sizes, dtype="f4")
    x, y = rows_of(sizes, 8, dtype="f4")
    naive, eager = both(funcad.value_and_grad, params, x, y)
    compiled = both(lambda f: funcad.jit(funcad.value_and_grad(f)), params, x, y)[1]
    for found in (eager, compiled):
        assert all(leaf.dtype == np.float32 for leaf in tree.leaves(found))
        assert_close(found, naive, rtol=1e-5, atol=1e-5)


def test_the_compiled_step_trains_as_the_naive_one():
    x, y = rows_of(SMALL, 6)
    runs = trompt.contestants(SMALL, x, y)
    losses = {name: [float(run()) for _ in range(3)] for name, run in runs.items()}
    assert list(losses) == ["naive, eager", "rearranged, eager", "rearranged, jit"]
    for found in losses.values():
        assert found[0] > found[1] > found[2]
        assert_close(found, losses["naive, eager"], rtol=1e-5)


def test_gradients_agree_with_finite_differences():
    params = params_of(SMALL)
    x, y = rows_of(SMALL, 3)
    rng = np.random.default_rng(1)
    tangents = tree.map(lambda p: rng.normal(size=p.shape), params)
    grads = funcad.grad(lambda p: trompt.loss(trompt.rearranged, p, x, y))(params)
    got = sum(map(np.sum, tree.leaves(tree.map(np.multiply, grads, tangents))))
    (want,) = directional_derivative(
        lambda p: trompt.loss(trompt.naive, p, x, y), [params], [tangents], step=1e-4
    )
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_the_first_cell_is_what_the_formulas_say():
    """One cell and one row, written out in loops over every axis."""
    sizes = trompt.Sizes(columns=2, prompts=3, width=4, cells=1)
    p = params_of(sizes)
    x, _ = rows_of(sizes, 1)
    features = []
    for c in range(2):
        f = np.maximum(x[0, c] * p["feature"][0, c] + p["feature_bias"][0, c], 0)
        f = (f - f.mean()) / np.sqrt(f.var() + 1e-5)
        features.append(f * p["scale"][0] + p["shift"][0])
    outputs = []
    for k in range(3):
        joined = np.concatenate([p["prompt"][0, k], p["start"][k]])
        mixed = joined @ p["dense"][0] + p["dense_bias"][0] + sum(np.split(joined, 2))
        e = np.exp(p["column"][0] @ mixed)
        weight, bias = p["expand"][0, k], p["expand_bias"][0, k]
        outputs.append(
            sum(e[c] / e.sum() * (weight * features[c] + bias) for c in range(2))
        )
    a = np.exp([o @ p["attend"] for o in outputs])
    pooled = sum(a[k] / a.sum() * outputs[k] for k in range(3))
    hidden = np.maximum(pooled @ p["hidden"] + p["hidden_bias"], 0)
    want = hidden @ p["out"] + p["out_bias"]
    np.testing.assert_allclose(trompt.naive(p, x), [[want]], rtol=1e-10)
    np.testing.assert_allclose(trompt.rearranged(p, x), [[want]], rtol=1e-10)


def test_large_scores_do_not_overflow():
    params = tree.map(lambda p: 100 * p, params_of(SMALL))
    x, y = rows_of(SMALL, 3)
    with np.errstate(over="raise", invalid="raise"):
        naive, rearranged = both(funcad.value_and_grad, params, x, y)
    assert all(np.all(np.isfinite(leaf)) for leaf in tree.leaves(rearranged))
    np.testing.assert_allclose(rearranged[0], naive[0], rtol=1e-5)


def test_no_value_of_the_rearranged_step_has_rows_prompts_and_width():
    sizes = trompt.Sizes(columns=3, prompts=11, width=13, cells=3)
    params, (x, y) = params_of(sizes), rows_of(sizes, 7)

    def shapes(model):
        gradient = funcad.grad(lambda p: trompt.loss(model, p, x, y))
        program = funcad.make_program(gradient)(params)
        return {v.shape for e in program.equations for v in e.outputs}

    def holds_all(shape):
        return {7, 11, 13} <= set(shape)

    assert not any(map(holds_all, shapes(trompt.rearranged)))
    assert (7, 11, 3, 13) in shapes(trompt.naive)


def test_predictions_are_the_mean_of_the_cells():
    params, (x, _) = params_of(SMALL), rows_of(SMALL, 5)
    want = np.mean(trompt.naive(params, x), axis=0)
    np.testing.assert_allclose(trompt.predict(params, x), want, rtol=1e-10)


def test_the_table_is_standard_and_the_same_for_a_seed():
    table, again = trompt.california_like(500, 3), trompt.california_like(500, 3)
    assert table.x.shape == (400, 8) and table.x_test.shape == (100, 8)
    assert table.x.dtype == table.y.dtype == np.float32
    x = np.concatenate([table.x, table.x_test])
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(x.std(axis=0), 1, atol=1e-5)
    for a, b in zip(table, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_command_learns_what_ridge_regression_cannot(capsys):
    assert trompt.main(["--quick"]) == 0
    lines = capsys.readouterr().out.splitlines()
    errors = [float(line.split()[-1]) for line in lines if "test RMSE" in line]
    assert len(errors) == 2
    assert errors[0] < 0.8 * errors[1]


def test_the_command_prints_speeds(capsys):
    assert trompt.main(["--quick", "--speed", "--batch", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition("  ")[0].strip() for line in lines[1:]] == [
        "naive, eager",
        "rearranged, eager",
        "rearranged, jit",
    ]


@pytest.mark.parametrize("seed", ["-1", str(2**32)])
def test_the_command_refuses_seeds_that_scikit_learn_would(seed, capsys):
    with pytest.raises(SystemExit):
        trompt.main(["--seed", seed])
    assert "is not from 0 to 2**32 - 1" in capsys.readouterr().err


def test_the_command_refuses_batches_of_more_rows_than_there_are(capsys):
    assert trompt.main(["--quick", "--batch", "1000000"]) == 2
    assert "--batch 1000000 is more than the" in capsys.readouterr().err


def test_the_command_says_which_package_is_absent(capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert trompt.main(["--quick"]) == 2
    assert "trompt: sklearn must be installed" in capsys.readouterr().err


def test_an_interrupt_ends_the_command_with_one_line(capsys, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(trompt, "train", interrupted)
    assert trompt.main(["--quick"]) == 130
    assert capsys.readouterr().err == "trompt: interrupted\n"


@pytest.mark.parametrize("options", [["--batch", "0"], ["--steps", "-1"]])
def test_the_command_refuses_sizes_that_are_not_positive(options, capsys):
    with pytest.raises(SystemExit):
        trompt.main(options)
    assert "is not at least 1" in capsys.readouterr().err
