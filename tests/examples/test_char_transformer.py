"""The character transformer: its model, its runs, its checkpoints and its command."""

import dataclasses
import math
import os
import random as stdlib_random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import funcad
from backend_double import Array as DeviceArray
from funcad import random, tree
from funcad.examples.char_transformer import checkpoint, model, run, training
from funcad.examples.char_transformer.cli import main
from funcad.examples.char_transformer.sampling import sample
from funcad.examples.char_transformer.settings import PRESETS
from funcad.examples.char_transformer.text import make_corpus, read_text, sample_batch
from funcad.examples.command import UsageError

TEXT = "".join(f"{i} and {i + 1} are {2 * i + 1}.\n" for i in range(200))
TINY = dataclasses.replace(
    PRESETS["demo"],
    block=8,
    layers=2,
    heads=2,
    channels=8,
    batch=3,
    steps=6,
    eval_every=2,
    eval_batches=2,
    dtype="float64",
)
CORPUS = make_corpus(TEXT, TINY.block)
V = len(CORPUS.vocabulary)


def here(values):
    return values


def never():
    pass


def forget(progress):
    pass


def params_of(seed=0, **changes):
    """Parameters large enough that every part of the model matters."""
    changed = dataclasses.replace(TINY, **changes)
    return tree.map(lambda p: 5 * p, model.init_params(random.key(seed), V, changed))


def same_bits(a, b):
    return all(
        x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
        for x, y in zip(tree.leaves(a), tree.leaves(b), strict=True)
    )


# ---------------------------------------------------------------------------- model


@given(st.integers(0, 2**32), st.integers(1, TINY.block - 1))
def test_no_character_sees_the_ones_after_it(seed, place):
    batch = sample_batch(random.key(seed), CORPUS.training, 2, TINY.block)
    changed = batch.tokens.copy()
    changed[:, place:] = (changed[:, place:] + 1) % V
    before, after = (
        model.transformer(params_of(), tokens, TINY.heads)
        for tokens in (batch.tokens, changed)
    )
    np.testing.assert_allclose(before[:, :place], after[:, :place], atol=1e-12)
    assert np.all(np.any(before[:, place:] != after[:, place:], axis=-1))


@given(st.integers(1, TINY.block))
def test_next_logits_are_those_of_the_last_character(length):
    batch = sample_batch(random.key(1), CORPUS.training, 2, length)
    params = params_of()
    logits = model.transformer(params, batch.tokens, TINY.heads) @ params["token"].T
    np.testing.assert_allclose(
        model.next_logits(params, batch.tokens, TINY.heads), logits[:, -1]
    )


@pytest.mark.parametrize("tied", [True, False])
def test_the_gradient_of_the_loss_is_the_slope_of_the_loss(tied):
    params, direction = params_of(0, tied=tied), params_of(1, tied=tied)
    batch = sample_batch(random.key(2), CORPUS.training, TINY.batch, TINY.block)

    def along(t):
        moved = tree.map(lambda p, d: p + t * d, params, direction)
        return model.loss(moved, batch, TINY.heads)

    gradient = funcad.grad(model.loss)(params, batch, TINY.heads)
    slope = sum(
        float(np.sum(g * d))
        for g, d in zip(tree.leaves(gradient), tree.leaves(direction), strict=True)
    )
    h = 1e-5
    assert slope == pytest.approx((along(h) - along(-h)) / (2 * h), rel=1e-6)
    assert all(np.any(g) for g in tree.leaves(gradient))


def test_the_loss_is_the_mean_cross_entropy_of_the_next_characters():
    params = params_of()
    batch = sample_batch(random.key(3), CORPUS.training, TINY.batch, TINY.block)
    logits = model.transformer(params, batch.tokens, TINY.heads) @ params["token"].T
    probabilities = np.exp(logits) / np.sum(np.exp(logits), axis=-1, keepdims=True)
    chosen = np.take_along_axis(probabilities, batch.targets[..., None], axis=-1)
    assert model.loss(params, batch, TINY.heads) == pytest.approx(
        -np.mean(np.log(chosen))
    )


def test_a_new_model_expects_every_character_about_equally():
    params = model.init_params(random.key(0), V, TINY)
    batch = sample_batch(random.key(0), CORPUS.training, 20, TINY.block)
    assert model.loss(params, batch, TINY.heads) == pytest.approx(math.log(V), abs=0.05)


def test_an_untied_model_has_an_output_layer_of_its_own():
    tied, untied = params_of(tied=True), params_of(tied=False)
    assert "out" not in tied and model.output_layer(tied).shape == (TINY.channels, V)
    assert untied["out"] is model.output_layer(untied)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_stays_in_the_dtype_of_the_parameters(dtype):
    chosen = dataclasses.replace(TINY, dtype=dtype, dropout=0.5)
    progress = run.begin(chosen, CORPUS)
    step = training.make_step(chosen, CORPUS, training.split_key(progress.key), here)
    state, _ = step(progress.state, 0)
    moments = [leaf for leaf in tree.leaves(state.optimiser) if leaf.ndim]
    assert {leaf.dtype for leaf in tree.leaves(state.params)} == {np.dtype(dtype)}
    assert {leaf.dtype for leaf in moments} == {np.dtype(dtype)}


def test_dropout_is_decided_by_its_key_and_absent_without_one():
    params = params_of()
    batch = sample_batch(random.key(0), CORPUS.training, TINY.batch, TINY.block)

    def loss(key):
        return float(model.loss(params, batch, TINY.heads, dropout=0.5, key=key))

    assert loss(random.key(0)) == loss(random.key(0)) != loss(random.key(1))
    assert loss(None) == float(model.loss(params, batch, TINY.heads))


# ----------------------------------------------------------------------------- text


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=40))
def test_the_parts_of_a_corpus_spell_the_text(text):
    corpus = make_corpus(text, block=3)
    assert corpus.decode(corpus.training) + corpus.decode(corpus.validation) == text
    assert list(corpus.vocabulary) == sorted(set(text))
    assert len(corpus.training) == 9 * len(text) // 10


@given(st.integers(0, 2**64 - 1), st.integers(1, 9), st.integers(1, 29))
def test_a_batch_is_windows_of_the_text_and_what_follows_them(seed, batch, block):
    tokens = np.arange(30)
    found = sample_batch(random.key(seed), tokens, batch, block)
    assert found.tokens.shape == found.targets.shape == (batch, block)
    assert np.all(found.targets == found.tokens + 1)
    assert np.all(np.diff(found.tokens, axis=-1) == 1)
    again = sample_batch(random.key(seed), tokens, batch, block)
    assert np.array_equal(found.tokens, again.tokens)


def test_batches_reach_both_ends_of_the_text():
    tokens = np.arange(6)
    found = sample_batch(random.key(0), tokens, 100, 3)
    assert found.tokens.min() == 0 and found.targets.max() == 5


@pytest.mark.parametrize("block", [1, 8, 64, 256])
def test_the_least_length_that_is_asked_for_is_enough(block):
    with pytest.raises(UsageError, match="too short: 5 characters") as caught:
        make_corpus("abcde", block)
    least = int(str(caught.value).rsplit(" ", 1)[1].replace(",", ""))
    assert len(make_corpus("a" * least, block).validation) == block + 1
    with pytest.raises(UsageError):
        make_corpus("a" * (least - 1), block)


def test_without_a_file_the_text_is_the_python_language_reference():
    text = read_text(None)
    assert len(text) > 400_000
    assert "The Python" in text and "yield" in text


# -------------------------------------------------------------- training and sampling


def test_training_lowers_the_loss():
    chosen = dataclasses.replace(
        TINY, steps=150, eval_every=150, channels=16, batch=8, learning_rate=1e-2
    )
    progress = run.train(
        run.begin(chosen, CORPUS), chosen, CORPUS, here, save=forget, check=never
    )
    first, last = progress.evaluations
    assert (first.step, last.step) == (0, 150)
    assert last.training < 0.5 * first.training
    assert last.validation < 0.6 * first.validation


def test_weight_decay_is_for_matrices():
    chosen = dataclasses.replace(TINY, weight_decay=1.0, warmup=0)
    progress = run.begin(chosen, CORPUS)
    optimiser = training.make_optimiser(chosen)
    zeros = tree.map(np.zeros_like, progress.state.params)
    updates, _ = optimiser.update(
        zeros, progress.state.optimiser, progress.state.params
    )
    assert not np.any(updates["norm"])
    np.testing.assert_allclose(
        updates["position"], -chosen.learning_rate * progress.state.params["position"]
    )


def test_arrays_on_a_device_stay_there_and_train_as_those_on_the_host_do(tmp_path):
    chosen = dataclasses.replace(TINY, dropout=0.1)

    def on_device(values):
        return tree.map(DeviceArray, values)

    def trained(place):
        progress = run.begin(chosen, CORPUS)
        progress = progress._replace(state=place(progress.state))
        progress = run.train(progress, chosen, CORPUS, place, save=forget, check=never)
        written = sample(progress.state.params, progress.key, [0], 20, chosen, place)
        return progress, written

    progress, written = trained(on_device)
    expected, expected_written = trained(here)
    leaves = tree.leaves(progress.state)
    assert {type(leaf) for leaf in leaves} == {DeviceArray}
    for leaf, wanted in zip(leaves, tree.leaves(expected.state), strict=True):
        np.testing.assert_allclose(leaf.get(), wanted, rtol=1e-7, atol=1e-12)
    assert written == expected_written
    run.save(tmp_path / "c", progress, {})
    found = run.resume(tmp_path / "c", run.begin(chosen, CORPUS), {})
    assert same_bits(found.state, tree.map(DeviceArray.get, progress.state))


def test_a_sample_is_decided_by_its_key():
    params = params_of()

    def write(seed):
        return sample(params, random.key(seed), [0], 40, TINY, here)

    assert write(0) == write(0) != write(1)
    assert len(write(0)) == 40 and all(0 <= token < V for token in write(0))


# ------------------------------------------------------------ stopping and going on


def save_to(path):
    return lambda progress: run.save(path, progress, run.identify(TINY, TEXT))


def resume_from(path):
    return run.resume(path, run.begin(TINY, CORPUS), run.identify(TINY, TEXT))


def uninterrupted():
    return run.train(
        run.begin(TINY, CORPUS), TINY, CORPUS, here, save=forget, check=never
    )


@given(st.lists(st.integers(1, 12), max_size=4))
@settings(max_examples=10)
def test_a_run_that_is_stopped_and_resumed_ends_like_one_that_is_not(
    tmp_path_factory, patience
):
    path = tmp_path_factory.mktemp("stopped") / "checkpoint.safetensors"
    progress = run.begin(TINY, CORPUS)
    for checks in patience:
        remaining = iter(range(checks))

        def check(remaining=remaining):
            if next(remaining, None) is None:
                raise run.Stopped

        try:
            run.train(progress, TINY, CORPUS, here, save=save_to(path), check=check)
        except run.Stopped:
            progress = resume_from(path)
    progress = run.train(progress, TINY, CORPUS, here, save=forget, check=never)
    whole = uninterrupted()
    assert same_bits(progress.state, whole.state)
    assert progress.losses == whole.losses
    assert progress.evaluations == whole.evaluations


def test_a_finished_run_resumes_at_its_end(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    finished = uninterrupted()
    save_to(path)(finished)
    again = run.train(
        resume_from(path), TINY, CORPUS, here, save=save_to(path), check=never
    )
    assert same_bits(again.state, finished.state)
    assert again.losses == finished.losses
    assert again.evaluations == finished.evaluations


# ---------------------------------------------------------------------- checkpoints


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    progress = uninterrupted()
    save_to(path)(progress)
    return path


def test_a_checkpoint_keeps_every_bit(saved):
    progress = uninterrupted()
    found = resume_from(saved)
    assert same_bits(found.state, progress.state)
    assert np.array_equal(found.key, progress.key)
    assert tree.structure(found.state) == tree.structure(progress.state)


def test_a_checkpoint_with_any_byte_changed_is_refused(saved, tmp_path):
    whole = saved.read_bytes()
    damaged = tmp_path / "damaged.safetensors"
    chance = stdlib_random.Random(0)
    places = [0, 8, 9, len(whole) - 1, *chance.choices(range(len(whole)), k=60)]
    identity = run.identify(TINY, TEXT)
    intact = checkpoint.load(saved, identity)
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 1 << chance.randrange(8)
        damaged.write_bytes(changed)
        try:
            arrays = checkpoint.load(damaged, identity)
        except UsageError:
            continue
        # What carries no meaning, such as padding, may change.
        assert arrays.keys() == intact.keys()
        assert same_bits(arrays, intact)


@given(st.floats(0, 1, exclude_max=True))
def test_a_checkpoint_cut_short_is_refused(tmp_path_factory, share):
    folder = tmp_path_factory.mktemp("cut")
    path = folder / "checkpoint.safetensors"
    identity = {"seed": 0}
    checkpoint.save(path, {"a": np.arange(9.0)}, identity)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UsageError, match="damaged"):
        checkpoint.load(path, identity)


def test_a_safetensors_file_of_another_program_is_refused(tmp_path):
    from safetensors.numpy import save_file

    path = tmp_path / "other.safetensors"
    save_file({"a": np.zeros(3)}, path)
    with pytest.raises(UsageError, match="another program"):
        checkpoint.load(path, {})


def test_arrays_that_do_not_fit_are_refused():
    like = {"w": np.zeros((2, 3), np.float32)}
    for arrays in (
        {},
        {"p['w']": np.zeros((3, 2), np.float32)},
        {"p['w']": like["w"] + 0.0j},
    ):
        with pytest.raises(UsageError, match=r"p\['w'\] should be float32\[2, 3\]"):
            checkpoint.unflatten("p", arrays, like)


def test_a_save_that_fails_leaves_the_old_checkpoint(saved, monkeypatch):
    before = saved.read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match="No space left on device"):
        save_to(saved)(run.begin(TINY, CORPUS))
    assert saved.read_bytes() == before


# ------------------------------------------------------------------------- command

# The command with a small model; DIE_IN=replace:4 kills it in its fourth os.replace.
DRIVER = """
import dataclasses, io, os, signal, sys
from funcad.examples.char_transformer import checkpoint
from funcad.examples.char_transformer.cli import main
from funcad.examples.char_transformer.settings import PRESETS

PRESETS["demo"] = dataclasses.replace(
    PRESETS["demo"], block=8, layers=2, heads=2, channels=16, batch=2, eval_batches=2,
    dropout=0.1, steps=120, eval_every=3,
)
place, _, call = os.environ.get("DIE_IN", "nowhere:0").partition(":")
remaining = int(call)

def at(name, before=lambda: None):
    global remaining
    remaining -= name == place
    if name == place and remaining == 0:
        before()
        os.kill(os.getpid(), signal.SIGKILL)

def dying(name, function):
    def wrapper(*arguments):
        at(name)
        return function(*arguments)
    return wrapper

class DyingFile(io.FileIO):
    def write(self, content):
        half = content[: len(content) // 2]
        at("write", before=lambda: super(DyingFile, self).write(half))
        return super().write(content)

checkpoint.open = DyingFile
os.fsync = dying("fsync", os.fsync)
os.replace = dying("replace", os.replace)
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def text_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(TEXT)
    return path


def start(text_file, out, *options, **environment):
    """The command, on a small model, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, "--text", text_file, "--out", out, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Sums depend on how BLAS shares them among threads.
        env=os.environ
        | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        | environment,
    )


def finish(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


def outcome(folder):
    from safetensors.numpy import load_file

    return load_file(folder / "checkpoint.safetensors")


@pytest.fixture(scope="module")
def undisturbed(text_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    printed = finish(start(text_file, folder))
    return folder, printed


def wait_for_line(process, word):
    for line in process.stdout:
        if word in line:
            return
    pytest.fail(process.stderr.read())


def test_the_command_prints_a_loss_and_a_sample_and_draws_the_curves(undisturbed):
    folder, printed = undisturbed
    assert "step 120: training loss" in printed
    assert "validation loss" in printed
    _, _, sample_text = printed.partition("loss.png\n\n")
    assert len(sample_text) == 300 + len("\n")
    assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(os.listdir(folder)) == ["checkpoint.safetensors", "loss.png"]


def test_a_run_that_is_killed_at_random_moments_ends_with_the_same_bits(
    undisturbed, text_file, tmp_path
):
    seed = time.time_ns()
    chance = stdlib_random.Random(seed)
    kills = 0
    for _ in range(6):
        process = start(text_file, tmp_path, "--resume")
        wait_for_line(process, "characters")
        time.sleep(chance.uniform(0, 0.5))
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    finish(start(text_file, tmp_path, "--resume"))
    assert kills, "every process ended before it was killed"
    assert same_bits(outcome(tmp_path), outcome(undisturbed[0])), f"seed {seed}"


@pytest.mark.parametrize("moment", ["write:5", "fsync:9", "replace:4", "fsync:10"])
def test_a_run_that_is_killed_while_it_saves_ends_with_the_same_bits(
    undisturbed, text_file, tmp_path, moment
):
    process = start(text_file, tmp_path, DIE_IN=moment)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert "resuming at step" in finish(start(text_file, tmp_path, "--resume"))
    assert same_bits(outcome(tmp_path), outcome(undisturbed[0]))


def test_control_c_saves_and_exits_cleanly(undisturbed, text_file, tmp_path):
    process = start(text_file, tmp_path)
    wait_for_line(process, "step 3:")
    process.send_signal(signal.SIGINT)
    printed, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "stopped and saved" in printed
    assert "Traceback" not in err
    assert 3 <= outcome(tmp_path)["step"] < 120
    finish(start(text_file, tmp_path, "--resume"))
    assert same_bits(outcome(tmp_path), outcome(undisturbed[0]))


def test_beginning_anew_keeps_the_checkpoint_of_the_run_before(
    undisturbed, text_file, tmp_path
):
    shutil.copytree(undisturbed[0], tmp_path, dirs_exist_ok=True)
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    finish(start(text_file, tmp_path, "--steps", "2"))
    assert (tmp_path / "checkpoint.previous.safetensors").read_bytes() == before
    assert outcome(tmp_path)["step"] == 2


def refused(capsys, *options):
    """The one line on stderr of a command that exits with code 2."""
    assert main([str(option) for option in options]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


def test_a_text_that_cannot_be_learned_is_one_clear_line(capsys, tmp_path):
    empty, short, binary = (tmp_path / name for name in ("empty", "short", "binary"))
    empty.write_text("")
    short.write_text("too short")
    binary.write_bytes(b"\xff\xfe\xfd" * 1000)
    out = ("--out", tmp_path / "out")
    absent = tmp_path / "absent"
    assert "No such file" in refused(capsys, "--text", absent, *out)
    assert "Is a directory" in refused(capsys, "--text", tmp_path, *out)
    assert "empty" in refused(capsys, "--text", empty, *out)
    assert "at least 641" in refused(capsys, "--text", short, *out)
    assert "not UTF-8" in refused(capsys, "--text", binary, *out)
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_of_another_run_is_refused_and_left_alone(
    undisturbed, text_file, tmp_path, capsys
):
    shutil.copytree(undisturbed[0], tmp_path, dirs_exist_ok=True)
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    options = ("--text", text_file, "--out", tmp_path, "--resume")
    assert "seed = 1337 there and 5 here" in refused(capsys, *options, "--seed", 5)
    other = tmp_path / "other.txt"
    other.write_text(TEXT + "one more line\n")
    refused(capsys, "--text", other, "--out", tmp_path, "--resume")
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before


def test_a_damaged_checkpoint_is_refused_and_left_alone(text_file, tmp_path, capsys):
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(b"nothing that was ever saved")
    options = ("--text", text_file, "--out", tmp_path, "--resume")
    assert "is damaged" in refused(capsys, *options)
    assert path.read_bytes() == b"nothing that was ever saved"


def test_an_output_folder_that_cannot_be_made_is_one_clear_line(
    text_file, tmp_path, capsys
):
    (tmp_path / "file").write_text("")
    line = refused(capsys, "--text", text_file, "--out", tmp_path / "file" / "out")
    assert "Not a directory" in line


def test_without_a_gpu_the_gpu_is_one_clear_line(capsys):
    if any("gpu" in str(device) for device in funcad.devices()):
        pytest.skip("there is a GPU")
    assert "GPU" in refused(capsys, "--device", "gpu")


def test_a_package_that_is_absent_is_named_before_anything_is_trained(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "tqdm" else name
    )
    line = refused(capsys, "--out", tmp_path / "out")
    assert "tqdm must be installed: pip install 'funcad[examples]'" in line


@pytest.mark.parametrize(
    "options",
    [["--steps", "0"], ["--batch", "-1"], ["--seed", "-1"], ["--preset", "huge"]],
)
def test_an_option_outside_of_its_range_is_refused(options, capsys):
    with pytest.raises(SystemExit) as caught:
        main(options)
    assert caught.value.code == 2
    assert options[0] in capsys.readouterr().err
