"""Modules: how parameters are found and named, modes, and states."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest

from funcad import errors, nn, optim, tape
from funcad.tape import Buffer, Module, Parameter, Tensor


class Affine(Module):
    def __init__(self, n, m, seed=0):
        rng = np.random.default_rng(seed)
        self.weight = Parameter(rng.normal(size=(n, m)))
        self.bias = Parameter(np.zeros(m))

    def forward(self, x):
        return nn.linear(x, self.weight, self.bias)


class Norm(Module):
    """Centres by a running mean."""

    def __init__(self, n):
        self.mean = Buffer(np.zeros(n))
        self.name = "norm"

    def forward(self, x):
        if self.training:
            with tape.no_grad():
                self.mean = 0.5 * self.mean + 0.5 * x.mean(axis=0)
        return x - self.mean


class Network(Module):
    def __init__(self):
        self.layers = [Affine(2, 3, 1), Affine(3, 1, 2)]
        self.norm = Norm(2)
        self.scales = {"in": Parameter(1.0), "out": (Parameter(2.0),)}
        self.width = 3

    def forward(self, x):
        x = self.layers[0](self.scales["in"] * self.norm(Tensor(x)))
        return self.scales["out"][0] * self.layers[1](np.tanh(x))


NAMES = [
    *("layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"),
    *("scales.in", "scales.out.0"),
]


def test_names_are_paths_of_attributes():
    model = Network()
    assert [name for name, _ in model.named_parameters()] == NAMES
    assert [name for name, _ in model.named_parameters("net")][0] == f"net.{NAMES[0]}"
    assert [name for name, _ in model.named_buffers()] == ["norm.mean"]
    modules = dict(model.named_modules())
    assert list(modules) == ["", "layers.0", "layers.1", "norm"]
    assert modules["layers.1"] is model.layers[1] and len(list(model.modules())) == 4
    assert all(isinstance(p, Parameter) and p.requires_grad for p in model.parameters())


def test_layers_that_are_added_later_are_found():
    model = Network()
    model.layers.append(Affine(1, 1))
    assert "layers.2.bias" in dict(model.named_parameters())


def test_a_call_is_forward_and_gradients_reach_every_parameter():
    model = Network()
    model(np.ones((4, 2))).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())
    with pytest.raises(NotImplementedError, match=r"Empty has no method forward"):
        type("Empty", (Module,), {})()(1.0)


def test_modes_reach_the_modules_inside():
    model = Network()
    assert model.training and model.norm.training
    assert model.eval() is model
    assert not model.training and not model.norm.training
    model(np.ones((4, 2)))
    assert model.norm.mean.tolist() == [0.0, 0.0]
    assert model.train().norm.training
    model(np.ones((4, 2)))
    assert model.norm.mean.tolist() == [0.5, 0.5]
    assert isinstance(model.norm.mean, Buffer)


def test_a_tensor_that_is_assigned_to_a_buffer_becomes_one_and_loses_nothing():
    model, x = Norm(2), Tensor([1.0, 2.0], requires_grad=True)
    model.mean = x * x
    assert type(model.mean) is Buffer
    model.mean.sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_parameters_can_be_frozen():
    model = Network().requires_grad_(False)
    assert not model(np.ones((4, 2))).requires_grad
    model.layers[1].requires_grad_()
    model(np.ones((4, 2))).sum().backward()
    assert model.layers[0].weight.grad is None
    assert model.layers[1].weight.grad is not None


def test_shared_parameters_and_modules_are_found_once_and_saved_under_every_name():
    first, second = Affine(2, 2), Affine(2, 2)
    second.weight = first.weight
    model = Module()
    model.a, model.b, model.c, model.parent = first, second, first, model
    assert [n for n, _ in model.named_parameters()] == ["a.weight", "a.bias", "b.bias"]
    assert [n for n, _ in model.named_modules()] == ["", "a", "b"]
    assert sorted(model.state_dict()) == [
        *("a.bias", "a.weight", "b.bias", "b.weight", "c.bias", "c.weight")
    ]
    model.load_state_dict(model.state_dict())
    assert first.weight is second.weight


def test_a_state_is_not_changed_by_later_updates():
    model = Network()
    state = model.state_dict()
    assert list(state) == [*NAMES[:4], "norm.mean", *NAMES[4:]]
    before = state["layers.0.weight"].tolist()
    with tape.no_grad():
        for p in model.parameters():
            p -= 1.0
    assert state["layers.0.weight"].tolist() == before
    assert not any(x.requires_grad for x in state.values())
    other, x = Network(), np.ones((4, 2))
    model.eval(), other.eval()
    assert model(x).tolist() != other(x).tolist()
    other.load_state_dict(model.state_dict())
    assert model(x).tolist() == other(x).tolist()
    assert all(p.is_leaf and p.requires_grad for p in other.parameters())


def test_a_state_goes_through_a_file():
    model, file = Network(), io.BytesIO()
    np.savez(file, **{n: x.numpy() for n, x in model.state_dict().items()})
    file.seek(0)
    other = Network()
    other.layers[0].bias.data += 1
    other.load_state_dict(np.load(file))
    assert other.layers[0].bias.tolist() == model.layers[0].bias.tolist()


def test_names_that_differ_are_named_and_nothing_is_set():
    model = Network()
    state = model.state_dict()
    state["extra"] = state.pop("scales.in")
    state["layers.0.bias"] += 1.0
    with pytest.raises(
        errors.ModuleError, match=r"Missing there: scales\.in\. Unknown"
    ):
        model.load_state_dict(state)
    assert model.layers[0].bias.tolist() == [0.0] * 3
    model.load_state_dict(state, strict=False)
    assert model.layers[0].bias.tolist() == [1.0] * 3


@pytest.mark.parametrize("value", [np.zeros(2), np.zeros(3, np.float32)])
def test_values_that_do_not_fit_are_named_and_nothing_is_set(value):
    model = Network()
    state = model.state_dict() | {"layers.0.bias": value, "scales.in": 9.0}
    with pytest.raises(errors.ModuleError, match=r"layers\.0\.bias is float64\[3\]"):
        model.load_state_dict(state)
    assert model.scales["in"].item() == 1.0


def test_a_parameter_is_not_replaced_by_a_tensor_by_mistake():
    model = Affine(2, 2)
    with pytest.raises(errors.ModuleError, match=r"with no_grad\(\): self\.weight -="):
        model.weight = model.weight - 0.1
    with tape.no_grad():
        model.weight -= 0.1
    model.weight = Parameter(np.zeros((2, 2)))
    model.bias = None
    assert [n for n, _ in model.named_parameters()] == ["weight"]


def test_a_deep_copy_is_a_model_of_its_own():
    model = Network()
    copied = copy.deepcopy(model)
    with tape.no_grad():
        for p in copied.parameters():
            p += 1.0
    assert model.scales["in"].item() == 1.0 and copied.scales["in"].item() == 2.0
    assert type(copied.norm.mean) is Buffer
    assert type(copied.scales["in"]) is Parameter


def test_a_module_shows_its_parts():
    text = repr(Network())
    assert text.startswith("Network(\n") and text.endswith("\n)")
    for part in ("(layers.0): Affine(", "(norm): Norm(", "(mean)", "float64[2,3]"):
        assert part in text
    assert repr(Module()) == "Module()"


def test_optimizers_of_arrays_take_tensors():
    model, x = Network(), np.linspace(-1, 1, 20).reshape(10, 2)
    y = x[:, :1] * x[:, 1:]
    optimizer = optim.adam(0.05)
    parameters = dict(model.named_parameters())
    with tape.no_grad():
        state = optimizer.init({n: p.array for n, p in parameters.items()})
    losses = []
    for _ in range(30):
        loss = np.mean((model(x) - y) ** 2)
        model.zero_grad()
        loss.backward()
        losses.append(loss.item())
        updates, state = optimizer.update(
            {n: p.grad.array for n, p in parameters.items()}, state
        )
        with tape.no_grad():
            for name, p in parameters.items():
                p += updates[name]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ([1.0], "a mapping from names to arrays.*given a list"),
        ({"factor": None}, "the value of factor is no array of numbers, but None"),
        ({"factor": [[1.0], [1.0, 2.0]]}, "the value of factor is no array of numbers"),
        ({"factor": 1.0, 3: 1.0}, r"Unknown here: 3\."),
    ],
)
def test_what_is_no_state_is_refused(state, message):
    model = Module()
    model.factor = Parameter(2.0)
    with pytest.raises(errors.ModuleError, match=message):
        model.load_state_dict(state)
    assert model.factor == 2.0


def test_parameters_and_buffers_are_not_replaced_by_arrays_by_mistake():
    model = Norm(2)
    model.scale = Parameter([1.0, 1.0])
    with pytest.raises(errors.ModuleError, match="scale is a parameter.*type ndarray"):
        model.scale = np.ones(2)
    with pytest.raises(errors.ModuleError, match=r"mean is a buffer.*tape\.Buffer"):
        model.mean = np.ones(2)
    model.mean = Buffer(np.ones(2))
    model.scale = None
    assert list(model.state_dict()) == ["mean"]


def test_two_tensors_of_one_name_are_refused_and_none_is_lost():
    model = Module()
    model.layers = {"a.b": Parameter(1.0), "a": {"b": Parameter(2.0)}}
    assert len(list(model.parameters())) == 2
    with pytest.raises(errors.ModuleError, match=r"of the name layers\.a\.b"):
        model.state_dict()
