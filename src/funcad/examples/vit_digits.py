"""A vision transformer that reads digits row by row: with ``grad``, and as a graph.

::

    python -m funcad.examples.vit_digits                         # scikit-learn's digits
    python -m funcad.examples.vit_digits --data DIR --form full  # MNIST's files
    python -m funcad.examples.vit_digits --data DIR --engine graph

An image is a sequence, and its rows are the positions.  Each row becomes a vector of
channels; attention lets rows look at each other, a small network thinks about each, and
the mean over the rows is classified.

The plain form has one layer of one head, no residual connections and no norms, and
learns by gradient descent.  The full form has what makes transformers train well:
residual connections, norms, several heads and AdamW.

Both are written twice: as functions of arrays, which ``value_and_grad`` differentiates,
and with ``funcad.graph``, where ``gradients`` makes more nodes.  The parameters are the
same, nested dicts of arrays; and so is the training, which is told only how logits and
gradients are computed.

In shapes, B is the batch, T the number of rows, P that of pixels in a row, C the
channels, N the heads and H = C / N the channels of a head.

References
----------
A. Dosovitskiy et al., *An image is worth 16x16 words: transformers for image
recognition at scale*, arXiv:2010.11929.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from funcad import graph, jit, nn, optim, random, tree, value_and_grad
from funcad.examples.command import (
    keep_freed_memory,
    positive,
    require_packages,
    run_command,
    seed,
)
from funcad.examples.digits import CLASSES, Digits, Split, load_digits

Array = Any
Params = dict[str, Any]

# ------------------------------------------------------------------ functions of arrays


def plain(params: Params, images: Array) -> Array:
    """Logits of the plain form.

    Parameters
    ----------
    params : nested dict of arrays
        From :func:`init_plain`.
    images : float, (B, T, P)

    Returns
    -------
    float, (B, 10)
        Their softmax is the probability of each digit.
    """
    h = affine(params["embedding"], images) + params["position"]
    for block in params["blocks"]:
        h = feed_forward(block["feed_forward"], attention(block["attention"], h))
    return affine(params["output"], np.mean(h, axis=1))


def full(params: Params, images: Array) -> Array:
    """Logits of the full form; parameters from :func:`init_full`."""
    h = affine(params["embedding"], images) + params["position"]
    for block in params["blocks"]:
        h = h + attention(block["attention"], nn.layer_norm(h, block["norm_1"]))
        h = h + feed_forward(block["feed_forward"], nn.layer_norm(h, block["norm_2"]))
    return affine(params["output"], np.mean(nn.layer_norm(h, params["norm"]), axis=1))


def affine(weights: Params, h: Array) -> Array:
    """A linear map and a shift of the last axis."""
    return nn.linear(h, weights["weight"], weights["bias"])


def attention(weights: Params, h: Array) -> Array:
    """Each row gathers what it needs from all rows, in each head."""
    q, k, v = [
        np.einsum("btc,nch->btnh", h, weights[name])
        for name in ("query", "key", "value")
    ]
    gathered = nn.dot_product_attention(q, k, v)
    return np.einsum("btnh,nhc->btc", gathered, weights["out"])


def feed_forward(weights: Params, h: Array) -> Array:
    """Each row thinks about what it has gathered, by itself."""
    return affine(weights["down"], nn.relu(affine(weights["up"], h)))


# --------------------------------------------------------------------- nodes of a graph
#
# A graph has no shapes to ask for, and no operation that gives an array other axes.  So
# all nodes have an axis for the heads, of length 1 where there are none: (B, 1, T, C).


def plain_graph(params: Params, images: graph.Node, sizes: Sizes) -> graph.Node:
    """Logits of the plain form as a node.

    Parameters
    ----------
    params : nested dict of Node
        Variables in the place of the arrays of :func:`init_plain`.
    images : Node
        Of a float array, (B, 1, T, P).
    sizes : Sizes

    Returns
    -------
    Node
        Of a float array, (B, 10).
    """
    h = affine_graph(params["embedding"], images) + params["position"]
    for block in params["blocks"]:
        h = attention_graph(block["attention"], h, sizes)
        h = feed_forward_graph(block["feed_forward"], h)
    return affine_graph(params["output"], graph.mean(h, dim=(1, 2)))


def full_graph(params: Params, images: graph.Node, sizes: Sizes) -> graph.Node:
    """Logits of the full form as a node; variables in the place of `init_full`'s."""

    def norm(h: graph.Node, scale: graph.Node) -> graph.Node:
        return graph.layernorm(h, normalized_shape=(sizes.channels,), eps=1e-5) * scale

    h = affine_graph(params["embedding"], images) + params["position"]
    for block in params["blocks"]:
        h = h + attention_graph(block["attention"], norm(h, block["norm_1"]), sizes)
        h = h + feed_forward_graph(block["feed_forward"], norm(h, block["norm_2"]))
    h = norm(h, params["norm"])
    return affine_graph(params["output"], graph.mean(h, dim=(1, 2)))


def affine_graph(weights: Params, h: graph.Node) -> graph.Node:
    """`affine` as a node."""
    return h @ weights["weight"] + weights["bias"]


def attention_graph(weights: Params, h: graph.Node, sizes: Sizes) -> graph.Node:
    """`attention` as a node: products with (N, C, H) give each head its own (T, H)."""
    q, k, v = [h @ weights[name] for name in ("query", "key", "value")]
    scores = q @ graph.transpose(k, 2, 3) / math.sqrt(sizes.channels // sizes.heads)
    gathered = graph.softmax(scores, dim=-1) @ v
    return graph.sum_op(gathered @ weights["out"], dim=1, keepdim=True)


def feed_forward_graph(weights: Params, h: graph.Node) -> graph.Node:
    """`feed_forward` as a node."""
    return affine_graph(weights["down"], graph.relu(affine_graph(weights["up"], h)))


# --------------------------------------------------------------------------- parameters


class Sizes(NamedTuple):
    """The lengths of a model's axes."""

    rows: int
    pixels: int
    channels: int
    heads: int
    layers: int


def init_plain(key: Array, sizes: Sizes, dtype: Any = np.float32) -> Params:
    """Random weights that let the signal through.

    Without residual connections the signal must pass through every product, attention
    averages over rows, and half of what the ReLUs are given is lost: with He's weights,
    twice the variance that would keep a linear map's output as large as its input, the
    images still make a difference to the logits when training begins.

    Parameters
    ----------
    key : random key
    sizes : Sizes
    dtype : dtype

    Returns
    -------
    nested dict of arrays
    """
    rows, pixels, channels, heads, layers = sizes
    keys = iter(random.split(key, 3 + 6 * layers))

    def weight(*shape: int, inputs: Sequence[int] = (-2,), apart: Any = ()) -> Array:
        init = nn.initializers.he_normal(in_axis=inputs, batch_axis=apart)
        return init(next(keys), shape, dtype)

    def affine(inputs: int, outputs: int) -> Params:
        return {"weight": weight(inputs, outputs), "bias": np.zeros(outputs, dtype)}

    def projection() -> Array:
        return weight(heads, channels, channels // heads, apart=(0,))

    def block() -> Params:
        return {
            "attention": {
                "query": projection(),
                "key": projection(),
                "value": projection(),
                "out": weight(heads, channels // heads, channels, inputs=(0, 1)),
            },
            "feed_forward": {
                "up": affine(channels, 2 * channels),
                "down": affine(2 * channels, channels),
            },
        }

    return {
        "embedding": affine(pixels, channels),
        "position": 0.02 * random.normal(next(keys), (rows, channels), dtype),
        "blocks": [block() for _ in range(layers)],
        "output": affine(channels, CLASSES),
    }


def init_full(key: Array, sizes: Sizes, dtype: Any = np.float32) -> Params:
    """The weights of the plain form, and norms that scale by one."""
    params = init_plain(key, sizes, dtype)
    ones = np.ones(sizes.channels, dtype)
    blocks = [block | {"norm_1": ones, "norm_2": ones} for block in params["blocks"]]
    return params | {"blocks": blocks, "norm": ones}


# -------------------------------------------------------------------------------- forms


class Form(NamedTuple):
    """A model, and how it is trained."""

    init: Callable[..., Params]
    logits: Callable[[Params, Array], Array]
    graph: Callable[[Params, graph.Node, Sizes], graph.Node]
    channels: int
    heads: int
    layers: int
    batch: int
    epochs: int
    optimiser: Callable[[int], optim.GradientTransformation]
    """Makes the optimiser for a number of steps."""

    def sizes(self, images: Array) -> Sizes:
        """The lengths of the model's axes, for such images."""
        _, rows, pixels = images.shape
        return Sizes(rows, pixels, self.channels, self.heads, self.layers)


def adamw(steps: int) -> optim.GradientTransformation:
    """AdamW with clipped gradients and a learning rate that rises, then falls.

    Weight decay is for matrices, and leaves biases and the norms' gains alone.  It is
    strong, because some thousand images are few for this many parameters.
    """
    schedule = optim.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=2e-3,
        warmup_steps=min(100, steps // 10),
        decay_steps=steps,
        end_value=0.0,
    )
    return optim.chain(
        optim.clip_by_global_norm(1.0),
        optim.adamw(
            schedule,
            weight_decay=1.0,
            mask=lambda params: tree.map(lambda p: p.ndim > 1, params),
        ),
    )


FORMS = {
    "plain": Form(
        init=init_plain,
        logits=plain,
        graph=plain_graph,
        channels=64,
        heads=1,
        layers=1,
        batch=50,
        epochs=10,
        optimiser=lambda steps: optim.sgd(0.05),
    ),
    "full": Form(
        init=init_full,
        logits=full,
        graph=full_graph,
        channels=64,
        heads=4,
        layers=2,
        batch=50,
        epochs=15,
        optimiser=adamw,
    ),
}

# ------------------------------------------------------------------------------ engines


class Engine(NamedTuple):
    """What training has to know of a model."""

    logits: Callable[[Params, Array], Array]
    """``logits(params, images)``"""
    loss_and_grads: Callable[[Params, Array, Array], tuple[Array, Params]]
    """``loss_and_grads(params, images, labels)``: the mean cross-entropy, in nats, and
    its gradients with respect to the parameters."""


def by_grad(form: Form, params: Params, sizes: Sizes) -> Engine:
    """The model as a function of arrays, differentiated by ``value_and_grad``."""

    def loss(params: Params, images: Array, labels: Array) -> Array:
        return np.mean(nn.softmax_cross_entropy(form.logits(params, images), labels))

    return Engine(form.logits, value_and_grad(loss))


def by_graph(form: Form, params: Params, sizes: Sizes) -> Engine:
    """The model as a graph, whose gradients are nodes of it.

    The graph is made once, with variables in the place of the parameters.
    """
    images, targets = graph.Variable("images"), graph.Variable("targets")
    variables = tree.map_with_path(
        lambda path, _: graph.Variable(f"params{tree.keystr(path)}"), params
    )
    leaves, structure = tree.flatten(variables)

    logits = form.graph(variables, images, sizes)
    # The least number keeps the logarithm of a probability that underflows finite.
    least = float(np.finfo(np.float32).tiny)
    log_probabilities = graph.log(graph.softmax(logits, dim=-1) + least)
    loss = -graph.mean(graph.sum_op(targets * log_probabilities, dim=-1))
    of_logits = graph.Evaluator([logits])
    of_loss = graph.Evaluator([loss, *graph.gradients(loss, leaves)])

    def inputs(params: Params, x: Array) -> dict[graph.Node, Array]:
        return dict(zip(leaves, tree.leaves(params))) | {images: x[:, None]}

    def compute_logits(params: Params, x: Array) -> Array:
        return of_logits.run(inputs(params, x))[0]

    def loss_and_grads(params: Params, x: Array, labels: Array) -> Any:
        one_hot = nn.one_hot(labels, CLASSES, dtype=x.dtype)
        value, *grads = of_loss.run(inputs(params, x) | {targets: one_hot})
        return value, tree.unflatten(structure, grads)

    return Engine(compute_logits, loss_and_grads)


ENGINES = {"grad": by_grad, "graph": by_graph}

# ----------------------------------------------------------------------------- training


class State(NamedTuple):
    """What a step changes."""

    params: Params
    optimiser: Any


class Epoch(NamedTuple):
    """What an epoch led to."""

    number: int
    loss: float
    """Mean over the epoch's steps, each before it was taken."""
    accuracy: float
    """Share of the test images that are recognised after it."""
    state: State


def make_step(
    engine: Engine, optimiser: optim.GradientTransformation
) -> Callable[[State, Array, Array], tuple[State, Array]]:
    """A compiled step of training.

    Returns
    -------
    callable
        ``step(state, images, labels)`` returns the next state, and the loss before it.
    """

    @jit
    def step(state: State, images: Array, labels: Array) -> tuple[State, Array]:
        loss, grads = engine.loss_and_grads(state.params, images, labels)
        updates, memory = optimiser.update(grads, state.optimiser, state.params)
        return State(optim.apply_updates(state.params, updates), memory), loss

    return step


def train(
    digits: Digits,
    form: Form,
    engine: str,
    epochs: int,
    key: Array,
    advance: Callable[[float], None] = lambda loss: None,
) -> Iterator[Epoch]:
    """Learn to read digits, an epoch at a time.

    Parameters
    ----------
    digits : Digits
        What to learn from, and what to be tested on.
    form : Form
        The model.
    engine : {"grad", "graph"}
        What computes its gradients.
    epochs : int
        How often each image is seen.
    key : random key
        Decides the first parameters and the order of the images.
    advance : callable
        Called with the loss of each step.

    Yields
    ------
    Epoch
    """
    images, labels = digits.training
    init_key, order_key = random.split(key)
    sizes = form.sizes(images)
    params = form.init(init_key, sizes)
    model = ENGINES[engine](form, params, sizes)
    optimiser = form.optimiser(epochs * steps_of(images, form.batch))
    step, logits = make_step(model, optimiser), jit(model.logits)
    state = State(params, optimiser.init(params))
    for number in range(1, epochs + 1):
        losses = []
        order = random.permutation(random.fold_in(order_key, number), len(images))
        for i in range(0, len(order), form.batch):
            chosen = order[i : i + form.batch]
            state, loss = step(state, images[chosen], labels[chosen])
            losses.append(float(loss))
            advance(losses[-1])
        share = accuracy(logits, state.params, digits.test)
        yield Epoch(number, sum(losses) / len(losses), share, state)


def steps_of(images: Array, batch: int) -> int:
    """Steps in an epoch: the last batch may be smaller."""
    return -(-len(images) // batch)


def accuracy(
    logits: Callable[[Params, Array], Array],
    params: Params,
    split: Split,
    batch: int = 500,
) -> float:
    """Share of the images whose greatest logit is that of what they show."""
    right = 0
    for i in range(0, len(split.labels), batch):
        images, labels = (x[i : i + batch] for x in split)
        right += int(np.sum(np.argmax(logits(params, images), axis=-1) == labels))
    return right / len(split.labels)


# ------------------------------------------------------------------------------ command

PROGRAM = "vit_digits"
QUICK_IMAGES, QUICK_EPOCHS = 500, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns
    -------
    int
        Exit code: 0, 2 for what the user has to change, 130 for Ctrl-C.
    """
    options = parse(arguments)
    keep_freed_memory()
    return run_command(PROGRAM, execute, options)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog=f"python -m funcad.examples.{PROGRAM}",
        description="Train a vision transformer that reads digits row by row.",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder with MNIST's idx files, compressed or not; a fifth of the images "
        "is kept for testing where there is one set (default: scikit-learn's digits)",
    )
    parser.add_argument(
        "--form",
        choices=FORMS,
        default="plain",
        help="plain: one head, no residual connections, no norms, gradient descent; "
        "full: all of these, with AdamW (default: %(default)s)",
    )
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="grad",
        help="grad: functions of arrays; graph: nodes of funcad.graph (default: "
        "%(default)s)",
    )
    parser.add_argument("--epochs", type=positive, help="epochs, if not the form's")
    parser.add_argument(
        "--seed",
        type=seed(128),
        default=0,
        help="decides all that is random (default: %(default)s)",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"see that all runs: {QUICK_EPOCHS} epochs, if not more are asked for, of "
        f"at most {QUICK_IMAGES} images",
    )
    return parser.parse_args(arguments)


def execute(options: argparse.Namespace) -> None:
    """Train, and say how well it went."""
    require_packages("tqdm")
    from tqdm import tqdm

    split_key, key = random.split(random.key(options.seed))
    digits = load_digits(options.data, split_key)
    form = FORMS[options.form]
    epochs = options.epochs or (QUICK_EPOCHS if options.quick else form.epochs)
    if options.quick:
        some = Split(*[x[:QUICK_IMAGES] for x in digits.training])
        digits = digits._replace(training=some)
    images = digits.training.images
    parameters = tree.leaves(form.init(key, form.sizes(images)))
    print(
        f"{len(images):,} images to learn from and {len(digits.test.labels):,} to be "
        f"tested on, {images.shape[1]} rows of {images.shape[2]} pixels; "
        f"{options.form} form, {sum(p.size for p in parameters):,} parameters; "
        f"gradients by {options.engine}",
        flush=True,
    )
    start = time.perf_counter()
    with tqdm(
        total=epochs * steps_of(images, form.batch),
        unit="step",
        dynamic_ncols=True,
        # A log file need not hold ten lines a second.
        mininterval=0.1 if sys.stderr.isatty() else 10.0,
    ) as bar:

        def advance(loss: float) -> None:
            bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
            bar.update()

        for epoch in train(digits, form, options.engine, epochs, key, advance):
            tqdm.write(
                f"epoch {epoch.number}: training loss {epoch.loss:.4f}, "
                f"test accuracy {epoch.accuracy:.2%}"
            )
            sys.stdout.flush()
    print(
        f"test accuracy {epoch.accuracy:.2%} after epoch {epoch.number}, in "
        f"{time.perf_counter() - start:.1f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
