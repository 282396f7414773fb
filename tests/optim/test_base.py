"""Chains, masks and the application of updates."""

import numpy as np
import pytest

import funcad
from funcad import optim, tree
from funcad.core.errors import (
    ArgumentError,
    InputDtypeError,
    TreeStructureError,
)


def one_update(transform, grads, params=None):
    params = grads if params is None else params
    return transform.update(grads, transform.init(params), params)[0]


def test_a_chain_applies_its_first_transformation_first():
    grads = np.array([10.0])
    clip_then_scale = optim.chain(optim.clip(1.0), optim.scale(5.0))
    scale_then_clip = optim.chain(optim.scale(5.0), optim.clip(1.0))
    assert one_update(clip_then_scale, grads) == [5.0]
    assert one_update(scale_then_clip, grads) == [1.0]


def test_chains_nest():
    inner = optim.chain(optim.scale(2.0), optim.chain(optim.scale(3.0)))
    outer = optim.chain(inner, optim.identity(), optim.scale(5.0))
    assert one_update(outer, np.array([1.0])) == [30.0]


def test_an_empty_chain_changes_nothing():
    assert one_update(optim.chain(), np.array([3.0])) == [3.0]


def test_a_chain_hands_the_parameters_to_each_transformation():
    transform = optim.chain(optim.scale(2.0), optim.add_decayed_weights(0.5))
    updates = one_update(transform, np.array([1.0]), np.array([10.0]))
    assert updates == [7.0]


def test_decay_before_the_scaling_differs_from_decay_after_it():
    """L2 regularisation is not decoupled weight decay (Loshchilov and Hutter)."""
    params, grads = np.array([10.0]), np.array([1.0])
    coupled = optim.chain(optim.add_decayed_weights(0.5), optim.scale_by_adam())
    decoupled = optim.chain(optim.scale_by_adam(), optim.add_decayed_weights(0.5))
    np.testing.assert_allclose(one_update(coupled, grads, params), 1.0, rtol=1e-6)
    np.testing.assert_allclose(one_update(decoupled, grads, params), 6.0, rtol=1e-6)


def test_a_state_of_another_chain_is_refused():
    adam, sgd = optim.adamw(0.1), optim.sgd(0.1)
    params = np.ones(2)
    with pytest.raises(ArgumentError, match="tuple of 3 states") as caught:
        adam.update(params, sgd.init(params), params)
    assert "given is of type tuple of length 2" in str(caught.value)
    with pytest.raises(ArgumentError, match="given is of type dict, and"):
        adam.update(params, {}, params)


MAKERS = {
    "sgd": lambda: optim.sgd(0.1),
    "adam": lambda: optim.adam(0.1),
    "adamw": lambda: optim.adamw(0.1, mask={"w": True}),
    "rmsprop": lambda: optim.rmsprop(0.1),
    "centered": lambda: optim.rmsprop(0.1, centered=True),
    "adagrad": lambda: optim.adagrad(0.1),
    "lion": lambda: optim.lion(0.1),
    "momentum": lambda: optim.sgd(0.1, momentum=0.9),
    "schedule": lambda: optim.sgd(lambda count: 0.1),
    "clip": lambda: optim.clip(1.0),
    "masked": lambda: optim.masked(optim.trace(0.9), {"w": True}),
    "lbfgs": optim.lbfgs,
    "newton_cg": optim.newton_cg,
    "gauss_newton": optim.gauss_newton,
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_state_that_another_optimiser_made_is_refused(name):
    params = {"w": np.ones(2)}
    own = MAKERS[name]().init(params)
    for other in MAKERS:
        foreign = MAKERS[other]().init(params)
        # What holds nothing does for a transformation without memory.
        nothing = name == "clip" and not tree.leaves(foreign)
        if tree.structure(foreign) != tree.structure(own) and not nothing:
            with pytest.raises(ArgumentError, match="own init.params. or update ret"):
                MAKERS[name]().update(params, foreign, params)
    for foreign in (params, params["w"], 3):
        with pytest.raises(ArgumentError, match="update: the state that was given is"):
            MAKERS[name]().update(params, foreign, params)


def test_a_foreign_state_is_named_beside_the_one_that_is_needed():
    params = np.ones(2)
    with pytest.raises(ArgumentError) as caught:
        optim.adam(0.1).update(params, optim.sgd(0.1).init(params))
    assert "given is of type EmptyState" in str(caught.value)
    assert "transformation is of type ScaleByAdamState" in str(caught.value)
    assert "test_base.py" in str(caught.value)


@pytest.mark.parametrize("name", MAKERS)
def test_an_update_without_a_state_says_what_to_write(name):
    params = {"w": np.ones(2)}
    for given in ({}, {"params": params}):
        with pytest.raises(ArgumentError, match="update: there is no state") as caught:
            MAKERS[name]().update(params, **given)
        assert "optimiser.init(params) for the first state" in str(caught.value)


@pytest.mark.parametrize("state", [optim.EmptyState(), None, ()])
def test_a_transformation_without_memory_takes_any_state_that_holds_nothing(state):
    updates, following = optim.clip(1.0).update(np.array([3.0]), state)
    assert updates == [1.0]
    assert following is state


def test_a_state_may_be_given_by_keyword():
    params = np.ones(2)
    for optimiser in (optim.sgd(0.1), optim.scale_by_adam()):
        updates, _ = optimiser.update(params, state=optimiser.init(params))
        assert updates.shape == (2,)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.masked(optim.sgd, True), "masked: the inner .* <function sgd"),
        (lambda: optim.masked(None, True), "masked: the inner transformation is None"),
        (lambda: optim.stateless(None), "stateless: its argument is None"),
        (lambda: optim.chain([optim.sgd(0.1)]), r"Write optim.chain\(\*transforms\)"),
        (lambda: optim.chain(()), r"argument 0 is a tuple, .*chain\(\*transforms\)"),
    ],
)
def test_what_is_no_transformation_is_refused_where_it_is_given(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


def test_a_function_that_was_not_called_is_no_transformation():
    with pytest.raises(ArgumentError, match="argument 1 is <function adam"):
        optim.chain(optim.clip(1.0), optim.adam)


def test_a_step_of_the_users_own_joins_a_chain():
    counting = optim.GradientTransformation(
        init=lambda params: np.zeros((), int),
        update=lambda grads, state, params=None: (grads, state + 1),
    )
    optimiser = optim.chain(counting, optim.sgd(0.5))
    state = optimiser.init(np.ones(1))
    for _ in range(3):
        updates, state = optimiser.update(np.ones(1), state)
    assert state[0] == 3
    assert updates == [-0.5]


@pytest.mark.parametrize(
    "mask",
    [
        {"layer": {"w": True, "b": False}, "gain": False},
        lambda params: tree.map(lambda p: p.ndim > 1, params),
        {"layer": {"w": np.True_, "b": np.False_}, "gain": False},
    ],
)
@pytest.mark.parametrize("make", [optim.adamw, optim.lion])
def test_masked_parameters_are_not_decayed(make, mask):
    params = {
        "layer": {"w": np.full((2, 2), 4.0), "b": np.full(2, 4.0)},
        "gain": np.array(4.0),
    }
    grads = tree.map(np.zeros_like, params)
    optimiser = make(0.1, weight_decay=0.5, mask=mask)
    updates = one_update(optimiser, grads, params)
    np.testing.assert_allclose(updates["layer"]["w"], -0.2)
    np.testing.assert_array_equal(updates["layer"]["b"], 0.0)
    np.testing.assert_array_equal(updates["gain"], 0.0)


def test_one_bool_masks_a_whole_subtree():
    params = {"layer": {"w": np.full(2, 4.0), "b": np.full(2, 4.0)}, "gain": np.ones(1)}
    decay = optim.add_decayed_weights(0.5, mask={"layer": True, "gain": False})
    updates = one_update(decay, tree.map(np.zeros_like, params), params)
    np.testing.assert_array_equal(updates["layer"]["w"], 2.0)
    np.testing.assert_array_equal(updates["layer"]["b"], 2.0)
    np.testing.assert_array_equal(updates["gain"], 0.0)


def test_a_masked_transformation_remembers_the_chosen_leaves_alone():
    params = {"w": np.ones((2, 2)), "b": np.ones(2), "none": None}
    transform = optim.masked(optim.trace(0.5), {"w": True, "b": False, "none": None})
    state = transform.init(params)
    assert tree.structure(state.inner_state.trace) == tree.structure(
        {"w": 0, "b": None, "none": None}
    )
    for _ in range(3):
        updates, state = transform.update(params, state)
    np.testing.assert_array_equal(updates["w"], 1.75)
    np.testing.assert_array_equal(updates["b"], 1.0)
    assert updates["none"] is None


def test_a_mask_of_anything_but_bools_is_refused():
    decay = optim.add_decayed_weights(0.5, mask={"w": np.array([True, False])})
    with pytest.raises(ArgumentError, match="A mask is a pytree of bools") as caught:
        decay.init({"w": np.ones(2)})
    assert "array([ True, False])" in str(caught.value)


def test_a_mask_of_another_structure_names_the_path():
    decay = optim.add_decayed_weights(0.5, mask={"w": True, "bias": False})
    with pytest.raises(TreeStructureError, match="bias"):
        decay.init({"w": np.ones(2), "b": np.ones(2)})


@pytest.mark.parametrize("optimiser", [optim.adamw(0.1), optim.lion(0.1)])
def test_weight_decay_without_parameters_says_what_to_write(optimiser):
    params = np.ones(2)
    with pytest.raises(ArgumentError, match="weight decay needs the parameters") as e:
        optimiser.update(params, optimiser.init(params))
    assert "optimiser.update(grads, state, params)" in str(e.value)
    assert "test_base.py" in str(e.value)


@pytest.mark.parametrize(
    "optimiser",
    [
        optim.adam(0.1),
        optim.adamw(0.1),
        optim.sgd(0.1, momentum=0.9),
        optim.rmsprop(0.1),
        optim.rmsprop(0.1, centered=True),
        optim.adagrad(0.1),
        optim.lion(0.1),
    ],
)
def test_gradients_of_another_structure_name_the_path(optimiser):
    params = {"layers": [{"w": np.ones(2)}, {"w": np.ones(2)}]}
    state = optimiser.init(params)
    missing = {"layers": [{"w": np.ones(2)}, {}]}
    with pytest.raises(TreeStructureError, match=r"\['layers'\]\[1\]") as caught:
        optimiser.update(missing, state, params)
    assert "structure of the gradients must be that of the state" in str(caught.value)
    reshaped = {"layers": [{"w": np.ones(2)}, {"w": np.ones((1, 2))}]}
    with pytest.raises(TreeStructureError, match=r"\['layers'\]\[1\]\['w'\]") as caught:
        optimiser.update(reshaped, state, params)
    assert "(2,) in the state, (1, 2) in the gradients" in str(caught.value)


def test_updates_of_another_shape_are_not_broadcast_onto_the_parameters():
    with pytest.raises(TreeStructureError) as caught:
        optim.apply_updates({"w": np.ones((3, 1))}, {"w": np.ones(3)})
    assert "['w']: (3, 1) in the parameters, (3,) in the updates" in str(caught.value)
    with pytest.raises(TreeStructureError, match="structure of the updates must be"):
        optim.apply_updates({"w": np.ones(3)}, {"v": np.ones(3)})


def test_integer_parameters_are_refused_by_name():
    params = {"w": np.ones(2), "steps": np.arange(3)}
    for optimiser in (optim.adam(0.1), optim.sgd(0.1, momentum=0.5), optim.adagrad(1)):
        with pytest.raises(InputDtypeError, match=r"\['steps'\] has dtype int64"):
            optimiser.init(params)
    with pytest.raises(InputDtypeError, match=r"\['steps'\] has dtype int64"):
        optim.apply_updates(params, params)


def test_applied_updates_keep_the_parameters_dtypes():
    params = {"a": np.ones(2, np.float32), "b": np.ones(2, np.float16)}
    updates = tree.map(lambda p: np.full(2, 0.5), params)
    moved = optim.apply_updates(params, updates)
    assert (moved["a"].dtype, moved["b"].dtype) == (np.float32, np.float16)
    np.testing.assert_array_equal(moved["a"], 1.5)
    np.testing.assert_array_equal(params["a"], 1.0)


@pytest.mark.parametrize("wrap", [lambda f: f, funcad.jit])
def test_complex_updates_of_real_parameters_are_refused(wrap):
    params, updates = {"w": np.ones(2)}, {"w": np.ones(2) + 1j}
    with pytest.raises(InputDtypeError, match="apply_updates: complex.* complex128 "):
        wrap(optim.apply_updates)(params, updates)
    moved = wrap(optim.apply_updates)(updates, params)
    np.testing.assert_array_equal(moved["w"], 2 + 1j)


def test_numbers_are_parameters_too():
    optimiser = optim.adam(0.1)
    params = {"a": 1.0, "b": 2.0}
    updates, _ = optimiser.update({"a": 1.0, "b": -1.0}, optimiser.init(params))
    moved = optim.apply_updates(params, updates)
    np.testing.assert_allclose([moved["a"], moved["b"]], [0.9, 2.1])


def test_a_tree_without_leaves_has_an_optimiser_too():
    for params in ({}, None, {"a": None}):
        optimiser = optim.chain(optim.clip_by_global_norm(1.0), optim.adamw(0.1))
        updates, _ = optimiser.update(params, optimiser.init(params), params)
        assert optim.apply_updates(params, updates) == params


def test_zeroed_updates_freeze_what_a_mask_chooses():
    params = {"w": np.ones(2), "b": np.ones(2)}
    frozen = optim.masked(optim.set_to_zero(), {"w": True, "b": False})
    updates = one_update(optim.chain(optim.sgd(0.5), frozen), params)
    np.testing.assert_array_equal(updates["w"], 0.0)
    np.testing.assert_array_equal(updates["b"], -0.5)
