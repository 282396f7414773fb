"""The comparison of first-order and second-order training."""

import subprocess
import sys

import numpy as np
import pytest

import funcad
from funcad import optim, tree
from funcad.examples import second_order
from funcad.examples.second_order import after, digits, main, methods, table, train


@pytest.fixture(scope="module")
def problem():
    return digits([6], examples=100)


@pytest.fixture(scope="module")
def runs(problem):
    return [
        train(name, method, problem, iterations=8, seconds=60.0)
        for name, method in methods().items()
    ]


def test_every_method_learns(runs):
    assert [run.name for run in runs] == list(methods())
    for run in runs:
        assert len(run.losses) == len(run.seconds) == 9
        assert run.losses[-1] < 0.9 * run.losses[0]
        assert run.seconds == sorted(run.seconds)


def test_second_order_needs_fewer_iterations(runs):
    last = {run.name: run.losses[-1] for run in runs}
    for name in ("L-BFGS", "Newton-CG", "Gauss-Newton"):
        assert last[name] < min(last["gradient descent"], last["Adam"])
    for run in runs:
        if run.name not in ("gradient descent", "Adam"):
            assert all(b <= a for a, b in zip(run.losses, run.losses[1:]))


def test_the_loss_that_is_recorded_is_that_of_the_parameters(problem, runs):
    for run in runs:
        assert run.losses[0] == pytest.approx(float(problem.value(problem.params)))
        assert run.losses[-1] == pytest.approx(float(problem.value(run.params)))


def test_the_model_and_its_loss_make_the_loss(problem):
    """Newton's Hessian and the Gauss-Newton matrix are those of one function."""
    p = problem.params
    hessian = funcad.hessian_operator(problem.value, p)
    gauss_newton = funcad.gauss_newton_operator(problem.model, problem.loss, p)
    rng = np.random.default_rng(0)
    v = rng.normal(size=len(p))
    assert v @ (gauss_newton @ v) > 0
    # with a model that is linear in the parameters they are the same
    linear = digits([], examples=50)
    v = rng.normal(size=len(linear.params))
    np.testing.assert_allclose(
        funcad.hessian_operator(linear.value, linear.params) @ v,
        funcad.gauss_newton_operator(linear.model, linear.loss, linear.params) @ v,
        rtol=1e-9,
        atol=1e-12,
    )
    assert hessian.shape == (len(p), len(p))


def test_a_run_ends_when_its_time_is_over(problem):
    method = methods()["gradient descent"]
    run = train("gd", method, problem, iterations=10**6, seconds=0.05)
    assert len(run.losses) < 10**5
    assert all(t <= 0.05 for t in run.seconds[:-1]) and run.seconds[-1] > 0.05


def test_the_table_says_what_the_runs_were(problem, runs):
    text = table(runs, problem)
    lines = text.splitlines()
    assert lines[0].split() == " ".join(methods()).split()
    (row,) = [line for line in lines if line.strip().startswith("5 iterations")]
    assert row.split()[2:] == [f"{run.losses[5]:.5f}" for run in runs]
    (row,) = [line for line in lines if line.strip().startswith("last loss")]
    assert row.split()[2:] == [f"{run.losses[-1]:.5f}" for run in runs]


def test_the_loss_after_some_time_is_the_last_one_before_it():
    run = second_order.Run("some", [3.0, 2.0, 1.0], [0.1, 0.2, 0.4], None)
    assert [after(run, t) for t in (0.05, 0.1, 0.3, 0.4, 0.5)] == [None, 3, 2, 1, None]


def test_the_first_matrices_are_decided_by_the_seed():
    a, b, c = (second_order.initial([4, 3, 2], seed) for seed in (0, 0, 1))
    assert [w.shape for w in a.tree] == [(5, 3), (4, 2)]
    for x, y, z in zip(*map(tree.leaves, (a, b, c)), strict=True):
        np.testing.assert_array_equal(x, y)
        assert not np.array_equal(x, z)
        np.testing.assert_array_equal(x[-1], 0.0)


# ------------------------------------------------------------------------- command


def test_the_command_prints_a_table_and_draws_the_curves(tmp_path):
    run = subprocess.run(
        [
            *(sys.executable, "-m", "funcad.examples.second_order", "--quick"),
            *("--iterations", "5", "--examples", "50", "--out", tmp_path / "new"),
        ],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert "610 parameters, 50 images" in run.stdout
    assert "Gauss-Newton" in run.stdout and "test accuracy" in run.stdout
    assert (tmp_path / "new" / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_a_package_that_is_absent_is_named_before_anything_is_trained(
    capsys, monkeypatch
):
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "tqdm" else name
    )
    assert main(["--quick"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "tqdm must be installed: pip install 'funcad[examples]'" in err


def test_an_interrupt_ends_the_command_with_one_line(capsys, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(second_order, "digits", interrupted)
    assert main(["--quick"]) == 130
    assert capsys.readouterr().err == "second_order: interrupted\n"


def test_an_output_folder_that_cannot_be_made_is_one_clear_line(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert main(["--quick", "--out", str(tmp_path / "file" / "out")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Not a directory" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "options",
    [
        ["--iterations", "0"],
        ["--seconds", "-1"],
        ["--seconds", "nan"],
        ["--hidden", "0"],
        ["--examples", "1700"],
        ["--adam-rate", "inf"],
        ["--seed", "-1"],
    ],
)
def test_an_option_outside_of_its_range_is_refused(options, capsys):
    with pytest.raises(SystemExit) as caught:
        main(options)
    assert caught.value.code == 2
    assert options[0] in capsys.readouterr().err


def test_only_those_methods_that_take_the_loss_are_given_it(problem):
    for method in methods().values():
        takes = isinstance(method.optimiser, optim.GradientTransformationExtraArgs)
        assert takes == bool(method.extra(problem))
