"""Check a layer, model, loss, metric, optimizer or another Keras object of your own.

In a notebook, where the report shows itself as a table, or in a terminal::

    report = checkup(Linear, np.ones((8, 4), "float32"), units=3)
    print(report)

In a test, where a failure shows the whole report::

    def test_linear():
        checkup(Linear, np.ones((8, 4), "float32"), units=3).assert_clean()

On the command line, with exit status 1 on a finding::

    python checkup.py my_layers:Linear --input 8x4 units=3

A check is a function: it takes a `Case`, yields what it finds as four texts, and raises `DoesNotApply` where it can
tell nothing. Saved models are loaded in a new process, which runs a script again until its classes are defined:
`checkup` returns an empty report there.
Needs Python, NumPy, TensorFlow and Keras 3 on the TensorFlow backend.
"""

from __future__ import annotations

import argparse
import ast
import atexit
import collections
import contextlib
import difflib
import functools
import html
import importlib
import inspect
import json
import os
import pickle
import random
import re
import select
import subprocess
import sys
import tempfile
import textwrap
import time
import traceback
import types
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops, tree

# --- report -----------------------------------------------------------------------------------------------------------


WIDTH = 72
"""Columns of a report: it fits beside a table of contents."""

SITE = ""
"""The address of the pages that a report links to. The site that hosts this module writes its own here."""


class DoesNotApply(Exception):
    """Why a check can tell nothing of an object."""


class Refused(ValueError):
    """Why nothing can be tried: what `checkup` was given doesn't go together."""


class Blocked(Exception):
    """Why a check can't be run: another check reports the reason."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, in words."""

    check: str
    tried: str
    found: str
    why: str
    fix: str
    link: str = ""
    """Page and anchor of the entry in the errors chapter, if there is one."""

    @property
    def address(self) -> str:
        """Where that entry is read."""
        return SITE + self.link if self.link else ""


@dataclass
class Report:
    """What was tried on an object, and what came out."""

    subject: str
    findings: list[Finding] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    """Checks that weren't run, each with the reason."""

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def assert_clean(self) -> None:
        """Raise an `AssertionError` with the whole report if something was found."""
        if self.findings:
            raise AssertionError(f"\n{self}")

    def __repr__(self) -> str:
        return f"\n{self}"

    def __str__(self) -> str:
        lines = [self._summary()]
        for one in self.findings:
            lines.append(f"✗ {one.check}")
            parts = [("tried", one.tried), ("found", one.found), ("why it matters", one.why), ("fix", one.fix)]
            for label, text in [*parts, ("see", one.address)]:
                if text:
                    text = f"{label}: {text}"
                    lines.append(textwrap.fill(text, WIDTH, initial_indent="    ", subsequent_indent="        "))
        lines += textwrap.wrap("✓ " + ", ".join(self.passed), WIDTH, subsequent_indent="  ") if self.passed else []
        for reason in dict.fromkeys(self.left.values()):
            names = ", ".join(name for name, its in self.left.items() if its == reason)
            lines.append(textwrap.fill(f"○ {names}: {reason}", WIDTH, subsequent_indent="      "))
        return "\n".join(lines)

    def _summary(self) -> str:
        found = f"{len(self.findings)} finding{'' if len(self.findings) == 1 else 's'}"
        return f"{self.subject}: {found}, {len(self.passed)} checks passed, {len(self.left)} not run"

    def _repr_html_(self) -> str:
        edge = "border-bottom: 1px solid currentColor; text-align: left; vertical-align: top; padding: 0.3em 0.6em"
        rows = []
        for one in self.findings:
            parts = [("Tried", one.tried), ("Found", one.found), ("Why it matters", one.why), ("Fix", one.fix)]
            text = "<br>".join(f"<b>{label}:</b> {html.escape(words)}" for label, words in parts if words)
            rows.append(
                ("✗", f"<b>{html.escape(one.check)}</b>", text + (f"<br>{_anchor(one.address)}" if one.link else ""))
            )
        rows += [("✓", html.escape(name), "passed") for name in self.passed]
        rows += [("○", html.escape(name), f"<i>{html.escape(reason)}</i>") for name, reason in self.left.items()]
        cells = [[f'<td style="{edge}">{cell}</td>' for cell in row] for row in rows]
        body = "".join(f"<tr>{''.join(row)}</tr>" for row in cells)
        head = html.escape(self._summary())
        return f'<table style="color: inherit; border-collapse: collapse"><caption>{head}</caption>{body}</table>'


def _anchor(address: str) -> str:
    text = html.escape(address)
    return f'See <a style="color: inherit" href="{text}">{text}</a>' if SITE else f"See {text}"


Told = tuple[str, ...]
"""What a check yields: what was tried, what was found, why it matters, how to fix it, and a link."""


@dataclass(frozen=True)
class Check:
    """A check with the kinds of object that it is for, and the checks whose findings hide its own."""

    run: Callable[[Case], Iterator[Told] | None]
    kinds: tuple[str, ...]
    after: tuple[str, ...]


CHECKS: dict[str, Check] = {}


def check(*kinds: str, after: tuple[str, ...] = ()) -> Callable[[Callable], Callable]:
    """Run a function on every object of some kinds, unless a check named in `after` has found something."""
    if not kinds or not all(isinstance(kind, str) for kind in kinds):
        raise TypeError('Name the kinds that a check is for, in parentheses: @check("layer", "model").')
    if unknown := [kind for kind in kinds if kind not in (*KINDS, *FUNCTIONS)]:
        raise ValueError(f"There is no kind {unknown[0]!r}: the kinds are {', '.join((*KINDS, *FUNCTIONS))}.")

    def register(function: Callable) -> Callable:
        if not inspect.isfunction(function):
            raise TypeError(f"A check is a function of one case, def my_check(case): {function!r} isn't one.")
        taken = CHECKS.get(function.__name__)
        if taken and taken.run.__module__ == __name__ != function.__module__:
            raise ValueError(f"{function.__name__} is a check of this module: give your own another name.")
        CHECKS[function.__name__] = Check(function, kinds, after)
        return function

    return register


# --- case: how a subject is made and called ---------------------------------------------------------------------------

KINDS: dict[str, type] = {
    "model": keras.Model,
    "layer": keras.layers.Layer,
    "loss": keras.losses.Loss,
    "metric": keras.metrics.Metric,
    "optimizer": keras.optimizers.Optimizer,
    "schedule": keras.optimizers.schedules.LearningRateSchedule,
    "initializer": keras.initializers.Initializer,
    "regularizer": keras.regularizers.Regularizer,
    "constraint": keras.constraints.Constraint,
}
FUNCTIONS = ("activation", "loss function", "metric function")
"""Kinds that are functions of tensors."""


@contextlib.contextmanager
def policy_scope(policy: str) -> Iterator[None]:
    """Make `policy` the dtype policy of new layers, inside a `with` block."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@contextlib.contextmanager
def global_state_kept() -> Iterator[None]:
    """Leave random generators, the dtype policy, `floatx`, eager mode and TensorFlow's log level as they were."""
    # Neither library has a public way to the generator that unseeded operations share.
    global_state = importlib.import_module("keras.src.backend.common.global_state")
    context = importlib.import_module("tensorflow.python.eager.context").context()
    shared, drawn = global_state.get_global_attribute("global_seed_generator"), getattr(context, "_rng", None)
    seeds = None if shared is None else value_of(shared.state)
    draws = None if drawn is None else drawn.getstate()
    if drawn is not None:
        drawn.seed("checkup")  # TensorFlow keeps a state for each number drawn here: draw others than the caller will
    python, numpy, floatx = (random.getstate(), np.random.get_state(), keras.config.floatx())
    policy, eagerly, level = keras.config.dtype_policy(), tf.config.functions_run_eagerly(), tf.get_logger().level
    random.seed(0)  # the weights of the objects that are made, too: the same report each time
    np.random.seed(0)
    tf.get_logger().setLevel("ERROR")  # each check traces calls: TensorFlow would warn of that
    tf.config.run_functions_eagerly(False)
    keras.config.set_floatx("float32")
    try:
        with policy_scope("float32"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        global_state.set_global_attribute("global_seed_generator", shared)
        if shared is not None:
            shared.state.assign(seeds)
        if drawn is not None:
            drawn.setstate(draws)
        random.setstate(python)
        np.random.set_state(numpy)
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)
        tf.config.run_functions_eagerly(eagerly)
        tf.get_logger().setLevel(level)


@keras.saving.register_keras_serializable("checkup")
class Around(keras.Model):
    """A subclassed model around one layer: its input is a dict of the layer's first argument and its keywords."""

    def __init__(self, layer: keras.layers.Layer, **kwargs: Any) -> None:
        super().__init__(**{"dtype": layer.dtype_policy, **kwargs})
        self.layer = layer

    def call(self, inputs: dict[str, Any]) -> Any:
        """Call the layer; `training` reaches it through Keras."""
        return self.layer(inputs["inputs"], **{key: value for key, value in inputs.items() if key != "inputs"})

    def get_config(self) -> dict[str, Any]:
        """Hold the layer."""
        return {**super().get_config(), "layer": keras.saving.serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Around:
        """Make the layer, then the model."""
        return cls(keras.saving.deserialize_keras_object(config.pop("layer")), **config)


class WithMask(keras.layers.Layer):
    """Passes its input on, with a mask."""

    def __init__(self, mask: np.ndarray) -> None:
        super().__init__(autocast=False)
        self.supports_masking, self.mask = True, mask

    def call(self, x: Any) -> Any:
        """Return the input."""
        return tf.identity(x)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the mask, whatever the input."""
        return ops.convert_to_tensor(self.mask)


class MaskTold(keras.layers.Layer):
    """Keeps the mask that Keras hands on to it."""

    def call(self, x: Any, mask: Any = None) -> Any:
        """Return the input."""
        self.told = mask
        return x


def mask_of(tensor: Any) -> Any:
    """Return the mask that the next layer is given with a tensor, or nothing."""
    probe = MaskTold(autocast=False)
    probe(tensor)
    return probe.told


def accepts(function: Callable, name: str) -> bool:
    """Whether a function takes a keyword argument."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
    found = parameters.get(name)
    if found is not None:
        return found.kind not in (found.VAR_POSITIONAL, found.POSITIONAL_ONLY)
    return any(p.kind is p.VAR_KEYWORD for p in parameters.values())


@dataclass
class Case:
    """An object under test: how to make it again and again, and what it is called with."""

    subject: Any
    inputs: Any
    keywords: dict[str, Any]
    arguments: dict[str, Any]
    kind: str = ""
    memory: dict[str, Any] = field(default_factory=dict, repr=False)
    """What checks share: results and errors by name."""

    # making

    def make(self, policy: str | None = None, **options: Any) -> Any:
        """Make a new object, as it is given or with a dtype policy, and further options as far as its maker takes them.

        A policy takes the place of a dtype among the arguments.
        """
        if not callable_maker(self.subject, self.kind):
            return self._remade(policy, options)
        arguments = {name: fresh(value, policy or "float32") for name, value in self.arguments.items()}
        wide = policy if self.kind == "model" or self.memory.get("wraps") else "float32"
        if policy and self.kind in LAYERS and accepts(self.subject, "dtype"):
            try:
                with policy_scope(wide):
                    return self.subject(**{**arguments, **self._taken(options), "dtype": policy})
            except TypeError as error:
                if "dtype" not in str(error):
                    raise
        with policy_scope(policy or "float32"):
            return self.subject(**{**arguments, **self._taken(options)})

    def _taken(self, options: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in options.items() if accepts(self.subject, key)}

    def _remade(self, policy: str | None, options: dict[str, Any]) -> Any:
        if self.kind in FUNCTIONS:
            return self.subject
        try:
            config = self.subject.get_config()
            if policy and hasattr(self.subject, "dtype_policy"):
                config = with_policy(config, self.subject.dtype_policy.name, policy)
            config.update({key: value for key, value in options.items() if key in config})
            with policy_scope(policy or "float32"):
                return type(self.subject).from_config(config)
        except Exception as error:
            raise Blocked(f"a new one can't be made from the config of this object: {words(error)}") from error

    def once(self, key: str, function: Callable[[], Any]) -> Any:
        """Return what a function gives, called the first time only; its error is raised again, as `Blocked`."""
        if key not in self.memory:
            try:
                self.memory[key] = function()
            except (DoesNotApply, Blocked) as reason:
                self.memory[key] = reason
            except Exception as error:
                self.memory[key] = Blocked(f"{key} raises {words(error)}")
                self.memory[key].__cause__ = error
        if isinstance(self.memory[key], DoesNotApply | Blocked):
            raise self.memory[key]
        return self.memory[key]

    # calling a layer

    def of(self, policy: str = "float32", rows: Any = slice(None), values: Any = None) -> tuple[Any, dict[str, Any]]:
        """Return inputs and keywords as tensors, their floating numbers in the compute dtype of a policy."""
        dtype = keras.DTypePolicy(policy).compute_dtype

        def cast(array: Any) -> Any:
            if not isinstance(array, np.ndarray):
                return array
            array = array[rows] if array.ndim and len(array) == self.batch else array
            tensor = tf.convert_to_tensor(array)
            return tf.cast(tensor, dtype) if tensor.dtype.is_floating else tensor

        given = self.inputs if values is None else values
        return tree.map_structure(cast, given), {key: tree.map_structure(cast, v) for key, v in self.keywords.items()}

    @property
    def batch(self) -> int:
        """The number of rows of the inputs."""
        flat = [array for array in tree.flatten(self.inputs) if np.ndim(array)]
        return len(flat[0]) if flat else 0

    def call(self, layer: Any, given: tuple[Any, dict[str, Any]], training: bool | None = None) -> Any:
        """Call a layer as `fit` and `predict` do: `training` reaches one that doesn't take it from a model around it.

        A model whose `call` doesn't take `training` isn't given it: `fit` calls it as `predict` does.
        """
        inputs, keywords = given
        if training is None or (self.kind == "model" and not takes(layer, "training")):
            return layer(inputs, **keywords)
        if takes(layer, "training"):
            return layer(inputs, **keywords, training=training)
        around = self.memory.setdefault(f"around {id(layer)}", None) or Around(layer)
        self.memory[f"around {id(layer)}"] = around
        return around({"inputs": inputs, **keywords}, training=training)

    def built(self, policy: str | None = None, move: bool = True, few: bool = False, **options: Any) -> Any:
        """Make a layer and call it, on a few steps; its weights are moved away from special starts such as zeros."""
        layer = self.make(policy, **options)
        self.call(layer, self.of(policy or "float32", values=self.few_steps if few else None))
        rng = np.random.default_rng(1)
        for weight in layer.trainable_weights if move else ():
            if is_float(weight.dtype):
                value = as64(weight)
                weight.assign(tf.cast(value + 0.1 * rng.uniform(0.5, 1.0, size=value.shape), weight.dtype))
        return layer

    @property
    def layer(self) -> Any:
        """One called layer that checks share; its variables get their state back each time that it is read."""
        if self.kind not in LAYERS:
            raise TypeError(f"case.layer and case.run are for layers and models: case.make() makes a {self.kind}.")
        layer = self.once("the call", self.built)
        self.once("state", lambda: state(layer))
        self.once("wraps", lambda: holds_layers(safe_config(layer)))
        restore(self.memory["state"])
        return layer

    @property
    def few_steps(self) -> Any:
        """The inputs, or their first two steps, if a loop runs over the steps and another layer is built by these."""

        def shortened() -> Any:
            x = self.inputs
            loops = self.once("operations", lambda: operations(self)) & {"While", "StatelessWhile"}
            if not (loops and self.kind == "layer" and self.single and x.ndim > 2 and x.shape[1] > 2):
                return x
            with contextlib.suppress(Exception):  # it is built by the steps that it is given
                other = self.make()
                self.call(other, self.of(values=x[:, :2]))
                for mine, its in zip(other.variables, self.layer.variables, strict=True):
                    mine.assign(tf.convert_to_tensor(its))
                return x if differ(self.call(other, self.of()), self.outputs) else x[:, :2]
            return x

        return self.once("a call on few steps", shortened)

    def like(self, layer: Any, policy: str) -> Any:
        """Make another layer with the same weights, under another policy."""
        other = self.built(policy, move=False, few=True)
        for mine, its in zip(other.variables, layer.variables, strict=True):
            mine.assign(tf.cast(tf.convert_to_tensor(its), mine.dtype))
        return other

    @property
    def in_32_bits(self) -> Any:
        """The shared layer, or one of its weights in float32, if a dtype is given to it."""
        if not other_dtypes(self.layer):
            return self.layer
        layer = self.once("a call with dtype='float32'", lambda: self.like(self.layer, "float32"))
        if dtypes := other_dtypes(layer):
            raise DoesNotApply(f"it computes in {', '.join(sorted(dtypes))}, though its dtype is float32")
        return layer

    def run(self, training: bool | None = None, rows: Any = slice(None), values: Any = None) -> Any:
        """Call the shared layer from the same state each time."""
        return self.call(self.layer, self.of(rows=rows, values=values), training)

    @property
    def layer_as_it_is(self) -> Any:
        """The shared layer with the state that the last call has left."""
        return self.once("the call", self.built)

    @property
    def outputs(self) -> Any:
        """What the shared layer gives without `training`."""
        return self.once("outputs", self.run)

    @property
    def outputs_in_training(self) -> Any:
        """What the shared layer gives with `training=True`, from the state that it has after its first call."""
        return self.once("outputs in training", lambda: self.run(True))

    @property
    def drifts(self) -> str:
        """How two calls from the same state differ, or nothing."""
        return self.once("drift", lambda: differ(self.run(), self.outputs, 0.0))

    def steady(self) -> None:
        """Leave a check that compares calls, if calls from the same state differ."""
        if self.drifts:
            raise DoesNotApply("two calls from the same state give different numbers")

    @property
    def fixed(self) -> bool:
        """Whether the layer keeps state for each row, and so takes one batch size only."""
        return is_stateful(self.layer)

    @property
    def single(self) -> bool:
        """Whether there is one input tensor and no keyword."""
        return isinstance(self.inputs, np.ndarray) and not self.keywords

    @property
    def by_rows(self) -> bool:
        """Whether each output has a row for each row of the inputs."""
        return all(out.shape.rank and out.shape[0] == self.batch for out in flat_tensors(self.outputs))

    def symbols(self) -> tuple[Any, dict[str, Any]]:
        """Return `keras.Input` in the place of each array, the batch unknown."""

        def symbol(array: Any) -> Any:
            if not isinstance(array, np.ndarray):
                return array
            dtype = "string" if array.dtype.kind in "USO" else array.dtype.name
            return keras.Input(batch_shape=(array.shape[0] if self.fixed else None, *array.shape[1:]), dtype=dtype)

        keywords = {key: tree.map_structure(symbol, value) for key, value in self.keywords.items()}
        return tree.map_structure(symbol, self.inputs), keywords


def fresh(value: Any, policy: str) -> Any:
    """Return a layer as a new one of the same config under a policy, containers as copies, all else as it is."""
    if isinstance(value, keras.optimizers.Optimizer):  # its slots belong to the weights of one training
        return type(value).from_config(value.get_config())
    if not isinstance(value, keras.layers.Layer):
        return copied(value)
    with policy_scope(policy):
        return type(value).from_config(with_policy(value.get_config(), value.dtype_policy.name, policy))


def copied(value: Any) -> Any:
    """Return lists, dicts and sets as new ones, with what they hold: a constructor may change them."""
    if type(value) is list:
        return [copied(one) for one in value]
    if type(value) is dict:
        return {key: copied(one) for key, one in value.items()}
    return set(value) if type(value) is set else value


def holds_layers(config: Any) -> bool:
    """Whether a config holds that of a layer, as a wrapper's does."""
    if isinstance(config, dict):
        name = config.get("class_name")
        if (name and "build_config" in config) or (
            name and "config" in config and "layers" in str(config.get("module"))
        ):
            return True
        return any(holds_layers(value) for value in config.values())
    return isinstance(config, list | tuple) and any(holds_layers(one) for one in config)


def callable_maker(subject: Any, kind: str) -> bool:
    """Whether a subject is a class or a function that makes an object."""
    return inspect.isclass(subject) or (callable(subject) and not kind_of(subject) and kind not in FUNCTIONS)


def with_policy(config: Any, before: str, after: str) -> Any:
    """Replace a dtype policy throughout a config."""
    if isinstance(config, dict) and config.get("class_name") == "InputLayer":
        return config  # its dtype is no policy
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy" and config.get("config", {}).get("name") == before:
            return {**config, "config": {**config["config"], "name": after}}
        return {k: after if (k, v) == ("dtype", before) else with_policy(v, before, after) for k, v in config.items()}
    return [with_policy(one, before, after) for one in config] if isinstance(config, list) else config


# --- helpers ----------------------------------------------------------------------------------------------------------


def words(error: BaseException) -> str:
    """Return the type of an error and what it says, on one line."""
    parts = [" ".join(part.split()) for part in str(error).split("\n\n")]
    beside = ("Arguments received", "in user code", "Graph execution error")
    parts = [part for part in parts if part and not part.startswith(beside)]
    text = re.sub(r"\x1b\[\d*m|\{\{function_node.*?\}\}", "", parts[0] if parts else "")
    if text.startswith("Exception encountered when calling") and len(parts) > 1:
        text = re.sub(r"\x1b\[\d*m|\{\{function_node.*?\}\}", "", parts[1])
    text = text.strip().removesuffix("name:").strip()
    return f"{type(error).__name__}: {shortened(text, 300)}" if text else type(error).__name__


def shortened(text: str, length: int) -> str:
    """Return the words of a text that fit, without the end of its last sentence."""
    text = text if len(text) <= length else f"{text[:length].rpartition(' ')[0]} …"
    return text.rstrip(".")


def takes(layer: Any, name: str) -> bool:
    """Whether `call` names a parameter."""
    return name in inspect.signature(layer.call).parameters


def is_float(dtype: Any) -> bool:
    """Whether a dtype is one of floating numbers."""
    return tf.as_dtype(dtype).is_floating


def as64(tensor: Any) -> np.ndarray:
    """Return numbers in float64."""
    tensor = tf.convert_to_tensor(tensor)
    return np.asarray(tensor if tensor.dtype.is_complex else tf.cast(tensor, "float64"))


def flat_tensors(outputs: Any) -> list[Any]:
    """Return the tensors of a structure."""
    return [
        out if hasattr(out, "shape") else tf.convert_to_tensor(out) for out in tree.flatten(outputs) if out is not None
    ]


def numbers(outputs: Any) -> list[np.ndarray]:
    """Return the numeric tensors of a structure, in float64."""
    tensors = [tf.convert_to_tensor(out) for out in flat_tensors(outputs)]
    return [as64(out) for out in tensors if out.dtype not in (tf.string, tf.variant, tf.resource)]


def differ(one: Any, other: Any, tolerance: float = 1e-5) -> str:
    """Say how two outputs differ, or nothing; in 16 bits by more than the rounding of a few operations."""
    first, second = numbers(one), numbers(other)
    if tolerance and (narrow := dtypes_of([one, other]) & {"float16", "bfloat16"}):
        tolerance = max(tolerance, *(4 * ROUNDING[name] for name in narrow))
    if len(first) != len(second):
        return f"{len(first)} and {len(second)} tensors"
    for a, b in zip(first, second, strict=True):
        if a.shape != b.shape:
            return f"shapes {a.shape} and {b.shape}"
        finite = np.abs(b[np.isfinite(b)])
        limit = tolerance * max(1e-3, float(finite.max(initial=0))) if tolerance else 0.0
        if not np.allclose(a, b, rtol=tolerance, atol=limit, equal_nan=True):
            with np.errstate(invalid="ignore"):
                gap = np.abs(a - b)
            return f"numbers that differ by up to {np.nanmax(gap):.3g}, of {finite.max(initial=0):.3g} at most"
    return ""


def other_dtypes(layer: Any) -> set[str]:
    """Return the dtypes of floating numbers, other than float32, that a layer and those inside compute in."""
    return {one.compute_dtype for one in (layer, *inner_layers(layer))} & {"float16", "bfloat16", "float64"}


def dtypes_of(outputs: Any) -> set[str]:
    """Return the names of the dtypes of a structure."""
    return {tf.as_dtype(out.dtype).name for out in flat_tensors(outputs)}


def value_of(variable: Any) -> np.ndarray:
    """Return a copy of the value of a variable."""
    return np.array(tf.convert_to_tensor(variable).numpy())


def state(layer: Any) -> list[tuple[Any, np.ndarray]]:
    """Return each variable of a layer with its value."""
    return [(variable, value_of(variable)) for variable in layer.variables]


def restore(before: list[tuple[Any, np.ndarray]]) -> None:
    """Give each variable the value that it had."""
    for variable, value in before:
        variable.assign(value)


def moved(before: list[tuple[Any, np.ndarray]]) -> list[Any]:
    """Return the variables whose value isn't the one that they had, without those of random generators."""
    now = [(v, old, value_of(v)) for v, old in before]
    return [v for v, old, new in now if not is_seed(v) and not np.array_equal(old, new)]


def is_seed(variable: Any) -> bool:
    """Whether a variable is the state of a random generator."""
    return "seed_generator" in variable.path or variable.dtype == "uint32"


def inner_layers(layer: Any) -> list[Any]:
    """Return the layers inside a layer, from its attributes and their containers."""
    found: dict[int, Any] = {}

    def visit(value: Any, depth: int) -> None:
        if isinstance(value, keras.layers.Layer):
            if id(value) not in found and value is not layer:
                found[id(value)] = value
                for one in list(vars(value).values()):
                    visit(one, depth + 1)
        elif isinstance(value, dict) and depth < 6:
            for one in list(value.values()):
                visit(one, depth + 1)
        elif isinstance(value, list | tuple | set) and depth < 6 and len(value) < 200:
            for one in list(value):
                visit(one, depth + 1)

    for value in list(vars(layer).values()):
        visit(value, 0)
    return list(found.values())


def is_builtin(thing: Any) -> bool:
    """Whether a class belongs to Keras."""
    cls = thing if inspect.isclass(thing) else type(thing)
    return cls.__module__.split(".")[0] == "keras"


def written(thing: Any, method: str) -> bool:
    """Whether a class writes a method, or inherits it from one that isn't a base class of Keras."""
    base = KINDS.get(kind_of(thing), object)
    owner = next((cls for cls in type(thing).__mro__ if method in vars(cls)), object)
    return owner not in base.__mro__ and not isinstance(thing, keras.Sequential)


def graph_size(function: Any) -> int:
    """Count the operations of a graph and of the functions that it calls."""
    definition = function.graph.as_graph_def()
    return len(definition.node) + sum(len(one.node_def) for one in definition.library.function)


def float_map(function: Callable[[np.ndarray], np.ndarray], structure: Any) -> Any:
    """Apply a function to each array of floating numbers in a structure."""

    def change(array: Any) -> Any:
        floats = isinstance(array, np.ndarray) and array.dtype.kind == "f"
        return np.asarray(function(array), array.dtype) if floats else array

    return tree.map_structure(change, structure)


def varied(value: Any) -> Any:
    """Return another value of the type of an argument, or None."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value * 0.5 if value else 0.25
    return None


def parameters(cls: type) -> list[inspect.Parameter]:
    """Return the named parameters of a constructor."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [p for p in inspect.signature(cls.__init__).parameters.values() if p.kind in kinds and p.name != "self"]


def scalar_of(outputs: Any, seed: int = 2, dtype: str = "float32") -> Any:
    """Return a random sum of the floating outputs, which depends on each of their numbers."""
    rng = np.random.default_rng(seed)
    total = tf.zeros((), dtype)
    for out in flat_tensors(outputs):
        if out.dtype.is_complex:
            out = tf.math.real(out) + tf.math.imag(out)
        if is_float(out.dtype):
            total += tf.reduce_sum(tf.cast(out, dtype) * tf.constant(rng.uniform(0.5, 1.5, out.shape), dtype))
    return total


LAYERS = ("layer", "model")
MOVES = ("tracked_weights", "late_weights", "python_state", "quiet_outside_training")
"""Checks whose findings mean that two calls can't be compared."""

# --- checks of layers and models: weights -----------------------------------------------------------------------------


@check(*LAYERS)
def can_be_called(case: Case) -> Iterator[Told]:
    """It can be made and called on the example, with finite numbers."""
    tried = f"A call on {describe(case.inputs)}{case.memory.get('made up', '')}."
    try:
        outputs = case.call(case.make(), case.of())
    except Blocked:
        raise
    except Exception as error:
        case.memory["the call"] = Blocked(f"the call raises {words(error)}, see can_be_called")
        link = link_of(error)
        yield (
            tried,
            f"{words(error)}.",
            "Nothing else can be tried.",
            "Fix what raises, or check the arguments.",
            link,
        )
        return
    try:
        for _ in range(2):
            case.make()
    except Exception as error:
        case.memory["the call"] = Blocked(f"a third object can't be made: {words(error)}, see can_be_called")
        fix = "Copy what the constructor is given, list(units), before it is changed; no list as a default."
        yield "Three objects, made alike.", f"{words(error)}.", "Each object changes what the next is given.", fix
        return
    if any(not np.isfinite(array).all() for array in numbers(outputs)):
        yield (
            tried,
            "The outputs hold nan or inf.",
            "One nan makes every loss nan.",
            "Bound what is divided or exponentiated.",
        )


def link_of(error: BaseException) -> str:
    """Return the entry of the errors chapter for a message."""
    for pattern, link in {
        "using a (symbolic|`tf).*Tensor.*bool": "errors/layers.html#python-if-on-a-tensor",
        "cannot add new elements of state|singleton tf.Variable": "errors/layers.html#state-created-late",
        "unexpected keyword argument '(name|dtype|trainable)'": "errors/layers.html#init-kwargs",
        "cannot be used as input to a TensorFlow function": "errors/layers.html#kerastensor",
        "Could not locate": "errors/saving.html#could-not-locate-class",
        "non-serializable|Object was created by passing": "errors/saving.html#non-serializable-arguments",
        "expected \\d+ variables, but received": "errors/saving.html#default-arguments-saved",
        "could not be deserialized|revive": "errors/saving.html#could-not-be-deserialized",
        "Matrix size-incompatible|must be fully-defined": "errors/layers.html#input-shape-axis",
        "Cannot convert '": "errors/layers.html#add-weight-name",
    }.items():
        if re.search(pattern, str(error), re.IGNORECASE | re.DOTALL):
            return link
    return ""


def describe(structure: Any) -> str:
    """Say what an input is: dtypes and shapes."""

    def one(array: Any) -> str:
        return f"{array.dtype.name}{array.shape}" if isinstance(array, np.ndarray) else repr(array)

    return str(tree.map_structure(one, structure)).replace("'", "").replace('"', "")


@check(*LAYERS)
def tracked_weights(case: Case) -> Iterator[Told]:
    """The variables that a call reads are those that the optimizer and the file are given."""
    layer = case.layer
    with tf.GradientTape() as tape:
        case.run(training=True)
    known = {id(weight.value) for weight in layer.weights} | {id(v.value) for v in layer.variables}
    hidden = [variable for variable in tape.watched_variables() if id(variable) not in known]
    lists = [one for one in inner_layers(layer) if one.weights and not {id(w) for w in one.weights} <= ids(layer)]
    names = sorted(
        {variable.name.split(":")[0] for variable in hidden} | {w.path for one in lists for w in one.weights}
    )
    if names:
        yield (
            "A call under tf.GradientTape, which records each trainable variable that is read.",
            f"{', '.join(names)}: used, and not in layer.weights ({len(layer.weights)} weights).",
            "The optimizer never updates it and a file doesn't hold it. Nothing is raised.",
            "Create weights with self.add_weight. Keep layers as attributes, or in a list or dict of self.",
            "errors/layers.html#untracked-variable",
        )


def ids(layer: Any) -> set[int]:
    """Return the identities of the weights of a layer."""
    return {id(weight) for weight in layer.weights}


@check(*LAYERS)
def late_weights(case: Case) -> Iterator[Told]:
    """All state exists after the first call, and a second one, in training and with fewer rows, can be made."""
    layer = case.built(move=False)
    before = len(layer.variables)
    tried, fix = "A second call, with 2 rows, with training=True.", "Create weights in build, and layers in __init__."
    training = False
    try:
        for training in (False, True):
            case.call(layer, case.of(rows=slice(0, 2)), training)
    except Exception as error:
        link = link_of(error)
        if not link and (not training or case.fixed or not case.by_rows):
            raise DoesNotApply(f"a call with 2 rows raises {words(error)[:120]}") from None
        fix = fix if link else "Take the batch size from ops.shape(x)[0], not from build or an earlier call."
        yield (tried, words(error), "fit calls the layer many times, at last on a smaller batch.", fix, link)
        return
    if len(layer.variables) != before:
        found = f"{before} variables after the first call, {len(layer.variables)} after the second."
        why = "What is created late isn't in the optimizer, isn't loaded from a file, and raises under tf.function."
        yield (tried, found, why, fix, "errors/layers.html#state-created-late")


def plain(value: Any, depth: int = 0) -> Any:
    """Return what can be compared of an attribute: numbers, strings, and the lengths and contents of containers."""
    if isinstance(value, bool | int | float | str | type(None)):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return repr(value)
    if isinstance(value, np.random.Generator | random.Random):
        return repr(value.bit_generator.state if isinstance(value, np.random.Generator) else value.getstate())
    if isinstance(value, tf.Tensor):
        return "a tensor", id(value)
    if isinstance(value, list | tuple | set) and depth < 3:
        return [len(value), *(plain(one, depth + 1) for one in list(value)[:50])]
    if isinstance(value, dict) and depth < 3:
        return [len(value), *((str(key), plain(one, depth + 1)) for key, one in list(value.items())[:50])]
    if depth < 2 and type(value).__module__.partition(".")[0] not in ("keras", "tensorflow", "numpy", "builtins"):
        return plain({name: one for name, one in getattr(value, "__dict__", {}).items()}, depth + 1)
    return type(value).__name__


@check(*LAYERS)
def python_state(case: Case) -> Iterator[Told]:
    """A call changes no number, text, list, set, dict or array among the attributes of the layer."""
    layer = case.built()
    own = [one for one in (layer, *inner_layers(layer)) if not is_builtin(one)]
    before = [(one, name, plain(vars(one)[name])) for one in own for name in own_attributes(one)]
    changed = []
    for training in (True, False):
        case.call(layer, case.of(), training)
        for one, name, value in before:
            told = name if one is layer else f"{one.name}.{name}"
            if plain(vars(one).get(name)) != value and told not in changed:
                changed.append(told)
    held = any(type(vars(one).get(name)).__name__.endswith("Tensor") for one, name, _ in before)
    if changed:
        yield (
            "The attributes of the layer before and after calls.",
            f"{', '.join(changed)} changed{', and hold tensors' if held else ''}.",
            "In fit the code of call runs once, while the graph is traced: the value is frozen there, or a list grows.",
            "Keep state in self.add_weight(…, trainable=False), and assign it.",
        )


def own_attributes(layer: Any) -> list[str]:
    """Return the names of the attributes that aren't Keras's."""
    base = vars(keras.Model())
    return [
        n for n in vars(layer) if n != "built" and (n not in base or n[0] != "_") and n[:5] not in ("_self", "_obj_")
    ]


@check(*LAYERS)
def quiet_outside_training(case: Case) -> Iterator[Told]:
    """With training=False the outputs repeat, and no state changes that they depend on."""
    layer = case.layer
    case.steady()
    before = state(layer)
    first = case.run(training=False)
    second = case.call(layer, case.of(), False)
    case.call(layer, case.of(values=float_map(lambda a: 2 * a + 1, case.inputs)), False)
    changed = moved(before)
    third = case.call(layer, case.of(), False)
    restore(before)
    link = "errors/models.html#training-argument"
    why, fix = "predict gives another answer each time it is called.", "Update state only if training is true."
    noise = [one.name for one in inner_layers(layer) if isinstance(one, NOISE)]
    same = case.single and len(flat_tensors(first)) == 1 and flat_tensors(first)[0].shape == case.inputs.shape
    if not changed and any(is_seed(v) for v, _ in before) and differ(first, second, 0.0):
        if takes(layer, "training") or noise or same:
            found = "The outputs differ, by random numbers" + (f" of {', '.join(noise)}." if noise else ".")
            yield ("Two calls with training=False.", found, why, "Draw in training only: if training: …", link)
    elif weights := [v.path for v in changed if id(v) in ids_of(layer.trainable_weights)]:
        why = "predict changes the trained model."
        yield ("Calls with training=False.", f"{', '.join(weights)} changed.", why, fix, link)
    elif changed and not is_stateful(layer):
        differs = differ(first, second, 1e-6) or differ(first, third, 1e-6)
        if differs or takes(layer, "training"):
            found = f"{', '.join(v.path for v in changed)} changed{'; the outputs differ' if differs else ''}."
            yield ("Calls with training=False, on other inputs between.", found, why, fix, link)


def ids_of(weights: list[Any]) -> set[int]:
    """Return identities."""
    return {id(weight) for weight in weights}


def is_stateful(layer: Any) -> bool:
    """Whether a layer keeps state between calls on purpose."""
    return any(getattr(one, "stateful", False) for one in [layer, *inner_layers(layer)])


@check(*LAYERS, after=("tracked_weights",))
def reached_weights(case: Case) -> Iterator[Told]:
    """A finite gradient reaches each trainable weight."""
    layer = case.layer
    if not layer.trainable_weights:
        raise DoesNotApply("it has no trainable weights")
    if case.kind == "model" and any(written(layer, name) for name in ("train_step", "compute_loss")):
        raise DoesNotApply("it is trained by a step of its own, which may use more than a call does")
    paths = [weight.path for weight in layer.trainable_weights]
    reached, wrong, constant = reached_and_wrong(case, paths)
    same = "The outputs are the same for other weights and inputs: no" if constant else "No"
    tried = "The gradient of a random sum of the outputs and of the layer's losses, for several inputs."
    if lost := [path for path in paths if path not in reached | wrong]:
        why = "The weight keeps its first value; fit warns once, or not at all."
        optional = [p.name for p in inspect.signature(layer.call).parameters.values() if p.default is None]
        known = ("training", "mask", *case.keywords)
        known += ("initial_state",) if isinstance(layer, keras.layers.RNN) else ()  # the second step has a state
        optional = [n for n in optional if n not in known and n in written_names(layer)]
        if optional and not wrong:
            raise DoesNotApply(f"{', '.join(lost)} may belong to {', '.join(optional)}, which wasn't given")
        fix = "Use it in call through operations that have a gradient, or create it with trainable=False."
        yield (tried, f"{same} gradient, or zero everywhere, reaches {', '.join(lost)}.", why, fix)
    if wrong:
        why = "One step of the optimizer makes the weight nan."
        fix = "Bound what is divided, rooted or exponentiated; with tf.where, give both branches safe arguments."
        yield (tried, f"The gradient of {', '.join(sorted(wrong))} holds nan or inf.", why, fix)


def reached_and_wrong(case: Case, paths: list[str]) -> tuple[set[str], set[str], bool]:
    """Return the weights that a gradient reaches, those whose gradient is nan, and whether the outputs never change."""
    reached, wrong, connected, constant = set(), set(), set(), True
    for number in range(4):
        # With other weights no unit is off for all of the inputs, and with those of the start no softmax is at its end.
        layer = case.layer if number == 0 else case.built(move=number % 2 == 0)
        for training in (True, False):
            seed = 2 + number
            with tf.GradientTape() as tape:
                outputs = case.call(layer, case.of(values=shifted(case, seed)), training)
                total = scalar_of(outputs, seed)
                total += sum((tf.cast(loss, "float32") for loss in layer.losses), 0.0)
            gradients = tape.gradient(total, [weight.value for weight in layer.trainable_weights])
            found = {path: as64(g) for path, g in zip(paths, gradients, strict=True) if g is not None}
            connected |= set(found)
            reached |= {path for path, values in found.items() if values.any() or not values.size}
            wrong |= {path for path, values in found.items() if not np.isfinite(values).all()}
            constant = constant and (training or not differ(outputs, case.outputs, 1e-6))
        if len(reached) == len(paths) and not constant:
            break
    # A softmax over one channel is 1 for any weights: its gradient is rounding.
    reached = set() if constant else reached
    # A bias may cancel: in the difference of two outputs of one encoder, or before a normalization.
    siblings = {path.rpartition("/")[0] for path in reached}
    cancelled = {path for path in connected if path.endswith("/bias") and path.rpartition("/")[0] in siblings}
    return reached | cancelled, wrong, constant


def written_names(layer: Any) -> list[str]:
    """Return the parameters of `call`."""
    return list(inspect.signature(layer.call).parameters)


def shifted(case: Case, seed: int) -> Any:
    """Return the inputs, moved a little and at random."""
    rng = np.random.default_rng(seed)
    return float_map(lambda a: a + 0.05 * a.std() * rng.normal(size=a.shape), case.inputs)


@check(*LAYERS, after=("tracked_weights", "reached_weights"))
def leaves_its_start(case: Case) -> Iterator[Told]:
    """No weight starts at a zero from which no gradient leads away."""
    if case.kind == "model" and any(written(case.layer, name) for name in ("train_step", "compute_loss")):
        raise DoesNotApply("it is trained by a step of its own, which may use more than a call does")
    layer = case.built(move=False)
    zeros = [weight for weight in layer.trainable_weights if is_float(weight.dtype) and not np.any(as64(weight))]
    if len(zeros) < 2:
        raise DoesNotApply("it has no two weights that start at zero")
    stuck = list(zeros)
    for seed in (1, 2):
        with tf.GradientTape() as tape:
            total = scalar_of(case.call(layer, case.of(values=shifted(case, seed)), True), seed)
            total += sum((tf.cast(loss, "float32") for loss in layer.losses), 0.0)
        weights = [weight for weight in layer.trainable_weights if is_float(weight.dtype)]
        gradients = tape.gradient(total, [weight.value for weight in weights], unconnected_gradients="zero")
        pairs = [(weight, tf.convert_to_tensor(gradient)) for weight, gradient in zip(weights, gradients, strict=True)]
        at_rest = {id(weight) for weight, gradient in pairs if not np.any(as64(gradient))}
        stuck = [weight for weight in stuck if id(weight) in at_rest]
        for weight, gradient in pairs:
            weight.assign(weight - 0.01 * gradient)
    if len(stuck) > 1:
        yield (
            "Two steps along the gradient, from the start of a new layer.",
            f"{', '.join(weight.path for weight in stuck)} stay at zero: their gradient is zero there.",
            "Weights that are multiplied with each other, all zero, never train.",
            "Start one of them at random numbers.",
        )


SPECIAL = "Padding, a dead relu or a constant image makes every weight nan in one step."
SAFE = "Add an epsilon in sqrt, norm, log and division; tf.where needs safe arguments in both branches."


@check(*LAYERS)
def gradient_at_special_inputs(case: Case) -> Iterator[Told]:
    """Outputs and gradient are finite for inputs of zeros and for equal inputs."""
    case.steady()
    floats = [a for a in tree.flatten(case.inputs) if isinstance(a, np.ndarray) and a.dtype.kind == "f"]
    if not floats:
        raise DoesNotApply("it has no inputs of floating numbers")
    new = case.built(move=False)
    for name, value, layer in (("zeros", 0.0, case.layer), ("ones", 1.0, case.layer), ("zeros", 0.0, new)):
        inputs = float_map(lambda a, value=value: np.full_like(a, value), case.inputs)
        given, keywords = case.of(values=inputs)
        watched = [x for x in tree.flatten(given) if is_float(x.dtype)]
        with tf.GradientTape() as tape:
            tape.watch(watched)
            outputs = case.call(layer, (given, keywords))
            total = scalar_of(outputs)
        if not np.isfinite(as64(total)):
            if all(a.min(initial=0) < value < a.max(initial=0) for a in floats):
                found = "The outputs hold nan or inf, though the example has smaller and larger numbers."
                yield (f"A call on inputs of {name}.", found, SPECIAL, SAFE)
                return
            continue  # the formula isn't defined there
        sources = [*watched, *(weight.value for weight in layer.trainable_weights)]
        names = [*("the inputs" for _ in watched), *(weight.path for weight in layer.trainable_weights)]
        gradients = tape.gradient(total, sources)
        wrong = {n for n, g in zip(names, gradients, strict=True) if g is not None and not np.isfinite(as64(g)).all()}
        if wrong:
            yield (
                f"The gradient for inputs of {name}, where the outputs are finite.",
                f"The gradient for {', '.join(sorted(wrong))} holds nan or inf.",
                SPECIAL,
                SAFE,
            )
            return


@check(*LAYERS)
def different_starts(case: Case) -> Iterator[Told]:
    """No two weights start with the same random numbers."""
    layer = case.make()
    case.call(layer, case.of())
    seen: dict[bytes, str] = {}
    for weight in layer.trainable_weights:
        value = as64(weight).ravel()
        if len(np.unique(value)) < 4 or len(np.unique(np.diff(value))) < 4:
            continue
        key = value[: min(len(value), 64)].tobytes() + str(value.size).encode()
        if key in seen:
            yield (
                "The weights of a new layer, compared with each other.",
                f"{seen[key]} and {weight.path} start with the same random numbers.",
                "Parts that start equal and see equal data stay equal.",
                "Give each weight an initializer of its own: one object with a seed draws the same numbers each time.",
            )
            return
        seen[key] = weight.path


@check(*LAYERS)
def separate_objects(case: Case) -> Iterator[Told]:
    """Two objects share no weight, and no list inside holds one layer several times."""
    if inspect.isclass(case.subject):
        one, two = (case.built(move=False) for _ in range(2))
        if names := [weight.path for weight in one.weights if id(weight) in ids(two)]:
            yield (
                "The weights of two new objects.",
                f"They share {', '.join(names)}.",
                "Training one changes the other.",
                "Make weights and layers in __init__ or build, not in the class, a default value or a module.",
            )
    for name, value in vars(case.layer).items():
        held = [one for one in value if isinstance(one, keras.layers.Layer)] if isinstance(value, list | tuple) else []
        if len(different := {id(one) for one in held}) < len(held) and not name.startswith("_"):
            yield (
                f"The layers in the list {name}.",
                f"{len(held)} entries are {len(different)} layer{'' if len(different) == 1 else 's'}.",
                "They share their weights: [layer] * n doesn't make n layers.",
                "Write [Dense(units) for _ in range(n)]. To share one on purpose, keep it once, and call it n times.",
            )


NO_EFFECT = "Whoever sets it trains something else than they think."


@check(*LAYERS)
def arguments_act(case: Case) -> Iterator[Told]:
    """An activation, initializer, regularizer, constraint or rate of dropout acts, given under a name of Keras's."""
    cls = own_class(case)
    if not inspect.isclass(case.subject):
        raise DoesNotApply("a function makes it: its arguments aren't known")
    names = [weight.path.split("/")[-1] for weight in case.layer.weights]
    kernels = [weight for weight in case.layer.trainable_weights if len(weight.shape) > 1]
    for name in (parameter.name for parameter in parameters(cls)):
        if (
            name == "use_bias"
            and len({len(case.built(few=True, use_bias=flag).weights) for flag in (True, False)}) == 1
        ):
            fix = "Make the bias only if use_bias is set."
            yield (f"{cls.__name__} with use_bias=True, and with False.", "It has as many weights.", NO_EFFECT, fix)
        prefix, _, ending = name.rpartition("_")
        given, acts = EFFECTS.get(ending, (None, None))
        # Without a weight of that name, as where use_bias is False, it needn't act.
        of_weights = acts in (initializes, regularizes, constrains)
        there = any(prefix in one for one in names) or (prefix == "kernel" and kernels)
        if acts is None or (of_weights and not there):
            continue
        fix = f"Hand it to add_weight as {ending}." if of_weights else f"Hand self.{name} to what it is for."
        with contextlib.suppress(Exception):  # it may take other values only
            if not acts(case, name, given):
                tried = f"{cls.__name__} with {name}={given!r}, and with another, built and called."
                yield (tried, f"{name} changes nothing.", NO_EFFECT, fix)


def initializes(case: Case, name: str, given: str) -> bool:
    """Whether an initializer decides how a weight starts."""
    starts = [state(case.built(move=False, few=True, **{name: value})) for value in ("zeros", given)]
    pairs = [(as64(a), as64(b)) for (_, a), (_, b) in zip(*starts, strict=True)]
    # A part of a weight may have a start of its own, as the forget gates of an LSTM have.
    return any(np.isin(b - a, (0, 1)).all() and not np.array_equal(a, b) for a, b in pairs)


def regularizes(case: Case, name: str, given: str) -> bool:
    """Whether a regularizer adds to the losses."""
    without, with_it = (
        sum(float(as64(x)) for x in case.built(few=True, **{name: value}).losses) for value in (None, given)
    )
    return without != with_it


def constrains(case: Case, name: str, given: str) -> bool:
    """Whether a weight has a constraint."""
    return any(getattr(weight, "constraint", None) for weight in case.built(few=True, **{name: given}).weights)


def activates(case: Case, name: str, given: str) -> bool:
    """Whether an activation changes what comes out."""
    one, two = (case.built(few=True, **{name: value}) for value in ("linear", given))
    two.set_weights(one.get_weights())
    before = [state(one), state(two)]
    for training in (False, True):
        outputs = [case.call(layer, case.of(), training) for layer in (one, two)]
        for kept in before:
            restore(kept)
        if differ(*outputs, 1e-6):
            return True
    return False


def drops(case: Case, name: str, given: float) -> bool:
    """Whether a rate reaches the layers of noise inside, if there are any."""
    rates = []
    for value in (0.1, given):
        inner = inner_layers(case.built(few=True, **{name: value}))
        rates.append([getattr(one, "rate", None) for one in inner if isinstance(one, NOISE)])
    return not rates[0] or rates[0] != rates[1]


EFFECTS: dict[str, tuple[Any, Callable[[Case, str, Any], bool]]] = {
    "initializer": ("ones", initializes),
    "regularizer": ("l2", regularizes),
    "constraint": ("non_neg", constrains),
    "activation": ("exponential", activates),
    "rate": (0.7, drops),
    "dropout": (0.7, drops),
}
"""How the name of an argument ends, with a value for it, and a function that tries whether it acts."""


# --- config -----------------------------------------------------------------------------------------------------------

ROUND_TRIP = "Loading a file makes the object from its config: with another config it computes something else."
REGISTER = "Put @keras.saving.register_keras_serializable() above each class or function of your own."
HOLD_ALL = "Let get_config return every argument of __init__ together with super().get_config()."
PLAIN = ("loss", "metric", "optimizer", "schedule", "initializer", "regularizer", "constraint")
ALL = (*LAYERS, *PLAIN)


def own_class(case: Case) -> type:
    """Return the class of the object, if it isn't put together from Keras's own."""
    cls = type(case.once("a new object", case.make))
    if cls in (keras.Model, keras.Sequential) or cls.__name__ == "Functional":
        raise DoesNotApply("it is a functional or sequential model: its config is that of Keras")
    if case.kind in FUNCTIONS:
        raise DoesNotApply("it is a function")
    return cls


@check(*PLAIN)
def can_be_made(case: Case) -> Iterator[Told]:
    """It can be made."""
    try:
        case.once("a new object", case.make)
    except Blocked as error:
        if error.__cause__ is None:
            raise
        fix = "Fix what raises, or check the arguments."
        yield ("A new object.", words(error.__cause__), "Nothing else can be tried.", fix, link_of(error.__cause__))


@check("layer")
def base_arguments(case: Case) -> Iterator[Told]:
    """The constructor takes `name`, `dtype` and `trainable`, and passes them on."""
    cls = own_class(case)
    missing = [name for name in ("name", "trainable", "dtype") if not accepts(cls.__init__, name)]
    config = safe_config(case.once("a new object", case.make))
    if lost := [name for name in missing if name in config]:
        yield (
            f"The parameters of {cls.__name__}.__init__.",
            f"It doesn't take {', '.join(lost)}, which get_config holds.",
            "from_config passes them on, so a saved layer can't be loaded.",
            "Write def __init__(self, …, **kwargs) and super().__init__(**kwargs).",
            "errors/layers.html#init-kwargs",
        )
    elif ("name" in missing or "dtype" in missing) and written(case.layer, "get_config"):
        yield (
            f"The parameters of {cls.__name__}.__init__.",
            f"It doesn't take {', '.join(missing)}, and get_config leaves them out.",
            "A layer that is loaded has another name, and another dtype under mixed precision.",
            "Write def __init__(self, …, **kwargs), super().__init__(**kwargs) and {**super().get_config(), …}.",
            "errors/layers.html#init-kwargs",
        )
    if missing:
        return
    options = {"name": "by_name", "trainable": False, "dtype": "mixed_bfloat16"}
    try:
        made = cls.from_config({**config, **{key: value for key, value in options.items() if key in config}})
        if "name" not in config:
            made = case.make(**options)
        again = cls.from_config(made.get_config())
    except Exception:
        return  # config_round_trip reports it
    for name, expected in options.items():
        if name == "trainable" and not case.layer.weights:
            continue
        for thing, way in ((made, "made with"), (again, "loaded from the config of one with")):
            got = thing.dtype_policy.name if name == "dtype" else getattr(thing, name)
            if got != expected and (thing is again or name in config):
                fix = "Pass **kwargs, by this name, to super().__init__, and return {**super().get_config(), …}."
                yield f"A layer {way} {name}={expected!r}.", f"Its {name} is {got!r}.", ROUND_TRIP, fix
                return


@check(*ALL, after=("base_arguments", "can_be_made"))
def config_round_trip(case: Case) -> Iterator[Told]:
    """An object made from the config has the same config, name and dtype."""
    own_class(case)
    thing = case.make(name="by_name")
    try:
        config = thing.get_config()
        json.dumps(keras.saving.serialize_keras_object(thing))
    except Exception as error:
        if case.kind == "model" and isinstance(error, NotImplementedError) and not case.arguments:
            raise DoesNotApply(f"it has no config: {words(error)}") from None
        fix = "Keep plain Python values in the config; keras.saving.serialize_keras_object for objects."
        link = "errors/saving.html#non-serializable-arguments"
        yield "get_config, as JSON.", words(error), "The object can't be saved.", fix, link
        return
    before = json.dumps(keras.saving.serialize_keras_object(config), default=str)
    try:
        other = json.dumps(keras.saving.serialize_keras_object(reloaded(thing).get_config()), default=str)
    except Exception as error:
        fix = fix_of_config(config, str(error))
        link = link_of(error) or "errors/saving.html#could-not-be-deserialized"
        yield "from_config(get_config()).", words_of_cause(error), ROUND_TRIP, fix, link
        return
    yield from config_changes(config, json.loads(before), json.loads(other))


def reloaded(thing: Any) -> Any:
    """Return the object that is made from the config, as it stands in a file."""
    saved = json.loads(json.dumps(keras.saving.serialize_keras_object(thing)))
    return keras.saving.deserialize_keras_object(saved, custom_objects={type(thing).__name__: type(thing)})


def words_of_cause(error: BaseException) -> str:
    """Return what an error of Keras says of its cause, without Keras's own words around it."""
    causes = re.findall(r"Exception encountered: (.*?)(?:\n\n|$)", str(error), re.DOTALL)
    return f"{type(error).__name__}: {shortened(' '.join(causes[-1].split()), 300)}" if causes else words(error)


def fix_of_config(config: dict[str, Any], said: str) -> str:
    """Return how to fix a config that no object can be made from."""
    arrays = [key for key, value in config.items() if tf.is_tensor(value) or isinstance(value, np.ndarray)]
    if arrays:
        return f"Return plain numbers for {', '.join(arrays)}: float(…), or .tolist()."
    if refused := re.search(r"unexpected keyword argument '(\w+)'", said):
        name = refused.group(1)
        return f"get_config holds {name!r}: take **kwargs in __init__, and pass it to super().__init__(**kwargs)."
    if re.search("Could not locate|Cannot deserialize object of type|Could not interpret .* identifier", said):
        return REGISTER
    if any(isinstance(value, dict) for value in config.values()):
        return "Write from_config: there, make inner objects with keras.saving.deserialize_keras_object(config[…])."
    return HOLD_ALL


def config_changes(config: dict[str, Any], before: dict[str, Any], after: dict[str, Any]) -> Iterator[Told]:
    """Yield what differs between a config, what it was when it was read, and that of the object made from it."""
    keys = [f"{k} ({v!r:.60} became {after.get(k)!r:.60})" for k, v in before.items() if v != after.get(k)]
    if keys:
        yield "from_config(get_config()).", f"Changed: {', '.join(keys)}.", ROUND_TRIP, HOLD_ALL
    changed = [key for key, value in config.items() if before.get(key) is None and value is not None]
    if changed:
        found, fix = f"{', '.join(changed)} changed.", "Return a new dict each time."
        yield "get_config, called twice.", found, ROUND_TRIP, fix


@check(*ALL)
def config_is_complete(case: Case) -> Iterator[Told]:
    """The config holds each argument of the constructor, and follows those that are numbers or flags."""
    cls = own_class(case)
    if any(cls.__init__ is vars(base).get("__init__") for base in KINDS[case.kind].__mro__):
        raise DoesNotApply("it has no constructor of its own")
    thing = case.once("a new object", case.make)
    try:
        config = thing.get_config()
    except Exception as error:
        raise Blocked(f"get_config raises {words(error)}, see config_round_trip") from error
    given = [p for p in parameters(cls) if p.name not in ("name", "dtype", "trainable", "activity_regularizer")]
    own = source_of(cls.get_config)  # which may hold an argument only where it is given
    missing = [p.name for p in given if p.name not in config and p.name not in ("kwargs", "args", "weights")]
    missing = [name for name in missing if f'"{name}"' not in own and f"'{name}'" not in own]
    if missing and written(thing, "from_config"):
        raise DoesNotApply(f"from_config is written: it may make {', '.join(missing)} from other keys")
    if missing:
        found = f"{', '.join(missing)}: not in get_config."
        yield (f"The parameters of {cls.__name__}.__init__.", found, ROUND_TRIP, HOLD_ALL)
    for parameter in given:
        name = parameter.name
        value = case.arguments.get(name, parameter.default) if case.subject is cls else None
        if is_number(value) and is_number(config.get(name)) and not np.isclose(value, config[name], rtol=1e-6, atol=0):
            found = f"{name} is {config[name]!r} in the config."
            yield (f"{cls.__name__} with {name}={value!r}, and get_config.", found, ROUND_TRIP, HOLD_ALL)
            continue
        other = varied(config.get(name, parameter.default))
        if other is None or name in missing:
            continue
        shown = comes_back(functools.partial(cls.from_config, {**config, name: other}), name, other)
        for arguments in ways_to_make(case, cls, name) if shown else ():
            shown = shown and comes_back(functools.partial(cls, **{**arguments, name: other}), name, other)
        if shown:
            found = f"{name}={other!r} {shown}."
            yield (f"{cls.__name__} with {name}={other!r}, and get_config.", found, ROUND_TRIP, HOLD_ALL)


def ways_to_make(case: Case, cls: type, name: str) -> Iterator[dict[str, Any]]:
    """Yield arguments of a class: those given, and those that it needs; another may have priority over `name`."""
    if case.subject is cls:
        arguments = {key: fresh(value, "float32") for key, value in case.arguments.items()}
        yield arguments
        needs = {p.name for p in parameters(cls) if p.default is p.empty}
        yield {key: value for key, value in arguments.items() if key in needs}


def source_of(thing: Any) -> str:
    """Return the source of a function or class, or nothing where it isn't known."""
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):
        return ""


def comes_back(make: Callable[[], Any], name: str, value: Any) -> str:
    """Say what an argument became in the config, or in that of an object made from it, or nothing if it stayed."""
    try:
        made = make()
        configs = made.get_config(), type(made).from_config(made.get_config()).get_config()
    except Exception:
        return ""  # the value isn't a valid one
    changed = next((config for config in configs if config.get(name) != value), None)
    if changed is None:
        return ""
    return f"comes back as {changed[name]!r}" if name in changed else "isn't in the config"


def is_number(value: Any) -> bool:
    """Whether a value is a plain number, and no flag."""
    return isinstance(value, int | float) and not isinstance(value, bool)


@check(*ALL)
def arguments_unchanged(case: Case) -> Iterator[Told]:
    """Making an object changes neither the arguments given to it nor the defaults of its parameters."""
    cls = own_class(case)
    given = {name: fresh(value, "float32") for name, value in case.arguments.items()}
    held = {**{p.name: p.default for p in parameters(cls)}, **given}
    mutable = {name: value for name, value in held.items() if isinstance(value, list | dict | set)}
    before = {name: case.memory["defaults"].get(name, repr(value)) for name, value in mutable.items()}
    before.update({name: repr(mutable[name]) for name in given if name in mutable})
    for _ in range(2):
        if callable_maker(case.subject, case.kind):
            case.subject(
                **{name: value if name in mutable else fresh(value, "float32") for name, value in given.items()}
            )
        else:
            case.make()
    for name, value in mutable.items():
        if repr(value) != before[name]:
            found = f"{name} was {before[name]} and is {value!r}."
            fix = "Copy what you are given: self.sizes = list(sizes); use None as a default."
            yield "Two new objects.", found, "One object changes what the next one is made with.", fix


@check("loss", "schedule", "regularizer", "constraint", after=("can_be_made",))
def python_values(case: Case) -> Iterator[Told]:
    """A call changes no Python value of it."""
    if is_builtin(own_class(case)):
        raise DoesNotApply("it is Keras's own")
    thing = case.make()
    given_by(case, thing)  # which may keep what it made for later calls
    before = {name: plain(value) for name, value in vars(thing).items()}
    given_by(case, thing)
    changed = [name for name, value in vars(thing).items() if plain(value) != before.get(name)]
    if changed:
        yield (
            "The attributes before and after a call.",
            f"{', '.join(changed)} changed.",
            "In fit the code runs once, while the graph is traced: the value is frozen there.",
            "Compute from the arguments alone, or keep the state in a keras.Variable and assign it.",
        )


@check(*PLAIN, after=("can_be_made", "config_round_trip", "config_is_complete", "python_values"))
def config_gives_the_same(case: Case) -> Iterator[Told]:
    """An object made from the config can be used, and gives the same numbers, with other arguments too."""
    own_class(case)
    thing = case.make()
    try:
        reloaded(thing)
    except Exception as error:
        raise Blocked(f"none can be made from the config: {words_of_cause(error)}") from error
    if differ(given_by(case, thing), given_by(case, case.make())):
        raise DoesNotApply("two objects give different numbers: they draw at random")
    for options in ({}, *not_in_config(case, thing)):
        try:
            thing = case.make(**options)
            expected = given_by(case, thing)
        except Exception:
            continue  # the other value isn't a valid one
        told = ", ".join(f"{name}={value!r}" for name, value in options.items())
        tried = "A call on an object made from the config" + (f" of one with {told}." if told else ".")
        try:
            got = given_by(case, reloaded(thing))
        except Exception as error:
            yield tried, words(error), ROUND_TRIP, fix_of_config(thing.get_config(), str(error)), link_of(error)
            return
        if found := differ(got, expected):
            yield tried, f"Another result than that of the first object: {found}.", ROUND_TRIP, HOLD_ALL
            return


def not_in_config(case: Case, thing: Any) -> Iterator[dict[str, Any]]:
    """Yield another value of each argument that the config doesn't hold under its name."""
    if inspect.isclass(case.subject):
        config = thing.get_config()
        for parameter in parameters(case.subject):
            if parameter.name not in config and (other := varied(parameter.default)) is not None:
                yield {parameter.name: other}


def given_by(case: Case, thing: Any) -> Any:
    """Return what an object gives, whatever its kind but a layer or a model."""
    if case.kind in LOSSES:
        return thing(*pair(case))
    if case.kind in METRICS:
        return result_of(updated(case, thing))
    if case.kind == "optimizer":
        return quadratic(thing, 4)[0]
    if case.kind == "schedule":
        return [tf.convert_to_tensor(thing(step)) for step in (0, 1, 10, 100, 1000)]
    return thing(tuple(case.inputs) if case.kind == "initializer" else tf.convert_to_tensor(case.inputs))


# --- file -------------------------------------------------------------------------------------------------------------


@check(*LAYERS, after=("base_arguments", "config_round_trip", *MOVES))
def file_round_trip(case: Case) -> Iterator[Told]:
    """Saved and loaded in a new process, inside of models of each kind, it gives equal outputs."""
    case.once("the call", case.built)
    files: list[File] = []
    with tempfile.TemporaryDirectory() as folder:
        error = save_each(case, Path(folder), files)
        saved = [file for file in files if file.path.exists()]
        held = Held.of(case, [file.path for file in saved])
        elsewhere = importable(case, held)
        answers = load_elsewhere(case, saved, held) if elsewhere else load_here(case, saved)
        where = "a new process" if elsewhere else "this process, since a new one can't import what it is made of"
    for file, (said, outputs, weights) in zip(files, [*answers, (error, None, 0)], strict=False):
        tried = f"{file.name}, saved as .keras and loaded in {where}."
        fix = "Create all weights in build or __init__, and hold in the config what they depend on, as in JSON."
        if said:
            yield tried, said, "The trained model is lost.", fix_of_file(said, fix), link_of(RuntimeError(said))
            return
        found = differ(outputs, file.expected, 1e-4) if not case.drifts and not is_random(case) else ""
        if not found and weights != file.weights:
            found = f"{file.weights} weights saved, {weights} after loading"
        if found:
            why = "Nothing is raised: the model predicts something else."
            yield tried, f"The outputs differ: {found}.", why, fix
            return


def fix_of_file(said: str, otherwise: str) -> str:
    """Return how to fix what saving or loading says."""
    if "Could not locate" in said:
        return REGISTER
    if "Invalid dtype: object" in said:  # of a weight that is None
        return "Write save_own_variables and load_own_variables: those of the base class read its weights."
    if "get_config" in said:
        return HOLD_ALL
    if re.search("Dict|dict|has no attribute", said):
        return "In from_config make objects of their configs: keras.saving.deserialize_keras_object(…)."
    return otherwise


@dataclass
class File:
    """A model in a file: what it is called on, and what it gave before it was saved."""

    name: str
    path: Path
    given: Any
    keywords: dict[str, Any]
    expected: Any = None
    weights: int = 0


Answer = tuple[str, Any, int]
"""What a file says when it is loaded, or nothing; the outputs; the number of weights."""


def save_each(case: Case, folder: Path, files: list[File]) -> str:
    """Save models of each kind around the object, up to the first that can't be; return what that one says."""
    for name, (model, given, keywords) in case.once("the models", lambda: make_models(case)).items():
        files.append(file := File(name, folder / f"{len(files)}.keras", given, keywords))
        try:
            file.expected = tree.map_structure(np.asarray, model(given, **keywords))
            file.weights = len(model.weights)
            model.save(file.path)
        except Exception as error:
            file.path.unlink(missing_ok=True)
            return words_of_cause(error)
    return ""


def is_random(case: Case) -> bool:
    """Whether a call without `training` moves the state of a random generator."""

    def moves_a_seed() -> bool:
        before = state(case.layer)
        case.run()
        return any(is_seed(v) and not np.array_equal(old, value_of(v)) for v, old in before)

    return case.once("a call that may draw", moves_a_seed)


def make_models(case: Case) -> dict[str, tuple[Any, Any, dict[str, Any]]]:
    """Return models of each kind around the object, with what they are called on; the functional one is trained."""
    given, keywords = case.of()
    if case.kind == "model":
        model = case.built()
        with contextlib.suppress(Blocked):  # fit_and_predict reports what fit raises
            if not keywords:
                train(case, model, given)
        return {"The model": (model, given, keywords)}
    everything = {"inputs": given, **keywords}
    result = {"A subclassed model": (around := Around(case.built()), everything, {})}
    around(everything)
    if any(not isinstance(leaf, np.ndarray) for leaf in tree.flatten([case.inputs, case.keywords])):
        return result
    symbols, words_of = case.symbols()
    layer = case.built()
    with contextlib.suppress(Exception):  # another check reports what a symbolic call raises
        model = keras.Model({"inputs": symbols, **words_of}, layer(symbols, **words_of))
        with contextlib.suppress(Blocked):  # fit_and_predict reports what fit raises
            train(case, model, everything)
        result["A functional model"] = (model, everything, {})
    if case.single:
        with contextlib.suppress(Exception):
            model = keras.Sequential([keras.Input(case.inputs.shape[1:], dtype=given.dtype.name), case.built()])
            result["A Sequential"] = (model, given, {})
    return result


def train(case: Case, model: Any, given: Any, key: str = "fit", **options: Any) -> None:
    """Compile a model and train it for one step, if its outputs have a row for each sample."""
    outputs = model(given)
    if any(written(case.layer, name) for name in ("compile", "train_step", "compute_loss")) and case.kind == "model":
        return
    nested = isinstance(outputs, tuple) or len(tree.flatten(outputs)) != (len(outputs) if is_several(outputs) else 1)
    if nested or not case.by_rows:
        return
    if all(is_float(out.dtype) and out.shape.rank > 1 for out in flat_tensors(outputs)):
        losses = tree.map_structure(lambda _: "mse", outputs)
        model.compile(optimizer=keras.optimizers.SGD(1e-4), loss=losses, **options)
        targets = tree.map_structure(lambda out: np.asarray(out) + 0.1, outputs)
        case.once(key, lambda: model.fit(given, targets, verbose=0).history["loss"])


def is_several(outputs: Any) -> bool:
    """Whether outputs are a list or a dict."""
    return isinstance(outputs, list | dict)


class Defined(BaseException):
    """Ends a script in the other process, where it calls `checkup` and what the file holds is defined."""


DEFINING = "CHECKUP_DEFINES_CLASSES"
"""A variable of the environment of the other process: what a script has to define there, as JSON."""


@dataclass
class Held:
    """What the configs of files name: registered classes and functions, and classes of the script that aren't."""

    registered: dict[str, Any]
    unregistered: dict[str, Any]

    @staticmethod
    def of(case: Case, paths: list[Path]) -> Held:
        """Read the configs of files."""
        names, of_script = set(), set()
        for path in paths:
            with zipfile.ZipFile(path) as archive:
                config = json.loads(archive.read("config.json"))
            for part in parts_of(config):
                if isinstance(part, str):
                    names.add(part)
                elif part.get("module") in (None, "__main__"):
                    of_script.add(str(part.get("class_name")))
        # Another class may have been registered under the name since: a cell of a notebook is run again.
        used = {type(one) for one in (case.layer, *inner_layers(case.layer))}
        objects = {**keras.saving.get_custom_objects(), **{keras.saving.get_registered_name(cls): cls for cls in used}}
        script = vars(sys.modules["__main__"])
        known = names & keras.saving.get_custom_objects().keys()
        return Held(
            {name: objects[name] for name in sorted(known) if objects[name] not in (Around, OfFunction)},
            {name: script[name] for name in of_script if inspect.isclass(script.get(name))},
        )

    def of_script(self) -> dict[str, list[str]]:
        """Return the names that the script has to define."""
        mine = [name for name, thing in self.registered.items() if module_of(thing) == "__main__"]
        others = [name for name, cls in self.unregistered.items() if cls not in self.registered.values()]
        return {"registered": mine, "unregistered": others}


def module_of(thing: Any) -> str:
    """Return the name of the module of a class or a function, if it has one."""
    return getattr(thing, "__module__", None) or ""


def parts_of(config: Any) -> Iterator[Any]:
    """Yield each dict and each string in a config."""
    if isinstance(config, str):
        yield config
    elif isinstance(config, list):
        for one in config:
            yield from parts_of(one)
    elif isinstance(config, dict):
        yield config
        for one in config.values():
            yield from parts_of(one)


def definitions_only() -> Report:
    """What `checkup` does in the other process: end the script once it has defined what it has to."""
    if (wanted := json.loads(os.environ[DEFINING])) and not undefined(wanted):
        raise Defined
    return Report("checkup isn't run where classes are defined only", left=collections.defaultdict(str))


def undefined(wanted: dict[str, list[str]]) -> list[str]:
    """Return the names that aren't registered, or aren't among those of the script, in this process."""
    known, script = keras.saving.get_custom_objects(), vars(sys.modules.get("__mp_main__", sys))
    missing = [name.rpartition(">")[2] for name in wanted["registered"] if name not in known]
    return missing + [name for name in wanted["unregistered"] if name not in script]


def importable(case: Case, held: Held) -> bool:
    """Whether a new process can import the class, and what its config holds, by module and name."""
    cls = type(case.layer) if not inspect.isclass(case.subject) else case.subject
    return hasattr(os, "fork") and all(map(is_importable, [cls, *held.registered.values()]))


def is_importable(thing: Any) -> bool:
    """Whether a new process can import a class or a function by its module and name."""
    module, name = sys.modules.get(module_of(thing)), getattr(thing, "__qualname__", "")
    if getattr(module, "__file__", None) is None or "<locals>" in name:
        return False
    if getattr(module, name, None) is not thing:  # made by exec
        return False
    if module.__name__ != "__main__" and getattr(module, "__spec__", None) is None:  # put there by hand
        return False
    return Path(module.__file__).exists()


def load_here(case: Case, files: list[File]) -> list[Answer]:
    """Load files in this process, with the classes of the object at hand."""
    own = {type(one).__name__: type(one) for one in (case.layer, *inner_layers(case.layer)) if not is_builtin(one)}
    return [load_one(file.path, file.given, file.keywords, own) for file in files]


def load_one(path: Path, given: Any, keywords: dict[str, Any], own: dict[str, Any]) -> Answer:
    """Load a file, and call the model."""
    try:
        model = keras.saving.load_model(path, custom_objects=own)
        return "", tree.map_structure(np.asarray, model(given, **keywords)), len(model.weights)
    except Exception as error:
        return words_of_cause(error), None, 0


def load_elsewhere(case: Case, files: list[File], held: Held) -> list[Answer]:
    """Load files in a new process, and call the models there."""
    if not files:
        return []
    main = sys.modules["__main__"]
    request = {
        "files": [(str(one.path), *tree.map_structure(np.asarray, (one.given, one.keywords))) for one in files],
        "folder": os.getcwd(),
        "sys_path": sys.path,
        "argv": sys.argv,
        "modules": modules_of(case, held),
        "registered": [*held.registered],
        "script": held.of_script(),
        "file": getattr(main, "__file__", None) if "__main__" in modules_of(case, held) else None,
        "package": getattr(main, "__package__", None),
    }
    return helper().ask(request, files[0].path.with_suffix(".pickle"))


def modules_of(case: Case, held: Held) -> list[str]:
    """Return the modules, other than Keras's, that define what the object is made of; the script comes first."""
    things = [case.subject, *(type(one) for one in [case.layer, *inner_layers(case.layer)]), *held.registered.values()]
    names = {module_of(thing) for thing in things} - {"", "__main__", "builtins", __name__, Path(__file__).stem}
    needs_script = module_of(type(case.layer)) == "__main__" or any(held.of_script().values())
    return ["__main__"] * needs_script + sorted(name for name in names if name.split(".")[0] != "keras")


class Helper:
    """A process that has imported Keras, and forks for each request."""

    def __init__(self) -> None:
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, str(Path(__file__).resolve()), "--answer"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        # In a folder that stays: where this is called from may be gone at the next request.
        self.process = subprocess.Popen(command, cwd=Path(__file__).resolve().parent, env=environment, **pipes)
        atexit.register(self.close)

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()

    def ask(self, request: dict[str, Any], answer: Path, seconds: float = 120) -> list[Answer]:
        """Send a request and return the answers; why there are none is raised."""
        question = answer.with_suffix(".question")
        question.write_bytes(pickle.dumps({**request, "answer": str(answer)}))
        try:
            self.process.stdin.write(f"{question}\n".encode())
            self.process.stdin.flush()
        except OSError:
            raise Blocked("the process that loads files has ended") from None
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        if not ready or not self.process.stdout.readline():
            self.close()
            helper.cache_clear()
            raise Blocked(f"the process that loads files gave no answer in {seconds:.0f} s")
        if not answer.exists():
            raise Blocked("the new process that loads the files ended, or took longer than 110 s")
        reason, answers = pickle.loads(answer.read_bytes())
        if reason:
            raise Blocked(reason)
        return answers


@functools.cache
def helper() -> Helper:
    """Return the one helper of this Python session."""
    return Helper()


def answer_requests() -> None:
    """Run in the helper: fork for each line on the standard input, which names a file with a request."""
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            try:
                answer_one(Path(line.strip()))
            finally:
                os._exit(0)
        end = time.monotonic() + 110
        while os.waitpid(child, os.WNOHANG)[0] == 0:
            if time.monotonic() > end:
                os.kill(child, 9)
            time.sleep(0.01)
        print("done", file=output, flush=True)


def answer_one(path: Path) -> None:
    """Define what the files hold, as its modules do, load them, call the models, and write what came out."""
    request = pickle.loads(path.read_bytes())
    script, answers, reason = types.ModuleType("__mp_main__"), [], ""
    try:
        os.chdir(request["folder"])
        sys.path[:], sys.argv[:] = request["sys_path"], request["argv"]
        sys.stdin = open(os.devnull)  # noqa: SIM115  # the requests come by the other
        ended = define(request, script)
        own = {name: one for name, one in vars(script).items() if inspect.isclass(one)}  # Keras can't import them
        for file, *given in request["files"]:
            answers.append(load_one(Path(file), *tree.map_structure(tf.convert_to_tensor, given), own))
            unknown = re.search(r"name '(\w+)' is not defined", answers[-1][0])
            if unknown and ended:
                raise Blocked(f"the script runs up to a call of checkup in a new process: {answers[-1][0]}")
            if unknown and request["file"]:
                where = "define it above the call of checkup, outside of `if __name__`"
                raise Blocked(f"{unknown.group(1)} isn't defined by the script in a new process: {where}")
    except Blocked as why:
        reason = str(why)
    except BaseException as raised:
        reason = f"in a new process: {words(raised)}"
    Path(request["answer"]).write_bytes(pickle.dumps((reason, answers)))


def define(request: dict[str, Any], script: types.ModuleType) -> bool:
    """Run the script and import the modules that define what files hold; return whether a call of `checkup` ended it.

    What they raise doesn't matter once all is defined.
    """
    ended, told = False, []
    for name in request["modules"]:
        here = name == "__main__"
        os.environ[DEFINING] = json.dumps(request["script"] if here else {})  # a module is imported to its end
        try:
            if here:
                sys.modules[script.__name__] = script
                vars(script).update(__file__=request["file"], __package__=request["package"])
                exec(compile(Path(request["file"]).read_bytes(), request["file"], "exec"), vars(script))
            else:
                importlib.import_module(name)
        except Defined:
            ended = True
        except BaseException as raised:
            told.append(f"{'the script' if here else name} raises {words(raised)}")
    os.environ[DEFINING] = json.dumps({})
    wanted = {"registered": request["registered"], "unregistered": request["script"]["unregistered"]}
    if missing := undefined(wanted):
        of_script = undefined(request["script"])
        where = "the script, which is run again there" if of_script else f"{', '.join(request['modules'])}"
        fix = "; define it above the call of checkup, outside of `if __name__`" if of_script and not told else ""
        why = f"; {told[0]}" if told else fix
        raise Blocked(f"in a new process {', '.join(missing)} isn't defined by {where}{why}")
    return ended


# --- calls ------------------------------------------------------------------------------------------------------------


def traced(case: Case) -> dict[str, Any]:
    """Trace the shared layer once, the batch unknown, and call the graph three times."""
    layer, (given, keywords) = case.layer, case.of()
    structure, traces = (given, keywords), []

    def call(*flat: Any) -> Any:
        traces.append(1)
        return case.call(layer, tree.pack_sequence_as(structure, flat))

    flat = [leaf for leaf in tree.flatten(structure)]
    batch = case.batch if case.fixed else None
    specs = [tf.TensorSpec([batch, *x.shape[1:]] if x.shape.rank else [], x.dtype) for x in flat if tf.is_tensor(x)]
    if len(specs) != len(flat):
        raise DoesNotApply("it has inputs that aren't tensors")
    function = tf.function(call, autograph=False, input_signature=specs)
    outputs = function(*flat)
    restore(case.memory["state"])
    again = function(*flat)
    first = [x[:1] if x.shape.rank and x.shape[0] == case.batch and not case.fixed else x for x in flat]
    restore(case.memory["state"])
    return {"outputs": outputs, "again": again, "first": function(*first), "traces": len(traces)}


@check(*LAYERS)
def graph_call(case: Case) -> Iterator[Told]:
    """A call inside `tf.function` with an unknown batch size gives the numbers of an eager call, for one row too."""
    outputs = case.outputs
    why = "fit and predict run a graph: what holds for an eager call needn't hold there."
    fix = "Use keras.ops on tensors, ops.shape(x)[0] for the batch, ops.cond for a branch; no .numpy(), no np.random."
    try:
        graph = case.once("the call by tf.function", lambda: traced(case))
    except Blocked as error:
        raised = error.__cause__ or error
        case.memory["the call by tf.function"] = Blocked("the call by tf.function raises, see graph_call")
        yield ("A call inside tf.function, the batch size unknown.", words(raised), why, fix, link_of(raised))
        return
    if case.drifts:
        if not differ(graph["outputs"], graph["again"], 0.0):
            tried = "Two calls from the same state, eagerly and inside tf.function."
            found = (
                f"The eager calls differ ({case.drifts}), the calls of the graph are equal: a Python value is frozen."
            )
            yield (tried, found, why, "Draw with keras.random and a keras.random.SeedGenerator; count in a weight.")
        return
    if found := differ(graph["outputs"], outputs, 1e-4):
        yield ("A call inside tf.function, beside an eager call.", f"{found}.", why, fix)
    elif case.by_rows and not is_random(case) and not case.fixed:
        restore(case.memory["state"])
        alone = case.run(rows=slice(0, 1))
        if found := differ(graph["first"], alone, 1e-3):
            yield ("A graph traced with an unknown batch size, on 1 row.", f"{found}.", why, fix)


@check(*LAYERS)
def each_input_counts(case: Case) -> Iterator[Told]:
    """Each of several inputs acts, a dict in any order."""
    layer, (given, keywords) = case.layer, case.of()
    several = isinstance(given, list | tuple | dict)
    if not several and not keywords:
        raise DoesNotApply("it has one input")
    case.steady()
    if isinstance(given, dict) and len(given) > 1:
        restore(case.memory["state"])
        turned = case.call(layer, (dict(reversed(given.items())), keywords))
        restore(case.memory["state"])
        if found := differ(turned, case.outputs, 1e-5):
            fix = "Read each input by its key: inputs['age']; sort the keys before a loop."
            yield (
                "The same dict of inputs, in the reverse order.",
                f"{found}.",
                "A file or a dataset may order it so.",
                fix,
            )
    places = [(f"input {key}", n) for n, key in enumerate(paths_of(given))] if several else []
    for name, at in [*places, *((f"the keyword {key}", key) for key in keywords)]:
        if not acts_on(case, at):
            yield (
                f"Calls with other values of {name}, with and without training.",
                "Outputs, losses and state are the same.",
                "The input is dropped: what it tells is never learned.",
                "Use it in call, or take it out of the signature.",
            )


def paths_of(structure: Any) -> list[str]:
    """Return a name for each leaf of a structure, in the order of `tree.flatten`."""
    return [".".join(map(str, path)) for path, _ in tree.flatten_with_path(structure)]


def acts_on(case: Case, at: int | str) -> bool:
    """Whether other values of an input, by its number, or of a keyword change something."""
    layer = case.layer

    def changed(array: Any) -> Any:
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
            return array
        if array.dtype.kind == "b":
            return ~array
        turned = np.roll(array.reshape(len(array), -1), 1, axis=0).reshape(array.shape) if array.ndim else array
        return (turned * 2 + 1).astype(array.dtype) if array.dtype.kind == "f" else turned[::-1]

    flat = tree.flatten(case.inputs)
    if isinstance(at, int):
        flat[at] = changed(flat[at])
    values = tree.pack_sequence_as(case.inputs, flat)
    keywords = {key: tree.map_structure(changed, value) if key == at else value for key, value in case.keywords.items()}
    if tree.map_structure(repr, (values, keywords)) == tree.map_structure(repr, (case.inputs, case.keywords)):
        return True  # there are no other values to try
    other = Case(case.subject, values, keywords, case.arguments, case.kind)
    for training in (False, True):
        ends = []
        for each in (case, other):
            restore(case.memory["state"])
            outputs = case.call(layer, each.of(), training)
            ends.append([outputs, list(layer.losses), [value for _, value in state(layer)]])
        restore(case.memory["state"])
        if differ(*ends, 0.0):
            return True
    return False


@check(*LAYERS)
def added_losses(case: Case) -> Iterator[Told]:
    """Each loss that it adds is one finite number, in 16 bits too, and counts once."""
    layer = case.layer
    why, fix = "fit adds them to the loss.", "Add ops.mean(…) or ops.sum(…), computed in float32."
    if lost := lost_losses(case):
        yield lost
        return
    if not layer.losses:
        raise DoesNotApply("it adds no losses")
    half = case.once("a call with dtype='mixed_float16'", lambda: case.like(layer, "mixed_float16"))
    large = float_map(lambda a: a * 20, case.inputs)
    for one, policy, inputs in (
        (layer, "float32", large),
        (half, "mixed_float16", large),
        (half, "mixed_float16", case.inputs),
        (layer, "float32", case.inputs),
    ):
        case.call(one, case.of(policy, values=inputs), True)
        tried = f"The losses after a call with training=True and dtype={policy!r}."
        if shapes := [tuple(loss.shape) for loss in one.losses if len(loss.shape)]:
            yield (tried, f"A loss has the shape {shapes[0]}.", why, fix)
            return
        values = [float(as64(loss)) for loss in one.losses]
        if not np.isfinite(values).all():
            if inputs is large and policy == "float32":
                large = case.inputs  # they are too large in any case
                continue
            yield (tried, "A loss is nan or inf.", why, fix)
            return
    if found := losses_in_graph(case):
        fix = "Divide by ops.shape(x)[0], or take ops.mean: in a graph x.shape[0] is None."
        yield ("The losses of a call inside tf.function, the batch size unknown, beside an eager one.", found, why, fix)
    inner = [float(as64(x)) for each in inner_layers(layer) for x in each.losses if not inner_layers(each)]
    if inner and all(values.count(value) >= 2 * inner.count(value) for value in inner):
        fix = "Keras collects the losses of inner layers: don't add them again."
        yield ("The losses of the layers inside.", "Each is in layer.losses twice.", why, fix)


def lost_losses(case: Case) -> Told | None:
    """Return what is told of losses that are added where a call drops them."""
    case.run(training=True)
    tried, why = "layer.losses after a call.", "It never acts."
    new = case.make()
    counts = [len(new.losses) for _ in range(2) if case.call(new, case.of(), True) is not None]
    if counts[0] != counts[1]:
        fix = "Call self.add_loss in call; in build hand a regularizer to add_weight."
        found = f"{counts[0]} losses, then {counts[1]}."
        return "Two calls of a new layer.", found, "It acts in one step only.", fix
    if case.layer.losses:
        return None
    if told := losses_told(case):
        fix = "Call self.add_loss in call: a call empties the list. In build hand a regularizer to add_weight."
        return tried, f"It is empty, though {told} was called.", why, fix
    if re.search(r"self\.losses\.(append|extend)|self\.losses *\+=", source_of(type(case.layer).call)):
        fix = "Call self.add_loss(…): self.losses is a new list each time."
        return tried, "It is empty: what call adds to self.losses is lost.", why, fix
    return None


def losses_told(case: Case) -> str:
    """Say which layer's `add_loss` a new object and its first call use, or nothing."""
    told: list[str] = []
    original = keras.layers.Layer.add_loss

    def noted(layer: Any, loss: Any) -> None:
        told.append(f"add_loss of {layer.name}")
        original(layer, loss)

    keras.layers.Layer.add_loss = noted
    try:
        case.call(case.make(), case.of(), True)
    finally:
        keras.layers.Layer.add_loss = original
    return told[0] if told else ""


def losses_in_graph(case: Case) -> str:
    """Say how the sum of the added losses differs in a graph, or nothing."""
    layer, structure = case.layer, case.of()

    def total(*flat: Any) -> Any:
        case.call(layer, tree.pack_sequence_as(structure, flat), True)
        return sum(tf.cast(loss, "float32") for loss in layer.losses)

    ends = []
    for _ in range(2):
        restore(case.memory["state"])
        ends.append(float(as64(total(*tree.flatten(structure)))))
    if abs(ends[0] - ends[1]) > 1e-6 * abs(ends[1]) or case.fixed:
        return ""  # it draws
    flat = tree.flatten(structure)
    specs = [tf.TensorSpec([None, *x.shape[1:]] if x.shape.rank else [], x.dtype) for x in flat if tf.is_tensor(x)]
    if len(specs) != len(flat):
        return ""
    restore(case.memory["state"])
    with contextlib.suppress(Exception):  # graph_call reports what a graph raises
        value = float(as64(tf.function(total, autograph=False, input_signature=specs)(*flat)))
        if abs(value - ends[0]) > 1e-3 * abs(ends[0]):
            return f"{value:.5g}, where the eager call adds {ends[0]:.5g}."
    return ""


@check(*LAYERS, after=("graph_call",))
def xla_call(case: Case) -> Iterator[Told]:
    """Compiled with XLA it gives the numbers of an eager call."""
    case.steady()
    outputs, layer = case.outputs, case.layer
    structure = case.of(rows=slice(0, 2))
    flat = tree.flatten(structure)
    if any(not tf.is_tensor(x) or x.dtype == tf.string for x in flat) or is_random(case):
        raise DoesNotApply("it is random, or has inputs that XLA doesn't take")
    eager = case.run(rows=slice(0, 2))
    restore(case.memory["state"])
    call = tf.function(
        lambda *x: case.call(layer, tree.pack_sequence_as(structure, x)), autograph=False, jit_compile=True
    )
    try:
        compiled = call(*flat)
    except Exception as error:
        raise DoesNotApply(f"it can't be compiled with XLA: {words(error)[:160]}") from None
    del outputs
    if found := differ(compiled, eager, 1e-3):
        why = "compile(jit_compile=True) trains something else."
        yield (
            "A call compiled with XLA, beside an eager call.",
            f"{found}.",
            why,
            "Look for operations on Python values.",
        )


@check(*LAYERS)
def symbolic_call(case: Case) -> Iterator[Told]:
    """What a call on `keras.Input` declares is what comes out, the batch unknown and known."""
    outputs = case.outputs
    why = "The layers behind it, a functional model and its summary are built from what is declared."
    fix = "Compute shapes with keras.ops, or write compute_output_shape for every axis, None included."
    if any(not isinstance(leaf, np.ndarray) for leaf in tree.flatten([case.inputs, case.keywords])):
        raise DoesNotApply("it has inputs that aren't arrays")
    inputs, keywords = case.symbols()
    try:
        declared = case.once("the symbolic call", lambda: case.make()(inputs, **keywords))
    except Blocked as error:
        raised = error.__cause__ or error
        if isinstance(raised, Blocked):
            raise raised from None
        case.memory["the symbolic call"] = Blocked("the symbolic call raises, see symbolic_call")
        yield ("A call on keras.Input, the batch size unknown.", words(raised), why, fix, link_of(raised))
        return
    symbols, tensors = tree.flatten(declared), flat_tensors(outputs)
    if len(symbols) != len(tensors):
        yield ("A call on keras.Input.", f"{len(symbols)} outputs declared, {len(tensors)} come out.", why, fix)
        return
    for symbol, out in zip(symbols, tensors, strict=True):
        shape = tuple(symbol.shape)
        if len(shape) != len(out.shape) or any(d not in (None, n) for d, n in zip(shape, out.shape, strict=True)):
            found = f"The shape {shape} is declared, {tuple(out.shape)} comes out."
            yield ("A call on keras.Input, the batch size unknown.", found, why, fix)
            return
        if keras.backend.standardize_dtype(symbol.dtype) != keras.backend.standardize_dtype(out.dtype):
            found = f"The dtype {symbol.dtype} is declared, {out.dtype.name} comes out."
            yield ("A call on keras.Input.", found, why, "Declare the dtype in compute_output_spec that call returns.")
            return


@check("layer", after=("symbolic_call",))
def declared_shape(case: Case) -> Iterator[Told]:
    """`compute_output_shape`, written for one input, says what comes out, of any batch and number of steps."""
    layer = case.layer
    if not written(layer, "compute_output_shape"):
        raise DoesNotApply("compute_output_shape isn't written")
    if not case.single:
        raise DoesNotApply("it has several inputs: the symbolic call asks for their shapes")
    expected = tree.map_structure(lambda out: tuple(out.shape), case.outputs)
    flat = [tuple(out.shape) for out in flat_tensors(case.outputs)]
    why = "TimeDistributed, Sequential and layers behind it ask for the shape without calling the layer."
    fix = "Return (*input_shape[:-1], self.units) and the like: computed from each axis of input_shape."
    shapes_to_try = [case.inputs.shape, (None, *case.inputs.shape[1:])]
    tries = [(case.make(), case.inputs.shape, flat), *((layer, shape, flat) for shape in shapes_to_try)]
    if any_length(case) and all(out.shape.rank > 2 for out in flat_tensors(case.outputs)):
        tries.append((layer, (None, None, *case.inputs.shape[2:]), flat))
        odd = np.concatenate([case.inputs, case.inputs[:, :1]], axis=1)
        tries.append((layer, odd.shape, [tuple(out.shape) for out in flat_tensors(case.run(values=odd))]))
    for one, given, flat in tries:
        try:
            told = one.compute_output_shape(given)
        except Exception as error:
            if one is not layer and isinstance(error, NotImplementedError):
                continue  # it needn't be known before
            when = "" if one is layer else ", before build"
            yield f"compute_output_shape({given}){when}.", words(error), why, fix
            return
        shapes = (
            [tuple(told)] if isinstance(expected, tuple) and len(flat) == 1 and not is_nested(told) else leaves(told)
        )
        for shape, real in zip(shapes, flat, strict=False):
            wrong = len(shape) != len(real) or any(d not in (None, n) for d, n in zip(shape, real, strict=True))
            if wrong:
                yield (f"compute_output_shape({given}).", f"{shape} is declared, {real} comes out.", why, fix)
                return


def any_length(case: Case) -> bool:
    """Whether the built layer can be called with twice as many steps as it was built on."""
    if case.inputs.ndim < 3 or case.fixed:
        return False
    try:
        outputs = case.run(values=np.concatenate([case.inputs, case.inputs], axis=1))
    except Exception:
        return False
    return [out.shape[:1] for out in flat_tensors(outputs)] == [out.shape[:1] for out in flat_tensors(case.outputs)]


def is_nested(shape: Any) -> bool:
    """Whether a shape is a structure of shapes."""
    return isinstance(shape, dict) or any(isinstance(one, tuple | list) for one in shape)


def leaves(shapes: Any) -> list[tuple]:
    """Return the shapes of a structure of shapes."""
    if isinstance(shapes, dict):
        return [leaf for key in sorted(shapes) for leaf in leaves(shapes[key])]
    return [leaf for one in shapes for leaf in leaves(one)] if is_nested(shapes) else [tuple(shapes)]


OF_ONE = "Reduce over the axes of one sample, not over axis 0; statistics of a batch belong into training."


@check(*LAYERS, after=("quiet_outside_training",))
def rows_are_independent(case: Case) -> Iterator[Told]:
    """Outside of training, row i of the output depends on row i of the input only."""
    case.steady()
    if case.fixed:
        raise DoesNotApply("it keeps state for each row of the batch")
    if case.batch < 3 or not case.by_rows:
        raise DoesNotApply(
            "its outputs have no row for each row of the inputs" if case.batch > 2 else "under 3 rows given"
        )
    if is_random(case):
        raise DoesNotApply("it is random")
    whole = case.run(training=False)
    for rows, name in (
        (slice(0, 1), "The first row"),
        (slice(1, 3), "Rows 1 and 2"),
        (slice(-1, None), "The last row"),
    ):
        try:
            part = case.run(training=False, rows=rows)
        except Exception as error:
            tried = f"{name} alone, after a call with {case.batch} rows."
            found = f"In a batch of {len(range(case.batch)[rows])}: {words(error)}"
            fix = "Take the batch size from ops.shape(x)[0], or -1 in a reshape."
            yield tried, found, "The last batch of an epoch is smaller.", fix
            return
        pairs = zip(flat_tensors(part), flat_tensors(whole), strict=True)
        if any(one.shape.rank and one.shape[1:] != other.shape[1:] for one, other in pairs):
            raise DoesNotApply("the size of its outputs depends on the batch")
        if found := differ(part, tree.map_structure(lambda out, rows=rows: out[rows], whole), 1e-3):
            squeezed = "Take the batch size from ops.shape(x)[0], and name the axis in squeeze."
            tried = f"{name} alone, beside the same rows in a batch of {case.batch}, with training=False."
            why = "A prediction then depends on the other samples of its batch."
            yield tried, f"{found}.", why, squeezed if found.startswith("shapes") else OF_ONE
            return
    turned = case.run(training=False, rows=slice(None, None, -1))
    if found := differ(turned, tree.map_structure(lambda out: out[::-1], whole), 1e-3):
        tried = f"The {case.batch} rows in the reverse order, with training=False."
        yield tried, f"{found}.", "A prediction then depends on its place in the batch.", OF_ONE


@check(*LAYERS, after=(*MOVES, "reached_weights", "graph_call", "symbolic_call", "rows_are_independent"))
def fit_and_predict(case: Case) -> Iterator[Told]:
    """`fit` trains it, and `predict` in batches of different sizes gives the numbers of an eager call."""
    models = case.once("the models", lambda: make_models(case))
    model, given, keywords = models.get("A functional model") or models.get("The model") or (None, None, {})
    if model is None or keywords:
        raise DoesNotApply("there is no functional model of it: its inputs aren't arrays, or come by keywords")
    why = "A model is trained and used by these."
    if isinstance(error := case.memory.get("fit"), Blocked):
        raised = error.__cause__ or error
        if "No gradients provided" in str(raised):
            raise DoesNotApply("no gradient reaches a weight from its outputs")
        try:
            train(case, model, given, "fit without XLA", jit_compile=False)
        except Blocked:
            fix = "Read which operation raises, and call fit with run_eagerly=True to stop there."
            yield ("fit for one step, with targets near the outputs.", words(raised), why, fix, link_of(raised))
            return
        raise DoesNotApply(f"fit runs with jit_compile=False only; by default it raises {words(raised)[:160]}")
    if "fit" in case.memory and not np.isfinite(case.memory["fit"]).all():
        found = f"The loss is {case.memory['fit'][0]}."
        yield ("fit for one step, with targets near the outputs.", found, why, "Bound what is divided or rooted.")
        return
    if case.drifts or is_random(case) or case.fixed or not case.by_rows or case.batch < 3:
        return
    cuts = [tree.map_structure(lambda x, cut=cut: x[cut], given) for cut in (slice(0, -1), slice(-1, None))]
    expected = tree.map_structure(lambda *parts: tf.concat(parts, 0), *(model(part) for part in cuts))
    predicted = model.predict(given, batch_size=case.batch - 1, verbose=0)
    if found := differ(predicted, expected, 1e-3):
        fix = "Compute with keras.ops on tensors, and reduce over the axes of one sample only."
        if case.kind == "model" and written(case.layer, "predict_step"):
            fix = "Call self(x, training=False) in predict_step."
        yield (f"predict in batches of {case.batch - 1} and 1, beside an eager call.", f"{found}.", why, fix)


@check("layer", after=("can_be_called", "symbolic_call", "rows_are_independent", "declared_shape", *MOVES))
def inside_time_distributed(case: Case) -> Iterator[Told]:
    """Inside `TimeDistributed` it gives at each step what it gives alone."""
    case.steady()
    if not case.single or case.inputs.dtype.kind not in "fiu" or not case.by_rows or is_random(case):
        raise DoesNotApply("TimeDistributed takes layers with one numeric input and a row out for each row in")
    if len(flat_tensors(case.outputs)) != 1 or getattr(case.layer, "stateful", False):
        raise DoesNotApply("TimeDistributed takes layers with one output and no state between calls")
    steps = np.stack([case.inputs, case.inputs[::-1]], axis=1)
    layer = case.built()
    why = "TimeDistributed asks the layer for its output shape without calling it."
    fix = "Write compute_output_shape."
    try:
        wrapper = keras.layers.TimeDistributed(layer, **({"dtype": layer.dtype_policy} if other_dtypes(layer) else {}))
        outputs = wrapper(tf.convert_to_tensor(steps))
        wrapper(keras.Input(steps.shape[1:], dtype=steps.dtype.name))
    except Exception as error:
        if isinstance(error, NotImplementedError) and not written(layer, "compute_output_shape"):
            raise DoesNotApply("TimeDistributed needs compute_output_shape, which isn't written") from None
        yield "keras.layers.TimeDistributed around it.", words(error), why, fix
        return
    alone = tf.stack([layer(tf.convert_to_tensor(steps[:, step])) for step in range(2)], axis=1)
    why = "It calls the layer's call on all steps at once, one behind the other, with the training that it is given."
    fix = "Do all work in call, keep no state of a call, and take training=None."
    if found := differ(outputs, alone, 1e-3):
        yield ("keras.layers.TimeDistributed around it, beside calls step by step.", f"{found}.", why, fix)


@check("layer", after=("can_be_called", "symbolic_call", *MOVES))
def inside_bidirectional(case: Case) -> Iterator[Told]:
    """Inside `Bidirectional` a recurrent layer reads the steps from both ends."""
    case.steady()
    if not case.single or not all(hasattr(case.layer, name) for name in ("go_backwards", "return_sequences")):
        raise DoesNotApply("Bidirectional takes layers with go_backwards and return_sequences")
    if case.fixed or is_random(case):
        raise DoesNotApply("it is random, or keeps state between calls")
    x = case.of()[0]
    why = "Bidirectional makes two layers from the config, the second with go_backwards=True."
    fix = "Read the steps in reverse if self.go_backwards is true, and hold it in the config."
    try:
        wrapper = keras.layers.Bidirectional(case.make(), merge_mode=None)
        wrapper(x)
        back = wrapper.backward_layer
        forward = type(back).from_config({**back.get_config(), "go_backwards": False})
        forward(x)
        forward.set_weights(back.get_weights())
        expected, outputs = forward(tf.reverse(x, [1])), back(x)
    except Exception as error:
        yield ("keras.layers.Bidirectional around it.", words(error), why, fix, link_of(error))
        return
    if found := differ(outputs, expected, 1e-4):
        yield ("The layer that reads backwards, beside one on reversed steps.", f"{found}.", why, fix)


@check("layer", after=("can_be_called", "symbolic_call"))
def varying_axes(case: Case) -> Iterator[Told]:
    """An axis declared as None may have another length in the next call."""
    case.steady()
    if not case.single or case.inputs.ndim < (3 if case.inputs.dtype.kind == "f" else 2):
        raise DoesNotApply("it has no axis besides the batch and the features")
    if case.inputs.shape[1] < 2 or case.inputs.dtype.kind not in "fiu":
        raise DoesNotApply("axis 1 has one entry, or the input isn't of numbers")
    symbol = keras.Input((None, *case.inputs.shape[2:]), dtype=case.inputs.dtype.name)
    layer = case.make()
    longer = np.concatenate([case.inputs, case.inputs], axis=1)
    why = "Sequences of different lengths can't be declared, or trained on."
    fix = "Take the length from ops.shape(x)[1], or -1 in a reshape; replace a loop over steps by ops.scan."
    try:
        sizes = [tuple(out.shape[1:]) for out in tree.flatten(layer(symbol))]
        if not layer.weights and all(None not in size and np.prod(size) == case.inputs[0].size for size in sizes):
            raise DoesNotApply("it puts the numbers of its input into a fixed shape, which decides their length")
        spec = tf.TensorSpec(symbol.shape, case.inputs.dtype)
        tf.function(lambda x: layer(x), autograph=False).get_concrete_function(spec)
    except (TypeError, ValueError, AttributeError) as error:
        of_none = re.search("NoneType|None values not supported", str(error)) and not isinstance(error, AttributeError)
        if of_none and any_length_of_new(case, longer):
            tried = (
                f"A graph of a layer called on keras.Input({symbol.shape[1:]}), though a new layer takes any length."
            )
            yield (tried, words(error), why, fix, link_of(error))
            return
        raise DoesNotApply(f"axis 1 can't be None: {words(error)[:120]}") from None
    for name, values in (("length", longer), ("first length", case.inputs)):
        try:
            layer(tf.convert_to_tensor(values))
        except Exception as error:
            if takes_shorter(case, layer):
                raise DoesNotApply(f"axis 1 may be shorter, and not {values.shape[1]} long") from None
            tried = f"A layer built on keras.Input({symbol.shape[1:]}), on another {name}: {values.shape}."
            yield (tried, words(error), why, "Take the length from ops.shape(x)[1], or raise in build.")
            return


def takes_shorter(case: Case, layer: Any) -> bool:
    """Whether a layer takes the example, and one with a step less."""
    try:
        for values in (case.inputs, case.inputs[:, :-1]):
            layer(tf.convert_to_tensor(values))
    except Exception:
        return False
    return True


def any_length_of_new(case: Case, longer: np.ndarray) -> bool:
    """Whether new layers take inputs of two lengths, with the same weights, and outputs of that length or of none."""
    weights, others = [], []
    for values in (case.inputs, longer):
        layer = case.make()
        try:
            outputs = case.call(layer, case.of(values=values))
        except Exception:
            return False
        weights.append([tuple(weight.shape) for weight in layer.weights])
        shapes = [tuple(out.shape) for out in flat_tensors(outputs)]
        others.append([s[:1] + s[2:] if len(s) > 2 and s[1] == values.shape[1] else s for s in shapes])
    return weights[0] == weights[1] and others[0] == others[1]


# --- dtype ------------------------------------------------------------------------------------------------------------

POLICIES = ("float64", "mixed_bfloat16", "mixed_float16", "bfloat16", "float16")
"""Beside float32."""
ROUNDING = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float64": 2.0**-22, "float32": 2.0**-22}
"""How far apart neighbouring numbers are, as a part of the number; float64 is compared with float32."""
CAST = "Create constants with x.dtype or self.compute_dtype, and cast what is added: ops.cast(value, x.dtype)."


@check(*LAYERS, after=("late_weights",))
def each_dtype(case: Case) -> Iterator[Told]:
    """Under each dtype policy, in training too, outputs and weights have its dtypes, and gradients are finite."""
    if not any(is_float(out.dtype) for out in flat_tensors(case.outputs)):
        try:
            case.make("float16")
        except ValueError as error:
            raise DoesNotApply(f"it gives no floating numbers, and refuses their dtypes: {words(error)}") from None
    failed: dict[str, list[str]] = {}
    for policy in POLICIES:
        try:
            for found in under_policy(case, policy):
                failed.setdefault(found, []).append(policy)
        except Exception as error:
            if isinstance(error, Blocked) and error.__cause__ is None:
                raise
            if "Op<name=Qr;" not in str(error.__cause__ or error):  # Keras's Orthogonal can't start in bfloat16
                failed.setdefault(words(error.__cause__ or error), []).append(policy)
    by_policies: dict[str, list[str]] = {}
    for found, policies in failed.items():
        by_policies.setdefault(", ".join(dict.fromkeys(policies)), []).append(found)
    if by_policies:
        told = "; ".join(f"with dtype {policies}: {'; '.join(found)}" for policies, found in by_policies.items())
        fix = CAST + " Pass dtype=self.dtype_policy to inner layers."
        why = "A policy is one option of a model, and each layer in it has to follow."
        yield ("A call under each dtype policy: " + ", ".join(POLICIES) + ".", told, why, fix)


def under_policy(case: Case, policy: str) -> Iterator[str]:
    """Yield what is wrong with the dtypes and gradients of a layer under a policy; raise what it raises."""
    layer = case.once(f"a call with dtype={policy!r}", lambda: case.like(case.layer, policy))
    dtype, variable = keras.DTypePolicy(policy).compute_dtype, keras.DTypePolicy(policy).variable_dtype
    # The last layer of a model may be told to compute in the dtype of its weights.
    right = {dtype, variable} if case.kind == "model" else {dtype}
    before = state(layer)
    for training in (None, True):
        wide = flat_tensors(case.outputs if training is None else case.outputs_in_training)
        with tf.GradientTape() as tape:
            outputs = case.call(layer, case.of(policy), training)
            total = scalar_of(outputs)
        for out, expected in zip(flat_tensors(outputs), wide, strict=False):
            if expected.dtype.name in {"float32", *other_dtypes(case.layer)} and out.dtype.name not in right:
                yield f"an output is {out.dtype.name}, not the compute dtype" + (", in training" if training else "")
    weights = [weight for weight in layer.trainable_weights if is_float(weight.dtype)]
    if wrong := [weight.path for weight in weights if weight.dtype != variable]:
        yield f"{', '.join(wrong)} isn't in the variable dtype"
    sums = [np.abs(array).sum() for array in numbers(outputs)]
    gradients = tape.gradient(total, [weight.value for weight in weights]) if np.max(sums, initial=0) < 1e3 else []
    pairs = [(weight, g) for weight, g in zip(weights, gradients, strict=False) if g is not None]
    lost = [weight.path for weight, gradient in pairs if not np.isfinite(as64(gradient)).all()]
    restore(before)
    if lost:
        yield f"the gradient of {', '.join(lost)} holds nan or inf"


def variants(case: Case) -> dict[str, Any]:
    """Return inputs of other sizes: large, small, constant, zeros."""
    return {
        "as given": case.inputs,
        "20 times larger": float_map(lambda a: a * 20, case.inputs),
        "1000 times smaller": float_map(lambda a: a * 1e-3, case.inputs),
        "all 5": float_map(lambda a: np.full_like(a, 5.0), case.inputs),
        "all 0": float_map(np.zeros_like, case.inputs),
    }


@check(*LAYERS, after=(*MOVES, "file_round_trip"))
def numbers_in_16_bits(case: Case) -> Iterator[Told]:
    """In 16 bits the numbers stay near those of float32, for inputs that are large, small, constant and long."""
    case.steady()
    if is_random(case) or not any(is_float(out.dtype) for out in flat_tensors(case.outputs)):
        raise DoesNotApply("it is random, or gives no floating numbers")
    if chooses(case):
        raise DoesNotApply("it chooses by comparing numbers: a choice may change by rounding")
    inputs = {**variants(case), **larger(case), **long_input(case)}
    for policy in ("mixed_float16", "mixed_bfloat16"):
        dtype = policy.removeprefix("mixed_")
        layer = case.once(f"a call with dtype={policy!r}", lambda policy=policy: case.like(case.layer, policy))
        before = state(layer)
        for name, values in inputs.items():
            restore(before)
            with contextlib.suppress(tf.errors.InvalidArgumentError, ValueError):  # another length needn't be possible
                found = compare_in(case, layer, policy, values)
                if "nan or inf" in found and keras_overflows(case, layer, policy, values):
                    continue
                if found:
                    yield (
                        f"A call with dtype={policy!r} on inputs {name}, beside float32 on the same rounded numbers.",
                        f"{found}.",
                        f"{dtype} keeps {3 if dtype == 'float16' else 2} digits"
                        + (" and ends at 65504; " if dtype == "float16" else "; ")
                        + "training in mixed precision then fails or drifts.",
                        "Compute sums, means, squares, counts and exponentials in float32, and cast the result back.",
                    )
                    return


@check(*LAYERS, after=(*MOVES, "file_round_trip"))
def numbers_in_32_bits(case: Case) -> Iterator[Told]:
    """In float32 the numbers stay near those of float64, for inputs around 1,000 too."""
    case.steady()
    if is_random(case) or not any(is_float(out.dtype) for out in flat_tensors(case.outputs)):
        raise DoesNotApply("it is random, or gives no floating numbers")
    wide = case.once("a call with dtype='float64'", lambda: case.like(case.layer, "float64"))
    if any(out.dtype == tf.float32 for out in flat_tensors(case.call(wide, case.of("float64")))):
        raise DoesNotApply("it doesn't compute in float64")
    layer = case.in_32_bits
    if chooses(case):
        raise DoesNotApply("it chooses by comparing numbers: a choice may change by rounding")
    values = float_map(lambda a: a * 100, case.inputs)
    if "nan or inf" in (found := compare_in(case, layer, "float32", values, wide, "float64")):
        why = "One large input makes every weight nan."
        fix = "Subtract the maximum before exp; use ops.softmax, ops.logsumexp, ops.softplus."
        yield (
            "A call on inputs 100 times larger, beside float64.",
            f"{found.replace('float32', 'float64')}.",
            why,
            fix,
        )
        return
    values = float_map(lambda a: a + 1000, case.inputs)
    if found := compare_in(case, layer, "float32", values, wide, "float64"):
        yield (
            "A call in float32 on the inputs plus 1000, beside float64 on the same numbers.",
            f"Numbers cancel for large inputs: {found.replace('float32', 'float64')}.",
            "Data that isn't centred gives wrong numbers in every precision.",
            "Subtract before you square or divide: a variance is the mean of squared differences from the mean.",
        )


def chooses(case: Case) -> bool:
    """Whether the graph of a call chooses the largest or nearest of its numbers, or rounds."""
    return bool(case.once("operations", lambda: operations(case)) & {"ArgMin", "ArgMax", "TopKV2", "Round", "Floor"})


def larger(case: Case) -> dict[str, Any]:
    """Return an input 300 times larger, if the layer normalizes, or grows in proportion: products needn't overflow."""
    if not case.single:
        return {}
    some, values = (float_map(lambda a, factor=factor: a * factor, case.inputs) for factor in (100, 300))
    sizes = (case.inputs, some, values)
    outputs = (numbers(case.call(case.in_32_bits, case.of(values=v))) for v in sizes)
    once, often, more = (np.concatenate([out.ravel() for out in several]) for several in outputs)
    tolerance = {"rtol": 0.05, "atol": 0.01 * np.abs(more).max()}
    follows = np.allclose(more, often, **tolerance) or np.allclose(more, once * 300, **tolerance)
    # A sigmoid at its ends says nothing of how large the numbers before it are.
    saturated = np.all(np.isclose(np.abs(more), 1, atol=1e-3) | np.isclose(more, 0, atol=1e-3))
    return {"300 times larger": values} if follows and not saturated else {}


def long_input(case: Case) -> dict[str, Any]:
    """Return the inputs with 64 times as many steps, if there is one tensor with an axis that may vary."""
    x = case.inputs
    if not (case.single and x.ndim == 3 and x.dtype.kind == "f" and x.size < 20000):
        return {}
    if any(x.shape[1] in weight.shape and x.shape[1] != x.shape[2] for weight in case.layer.weights):
        return {}  # a weight has the size of the steps
    if steps_in_python(case):
        return {}  # a graph of thousands of operations
    return {"with 64 times as many steps": np.tile(x[:2], (1, 64, 1))}


def steps_in_python(case: Case) -> bool:
    """Whether the graph of a call grows with the steps."""
    call = tf.function(lambda x: case.call(case.layer, (x, {})), autograph=False)
    longer = np.tile(case.inputs[:2], (1, 2, 1))
    try:
        sizes = [graph_size(call.get_concrete_function(case.of(values=x)[0])) for x in (case.inputs[:2], longer)]
    except Exception:
        return True
    return sizes[1] > 1.2 * sizes[0] + 4


def keras_overflows(case: Case, layer: Any, policy: str, values: Any) -> bool:
    """Whether a layer of Keras inside gives nan or inf for numbers no larger than the inputs."""
    told: list[str] = []
    original = keras.layers.Layer.__call__
    largest = 2 * max(np.abs(a).max(initial=0) for a in numbers(values))

    def noted(inner: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = original(inner, *args, **kwargs)
        own = not is_builtin(inner) or inner is layer or isinstance(inner, keras.Model)
        given = [] if own else numbers([x for x in (args, kwargs) if x])
        if given and max(np.abs(a).max(initial=0) for a in given) <= largest:
            told.extend(inner.name for a in numbers(outputs) if not np.isfinite(a).all())
        return outputs

    keras.layers.Layer.__call__ = noted
    try:
        case.call(layer, case.of(policy, values=values))
    finally:
        keras.layers.Layer.__call__ = original
    return bool(told)


def graph_of(case: Case, layer: Any) -> Callable[[Any], Any]:
    """Return a function that calls a layer, as a graph if the layer loops over steps, which is slow eagerly."""
    loops = case.once("operations", lambda: operations(case)) & {"While", "StatelessWhile"}
    key = f"the graph of {id(layer)}"
    if key not in case.memory:
        call = functools.partial(case.call, layer)
        case.memory[key] = tf.function(call, autograph=False) if loops else call
    return case.memory[key]


def compare_in(case: Case, layer: Any, policy: str, values: Any, reference: Any = None, wide: str = "float32") -> str:
    """Say how a layer under a policy differs from one in a wider dtype, by more than rounding explains."""
    dtype = keras.DTypePolicy(policy).compute_dtype
    step = ROUNDING[dtype]

    def near(array: Any) -> np.ndarray:
        return np.asarray(tf.cast(tf.cast(array, dtype), "float32"))

    rounded = float_map(near, values)
    small = graph_of(case, layer)(case.of(policy, values=rounded))
    reference, rng = case.in_32_bits if reference is None else reference, np.random.default_rng(5)
    kept = state(reference)
    try:
        for variable in reference.trainable_weights:
            variable.assign(near(tf.convert_to_tensor(variable)))
        middle = state(reference)
        exact = numbers(graph_of(case, reference)(case.of(wide, values=rounded)))
        moves = [np.zeros_like(out) for out in exact]
        for _ in range(3):
            restore(middle)
            for variable in reference.trainable_weights:
                factor = 1 + step * rng.choice([-1, 1], size=variable.shape)
                variable.assign(np.asarray(tf.convert_to_tensor(variable)) * factor)
            shaken = float_map(lambda a: a * (1 + step * rng.choice([-1, 1], size=a.shape)), rounded)
            outputs = numbers(graph_of(case, reference)(case.of(wide, values=shaken)))
            moves = [np.fmax(m, np.abs(o - e)) for m, o, e in zip(moves, outputs, exact, strict=True)]
    finally:
        restore(kept)
    return beyond(numbers(small), exact, moves, step, dtype)


def beyond(small: list[np.ndarray], exact: list[np.ndarray], moves: list[np.ndarray], step: float, dtype: str) -> str:
    """Say what is outside of the tolerance: nan, inf, or an error much larger than the rounding."""
    for got, real, move in zip(small, exact, moves, strict=True):
        if got.shape != real.shape or not real.size or not np.isfinite(real).all():
            continue
        largest = np.abs(real).max()
        if largest > (30000 if dtype == "float16" else 1e37):
            continue
        if not np.isfinite(got).all():
            return f"{np.sum(~np.isfinite(got))} of {got.size} numbers are nan or inf, in float32 at most {largest:.4g}"
        limit = 16 * np.max(move) + 16 * step * largest + step
        error = np.abs(got - real)
        if error.max() > limit:
            at = np.unravel_index(error.argmax(), error.shape)
            digits = next(n for n in (4, 6, 9, 17) if n == 17 or f"{got[at]:.{n}g}" != f"{real[at]:.{n}g}")
            return f"{got[at]:.{digits}g} comes out where float32 gives {real[at]:.{digits}g}"
    return ""


# --- training and mask ------------------------------------------------------------------------------------------------

NOISE = (keras.layers.Dropout, keras.layers.GaussianNoise, keras.layers.GaussianDropout, keras.layers.SpatialDropout1D,
         keras.layers.SpatialDropout2D, keras.layers.SpatialDropout3D, keras.layers.AlphaDropout)  # fmt: skip
RATE = re.compile(r"(^|_)(rate|dropout|stddev|noise|drop_prob|drop_path|keep_prob|momentum|sigma)(_rate)?$")


@check("layer")
def cell_states(case: Case) -> Iterator[Told]:
    """A recurrent cell gives back states of the sizes in `state_size`, and its inputs change them."""
    sizes = getattr(case.layer, "state_size", None)
    if sizes is None or "states" not in case.keywords:
        raise DoesNotApply("it isn't a recurrent cell that is given states=…")
    if not (isinstance(case.outputs, tuple | list) and len(case.outputs) == 2):
        fix = "Return output, [new_state]."
        yield ("A call with states.", "It doesn't return a pair.", "keras.layers.RNN unpacks two.", fix)
        return
    states = case.outputs[1]
    widths = [[size] if isinstance(size, int) else list(size) for size in tree.flatten(sizes)]
    shapes = [list(one.shape[1:]) for one in flat_tensors(states)]
    if tree.flatten(shapes) != tree.flatten(widths):
        fix = "Let state_size name the features of each state that call returns."
        yield ("The states that a call returns.", f"{shapes}, where state_size says {sizes}.", "RNN raises.", fix)
        return
    other = case.run(values=float_map(lambda a: a * 2 + 1, case.inputs))[1]
    if not differ(states, other, 0.0):
        yield (
            "Two calls with other inputs, and the same states.",
            "The states that come back are the same.",
            "A step tells nothing to the next one: the layer has no memory.",
            "Return the new state, not the one that was given: return output, [output].",
        )


@check(*LAYERS)
def training_flag(case: Case) -> Iterator[Told]:
    """`training` reaches what needs it: the layer's own code and the layers inside."""
    layer = case.layer
    link = "errors/models.html#training-argument"
    needs = [one for one in inner_layers(layer) if isinstance(one, NOISE) and noisy(one)]
    norms = [one for one in inner_layers(layer) if isinstance(one, keras.layers.BatchNormalization) and one.trainable]
    rates = rates_of(layer)
    own = takes(layer, "training") and rates and not inner_layers(layer)
    if others := [name for name in ("is_training", "train", "train_mode") if takes(layer, name)]:
        found, why = f"call takes {others[0]}.", "Keras gives it training, and nothing by another name."
        yield ("The signature of call.", found, why, "Write call(self, inputs, training=None).", link)
    if not (needs or norms or own):
        raise DoesNotApply("it holds no dropout, noise or batch normalization, and no argument names a rate")
    default = inspect.signature(layer.call).parameters.get("training")
    if default is not None and default.default is True:
        why = "A plain call, and every model that doesn't pass it, runs as in training."
        yield ("The signature of call.", "training is True by default.", why, "Write training=None.", link)
    case.steady()
    before = state(case.layer)
    acts = flag_acts(case)
    changed = {id(v) for v in moved(before)}
    if (needs or (own and not changed and not is_builtin(layer))) and not acts:
        names = ", ".join(one.name for one in needs) or ", ".join(rates)
        found = f"Equal outputs, though {names} should act in training."
        why = "Regularization is off in fit, and nothing is raised."
        if acts_always(case):
            found = f"Equal outputs from one random state: {names} acts with training=False, too."
            why = "predict then drops numbers as fit does."
        fix = "Pass training on: self.dropout(x, training=training), or let Keras pass it."
        yield ("Calls with training=True, beside one with training=False.", found, why, fix, link)
    still = [one.name for one in norms if not {id(w) for w in one.non_trainable_variables} & changed]
    if still and len(still) == len(norms):
        found = f"The moving mean and variance of {', '.join(still)} don't change."
        why = "predict then normalizes with the statistics of a new layer."
        yield ("A call with training=True.", found, why, "Call the inner layer with training=training.", link)


def flag_acts(case: Case, tries: int = 6) -> bool:
    """Whether calls in training differ from calls outside of it, each two from the same state."""
    layer = case.layer_as_it_is
    for _ in range(tries):  # a small rate may drop nothing at first
        before = state(layer)
        off = case.call(layer, case.of(), False)
        restore(before)
        if differ(case.call(layer, case.of(), True), off, 0.0):
            return True
    return False


def acts_always(case: Case, tries: int = 6) -> bool:
    """Whether calls outside of training, one after the other, differ."""
    layer = case.layer
    first = case.call(layer, case.of(), False)
    return any(differ(case.call(layer, case.of(), False), first, 0.0) for _ in range(tries))


def ever_differs(case: Case, reference: Any, tries: int = 6) -> bool:
    """Whether calls in training, one after the other, give other outputs: a small rate may drop nothing at first."""
    return any(differ(case.call(case.layer_as_it_is, case.of(), True), reference, 0.0) for _ in range(tries))


def rates_of(layer: Any) -> list[str]:
    """Return the arguments of a layer that name a rate above zero."""
    config = safe_config(layer)
    return [key for key, value in config.items() if RATE.search(key) and isinstance(value, float) and value > 0]


def noisy(layer: Any) -> bool:
    """Whether a layer of noise has a rate above zero."""
    return any(getattr(layer, name, 0) for name in ("rate", "stddev"))


def safe_config(layer: Any) -> dict[str, Any]:
    """Return the config, or nothing."""
    try:
        return layer.get_config()
    except Exception:
        return {}


def takes_seed(case: Case) -> bool:
    """Whether the constructor of a class names a seed."""
    return inspect.isclass(case.subject) and "seed" in inspect.signature(case.subject).parameters


def seed_is_ignored(case: Case) -> bool:
    """Whether two layers of one seed, with the same weights, draw other numbers."""
    if not takes_seed(case):
        return False
    one, other = (case.built(move=False, seed=7) for _ in range(2))
    for mine, its in zip(other.variables, one.variables, strict=True):
        mine.assign(mine if is_seed(mine) else tf.convert_to_tensor(its))
    return bool(differ(case.call(one, case.of(), True), case.call(other, case.of(), True), 0.0))


DRAW = "Draw with keras.random.… and seed=self.seed_generator, a keras.random.SeedGenerator made in __init__."


@check(*LAYERS, after=("python_state",))
def randomness(case: Case) -> Iterator[Told]:
    """In training, random numbers change from call to call, and repeat under the `seed` argument."""
    layer = case.layer
    case.steady()
    before = state(layer)
    python, numpy = random.getstate(), repr(np.random.get_state())
    first = case.run(training=True)
    library = "Python" if random.getstate() != python else "NumPy" if repr(np.random.get_state()) != numpy else ""
    if library:
        found = f"It draws with {library}'s random."
        yield "A call with training=True.", found, "A graph keeps the number that was drawn first.", DRAW
        return
    # Calls of a recurrent layer are dear: made only where something follows from them.
    draws = rates_of(layer) and (any(is_seed(v) for v, _ in before) or not inner_layers(layer))
    goes_on = (draws or takes_seed(case)) and ever_differs(case, first)
    changed = moved(before)
    restore(before)
    repeat = differ(case.run(training=True), first, 0.0)
    if repeat:
        yield (
            "Two calls with training=True, from the same state of all variables.",
            f"The outputs don't repeat, whatever the seed: {repeat}.",
            "A run can't be repeated under a seed that is given to the layer.",
            DRAW,
        )
        return
    if goes_on and seed_is_ignored(case):
        fix = "Hand seed to keras.random.SeedGenerator, or to the layers inside."
        yield "Two layers with seed=7 and the same weights.", "Their outputs differ in training.", NO_EFFECT, fix
        return
    if draws and not changed and not goes_on and differ(first, case.run(training=False), 0.0):
        yield (
            "Calls with training=True, one after the other.",
            "The outputs are equal, and differ from those with training=False.",
            "Each batch of a training gets the same noise.",
            "Pass a keras.random.SeedGenerator as seed=, not an integer.",
        )


@check(*LAYERS)
def frozen_state(case: Case) -> Iterator[Told]:
    """A call with trainable=False moves no weight that is trained otherwise."""
    layer = case.layer
    if not layer.trainable_weights:
        raise DoesNotApply("it has no trainable weights")
    kept = {id(one): one.trainable for one in [layer, *inner_layers(layer)]}
    trainable = ids_of(layer.trainable_weights)
    before = state(layer)
    layer.trainable = False
    try:
        case.call(layer, case.of(), True)
        changed = [v.path for v in moved(before) if id(v) in trainable]
    finally:
        for one in [layer, *inner_layers(layer)]:
            one.trainable = kept[id(one)]
        restore(before)
    if changed and not isinstance(layer, keras.layers.SpectralNormalization):
        yield (
            "A call with training=True on a layer with trainable=False.",
            f"{', '.join(changed)} changed.",
            "A frozen layer has to keep its weights.",
            "Leave training to the optimizer; assign in call to weights with trainable=False only.",
        )


def masked_case(case: Case) -> np.ndarray:
    """Return a mask that ends early in each second row, if the inputs have time steps."""
    if not case.single or not is_sequence(case.inputs):
        raise DoesNotApply("it doesn't have one input of shape (batch, time, features), with 3 steps or more")
    mask = np.ones(case.inputs.shape[:2], bool)
    mask[::2, -(case.inputs.shape[1] // 3 or 1) :] = False
    return mask


@check("layer")
def mask_is_used(case: Case) -> Iterator[Told]:
    """What stands in padded steps doesn't change the outputs for the others, if the layer says that it takes masks."""
    mask, layer = masked_case(case), case.layer
    case.steady()
    if is_random(case):
        raise DoesNotApply("it is random")
    if not (layer.supports_masking or takes(layer, "mask")):
        raise DoesNotApply("it has supports_masking=False and no mask in call: Keras warns that the mask ends there")
    other = np.where(mask[..., None], case.inputs, case.inputs[::-1, ::-1] + 3.0).astype(case.inputs.dtype)
    one, two = (kept_steps(case, values, mask) for values in (case.inputs, other))
    found = differ(two, one, 1e-4)
    tried = "Two batches with the same mask, different in the padded steps only."
    if not found:
        tried = "Sequences with padding and a mask, beside the same sequences cut to their length."
        end = int(mask[0].sum())
        with contextlib.suppress(Exception):  # another length needn't be possible
            for x in (case.inputs[::2], case.inputs[::2] - case.inputs.max() - 1):  # 0 is the largest of the second
                short = kept_steps(case, x[:, :end], np.ones_like(mask[::2, :end]))
                found = found or differ(kept_steps(case, x, mask[::2]), short, 1e-3)
        if found.startswith("shapes") and not any(keeps_steps(case)):
            found = ""  # windows over a longer sequence can be more, and count none of its padding
    if found:
        yield (
            tried,
            f"The outputs differ, so padding counts: {found}.",
            "Padding is counted as data. supports_masking=True says that it isn't.",
            "Take mask in call(self, x, mask=None), and leave the padded steps out of sums, counts and attention.",
            "errors/layers.html#mask-lost",
        )
        return
    yield from mask_in_graph(case, mask)


def mask_in_graph(case: Case, mask: np.ndarray) -> Iterator[Told]:
    """Try the mask in a graph, and in float16."""
    fix = "Use keras.ops on the mask; write -inf as a number of the dtype, or compute the softmax in float32."
    call = tf.function(lambda x: case.layer(WithMask(mask)(x)), autograph=False)
    try:
        call(tf.convert_to_tensor(case.inputs))
    except Exception as error:
        yield ("A call with a mask, inside tf.function.", words(error), "fit runs a graph.", fix, link_of(error))
        return
    finally:
        restore(case.memory["state"])
    half = case.once("a call with dtype='mixed_float16'", lambda: case.like(case.layer, "mixed_float16"))
    outputs = half(WithMask(mask)(tf.cast(case.inputs, "float16")))
    if any(not np.isfinite(array).all() for array in numbers(outputs)):
        why = "float16 ends at 65504: -1e9 is -inf there, and inf - inf or 0 times inf is nan."
        yield ("A call with a mask, with dtype='mixed_float16'.", "The outputs hold nan or inf.", why, fix)


@check(*LAYERS)
def mask_inside(case: Case) -> Iterator[Told]:
    """Zeros behind integers don't count, if an embedding inside says that 0 is padding."""
    inner = [one for one in inner_layers(case.layer) if isinstance(one, keras.layers.Embedding) and one.mask_zero]
    x = case.inputs
    if not inner or not case.single or x.ndim != 2 or x.dtype.kind not in "iu":
        raise DoesNotApply("it holds no embedding with mask_zero=True, or has other inputs than (batch, time)")
    case.steady()
    keep = np.where(x == 0, 1, x).astype(x.dtype)  # no padding but that at the end
    padded = np.concatenate([keep[:, :-1], 0 * keep[:, :1]], axis=1)
    with contextlib.suppress(tf.errors.InvalidArgumentError, ValueError):  # another length needn't be possible
        long, short = case.run(values=padded), case.run(values=keep[:, :-1])
        pairs = zip(flat_tensors(long), flat_tensors(short), strict=True)
        pairs = [(a if a.shape == b.shape else a[:, : x.shape[1] - 1], b) for a, b in pairs]
        if found := differ(*map(list, zip(*pairs, strict=True)), 1e-3):
            yield (
                "Sequences with a 0 at the end, beside the same without it.",
                f"The outputs differ, so padding counts: {found}.",
                "mask_zero=True says that 0 is padding: the mask of the embedding is lost on its way.",
                "Hand the mask on: mask = self.embedding.compute_mask(ids), and self.lstm(x, mask=mask).",
                "errors/layers.html#mask-lost",
            )


def kept_steps(case: Case, values: np.ndarray, mask: np.ndarray) -> list[Any]:
    """Call the layer on inputs with a mask, and return the outputs without those of padded steps."""
    # A layer keeps the steps if it does so for the inputs as given: features can be as many as a cut sequence has.
    return without_padding(case.layer(WithMask(mask)(tf.convert_to_tensor(values))), mask, keeps_steps(case))


def keeps_steps(case: Case) -> list[bool]:
    """Whether each output has a step for each step of the inputs."""
    return [out.shape.rank > 2 and out.shape[:2] == case.inputs.shape[:2] for out in flat_tensors(case.outputs)]


def without_padding(outputs: Any, mask: np.ndarray, keeps: list[bool], both: bool = True) -> list[Any]:
    """Return outputs without padded steps: those of the mask that an output has, and, or otherwise, those of `mask`."""
    kept = []
    for out, kept_here in zip(flat_tensors(outputs), keeps, strict=True):
        its = mask_of(out)
        numbers_of = as64(out)
        if its is not None and tuple(its.shape) == numbers_of.shape[:2]:
            real = np.asarray(its)
            # One of as many steps may be the mask in another order; another one may not follow what came in.
            if both and real.shape == mask.shape and (real.sum(axis=1) != mask.sum(axis=1)).any():
                real = real & mask
            kept.append(tf.convert_to_tensor(numbers_of[real]))
        elif kept_here and numbers_of.shape[:2] == mask.shape:
            kept.append(tf.convert_to_tensor(numbers_of[mask]))
        elif numbers_of.ndim < 3:  # a row for each sample
            kept.append(tf.convert_to_tensor(numbers_of))
    return kept


@check("layer")
def mask_of_each_input(case: Case) -> Iterator[Told]:
    """Of several inputs with time steps, the padding of each is left out."""
    given = case.inputs
    if any(np.ndim(one) == 3 and one.shape[1] == one.shape[2] for one in tree.flatten(given)):
        raise DoesNotApply("an input may be a matrix between steps, which leaves padding out by itself")
    if not isinstance(given, list | tuple) or case.keywords or not all(is_sequence(one) for one in given):
        raise DoesNotApply("it hasn't several inputs of shape (batch, time, features), with 3 steps or more")
    case.steady()
    layer = case.layer
    if is_random(case) or not (layer.supports_masking or takes(layer, "mask")):
        raise DoesNotApply("it is random, or takes no masks")
    cut = [np.ones(each.shape[:2], bool) for each in given]
    for mask in cut:
        mask[::2, -1] = False
    for number, one in enumerate(given):
        masks = [mask if n == number else np.ones_like(mask) for n, mask in enumerate(cut)]
        opened = [np.ones_like(mask) if n == number else mask for n, mask in enumerate(cut)]
        # Where the mask that leaves follows this one, as where any of them is true, its steps needn't be left out.
        leaving = [mask_of(flat_tensors(called_with(layer, given, each))[0]) for each in (opened, cut)]
        if found := of_another_shape(leaving[1], flat_tensors(case.outputs)[0]):
            fix = "Let compute_mask join the masks as call joins the inputs."
            yield "A call with a mask for each input.", found, "A recurrent layer behind raises.", fix
            return
        follows = None not in leaving and not np.array_equal(*leaving) if leaving.count(None) < 2 else True
        other = [each.copy() for each in given]
        other[number] = np.where(cut[number][..., None], one, one[::-1, ::-1] + 3.0).astype(one.dtype)
        results = []
        for values in (given, other):
            outputs = called_with(layer, values, masks)
            keeps = [out.shape[:2] == one.shape[:2] for out in flat_tensors(outputs)]
            results.append(without_padding(outputs, cut[number], keeps, both=follows))
        if found := differ(*results, 1e-4):
            tried = f"Two batches with the same masks, different in the padded steps of input {number} only."
            found = f"The outputs differ, so padding counts: {found}."
            fix = "call(self, inputs, mask=None) gets a list of masks: use that of each input."
            yield (tried, found, "It is counted as data.", fix, "errors/layers.html#mask-lost")
            return


def of_another_shape(mask: Any, output: Any) -> str:
    """Say how the shape of a mask differs from the first axes of an output, or nothing."""
    if mask is None or mask.shape == output.shape[: len(mask.shape)]:
        return ""
    return f"The mask leaves with shape {tuple(mask.shape)}, the output has {tuple(output.shape)}."


def called_with(layer: Any, values: Any, masks: list[np.ndarray]) -> Any:
    """Call a layer on several inputs, each with a mask."""
    tensors = [WithMask(mask)(tf.convert_to_tensor(each)) for mask, each in zip(masks, values, strict=True)]
    return layer(type(values)(tensors))


def is_sequence(array: Any) -> bool:
    """Whether an input has time steps that can be masked."""
    return isinstance(array, np.ndarray) and array.ndim == 3 and array.dtype.kind == "f" and array.shape[1] > 2


@check("layer")
def mask_goes_on(case: Case) -> Iterator[Told]:
    """The mask leaves a layer that keeps the time axis, with the shape of its output."""
    mask, layer = masked_case(case), case.layer
    case.steady()
    outputs = layer(WithMask(mask)(tf.convert_to_tensor(case.inputs)))
    tensors = flat_tensors(outputs)
    if len(tensors) != 1 or is_random(case):
        raise DoesNotApply("it has several outputs, or is random")
    out = tensors[0]
    leaves_as = mask_of(out)
    if leaves_as is not None and leaves_as.dtype != tf.bool:
        yield (
            f"A call on {describe(case.inputs)} with a mask.",
            f"The mask leaves as {leaves_as.dtype.name}, not as bool.",
            "The layers behind it take a mask of booleans: ~mask and logical_and raise.",
            "Let compute_mask return a comparison, such as ops.any(ops.not_equal(inputs, 0), axis=-1).",
        )
    if leaves_as is not None and tuple(leaves_as.shape) != tuple(out.shape[: len(leaves_as.shape)]):
        yield (
            f"A call on {describe(case.inputs)} with a mask of shape {mask.shape}.",
            f"The mask leaves with shape {tuple(leaves_as.shape)}, the output has {tuple(out.shape)}.",
            "The next layer raises, or ignores the wrong steps.",
            "Let compute_mask return a mask for the steps of the output, or None if there is no time axis.",
        )
    if leaves_as is not None:
        return
    if out.shape[:2] != mask.shape or not step_by_step(case):
        raise DoesNotApply("it mixes the steps, or its output has none: the mask may end there")
    raise DoesNotApply("a mask ends at it, as Keras warns; if it has to go on, set self.supports_masking = True")


def step_by_step(case: Case) -> bool:
    """Whether a change in one step changes the output of that step only."""
    restore(case.memory["state"])
    values = case.inputs.copy()
    values[:, 1] += 1.0
    gap = np.abs(as64(case.run(values=values)) - as64(case.outputs))
    gap = gap.reshape(*gap.shape[:2], -1).max(axis=(0, 2)) > 0
    return bool(gap[1]) and gap.sum() == 1


# --- gradients --------------------------------------------------------------------------------------------------------


@check(*LAYERS, after=(*MOVES, "reached_weights"))
def true_gradients(case: Case) -> Iterator[Told]:
    """In float64 the gradient is the slope that is measured when a weight or an input is moved a little."""
    layer = measurable(case)
    before = state(layer)
    try:
        call = forward(case, layer)
        slopes = [one for seed in (7, 8) for one in measured(case, layer, call, seed, before)]
    finally:
        restore(before)
    for name in dict.fromkeys(name for name, *_ in slopes):
        pairs = [(slope, told) for other, slope, told in slopes if other == name]
        if not all(
            slope and not np.isclose(slope, told, rtol=2e-3, atol=1e-6 * max(1, abs(slope))) for slope, told in pairs
        ):
            continue
        slope, told = pairs[0]
        if told == 0 and name.startswith("input") and not layer.trainable_weights:
            continue  # a layer that stops the gradient on purpose
        if custom_inside(layer):
            raise DoesNotApply("a layer inside of it has a gradient of its own: check that one alone")
        if reverses(type(layer)):
            raise DoesNotApply("its code speaks of reversing a gradient: it is its purpose")
        yield (
            f"{name}, moved along a random direction by 1e-5 and 1e-6, in float64.",
            f"The outputs move by {slope:.5g} per unit, the gradient says {told:.5g}.",
            "Training follows the gradient, and nothing is raised.",
            "Write the derivative in tf.custom_gradient, times upstream; look for tf.stop_gradient, and for rounding.",
        )
        return


def measurable(case: Case) -> Any:
    """Return the layer in float64, if its gradient can be expected to be the slope of its outputs."""
    case.steady()
    if is_random(case):
        raise DoesNotApply("it is random")
    outputs = flat_tensors(case.outputs)
    if not any(is_float(out.dtype) or out.dtype.is_complex for out in outputs):
        raise DoesNotApply("it gives no floating numbers")
    if "StopGradient" in case.once("operations", lambda: operations(case)):
        raise DoesNotApply("it stops a gradient on purpose")
    layer = case.once("a call with dtype='float64'", lambda: case.like(case.layer, "float64"))
    dtypes = {out.dtype.name for out in flat_tensors(case.call(layer, case.of("float64")))}
    if dtypes & {"float32", "float16", "bfloat16"}:
        raise DoesNotApply("it doesn't compute in float64")
    passes_on = case.single and any(
        out.shape == case.inputs.shape and np.allclose(as64(out), case.inputs, atol=1e-6) for out in outputs
    )
    if passes_on and not layer.trainable_weights:
        raise DoesNotApply("its output is its input: another gradient is then its purpose")
    return layer


def operations(case: Case) -> set[str]:
    """Return the kinds of operations in the graph of a call."""
    structure = case.of()
    flat = tree.flatten(structure)
    if any(not tf.is_tensor(x) for x in flat):
        return set()
    return operations_of(lambda *x: case.call(case.layer, tree.pack_sequence_as(structure, x)), *flat)


def operations_of(function: Callable, *given: Any) -> set[str]:
    """Return the kinds of operations in the graph of a function, or nothing if it can't be traced."""
    try:
        definition = tf.function(function, autograph=False).get_concrete_function(*given).graph.as_graph_def()
    except Exception:
        return set()  # another check reports it
    return {node.op for part in (definition.node, *(f.node_def for f in definition.library.function)) for node in part}


def reverses(cls: type) -> bool:
    """Whether the code of a class, or a function that its call uses, speaks of a reversed gradient."""
    used = [cls.call.__globals__.get(name) for name in cls.call.__code__.co_names]
    named = [one for one in used if getattr(one, "__module__", "").startswith(cls.__module__)]
    return any(re.search("revers", source_of(one), re.IGNORECASE) for one in (cls, *named))


def custom_inside(layer: Any) -> bool:
    """Whether a layer inside, not one of Keras, changes its gradient."""
    own = [type(one) for one in inner_layers(layer) if not is_builtin(one)]
    return any(re.search("custom_gradient|stop_gradient", source_of(cls)) for cls in own)


def forward(case: Case, layer: Any) -> Callable[..., Any]:
    """Return what calls a layer, as a graph if there are many calls, or dear ones: one trace for all of them."""
    call = functools.partial(case.call, layer)
    loops = case.once("operations", lambda: operations(case)) & {"While", "StatelessWhile"}
    return tf.function(call, autograph=False) if loops or len(layer.trainable_weights) > 4 else call


def measured(
    case: Case, layer: Any, call: Callable[..., Any], seed: int, before: list
) -> Iterator[tuple[str, float | None, float]]:
    """Yield each input and weight with its slope along a random direction, and the slope that the gradient gives."""
    rng = np.random.default_rng(seed)
    inputs, keywords = case.of("float64", values=shifted(case, seed))
    flat = tree.flatten(inputs)
    at = [n for n, x in enumerate(flat) if is_float(x.dtype)]
    weights = [weight for weight in layer.trainable_weights if is_float(weight.dtype)]

    def loss(values: list[Any], call: Callable[..., Any] = call) -> Any:
        restore([(v, value) for v, value in before if id(v) not in ids_of(weights)])
        whole = {**dict(enumerate(flat)), **dict(zip(at, values, strict=True))}
        outputs = call((tree.pack_sequence_as(inputs, list(whole.values())), keywords))
        return scalar_of(outputs, seed, "float64")

    start = [flat[n] for n in at]
    value = loss(start)
    with tf.GradientTape() as tape:
        tape.watch(start)
        eager = loss(start, functools.partial(case.call, layer))
    sources = [*start, *(weight.value for weight in weights)]
    gradients = tape.gradient(eager, sources, unconnected_gradients="zero")
    names = [*(f"input {n}" for n in range(len(start))), *(weight.path for weight in weights)]
    for n, (name, gradient) in enumerate(zip(names, gradients, strict=True)):
        origin = np.asarray(tf.convert_to_tensor(sources[n]))
        direction = rng.normal(size=origin.shape)

        def moved_by(step: float, n: int = n, origin: np.ndarray = origin, direction: np.ndarray = direction) -> float:
            if n < len(start):
                return float(loss([*start[:n], tf.constant(origin + step * direction), *start[n + 1 :]]))
            weights[n - len(start)].assign(origin + step * direction)
            return float(loss(start))

        slope = slope_of(moved_by, float(value))
        if n >= len(start):
            weights[n - len(start)].assign(origin)
        yield name, slope, float(np.sum(as64(gradient) * direction))


def slope_of(function: Callable[[float], float], value: float) -> float | None:
    """Return the slope of a function at 0, or None at an edge: it differs for two steps, or on the two sides."""
    slopes, gaps = [], []
    for size in (1e-5, 1e-6):
        above, below = function(size), function(-size)
        slopes.append((above - below) / (2 * size))
        gaps.append(abs(above + below - 2 * value) / size)
    noise = 1e-13 * max(1.0, abs(value)) / 1e-6
    same = abs(slopes[0] - slopes[1]) <= 1e-3 * abs(slopes[0]) + 10 * noise
    # The slopes of the two sides come together as the step gets smaller, but at an edge.
    smooth = gaps[1] <= 0.3 * gaps[0] + 1e-4 * abs(slopes[1]) + 10 * noise
    return slopes[1] if same and smooth and abs(slopes[1]) > 100 * noise else None


# --- graph ------------------------------------------------------------------------------------------------------------


@check(*LAYERS, after=("graph_call", "late_weights"))
def one_trace(case: Case) -> Iterator[Told]:
    """A call makes no new tf.function, and its graph doesn't grow with the batch."""
    layer = case.layer
    structure = case.of()
    if any(not tf.is_tensor(x) for x in tree.flatten(structure)) or case.batch < 4:
        raise DoesNotApply("it has inputs that aren't tensors, or under 4 rows are given")
    if made := functions_made(case):
        yield (
            "A second call.",
            f"It makes {made} new tf.function{'' if made == 1 else 's'}.",
            "Each is traced anew in each call, which costs more than it saves.",
            "Decorate a method, or make the function once in __init__; fit and predict compile the whole model.",
        )
    sizes = []
    for rows in (2, 4):
        flat = tree.flatten(case.of(rows=slice(0, rows)))
        function = tf.function(lambda *x: case.call(layer, tree.pack_sequence_as(structure, x)), autograph=False)
        sizes.append(graph_size(function.get_concrete_function(*flat)))
    if sizes[1] > sizes[0] * 1.2 + 4:
        yield (
            "Graphs traced with 2 and with 4 rows.",
            f"{sizes[0]} and {sizes[1]} operations.",
            "The graph grows with the batch: tracing takes longer, and an unknown batch raises.",
            "Replace the Python loop over rows by operations on the whole batch, or ops.map.",
        )


def functions_made(case: Case) -> int:
    """Count how often the code of a layer makes a `tf.function` in a call."""
    made, original = [], tf.function

    def counted(*args: Any, **options: Any) -> Any:
        if not sys._getframe(1).f_globals.get("__name__", "").startswith(("keras.", "tensorflow.")):
            made.append(1)
        return original(*args, **options)

    tf.function = counted
    try:
        case.run()
        if not made and takes(case.layer, "training"):
            case.run(training=True)
    finally:
        tf.function = original
    return len(made)


@dataclass
class OwnFit:
    """What `fit` does to a new model whose training is its own."""

    frozen: list[str]
    """Layers that training has frozen."""
    kept: list[str]
    """Trainable weights of layers that it doesn't move."""
    stale: list[str]
    """Metrics whose counts go on from one `fit` to the next."""
    losses: list[float]
    """The loss before and after the last eight epochs."""
    raises: str = ""
    """What `fit` raises, without a call of the model before or in any case."""


OWN = ("train_step", "compute_loss", "compile")


def own_fit(case: Case) -> OwnFit:
    """Fit a new model, with targets or without, as its steps take them; called first, if they can't do without."""
    if not any(written(case.layer, name) for name in OWN):
        raise DoesNotApply(f"none of {', '.join(OWN)} is written")
    given, keywords = case.of()
    if keywords or not case.by_rows:
        raise DoesNotApply("it has keyword inputs, or an output without a row for each sample")
    near = tree.map_structure(lambda out: np.asarray(out) + np.asarray(1, out.dtype.as_numpy_dtype), case.outputs)
    errors: list[Exception] = []
    for called in (False, True):
        ones = np.ones(case.batch, "float32")
        for data in ((given, near), (given, np.arange(case.batch) % 2), (given,), (given, near, ones)):
            model = case.make()
            if called:
                model(given)
            compile_own(model, case.outputs)
            thawed = [one for one in inner_layers(model) if one.trainable]
            try:
                fit_again(case, model, data, 1)
            except Exception as error:
                errors.append(error)
            else:
                found = watched_fit(case, model, data, thawed)
                when = "After a call of the model" if called else "With sample_weight" if len(data) > 2 else ""
                found.raises = f"{words(errors[0])}. {when} it runs." if when else ""
                return found
    if runs_eagerly(case, (given, near)):
        return OwnFit([], [], [], [], f"{words(errors[0])}. With run_eagerly=True it runs.")
    raise DoesNotApply(f"its fit takes neither targets like its outputs nor none: {words(errors[0])[:160]}")


def runs_eagerly(case: Case, data: tuple) -> bool:
    """Whether a new model's `fit` runs without a graph."""
    model = case.make()
    compile_own(model, case.outputs)
    model.run_eagerly = True
    try:
        fit_again(case, model, data, 1)
    except Exception:
        return False
    return True


def compile_own(model: Any, outputs: Any) -> None:
    """Call `compile` with an optimizer or a loss for each parameter that is named for one."""
    if not written(model, "compile"):
        losses = tree.map_structure(lambda _: "mse", outputs)
        model.compile(optimizer=keras.optimizers.Adam(1e-3), loss=losses, jit_compile=False)
        return
    options: dict[str, Any] = {}
    named = inspect.signature(model.compile).parameters.values()
    for one in named:
        if "optim" in one.name:
            options[one.name] = keras.optimizers.Adam(1e-3)
        elif isinstance(one.default, int | float) or one.kind in (one.VAR_KEYWORD, one.VAR_POSITIONAL):
            continue
        elif "loss" in one.name or one.name.endswith("_fn"):
            options[one.name] = keras.losses.MeanSquaredError()
        elif one.default is one.empty:
            raise DoesNotApply(f"its compile asks for {one.name}")
    if any(one.kind is one.VAR_KEYWORD for one in named) and not any("optim" in name for name in options):
        options["optimizer"] = keras.optimizers.Adam(1e-3)
    model.compile(**options)


def fit_again(case: Case, model: Any, data: tuple, epochs: int) -> dict[str, list[float]]:
    """Fit for some epochs of one batch; return what each reports."""
    history = model.fit(**named(data), batch_size=case.batch, epochs=epochs, shuffle=False, verbose=0).history
    return {name: [float(np.mean(value)) for value in values] for name, values in history.items()}


def named(data: tuple) -> dict[str, Any]:
    """Return data as arguments of `fit` and `evaluate`."""
    return dict(zip(("x", "y", "sample_weight"), data, strict=False))


def watched_fit(case: Case, model: Any, data: tuple, thawed: list[Any]) -> OwnFit:
    """Fit a model that was fitted for an epoch: what it moves, freezes, and counts on."""
    listed = {id(one) for one in model.metrics}
    loose = [one for one in own_metrics_of(model) if id(one) not in listed]
    counts = [[as64(v) for v in one.variables] for one in loose]
    fit_again(case, model, data, 1)
    again = [[as64(v) for v in one.variables] for one in loose]
    # An average over the same data stays as it is; its count is twice as large.
    twice = [
        any(np.any(a) and np.array_equal(b, 2 * a) for a, b in zip(*two, strict=True))
        for two in zip(counts, again, strict=True)
    ]
    before = [(weight, value_of(weight)) for weight in model.trainable_weights]
    losses = [loss_outside_of_training(model, data)]
    history = fit_again(case, model, data, 8)  # a step may train one part of the model every few batches
    losses.append(loss_outside_of_training(model, data))
    changed = {id(weight) for weight in moved(before)}
    # A single bias may cancel in a loss; a layer of which nothing moves is left out.
    alive = {weight.path.rpartition("/")[0] for weight, _ in before if id(weight) in changed}
    kept = [weight for weight, _ in before if weight.path.rpartition("/")[0] not in alive]
    if before and not changed and not any(values[-1] for values in history.values()):
        raise DoesNotApply("the loss that it reports is 0")
    with tf.GradientTape() as tape:
        total = scalar_of(model(data[0]))
    gradients = tape.gradient(total, [weight.value for weight in kept])
    used = [w.path for w, g in zip(kept, gradients, strict=True) if g is not None and np.any(as64(g))]
    names = [one.name for one, moves in zip(loose, twice, strict=True) if moves]
    frozen = [one for one in thawed if not one.trainable]
    inside = {id(part) for one in frozen for part in inner_layers(one)}
    return OwnFit([one.name for one in frozen if id(one) not in inside], used, names, losses)


def loss_outside_of_training(model: Any, data: tuple) -> float:
    """Return what Keras's own `evaluate` says, or 0 where it may not be what training lowers."""
    moving = any(isinstance(one, keras.layers.BatchNormalization) for one in inner_layers(model))
    if moving or len(data) < 2 or any(written(model, name) for name in ("compile", "test_step", "compute_loss")):
        return 0.0
    return float(np.mean(model.evaluate(**named(data), verbose=0, return_dict=True).get("loss", 0.0)))


def own_metrics_of(model: Any) -> list[Any]:
    """Return the metrics among the attributes of a model."""
    values = [value for name, value in vars(model).items() if not name.startswith("_self_")]
    flat = [one for value in values for one in (value if isinstance(value, list | tuple) else [value])]
    flat = [one for value in flat for one in (value.values() if isinstance(value, dict) else [value])]
    return list({id(one): one for one in flat if isinstance(one, keras.metrics.Metric)}.values())


@check("model", after=("tracked_weights",))
def trained_weights(case: Case) -> Iterator[Told]:
    """A training of its own moves each layer that predictions depend on, and freezes none for good."""
    done = case.once("fit with steps of its own", lambda: own_fit(case))
    tried = "fit of a new model, with the steps of its own."
    if done.raises:
        fix = "Call self(x, training=True) in train_step; make variables in __init__; keep no tensors in self."
        if "unpack" in done.raises:
            fix = "Unpack with keras.utils.unpack_x_y_sample_weight(data): what wasn't given is None."
        yield (tried, done.raises, "A script calls fit first.", fix)
    if done.losses and done.losses[1] > 1.0001 * done.losses[0]:
        found = f"The loss of evaluate rises in eight epochs, from {done.losses[0]:.5g} to {done.losses[1]:.5g}."
        fix = "Give apply the gradient of the loss, not of its negative, and leave the sign to the optimizer."
        yield (tried, found, "It trains away from the targets.", fix)
    if done.frozen:
        fix = "Leave trainable alone in train_step: give the tape the weights of the part that is trained."
        yield (tried, f"{', '.join(done.frozen)} is frozen afterwards.", "Later steps can't train it.", fix)
    if done.kept:
        fix = "Give apply the gradients of self.trainable_variables; set trainable=False on what is to stay."
        yield (
            f"{tried[:-1]}, ten epochs.",
            f"{', '.join(done.kept)}: trainable, used by a call, and not moved.",
            "It keeps its first numbers, and nothing says so.",
            fix,
        )


@check("model")
def own_metrics(case: Case) -> Iterator[Told]:
    """A metric that a training of its own updates is listed in `metrics`, so that each epoch starts it anew."""
    done = case.once("fit with steps of its own", lambda: own_fit(case))
    if done.stale:
        yield (
            "fit, twice on the same data.",
            f"{', '.join(done.stale)} counts on from the first fit to the second: it isn't in model.metrics.",
            "Each epoch reports the average of all epochs before it.",
            "Let the property metrics return every metric, or leave the property out.",
        )


@check("model")
def own_train_step(case: Case) -> Iterator[Told]:
    """A `train_step` of its own calls the model in training, uses weights and the layers' losses, and reports them."""
    model, given, outputs = with_own_step(case, "train_step")
    targets, scaled = outputs + 10.0, []

    def fitted(x: Any, y: Any, epochs: int = 1, **options: Any) -> dict[str, list[float]]:
        model.compile(optimizer=told_of_scaling(scaled), loss="mse")
        options.update(epochs=epochs, batch_size=case.batch, shuffle=False, verbose=0)
        run = model.fit(x, y, **options).history
        if not max(run["loss"]) and any("loss" in key and max(values) for key, values in run.items()):
            raise KeyError("loss")
        return run

    before = [(weight, value_of(weight)) for weight in model.trainable_weights if weight.constraint is None]
    try:
        far = fitted(given, targets, 4)
        near_it, again = (fitted(given, outputs) for _ in range(2))
        zero = fitted(given, targets, sample_weight=np.zeros(case.batch, "float32"))["loss"][0]
    except KeyError:
        raise DoesNotApply("its train_step reports no loss under that name") from None
    found = list(train_step_findings(model, far["loss"], near_it["loss"][0], zero))
    if shifts := [weight.path for weight in moved(before)]:
        fix = "Leave the steps to the optimizer: undo a change that was made to look ahead, and decay by weight_decay."
        found.append(("fit at learning rate 0.", f"{', '.join(shifts)} moved.", "The rate doesn't rule it.", fix))
    yield from found
    # A metric that is never reset still counts the epochs far from the targets.
    stale = [key for key, (now, *_) in near_it.items() if now > 0.3 * far[key][-1] and again[key][0] < 0.98 * now]
    if stale and not found:
        key = stale[0]
        told = f"The same epoch reports {key} {near_it[key][0]:.5g}, then {again[key][0]:.5g}: it isn't reset."
        fix = "Make every metric an attribute of the model, or list it in the property metrics."
        yield ("fit, twice on the same data at learning rate 0.", told, "Each epoch counts the ones before it.", fix)
    if not scaled:
        why = "under mixed_float16 small gradients become 0"
        raise DoesNotApply(f"it doesn't call self.optimizer.scale_loss(loss): {why}")


def with_own_step(case: Case, name: str) -> tuple[Any, Any, np.ndarray]:
    """Return a model that writes a step of its own, with inputs and its outputs."""
    model = case.built()
    if not written(model, name):
        raise DoesNotApply(f"{name} isn't written")
    given, keywords = case.of()
    outputs = model(given, **keywords)
    if written(model, "compile") or len(flat_tensors(outputs)) != 1 or not case.by_rows or keywords:
        raise DoesNotApply("it has several outputs, keyword inputs, or a compile of its own")
    return model, given, np.asarray(outputs)


def told_of_scaling(told: list[int]) -> Any:
    """Return an optimizer that moves nothing, and notes when it is asked to scale a loss."""

    class Telling(keras.optimizers.SGD):
        def scale_loss(self, loss: Any) -> Any:
            told.append(1)
            return super().scale_loss(loss)

    return Telling(0.0)


@check("model")
def own_test_step(case: Case) -> Iterator[Told]:
    """A `test_step` of its own runs the model outside of training: evaluate repeats, and moves no state."""
    model, given, targets = with_own_step(case, "test_step")
    model.compile(optimizer="sgd", loss="mse")
    held = {id(v) for one in model.metrics for v in one.variables}
    before = [(v, value) for v, value in state(model) if id(v) not in held and not is_seed(v)]
    first, second = (model.evaluate(given, targets, verbose=0, return_dict=True) for _ in range(2))
    changed = [v.path for v in moved(before)]
    noise = [one.name for one in inner_layers(model) if isinstance(one, NOISE) and noisy(one)]
    far = model.evaluate(given, targets + 10.0, verbose=0, return_dict=True)
    if not any(abs(value) > 1e-6 for value in tree.flatten(far)):
        fix = "Update a keras.metrics.Mean with the loss, and return the results of self.metrics."
        yield (
            "evaluate, with targets 10 above the predictions.",
            f"It reports {far}.",
            "Validation says nothing.",
            fix,
        )
    elif changed or (noise and differ(first, second, 1e-6)):
        found = f"{', '.join(changed)} changed." if changed else f"{first}, then {second}: {', '.join(noise)} acts."
        why = "What evaluate says isn't what predict does, and it changes the model."
        yield ("evaluate, twice on the same data.", found, why, "Call self(x, training=False) in test_step.")


def train_step_findings(model: Any, far: list[float], near_it: float, zero: float) -> Iterator[Told]:
    """Judge the losses that fit reports at learning rate 0."""
    tried = "fit at learning rate 0, with targets 10 above the predictions"
    penalty = float(sum(as64(loss) for loss in model.losses))
    if max(far) < 1e-6:
        fix = "Update a keras.metrics.Mean with the loss in train_step, or call self.compute_loss."
        yield f"{tried}.", f"The train_step reports a loss of {far[0]:.3g}.", "The progress bar is wrong.", fix
        return
    if abs(far[0] - near_it) < 1e-3 * abs(far[0]):
        return  # the loss doesn't depend on the targets
    noise = [one.name for one in inner_layers(model) if isinstance(one, NOISE) and noisy(one)]
    if noise and np.ptp(far) < 1e-6 * max(far):
        found = f"The loss is {far[0]:.6g} in each epoch: no {', no '.join(noise)} acts, so training isn't True."
        yield f"{tried}, four epochs.", found, "Dropout is off.", "Call self(x, training=True) in train_step."
    if zero > penalty * 1.01 + 1e-3 * far[0]:
        found = f"With sample_weight 0 train_step reports {zero:.5g}, where the layers' losses are {penalty:.3g}."
        fix = "Unpack with keras.utils.unpack_x_y_sample_weight, and pass sample_weight to compute_loss."
        yield f"{tried}, and sample_weight=0.", found, "class_weight and sample_weight are ignored.", fix
    elif penalty > 1e-6 and zero < 0.5 * penalty:
        found = f"train_step reports {zero:.3g} where the layers' losses (regularizers) are {penalty:.3g}."
        fix = "Use self.compute_loss, or add sum(self.losses)."
        yield f"{tried}, and sample_weight=0.", found, "Regularizers don't act.", fix


# --- losses -----------------------------------------------------------------------------------------------------------

LOSSES = ("loss", "loss function")
PER_SAMPLE = "Reduce over the last axis only: ops.mean(…, axis=-1). Keras reduces the rest."
CONFIDENT = "predictions of 0.02 and 0.98 that are the opposite of the targets"


@keras.saving.register_keras_serializable("checkup")
class OfFunction(keras.losses.Loss):
    """A loss function as `compile` wraps it."""

    def __init__(self, function: Callable, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function = function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Call the function, with the two at equal rank if one has a last axis of 1."""
        if len(y_true.shape) == len(y_pred.shape) + 1 and y_true.shape[-1] == 1:
            y_true = ops.squeeze(y_true, -1)
        elif len(y_true.shape) + 1 == len(y_pred.shape) and y_pred.shape[-1] == 1:
            y_pred = ops.squeeze(y_pred, -1)
        return self.function(y_true, y_pred)


def loss_of(case: Case, **options: Any) -> Any:
    """Make the loss; options that it doesn't take are set on the object where Keras reads them."""
    if case.kind == "loss function":
        return OfFunction(case.subject, **options)
    loss = case.make(**options)
    if "reduction" in options:
        loss.reduction = options["reduction"] or "none"
    return loss


def pair(case: Case, dtype: str = "float32") -> tuple[Any, Any]:
    """Return y_true and y_pred as tensors."""

    def cast(a: np.ndarray) -> Any:
        return tf.cast(tf.convert_to_tensor(a), dtype) if a.dtype.kind == "f" else tf.convert_to_tensor(a)

    y_true, y_pred = case.inputs
    return tree.map_structure(cast, y_true), tree.map_structure(cast, y_pred)


def samples(case: Case) -> np.ndarray:
    """Return the loss of each sample."""
    return as64(case.once("the loss of each sample", lambda: loss_of(case, reduction=None)(*pair(case))))


def steady_loss(case: Case) -> Any:
    """Return one loss that checks share, if it can be made and gives the same number twice."""
    loss = case.once("a new object", lambda: loss_of(case))
    case.once("two calls", lambda: [loss(*pair(case)) for _ in range(2)])
    if differ(*case.memory["two calls"]):
        raise DoesNotApply("two calls give different numbers: it draws at random, or keeps state in Python")
    return loss


def fix_of(error: BaseException, otherwise: str = "Fix what raises.") -> str:
    """Return how to fix what an error says."""
    for pattern, fix in {
        "'?(float|double|half|bfloat16|int)(16|32|64)?'? tensor|dtype|to Tensor of type": CAST,
        "shape|dimension|broadcast|rank": "Keep the axes in sums and means: keepdims=True.",
        "attribute '_?assign": "Assign nothing: return a new tensor.",
        "numpy|array|bool": "Use keras.ops on tensors.",
    }.items():
        if re.search(pattern, str(error), re.IGNORECASE):
            return fix
    return otherwise


@check(*LOSSES)
def loss_value(case: Case) -> Iterator[Told]:
    """It gives one finite number, eagerly and inside `tf.function`, with an unknown batch size too."""
    y_true, y_pred = pair(case)
    tried = f"The loss of y_true {describe(case.inputs[0])} and y_pred {describe(case.inputs[1])}."
    loss = case.once("a new object", lambda: loss_of(case))
    try:
        value = as64(loss(y_true, y_pred))
    except Exception as error:
        for name in ("two calls", "the loss of each sample"):
            case.memory[name] = Blocked("the loss raises, see loss_value")
        yield tried, words(error), "Nothing else can be tried.", fix_of(error), link_of(error)
        return
    if value.shape or not np.isfinite(value):
        found, fix = f"{value} of shape {value.shape}.", "Bound logarithms and divisions."
        yield tried, found, "fit minimizes one number.", fix
    steady_loss(case)
    yield from loss_in_graph(loss, y_true, y_pred, value)


def loss_in_graph(loss: Any, y_true: Any, y_pred: Any, value: np.ndarray) -> Iterator[Told]:
    """Yield what is wrong inside `tf.function`, first with an unknown batch size, as `fit` traces it."""
    given, why = (y_true, y_pred), "fit runs a graph."
    specs = tree.map_structure(lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), given)
    try:
        graph = as64(tf.function(lambda a, b: loss(a, b), autograph=False, input_signature=specs)(*given))
    except Exception as error:
        try:
            tf.function(lambda a, b: loss(a, b), autograph=False)(*given)
        except Exception as other:
            yield "The loss inside tf.function.", words(other), why, fix_of(other, "Use keras.ops."), link_of(other)
            return
        fix = "Take the number of rows from ops.shape(y_pred)[0], or reshape to (-1, …)."
        yield "The loss inside tf.function, the batch size unknown.", words(error), why, fix, link_of(error)
        return
    if not np.allclose(graph, value, rtol=1e-4, atol=1e-6, equal_nan=True):
        fix = "Give one formula for both: no tf.executing_eagerly, no Python value that a call changes."
        yield "The loss inside tf.function.", f"{graph:.5g}, eagerly {value:.5g}.", why, fix


@check(*LOSSES, after=("loss_value", "python_values"))
def loss_per_sample(case: Case) -> Iterator[Told]:
    """Without reduction there is one value for each sample, and weights and reductions act on these."""
    steady_loss(case)
    y_true, y_pred = pair(case)
    rows = len(tree.flatten(case.inputs[1])[0])
    each = samples(case)
    why = "sample_weight, class_weight and masks then have nothing to act on: samples of weight 0 still count."
    own = "__call__" in vars(type(case.memory["a new object"]))
    fix = "Write call(y_true, y_pred), not __call__: Loss.__call__ weighs and reduces." if own else PER_SAMPLE
    if not each.shape or each.shape[0] != rows:
        found = f"With reduction=None a result of shape {each.shape}."
        yield f"The loss with reduction=None, for {rows} samples.", found, why, fix
        return
    if mask_of(case.memory["a new object"].call(y_true, y_pred)) is not None:
        raise DoesNotApply("its values carry a mask, which Keras leaves out of the mean")
    for reduction, expected in (("sum", each.sum()), ("sum_over_batch_size", each.mean())):
        got = as64(loss_of(case, reduction=reduction)(y_true, y_pred))
        if got.shape or not np.isclose(got, expected, rtol=1e-4, atol=1e-6):
            fix = "Write call(y_true, y_pred) and leave the reduction to Loss.__call__."
            yield f"reduction={reduction!r}.", f"{got} where the values of the samples give {expected:.5g}.", why, fix
            return
    weights = np.linspace(0.0, 1.5, rows).astype("float32")
    got = as64(loss_of(case, reduction="sum")(y_true, y_pred, sample_weight=weights))
    expected = (each.reshape(rows, -1) * weights[:, None]).sum()
    if got.shape or not np.isclose(got, expected, rtol=1e-3, atol=1e-5):
        found = f"{got}, where the weighted values give {expected:.5g}."
        yield "sample_weight from 0 to 1.5.", found, why, fix


@check(*LOSSES, after=("loss_value", "python_values"))
def loss_shapes(case: Case) -> Iterator[Told]:
    """Targets of shape (n,) and (n, 1) give the same loss, or an error."""
    steady_loss(case)
    y_true, y_pred = case.inputs
    if not (isinstance(y_true, np.ndarray) and isinstance(y_pred, np.ndarray)) or y_pred.size != len(y_pred):
        raise DoesNotApply("y_pred doesn't have one number for each sample")
    if y_true.size != len(y_true):
        raise DoesNotApply("y_true doesn't have one number for each sample")
    n, results = len(y_pred), {}
    for one, other in (((n, 1), (n, 1)), ((n,), (n, 1)), ((n, 1), (n,))):
        with contextlib.suppress(Exception):
            results[one, other] = float(as64(loss_of(case)(tf.reshape(y_true, one), tf.reshape(y_pred, other))))
    if len(results) > 1 and not np.allclose(list(results.values()), next(iter(results.values())), rtol=1e-3):
        told = ", ".join(f"y_true {a} with y_pred {b}: {value:.5g}" for (a, b), value in results.items())
        yield (
            "The same numbers as (n,) and as (n, 1).",
            f"{told}.",
            "(n,) and (n, 1) broadcast to (n, n): each prediction is compared with each target.",
            "Start call with y_true = ops.reshape(y_true, ops.shape(y_pred)), after a check of the sizes.",
        )


@check(*LOSSES, after=("loss_value", "python_values"))
def loss_gradients(case: Case) -> Iterator[Told]:
    """The gradient is finite, also for a perfect prediction and for predictions of 0 and 1, and isn't 0 everywhere."""
    loss = steady_loss(case)
    y_true, y_pred = pair(case)
    if not isinstance(y_pred, tf.Tensor) or not isinstance(y_true, tf.Tensor) or not is_float(y_pred.dtype):
        raise DoesNotApply("y_true or y_pred is a structure, or isn't of floating numbers")
    found = {}
    for name, (b, fix) in special_predictions(as64(y_true), as64(y_pred)).items():
        value, gradient = value_and_gradient(lambda b: loss(y_true, b), tf.cast(b, y_pred.dtype))
        if gradient is None:
            fix = "Use operations that have a gradient: no argmax, round or comparison."
            yield "The gradient for y_pred.", "None.", "Nothing can be trained.", fix
            return
        if not np.isfinite(value) or not np.isfinite(gradient).all():
            told = f"The loss is {value:.4g}, its gradient holds nan or inf."
            yield f"Loss and gradient at {name}.", told, "One such sample makes every weight nan.", fix
            return
        found[name] = value, gradient
    if CONFIDENT in found and no_way_down(found[CONFIDENT], found["the example"]):
        fix = "Clip by keras.config.epsilon(), not further inside of 0 and 1."
        why = "Nothing is learnt from the samples that are predicted worst."
        yield f"The gradient at {CONFIDENT}.", "The gradient is 0 for each of them.", why, fix


def no_way_down(worst: tuple, usual: tuple) -> bool:
    """Whether a loss is higher at one place than at another, with a gradient of 0 there and not here."""
    return bool(worst[0] > usual[0] and not worst[1].any() and usual[1].any())


def value_and_gradient(function: Callable[[Any], Any], x: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Return a value in float64 and its gradient for x, which may be None."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = tf.convert_to_tensor(function(x))
    gradient = tape.gradient(value, x)
    return as64(value), None if gradient is None else as64(gradient)


def special_predictions(y_true: np.ndarray, y_pred: np.ndarray) -> dict[str, tuple[np.ndarray, str]]:
    """Return predictions at which losses fail, by name, each with what helps there."""
    clip = "Clip what goes into log; add an epsilon inside of sqrt and norm."
    places = {"the example": (y_pred, clip)}
    binary, within = np.isin(y_true, (0, 1)).all(), y_pred.min() >= 0 and y_pred.max() <= 1
    if y_true.shape == y_pred.shape:
        places["a perfect prediction"] = (np.where(np.isfinite(y_true), y_true, y_pred), clip)  # nan: not known
        if binary and within:
            places["the opposite of a perfect prediction"] = (1 - y_true, clip)
            places[CONFIDENT] = (np.where(y_true == 1, 0.02, 0.98), clip)
    if binary and not within:
        fix = "Use ops.log_softmax, ops.log_sigmoid or ops.softplus: exp of a large number overflows."
        places["logits 100 times larger"] = (100 * y_pred, fix)
    zeros = y_pred.copy()
    columns = zeros.reshape(len(zeros), -1)
    columns[0, (columns.min(axis=0) < 0) & (columns.max(axis=0) > 0)] = 0
    places["a prediction of zeros"] = (zeros, "Add an epsilon to what is divided by, and inside of sqrt and norm.")
    return places


@check(*LOSSES, after=("loss_value", "loss_gradients", "python_values"))
def loss_gradient_is_true(case: Case) -> Iterator[Told]:
    """The gradient for y_pred is the slope that is measured, in float64."""
    steady_loss(case)
    y_true, y_pred = pair(case, "float64")
    if not isinstance(y_pred, tf.Tensor) or not is_float(y_pred.dtype):
        raise DoesNotApply("y_pred is a structure, or isn't of floating numbers")
    loss = OfFunction(case.subject, dtype="float64") if case.kind == "loss function" else loss_of(case, dtype="float64")
    if "StopGradient" in operations_of(lambda given: loss(y_true, given), y_pred):
        raise DoesNotApply("it stops a gradient on purpose")
    wrong = []
    for seed in range(1, 5):
        rng = np.random.default_rng(seed)
        direction = rng.normal(size=y_pred.shape) * 0.1 * np.minimum(1, np.abs(as64(y_pred)))
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = loss(y_true, y_pred)
        if value.dtype != tf.float64:
            raise DoesNotApply("it doesn't compute in float64")
        told = float(np.sum(as64(tape.gradient(value, y_pred)) * direction))
        slope = slope_of(functools.partial(along, lambda given: loss(y_true, given), y_pred, direction), float(value))
        if slope and not np.isclose(slope, told, rtol=2e-3, atol=1e-7):
            wrong.append((slope, told))
    if len(wrong) > 1:
        slope, told = wrong[0]
        yield (
            "y_pred, moved a little in a random direction, in float64.",
            f"The loss moves by {slope:.5g} per unit, the gradient says {told:.5g}.",
            "Training follows the gradient.",
            "Look for rounding, and for a wrong tf.custom_gradient.",
        )


def along(function: Callable[[Any], Any], start: Any, direction: np.ndarray, step: float) -> float:
    """Return a function a step away from the start."""
    return float(function(start + step * direction))


@check(*LOSSES, after=("loss_value", "python_values"))
def loss_in_16_bits(case: Case) -> Iterator[Told]:
    """For predictions in 16 bits the loss is near that of the same numbers in float32."""
    steady_loss(case)
    for dtype in ("float64", "float16") if case.kind == "loss" and accepts(case.subject, "dtype") else ():
        try:
            loss_of(case, dtype=dtype)(*pair(case))
        except Exception as error:
            found = f"With dtype={dtype!r}: {words(error)}"
            yield f"The loss made with dtype={dtype!r}.", found, "Losses take a dtype like layers.", CAST
            return
    for dtype in ("float16", "bfloat16"):
        y_true, y_pred = pair(case, dtype)
        wide = tree.map_structure(lambda t: tf.cast(t, "float32") if is_float(t.dtype) else t, (y_true, y_pred))
        exact = float(as64(loss_of(case)(*wide)))
        try:
            got = float(as64(loss_of(case)(y_true, y_pred)))
        except Exception as error:
            yield f"y_pred in {dtype}.", words(error), "Mixed precision hands on such predictions.", CAST
            return
        if np.isfinite(exact) and not np.isclose(got, exact, rtol=0.1, atol=20 * ROUNDING[dtype]):
            found = f"{got:.4g}, in float32 {exact:.4g}."
            fix = "Compute in float32: y_pred = ops.cast(y_pred, 'float32')."
            yield f"y_pred in {dtype}.", found, "Mixed precision hands on such predictions.", fix
            return


# --- metrics ----------------------------------------------------------------------------------------------------------

METRICS = ("metric", "metric function")


def metric_of(case: Case) -> Any:
    """Make the metric; a function becomes a mean, as in `compile`."""
    if case.kind == "metric function":
        return keras.metrics.MeanMetricWrapper(case.subject, name="function")
    return case.make()


def updated(case: Case, metric: Any, rows: Any = slice(None), **options: Any) -> Any:
    """Update a metric with some of the rows."""
    metric.update_state(*tree.map_structure(lambda a: tf.convert_to_tensor(a[rows]), case.inputs), **options)
    return metric


def result_of(metric: Any) -> np.ndarray:
    """Return the result as one vector."""
    return np.concatenate([as64(one).ravel() for one in tree.flatten(metric.result())])


def whole(case: Case) -> np.ndarray:
    """Return the result for all rows at once."""
    return case.once("the result", lambda: result_of(updated(case, metric_of(case))))


def near(one: np.ndarray, other: np.ndarray, tolerance: float = 1e-3) -> bool:
    """Whether two results agree."""
    return one.shape == other.shape and np.allclose(one, other, rtol=tolerance, atol=tolerance / 10, equal_nan=True)


def show(values: np.ndarray) -> str:
    """Return a result as text."""
    return f"{float(values[0]):.5g}" if values.size == 1 else str(np.round(values.ravel()[:6], 4))


@check(*METRICS)
def metric_value(case: Case) -> Iterator[Told]:
    """It gives a finite result for your data, and follows them."""
    case.once("a new object", lambda: metric_of(case))
    try:
        value = whole(case)
    except Blocked as error:
        case.memory["the result"] = Blocked("update_state or result raises, see metric_value")
        raised = error.__cause__ or error
        yield "update_state and result.", words(raised), "Nothing else can be tried.", fix_of(raised), link_of(raised)
        return
    if not np.isfinite(value).all():
        yield "update_state and result.", f"{show(value)}.", "The log shows nan.", "Divide by ops.divide_no_nan."
    elif never_moves(case):
        fix = "Start a minimum at infinity, also in reset_state: initializer=keras.initializers.Constant(np.inf)."
        found = f"For five other predictions too, result stays {show(value)}, and no variable moves."
        yield "update_state with other predictions.", found, "The log shows one number for ever.", fix


def never_moves(case: Case) -> bool:
    """Whether no variable and no result moves from its start, for several predictions."""
    y_true, y_pred = case.inputs
    arrays = all(
        isinstance(y, np.ndarray) and y.dtype.kind in "fiu" and len(np.unique(y)) > 1 for y in (y_true, y_pred)
    )
    if not arrays or not metric_of(case).variables:
        return False
    for other in (y_pred, y_pred[::-1], 1 - y_pred, -y_pred, 100 * y_pred):
        metric = metric_of(case)
        try:
            before = [as64(v) for v in metric.variables], result_of(metric)
            metric.update_state(tf.convert_to_tensor(y_true), tf.convert_to_tensor(other))
            after = [as64(v) for v in metric.variables], result_of(metric)
        except Exception:
            return False
        if differ(before, after, 0.0):
            return False
    return True


@check(*METRICS, after=("metric_value",))
def metric_in_graph(case: Case) -> Iterator[Told]:
    """It gives the same result inside `tf.function`, where `fit` calls `update_state` and `result`."""
    value, flat = whole(case), [tf.convert_to_tensor(a) for a in tree.flatten(case.inputs)]
    specs = [tf.TensorSpec([None, *a.shape[1:]], a.dtype) for a in flat]

    def in_graph(*batches: slice) -> np.ndarray:
        metric = metric_of(case)

        def update(*flat: Any) -> Any:
            metric.update_state(*tree.pack_sequence_as(case.inputs, flat))
            return metric.result()

        function = tf.function(update, autograph=False, input_signature=specs)
        results = [function(*(x[batch] for x in flat)) for batch in batches]
        return np.concatenate([as64(one).ravel() for one in tree.flatten(results[-1])])

    try:
        once, twice = in_graph(slice(None)), in_graph(slice(0, 2), slice(2, None))
    except Exception as error:
        fix = "Keep state in self.add_variable, and compute with keras.ops: no float(), no NumPy."
        tried = "update_state and result inside tf.function, the batch size unknown."
        yield tried, words(error), "fit and evaluate run a graph.", fix, link_of(error)
        return
    parts = updated(case, metric_of(case), slice(0, 2))
    result_of(parts)  # read after each batch, as in the graph
    updated(case, parts, slice(2, None))
    if not near(once, value) or not near(twice, result_of(parts)):
        found = f"{show(once)} and, in two batches, {show(twice)}; eagerly {show(value)} and {show(result_of(parts))}."
        fix = "Keep state in self.add_variable: a Python value is frozen in the graph."
        yield "update_state inside tf.function.", found, "evaluate and fit run a graph.", fix


@check(*METRICS, after=("metric_value", "metric_in_graph"))
def metric_resets(case: Case) -> Iterator[Told]:
    """After `reset_state` it starts again, and two objects share nothing."""
    with contextlib.suppress(Exception):  # it may need a batch to know its shapes
        if not np.isfinite(empty := result_of(metric_of(case))).all():
            fix = "Divide by ops.divide_no_nan, or return 0 if nothing was counted."
            found = f"With no data it is {show(empty)}, not finite."
            yield "result before the first batch.", found, "A log shows nan.", fix
            return
    for findings in (shared_state, reads_twice, starts_again):
        told = list(findings(case))
        yield from told
        if told:
            return


def shared_state(case: Case) -> Iterator[Told]:
    """Yield whether an update of one object changes the result of another."""
    one, other = metric_of(case), metric_of(case)
    try:
        before = result_of(other)
        updated(case, one, slice(0, 1))
        after = result_of(other)
    except Exception:
        return
    if differ(before, after, 1e-7):
        found = f"The result of the second goes from {show(before)} to {show(after)}: they share their state."
        fix = "Make inner metrics and variables in __init__, not with the class."
        yield "Two objects, one of them updated.", found, "The results of two outputs are mixed.", fix


def reads_twice(case: Case) -> Iterator[Told]:
    """Yield whether `result` changes the state."""
    metric = updated(case, metric_of(case))
    held = [as64(v) for v in metric.variables]
    one, two = result_of(metric), result_of(metric)
    changed = [v.name for a, v in zip(held, metric.variables, strict=False) if not np.array_equal(a, as64(v))]
    if changed or not near(one, two):
        found = f"result changed {', '.join(changed)}." if changed else f"{show(one)}, then {show(two)}."
        fix = "Compute in result, and assign nothing."
        yield "result, called twice.", found, "fit calls result after each batch.", fix


def starts_again(case: Case) -> Iterator[Told]:
    """Yield what `reset_state` leaves."""
    metric = updated(case, metric_of(case))
    known, start = ids_of(metric.variables), [as64(v) for v in metric_of(case).variables]
    metric.reset_state()
    why = "The result of one epoch counts in the next, and that of training in validation."
    fix = "Assign the first value to each variable in reset_state, or make them with add_variable(initializer='zeros')."
    if new := [v.name for v in metric.variables if id(v) not in known]:
        found = f"{', '.join(new)}: new variables, beside those before."
        yield "reset_state.", found, "A graph goes on with the old ones.", "In reset_state, assign: make nothing."
        return
    left = [v.name for v, s in zip(metric.variables, start, strict=False) if not np.array_equal(as64(v), s)]
    again = result_of(updated(case, metric))
    if left or not near(again, whole(case)) or not near(result_of(updated(case, metric_of(case))), whole(case)):
        found = f"The same batch gives {show(again)} after reset_state, {show(whole(case))} before."
        found += f" {', '.join(left)} isn't reset." if left else ""
        yield "update_state, reset_state, update_state.", found, why, fix


@check(*METRICS, after=("metric_value", "metric_in_graph", "metric_resets"))
def metric_over_batches(case: Case) -> Iterator[Told]:
    """Several batches of different sizes, in any order, give the result of all samples at once."""
    rows = len(tree.flatten(case.inputs)[0])
    if rows < 4:
        raise DoesNotApply("under 4 samples given")
    cuts = [slice(0, 1), slice(1, rows // 2), slice(rows // 2, rows)]
    for order, name in ((cuts, ""), (cuts[::-1], ", the last one first")):
        metric = metric_of(case)
        for cut in order:
            updated(case, metric, cut)
        if not near(got := result_of(metric), whole(case)):
            yield (
                f"{rows} samples in batches of 1, {rows // 2 - 1} and {rows - rows // 2}{name}, and at once.",
                f"In batches {show(got)}, at once {show(whole(case))}.",
                "The number depends on the batches: a small last batch counts too much, or earlier ones are lost.",
                "Add up numerator and denominator over the batches, and divide in result. For a maximum: "
                "ops.maximum(self.top, ops.max(…)).",
            )
            return


@check(*METRICS, after=("metric_value", "metric_resets"))
def metric_weights(case: Case) -> Iterator[Told]:
    """A sample of weight 0 doesn't count, one of weight 2 counts twice."""
    if not accepts(metric_of(case).update_state, "sample_weight"):
        yield from without_weights(case)
        return
    rows = len(tree.flatten(case.inputs)[0])
    keep = np.arange(rows) < (rows + 1) // 2
    twice = np.where(np.arange(rows) % 3 == 0, 2.0, 1.0)
    why = "weighted_metrics, class_weight and padding are ignored without an error, or count wrong."
    fix = "Bring weights and values to one shape, (n,); multiply once, and divide by the sum of the weights."
    for weights, counted, name in (
        (keep, np.arange(rows)[keep], "0 for half of the samples, beside those samples left out"),
        (twice, np.repeat(np.arange(rows), twice.astype(int)), "2 for a third of the samples, beside those twice"),
    ):
        tried = f"sample_weight of {name}."
        try:
            got = result_of(updated(case, metric_of(case), sample_weight=tf.constant(weights, "float32")))
        except Exception as error:
            if isinstance(error, NotImplementedError) or "weight" in str(error):
                raise DoesNotApply(words(error)) from None
            yield tried, words(error), "weighted_metrics raises.", "Return one number for each sample."
            return
        if not near(got, expected := result_of(updated(case, metric_of(case), rows=counted))):
            found = f"{show(got)}, where {show(expected)} is right; all samples give {show(whole(case))}."
            yield tried, found, why, fix
            return


def without_weights(case: Case) -> Iterator[Told]:
    """Yield whether `evaluate` raises, because `update_state` doesn't take the weights that Keras hands it."""
    if not all(isinstance(y, np.ndarray) for y in case.inputs):
        raise DoesNotApply("update_state doesn't take sample_weight")
    y_true, y_pred = case.inputs
    same = keras.layers.Lambda(lambda x: x)
    model = keras.Sequential([keras.Input(y_pred.shape[1:], dtype=y_pred.dtype.name), same])
    model.compile(loss=lambda y_true, y_pred: ops.cast(y_pred, "float32") * 0, metrics=[metric_of(case)])
    try:
        model.evaluate(y_pred, y_true, verbose=0)
    except TypeError as error:
        fix = "Write update_state(self, y_true, y_pred, sample_weight=None)."
        yield "A model with metrics=[…], evaluated.", words(error), "fit and evaluate raise.", fix, link_of(error)
        return
    raise DoesNotApply("update_state doesn't take sample_weight")


@check(*METRICS, after=("metric_value", "metric_resets"))
def metric_shapes(case: Case) -> Iterator[Told]:
    """Targets of shape (n,) and (n, 1) give the same result, or an error."""
    y_true, y_pred = case.inputs
    if not all(isinstance(y, np.ndarray) and y.size == len(y) for y in (y_true, y_pred)):
        raise DoesNotApply("y_true or y_pred doesn't have one number for each sample")
    n, results = len(y_pred), {}
    for one, other in (((n, 1), (n, 1)), ((n,), (n, 1)), ((n, 1), (n,))):
        with contextlib.suppress(Exception):
            metric = metric_of(case)
            metric.update_state(tf.reshape(y_true, one), tf.reshape(y_pred, other))
            results[one, other] = result_of(metric)
    first = next(iter(results.values()), None)
    if first is not None and not all(near(value, first) for value in results.values()):
        told = ", ".join(f"y_true {a} with y_pred {b}: {show(value)}" for (a, b), value in results.items())
        why = "(n,) and (n, 1) broadcast to (n, n): each prediction is compared with each target."
        fix = "Reshape both to one axis: ops.reshape(y_true, (-1,))."
        yield "The same numbers as (n,) and as (n, 1).", f"{told}.", why, fix


@check(*METRICS, after=("metric_value", "metric_in_graph"))
def metric_state(case: Case) -> Iterator[Told]:
    """Its state is in variables: no Python value changes, and each variable is listed."""
    metric = metric_of(case)
    keras_own = vars(metric) if is_builtin(metric) else vars(keras.metrics.Mean())
    names = [name for name in vars(metric) if not name.startswith("_") or name not in keras_own]
    before = {name: plain(vars(metric)[name]) for name in names}
    updated(case, metric)
    changed = [name for name, value in before.items() if plain(vars(metric)[name]) != value]
    held = {id(v) for v in metric.variables}
    hidden = [n for n, v in vars(metric).items() if isinstance(v, tf.Variable) and id(v) not in held]
    if changed or hidden:
        found = f"{', '.join(changed + hidden)}: changed, and not in metric.variables."
        fix = "self.add_variable(shape=(), initializer='zeros', name=…), and assign."
        yield (
            "The attributes before and after update_state.",
            found,
            "reset_state doesn't reset it; a graph freezes it.",
            fix,
        )


@check(*METRICS, after=("metric_value", "metric_in_graph"))
def metric_in_16_bits(case: Case) -> Iterator[Told]:
    """It counts in 32 bits: 4,000 predictions in float16 give the result of float32."""
    narrow = [v.name for v in metric_of(case).variables if is_float(v.dtype) and tf.as_dtype(v.dtype).size < 4]
    if narrow and "dtype" not in case.arguments:
        fix = "Leave out dtype: add_variable makes float32."
        why = "In float16 a count stops at 2048, in bfloat16 at 256."
        yield "The dtypes of its variables.", f"{', '.join(narrow)}: of 16 bits, not float32.", why, fix
        return
    y_pred = case.inputs[1]
    if not isinstance(y_pred, np.ndarray) or y_pred.dtype.kind != "f" or not isinstance(case.inputs[0], np.ndarray):
        raise DoesNotApply("y_pred isn't one array of floating numbers")
    times = -(-4000 // len(y_pred))
    y_true, y_pred = (np.concatenate([a] * times) for a in case.inputs)
    results = []
    for dtype in ("float16", "float32"):
        metric = metric_of(case)
        rounded = tf.cast(tf.cast(y_pred, "float16"), dtype)
        try:
            metric.update_state(tf.convert_to_tensor(y_true), rounded)
        except Exception as error:
            fix = "Cast in update_state: y_pred = ops.cast(y_pred, self.dtype)."
            yield "y_pred in float16.", words(error), "Mixed precision hands on such predictions.", fix
            return
        results.append(result_of(metric))
    if not near(*results, 0.02):
        found = f"{show(results[0])}, in float32 {show(results[1])}."
        fix = "Cast to self.dtype before sums and counts."
        yield f"{len(y_pred)} predictions in float16.", found, "float16 ends at 65504 and keeps 3 digits.", fix


# --- optimizers and schedules -----------------------------------------------------------------------------------------


def quadratic(optimizer: Any, steps: int, jit: bool = False, start: float = 1.0) -> tuple[list[float], list[Any]]:
    """Minimize the sum of squares of two weights by gradients; return the losses and the weights."""
    weights = [keras.Variable(np.full(shape, start, "float32"), name=n) for n, shape in (("a", (3, 2)), ("b", (2,)))]
    optimizer.build(weights)

    def step() -> Any:
        with tf.GradientTape() as tape:
            loss = tf.add_n([tf.reduce_sum(tf.square(w.value)) for w in weights])
        optimizer.apply_gradients(zip(tape.gradient(loss, [w.value for w in weights]), weights, strict=True))
        return loss

    function = tf.function(step, autograph=False, jit_compile=jit)
    return [float(function()) for _ in range(steps)], weights


@check("optimizer", after=("can_be_made",))
def optimizer_minimizes(case: Case) -> Iterator[Told]:
    """It lowers a sum of squares, in a graph, and counts its steps once."""
    try:
        losses, _ = case.once("a step of the optimizer", lambda: quadratic(case.make(), 30))
    except Blocked as error:
        case.memory["a step of the optimizer"] = Blocked("a step raises, see optimizer_minimizes")
        fix = "Create slot variables in build, and compute with keras.ops in update_step."
        raised = error.__cause__ or error
        yield (
            "30 steps on a sum of squares, inside tf.function.",
            words(raised),
            "fit runs a graph.",
            fix,
            link_of(raised),
        )
        return
    tried, why = "30 steps on a sum of squares.", "It trains nothing."
    if not np.isfinite(losses).all():
        fix = "Add an epsilon to what is divided by, and inside of sqrt."
        yield tried, f"The loss went from {losses[0]:.4g} to {losses[-1]:.4g}.", why, fix
    elif losses[-1] >= losses[0]:
        fix = "Check the sign: ops.subtract, self.assign_sub."
        yield tried, f"The loss went from {losses[0]:.4g} to {losses[-1]:.4g}.", why, fix
    optimizer = case.make()
    quadratic(optimizer, 3)
    if (count := int(as64(optimizer.iterations))) > 3:
        why = "Schedules and bias corrections run ahead."
        yield (
            "3 steps with two weights.",
            f"iterations is {count}.",
            why,
            "Leave iterations to apply of the base class.",
        )


@check("optimizer", after=("can_be_made", "optimizer_minimizes"))
def optimizer_xla(case: Case) -> Iterator[Told]:
    """Compiled with XLA, as `fit` does on a GPU, it takes the same steps."""
    plainly, again = (quadratic(case.make(), 5)[0] for _ in range(2))
    if not np.allclose(plainly, again, rtol=1e-6) or draws(case.make()):
        raise DoesNotApply("its steps are random")
    try:
        compiled, _ = quadratic(case.make(), 5, jit=True)
    except Exception as error:
        raise DoesNotApply(f"it can't be compiled with XLA: {words(error)[:160]}") from None
    if not np.allclose(compiled, plainly, rtol=1e-3, atol=1e-6, equal_nan=True):
        found = f"After 5 steps the loss is {compiled[-1]:.5g}, without XLA {plainly[-1]:.5g}."
        fix = "Look for Python values, and for numbers that overflow."
        yield "5 steps compiled with XLA, beside 5 without.", found, "On a GPU, fit compiles with XLA by default.", fix


def draws(optimizer: Any) -> bool:
    """Whether it draws random numbers, which XLA draws otherwise: in its graph, or in a step of a gradient of zero."""
    weight, zeros = keras.Variable(np.zeros((3, 2), "float32")), tf.zeros((3, 2))
    optimizer.apply([zeros], [weight])
    moves = bool(np.any(as64(weight)))
    return moves or any("Random" in kind for kind in operations_of(lambda g: optimizer.apply([g], [weight]), zeros))


@check("optimizer", after=("can_be_made", "optimizer_minimizes"))
def optimizer_state(case: Case) -> Iterator[Told]:
    """What it remembers is in `variables`: a copy with the same state takes the same steps, no Python value changes."""
    optimizer = case.make()
    skip = ("_learning_rate", "iterations", "_iterations")
    before = None
    _, weights = quadratic(optimizer, 3)
    before = {n: plain(v) for n, v in vars(optimizer).items() if n not in skip}
    values = [value_of(w) for w in weights]
    other = case.make()
    copies = [keras.Variable(value, name=w.name) for value, w in zip(values, weights, strict=True)]
    other.build(copies)
    if len(other.variables) == len(optimizer.variables):
        for mine, its in zip(other.variables, optimizer.variables, strict=True):
            mine.assign(tf.convert_to_tensor(its))
    for factor in (-0.1, 2.0):  # a step that is a sign tells a difference where the gradient turns
        gradients = [tf.constant(factor * value) for value in values]
        optimizer.apply_gradients(zip(gradients, weights, strict=True))
        other.apply_gradients(zip(gradients, copies, strict=True))
    after = {n: plain(v) for n, v in vars(optimizer).items() if n not in skip}
    changed = [n for n in before if before[n] != after.get(n) and not n.startswith("_self")]
    why = "Training that is resumed from a file continues with another optimizer; a graph freezes a Python value."
    fix = "Create slots with self.add_variable_from_reference in build, and count by self.iterations."
    found = differ([tf.convert_to_tensor(w) for w in copies], [tf.convert_to_tensor(w) for w in weights], 1e-5)
    if changed or found:
        told = f"Attributes changed: {', '.join(changed)}. " if changed else ""
        told += f"With equal variables the next steps differ: {found}." if found else ""
        yield ("Steps of an optimizer and of a new one with the same variables.", told.strip(), why, fix)


@check("optimizer", after=("can_be_made", "optimizer_minimizes", "optimizer_state"))
def optimizer_rate(case: Case) -> Iterator[Told]:
    """The learning rate acts: at 0 nothing moves, and a schedule is followed."""
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([6], [0.0, 0.1])
    optimizer = with_schedule(case, schedule)
    why = "A schedule is what long trainings use."
    fix = "Multiply the step by the learning_rate given to update_step, not by a number kept in __init__."
    tried = "16 steps with a schedule as learning_rate, which is 0 at first, and 0.1 from step 7 on."
    try:
        losses, _ = quadratic(optimizer, 16)
    except Exception as error:
        yield tried, f"With a schedule as learning_rate: {words(error)}", why, fix
        return
    if not np.isfinite(losses[:7]).all():
        found = f"At a learning rate of 0, which a step is divided by, the loss becomes {losses[6]:.5g}."
        yield tried, found, "A warm-up starts at 0.", "Multiply by the learning rate instead."
    elif not np.allclose(losses[:7], losses[0], rtol=1e-4):
        yield tried, f"The learning rate is ignored: the loss goes from {losses[0]:.5g} to {losses[6]:.5g}.", why, fix
    elif np.allclose(losses, losses[0], rtol=1e-6):
        yield tried, "The learning rate stays at that of step 0: nothing moves when the schedule rises.", why, fix


def with_schedule(case: Case, schedule: Any) -> Any:
    """Make the optimizer with a schedule as its learning rate."""
    if not accepts(case.subject if callable_maker(case.subject, "") else type(case.subject), "learning_rate"):
        raise DoesNotApply("it takes no learning_rate")
    try:
        return made_with(case, learning_rate=schedule)
    except Exception as error:
        raise DoesNotApply(f"it can't be made with a schedule: {words(error)}") from None


def made_with(case: Case, **options: Any) -> Any:
    """Make the object with the arguments given and some more."""
    if callable_maker(case.subject, case.kind):
        return case.subject(**{**{name: fresh(value, "float32") for name, value in case.arguments.items()}, **options})
    return type(case.subject)(**options)


@check(
    "optimizer", after=("can_be_made", "optimizer_minimizes", "optimizer_state", "optimizer_rate", "config_round_trip")
)
def schedule_in_config(case: Case) -> Iterator[Told]:
    """A schedule as learning rate comes back from the config."""
    optimizer = with_schedule(case, keras.optimizers.schedules.PiecewiseConstantDecay([2], [0.5, 0.125]))
    try:
        again = reloaded(optimizer)
        rates = []
        for one in (optimizer, again):
            one.build([keras.Variable(np.ones(2, "float32"))])
            rates.append([])
            for step in (0, 5):
                one.iterations.assign(step)
                rates[-1].append(float(as64(one.learning_rate)))
    except Exception as error:
        raise DoesNotApply(f"it can't be made again with a schedule: {words(error)}") from None
    if not np.allclose(*rates) and np.allclose(rates[0], [0.5, 0.125]):
        found = f"At steps 0 and 5 the rate is {rates[1][0]:.4g} and {rates[1][1]:.4g}, not 0.5 and 0.125."
        fix = "Leave learning_rate to super().get_config()."
        yield "An optimizer with a schedule, made again from its config.", found, ROUND_TRIP, fix


@check("optimizer", after=("can_be_made", "optimizer_minimizes"))
def optimizer_separates(case: Case) -> Iterator[Told]:
    """The steps of one weight are no others if another weight of its shape was trained before."""
    for first, name in ((0, "first"), (1, "second")):
        runs = [one_after_other(case, first, pull) for pull in (0.0, 0.0, 1.0)]
        if differ(runs[1][1 - first], runs[0][1 - first], 0.0):
            raise DoesNotApply("two trainings come out differently: its steps are random")
        if found := differ(runs[2][1 - first], runs[0][1 - first], 1e-4):
            yield (
                f"Two weights of one shape, one after the other: the {name} of them with gradients at first, or not.",
                f"The other weight's later steps differ, as if they shared a slot: {found}.",
                "One weight's history moves the other.",
                "Create one slot for each variable: self.add_variable_from_reference(variable, …) in build.",
            )
            return


def one_after_other(case: Case, first: int, pull: float) -> list[Any]:
    """Train two weights: 4 steps with gradients of the first, times `pull`, then 4 with those of the other one.

    All numbers that the optimizer keeps, and that aren't of the weights' shape, start anew: they may be meant for all.
    """
    weights = [keras.Variable(np.full((3, 2), start, "float32"), name=f"w{start}") for start in (1, -3)]
    optimizer = case.make()
    optimizer.build(weights)
    common = [(v, value_of(v)) for v in optimizer.variables if v.shape != (3, 2) and v is not optimizer.iterations]
    for step in range(8):
        now, by = (first, pull) if step < 4 else (1 - first, 1.0)
        gradients = [tf.zeros((3, 2)), tf.zeros((3, 2))]
        gradients[now] = tf.convert_to_tensor(weights[now]) * by * (1.0 + step)
        if step == 4:
            restore(common)
        optimizer.apply_gradients(zip(gradients, weights, strict=True))
    return [tf.convert_to_tensor(w) for w in weights]


@check("optimizer", after=("can_be_made", "optimizer_minimizes"))
def optimizer_dtypes(case: Case) -> Iterator[Told]:
    """It steps weights of each floating dtype, and a scalar, which keep dtype and shape."""
    for dtype in ("float32", "float64", "bfloat16", "float16"):
        weights = [keras.Variable(np.ones(shape), dtype=dtype, name=f"w{len(shape)}") for shape in ((3, 2), (2,), ())]
        tried = f"Steps on weights of {dtype}, of shapes (3, 2), (2,) and ()."
        optimizer = case.make()
        try:
            for _ in range(2):
                optimizer.apply([0.1 * tf.convert_to_tensor(w) for w in weights], weights)
        except Exception as error:
            name = "float32" if dtype == "float32" else "variable.dtype"
            fix = "Make each slot by self.add_variable_from_reference(variable, …), which has its dtype and shape."
            fix += "" if dtype == "float32" else f" Cast the rest: ops.cast(learning_rate, {name})."
            yield tried, words(error), "A layer with such weights can't be trained.", fix, link_of(error)
            return
        changed = [w.name for w, shape in zip(weights, ((3, 2), (2,), ()), strict=True) if tuple(w.shape) != shape]
        if changed:
            yield tried, f"The shape of {', '.join(changed)} changes.", "The layer raises.", "Keep the shape."
            return


@check("optimizer", after=("can_be_made", "optimizer_minimizes"))
def optimizer_at_zero(case: Case) -> Iterator[Told]:
    """With gradients of zero no weight becomes nan, and no noise repeats itself."""
    for start in (1.0, 0.0):
        weight, optimizer = keras.Variable(np.full((4, 3), start, "float32")), case.make()
        values = [as64(weight)]
        for _ in range(5):
            optimizer.apply([tf.zeros((4, 3))], [weight])
            values.append(as64(weight))
        tried = f"5 steps with a gradient of zeros, for a weight of {'ones' if start else 'zeros'}."
        if not np.isfinite(values[-1]).all():
            why = "A unit that is off has such gradients: a ReLU, or an embedding that isn't looked up."
            yield tried, "The weight is nan.", why, "Add an epsilon: g / (ops.sqrt(v) + epsilon)."
            return
        steps = np.diff(values, axis=0).reshape(5, -1)
        sizes = np.linalg.norm(steps, axis=1)
        if not start and sizes.min() > 0 and np.all(steps @ steps[0] > 0.9999 * sizes * sizes[0]):
            found = "The weight moves in one direction, the same at each step."
            why = "Noise that is the same at each step doesn't average out: weights drift."
            fix = "Draw with other seeds at each step: by a keras.random.SeedGenerator, or by self.iterations."
            yield tried, found, why, fix


@check("optimizer", after=("can_be_made", "optimizer_minimizes", "optimizer_at_zero"))
def optimizer_base_arguments(case: Case) -> Iterator[Told]:
    """`clipnorm` and `weight_decay`, which Keras's base class takes, have an effect."""
    cls = type(case.once("a new object", case.make))
    given = [
        name for name in case.arguments if "clip" in name or name in ("weight_decay", "gradient_accumulation_steps")
    ]
    if given:
        raise DoesNotApply(f"it is made with {given[0]}")
    fix = "Pass **kwargs to super().__init__. If apply is written: call super().apply(gradients, variables)."
    for name, value in (("clipnorm", 1e-3), ("weight_decay", 0.5)):
        if not accepts(cls.__init__, name):
            continue
        try:
            plainly, again, smaller = after_steps(case.make()), after_steps(case.make()), after_steps(case.make(), 1e-3)
            got = after_steps(made_with(case, **{name: value}))
        except Exception:
            continue
        same = np.allclose(got, plainly, rtol=1e-6, atol=1e-9) and np.array_equal(plainly, again)
        scales = not np.allclose(smaller, plainly, rtol=1e-3, atol=1e-9) and not np.allclose(plainly, 1.0)
        if same and (scales or name == "weight_decay"):
            why = "compile and fit take it without an error."
            yield f"Steps with {name}={value}, and without.", f"{name} has no effect.", why, fix


def after_steps(optimizer: Any, size: float = 1.0) -> np.ndarray:
    """Return a weight of ones after 3 steps with gradients of some size."""
    weight = keras.Variable(np.ones((3, 2), "float32"))
    gradient = tf.constant(np.arange(1.0, 7.0).reshape(3, 2) * size, "float32")
    for _ in range(3):
        optimizer.apply([gradient], [weight])
    return as64(weight)


@check("optimizer", after=("can_be_made", "optimizer_minimizes"))
def optimizer_in_model(case: Case) -> Iterator[Told]:
    """It trains a model, leaves frozen weights alone, and comes back from a file with its state."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(1)])
    model.layers[0].trainable = False
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    model.compile(optimizer=case.make(), loss="mse")
    frozen = np.array(model.layers[0].kernel)
    model.fit(x, x[:, :1], epochs=2, verbose=0)
    if not np.array_equal(frozen, np.array(model.layers[0].kernel)):
        yield (
            "A fit with a frozen layer.",
            "The frozen kernel changed.",
            "Transfer learning fails.",
            "Update what is given only.",
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        try:
            loaded = keras.saving.load_model(path, custom_objects=customs(case))
        except Exception as error:
            yield (
                "A compiled model, saved and loaded.",
                words(error),
                "The training can't be resumed.",
                HOLD_ALL,
                link_of(error),
            )
            return
        ours, its = (np.concatenate([as64(v).ravel() for v in m.optimizer.variables]) for m in (model, loaded))
        if ours.shape != its.shape or not np.allclose(ours, its):
            found = f"{ours.size} numbers of state saved, {its.size} loaded, or others."
            yield (
                "A compiled model, saved and loaded.",
                found,
                "Training goes on with another state.",
                "Create slots in build.",
            )


def customs(case: Case) -> dict[str, Any]:
    """Return the class of the object under its name."""
    cls = case.subject if inspect.isclass(case.subject) else type(case.once("a new object", case.make))
    return {cls.__name__: cls}


@check("schedule", after=("python_values",))
def schedule_value(case: Case) -> Iterator[Told]:
    """For Python integers and for tensors, in a graph too, it gives the same rate: one finite number, not negative."""
    schedule = case.once("a new object", case.make)
    steps = [0, 1, 2, 5, 10, 50, 100, 1000, 10000]
    function = tf.function(lambda step: schedule(step), autograph=False)
    try:
        rates = {
            "an int": [as64(schedule(step)) for step in steps],
            "a tensor": [as64(schedule(tf.constant(step, "int64"))) for step in steps],
            "a tensor in a graph": [as64(function(tf.constant(step, "int64"))) for step in steps],
        }
    except Exception as error:
        fix = "Use ops.where or ops.cond instead of if, and cast the step: ops.cast(step, 'float32')."
        yield "Steps as an int, as a tensor, and in a graph.", words(error), "fit runs a graph.", fix, link_of(error)
        return
    if shape := next((rate.shape for told in rates.values() for rate in told if rate.shape), None):
        yield "Steps up to 10,000.", f"A rate of shape {shape}.", "The optimizer takes one number.", "Return a scalar."
        return
    by_int = rates.pop("an int")
    for name, told in rates.items():
        if not np.allclose(told, by_int, rtol=1e-4, atol=1e-9, equal_nan=True):
            at = int(np.nanargmax(np.abs(np.subtract(told, by_int))))
            found = f"At step {steps[at]}: {told[at]:.5g}, for an int {by_int[at]:.5g}."
            fix = "Keep no Python state, and cast the step: ops.cast(step, 'float32')."
            yield f"The step as {name}.", found, "fit hands over a tensor.", fix
            return
    for step in (100_000, 1_000_000):
        with contextlib.suppress(Exception):  # a table of rates may end before
            steps, by_int = [*steps, step], [*by_int, as64(schedule(tf.constant(step, "int64")))]
    yield from rate_is_usable(steps, by_int)


def rate_is_usable(steps: list[int], rates: list[Any]) -> Iterator[Told]:
    """Yield at which of some steps a rate isn't finite, or negative."""
    for step, rate in zip(steps, rates, strict=False):
        tried = f"Steps up to {steps[-1]:,}."
        if not np.isfinite(rate):
            fix = "Bound it: ops.minimum(rate, …), with the step in float32."
            fix = "Divide by step + 1, or by ops.maximum(step, 1)." if step == 0 else fix
            yield tried, f"At step {step} the rate is {rate:.5g}: not finite.", "Every weight becomes nan.", fix
            return
        if rate < -1e-12:
            fix = "Bound it: ops.maximum(rate, 0.0)."
            yield tried, f"At step {step} the rate is {rate:.5g}: negative.", "Training climbs.", fix
            return


# --- initializers, regularizers, constraints, activations -------------------------------------------------------------


@check("initializer")
def initializer_values(case: Case) -> Iterator[Told]:
    """It returns finite numbers of the shape and dtype that it is asked for."""
    shape = tuple(case.inputs)
    for dtype in ("float32", "bfloat16", "float16", "float64"):
        tried = f"initializer({shape}, dtype={dtype!r})."
        try:
            value = tf.convert_to_tensor(case.make()(shape, dtype=dtype))
        except Exception as error:
            yield tried, words(error), "add_weight asks for both.", "Take shape and dtype, and shapes of any length."
            return
        if value.shape != shape or value.dtype.name != dtype:
            found = f"Shape {tuple(value.shape)} and dtype {value.dtype.name} come out."
            yield tried, found, "add_weight raises or casts.", "Use shape and dtype."
            return
        if not np.isfinite(as64(value)).all():
            fix = "Bound what goes into log, and what is divided by."
            fix = "Draw in float32, then cast." if dtype in ("bfloat16", "float16") else fix
            yield tried, "nan or inf.", "Training starts at nan.", fix
            return


@check("initializer", after=("initializer_values",))
def initializer_seeds(case: Case) -> Iterator[Told]:
    """It gives new numbers without a seed, and the same with one."""
    shape, initializer = tuple(case.inputs), case.make()
    one, two, third = (as64(made(shape)) for made in (initializer, case.make(), initializer))
    if len(np.unique(one)) <= 3:
        raise DoesNotApply("it gives three numbers at most")
    again, repeat = "A run can't be repeated.", "Pass self.seed to keras.random."
    if accepts(case.subject, "seed") and "seed" not in case.arguments:
        first, second = (as64(case.make(seed=7)(shape)) for _ in range(2))
        if not np.array_equal(first, second):
            yield "Two initializers with seed=7.", "Different numbers: they don't repeat under a seed.", again, repeat
    takes_seed = "seed" in safe_config(initializer)
    given = case.arguments if inspect.isclass(case.subject) else safe_config(initializer)
    seeded = [name for name, value in given.items() if isinstance(value, int)]
    if takes_seed and "seed" in seeded:
        if not np.array_equal(one, two):
            yield "Two initializers with one seed.", "Different numbers.", again, repeat
        elif not np.array_equal(one, third):
            yield "Two calls with one integer seed.", "Different numbers.", "Keras's initializers repeat.", repeat
    elif np.array_equal(one, two) and (takes_seed or (not seeded and draws_numbers(type(initializer)))):
        fix = "seed=None in __init__, and there: self.used = random.randint(1, 10**9) if seed is None else seed."
        yield "Two initializers without a seed.", "Equal numbers.", "Weights of one shape start alike.", fix


def draws_numbers(cls: type) -> bool:
    """Whether the source of a class draws random numbers."""
    own = [base for base in cls.__mro__ if base is not object and not is_builtin(base)]
    drawn = r"random\.(stateless_)?(uniform|normal|truncated_normal|randint|standard_normal|shuffle)|default_rng"
    return any(re.search(drawn, source_of(base)) for base in own)


@check(*ALL, *FUNCTIONS)
def global_seeds(case: Case) -> Iterator[Told]:
    """Making and calling it doesn't seed the generators of Python or NumPy."""
    for name, vary, read in (
        ("Python's random", random.seed, lambda: repr(random.getstate())),
        ("NumPy's np.random", np.random.seed, lambda: repr(np.random.get_state()[1].tolist())),
    ):
        ends = []
        for seed in (1, 2):
            random.seed(0)
            np.random.seed(0)
            vary(seed)
            call_once(case)
            ends.append(read())
        one, two = ends
        if one == two:
            yield (
                f"A new object and a call, after two different seeds of {name}.",
                f"The global state of {name} is the same afterwards: it was seeded.",
                "Every other draw of the program repeats from there on.",
                "Draw with keras.random and a seed of your own, or np.random.default_rng.",
            )


def call_once(case: Case) -> None:
    """Make an object and call it, whatever its kind."""
    thing = case.make()
    if case.kind in LAYERS:
        for training in (None, True) if takes(thing, "training") else (None,):
            case.call(thing, case.of(), training)
    elif case.kind in LOSSES:
        loss_of(case)(*pair(case))
    elif case.kind in METRICS:
        updated(case, metric_of(case))
    elif case.kind == "optimizer":
        quadratic(thing, 1)
    elif case.kind == "schedule":
        thing(1)
    else:
        thing(tuple(case.inputs) if case.kind == "initializer" else tf.convert_to_tensor(case.inputs))


@check("regularizer", after=("python_values",))
def regularizer_values(case: Case) -> Iterator[Told]:
    """It returns one finite number that isn't negative, with a finite gradient, also at zero and in 16 bits."""
    regularizer = case.once("a new object", case.make)
    x = tf.convert_to_tensor(case.inputs)
    places = {"the example": x, "zeros": tf.zeros_like(x), "the example in float16": tf.cast(x, "float16")}
    for name, value in places.items():
        tried = f"A call on {name}."
        try:
            loss, gradient = value_and_gradient(regularizer, value)
        except Exception as error:
            yield tried, words(error), "The loss of a model adds it.", fix_of(error), link_of(error)
            return
        epsilon = "Add an epsilon inside of log, sqrt and norm, and to what is divided by."
        if loss.shape:
            yield tried, f"A result of shape {loss.shape}.", "It is added to the loss.", "Return ops.sum(…)."
            return
        if not np.isfinite(loss):
            fix = epsilon if "16" not in name else "Sum up in float32: ops.cast(x, 'float32')."
            yield tried, f"{loss:.5g}: not finite.", "The loss of the model isn't finite either.", fix
            return
        if loss < -1e-6:
            why = "A penalty below zero rewards what it should punish."
            yield tried, f"{loss:.5g}: negative.", why, "Check the sign."
            return
        if gradient is not None and not np.isfinite(gradient).all():
            yield f"The gradient at {name}.", "nan or inf.", "One step makes the weight nan.", epsilon
            return


@check("regularizer", after=("python_values", "regularizer_values"))
def regularizer_acts(case: Case) -> Iterator[Told]:
    """It gives the same number in a graph, and pulls at the weights by a gradient."""
    regularizer, x = case.once("a new object", case.make), tf.convert_to_tensor(case.inputs)
    told = list(in_graph(regularizer, x))
    yield from told
    if told:
        return
    _, gradient = value_and_gradient(regularizer, x)
    others = [as64(regularizer(x * factor)) for factor in (0.5, 1.5)]
    if not any(others):
        raise DoesNotApply("it is 0 for the example, and for numbers around it")
    if (gradient is None or not gradient.any()) and not np.isclose(*others, rtol=1e-3):
        found = (
            f"It is {'None' if gradient is None else '0 everywhere'}, though the value goes from {others[0]:.4g} to "
        )
        fix = "Look for ops.stop_gradient, rounding and NumPy."
        yield "The gradient at the example.", f"{found}{others[1]:.4g}.", "It pulls at no weight.", fix


def in_graph(function: Callable[[Any], Any], x: Any) -> Iterator[Told]:
    """Yield what is otherwise inside `tf.function`."""
    eagerly, why, fix = function(x), "fit runs a graph.", "Use keras.ops on tensors: no NumPy, no float()."
    if differ(function(x), eagerly, 0.0):
        raise DoesNotApply("two calls give different numbers: it draws at random")
    try:
        graph = tf.function(lambda x: function(x), autograph=False)(x)
    except Exception as error:
        yield "A call inside tf.function.", words(error), why, fix, link_of(error)
        return
    if found := differ(graph, eagerly, 1e-4):
        yield "A call inside tf.function.", f"{found}.", why, fix


@check("constraint", after=("python_values",))
def constraint_values(case: Case) -> Iterator[Told]:
    """It keeps shape and dtype, in a graph too, gives finite numbers, and changes nothing if it is applied again."""
    constraint = case.once("a new object", case.make)
    x = tf.convert_to_tensor(case.inputs)
    places = {"the example": x, "zeros": tf.zeros_like(x), "the example in float16": tf.cast(x, "float16")}
    for name, w in places.items():
        tried = f"A call on {name}."
        try:
            once = tf.convert_to_tensor(constraint(w))
        except Exception as error:
            yield tried, words(error), "The optimizer applies it after each step.", fix_of(error), link_of(error)
            return
        if once.shape != w.shape or once.dtype != w.dtype:
            found = f"Shape {tuple(once.shape)} and dtype {once.dtype.name} come out."
            fix = CAST if once.dtype != w.dtype else "Return all of the weight: keepdims=True, where(…), w * mask."
            yield tried, found, "The optimizer assigns the result to the weight.", fix
            return
        if not np.isfinite(as64(once)).all():
            fix = "Add keras.config.epsilon() to what is divided by."
            yield tried, "nan or inf.", "The weight is lost.", fix
            return
    told = list(applied_again(constraint, x))
    yield from told or in_graph(constraint, x)


def applied_again(constraint: Any, w: Any) -> Iterator[Told]:
    """Yield whether a weight that is allowed is moved again; one that is moved by parts may not come to nothing."""
    once = tf.convert_to_tensor(constraint(w))
    twice = tf.convert_to_tensor(constraint(once))
    again = twice
    for _ in range(200 if is_partial(constraint) else 5):  # a random one may leave a weight alone once
        again = tf.convert_to_tensor(constraint(again))
    fix = "Map onto the allowed set: what is allowed has to stay."
    if is_partial(constraint):
        if np.abs(as64(again)).max() < 1e-3 * np.abs(as64(once)).max():
            yield "Applied 200 times.", "Nothing is left of the weight.", "Training fights against it.", fix
    elif found := differ(twice, once, 1e-4) or differ(again, once, 1e-3):
        why = "The weight keeps moving while the optimizer stands still."
        yield "Applied to what it returned.", f"Applied again it changes: {found}.", why, fix


def is_partial(constraint: Any) -> bool:
    """Whether a constraint moves a part of the way only, by its argument `rate`."""
    return safe_config(constraint).get("rate", 1) not in (1, None)


@check("activation")
def activation_values(case: Case) -> Iterator[Told]:
    """It keeps the dtype, gives finite numbers and gradients for large inputs and in 16 bits."""
    x, function = case.inputs, case.subject
    if noise := noise_of(function, x):
        why = "A row's output depends on its place in the batch: by noise of a fixed seed, or by axis 0."
        fix = "For noise write a layer that draws with a keras.random.SeedGenerator, in training only."
        yield "Rows that are equal.", f"Their outputs differ: {noise}.", why, fix
        return
    for dtype in ("float64", "float32", "float16", "bfloat16"):
        for name, values in (("the example", x), ("inputs of ±100", 100 * np.sign(x)), ("zeros", 0 * x)):
            told = list(activation_at(function, name, tf.cast(values, dtype)))
            yield from told
            if told:
                return


def noise_of(function: Callable, x: np.ndarray) -> str:
    """Say how the outputs of equal rows differ, or nothing."""
    alike = tf.convert_to_tensor(np.repeat(x[:1], 2, axis=0))
    try:
        one, other = (tf.convert_to_tensor(function(alike)) for _ in range(2))
        found = differ(one[:1], one[1:], 1e-4)
    except Exception:
        return ""  # activation_at reports it
    if differ(one, other, 0.0):
        raise DoesNotApply("two calls give different numbers: it draws at random")
    return found


def activation_at(function: Callable, name: str, value: Any) -> Iterator[Told]:
    """Yield what is wrong with values and gradient at one place, in one dtype."""
    dtype = value.dtype.name
    tried = f"A call on {name} in {dtype}."
    try:
        with tf.GradientTape() as tape:
            tape.watch(value)
            out = tf.convert_to_tensor(function(value))
            total = tf.reduce_sum(tf.cast(out, "float32"))
    except Exception as error:
        yield tried, f"In {dtype}: {words(error)}", "No layer can use it.", fix_of(error), link_of(error)
        return
    if out.dtype != value.dtype:
        yield tried, f"The dtype {out.dtype.name} comes out.", "The next layer gets it.", CAST
        return
    exact = as64(function(tf.cast(value, "float64")))
    fix = "Choose a formula that doesn't overflow, such as ops.softplus, ops.log_sigmoid and ops.log_softmax."
    fix = fix if "100" in name else "Keep sqrt, log and divisions away from 0: ops.maximum(x, epsilon)."
    small = np.abs(exact).max() < 6e4
    if not np.isfinite(as64(out)).all():
        if small or np.isnan(exact).any():
            yield tried, "nan or inf.", "Every loss becomes nan.", fix
        return
    gap = np.abs(as64(out) - exact).max() if exact.shape == out.shape and small else 0
    if gap > 32 * ROUNDING[dtype] * max(1.0, np.abs(exact).max()):
        yield tried, f"Off by {gap:.4g} from float64.", "Mixed precision computes something else.", fix
        return
    gradient = tape.gradient(total, value)
    if gradient is not None and not np.isfinite(as64(gradient)).all():
        yield f"The gradient at {name} in {dtype}.", "nan or inf.", "One step makes every weight nan.", fix


@check("activation", after=("activation_values",))
def activation_in_graph(case: Case) -> Iterator[Told]:
    """A graph gives the numbers of an eager call, and no row depends on the others."""
    function, x = case.subject, tf.cast(case.inputs, "float64")
    if differ(function(x), function(x), 0.0):
        raise DoesNotApply("two calls give different numbers: it draws at random")
    spec, why, fix = tf.TensorSpec([None, *x.shape[1:]], x.dtype), "fit runs a graph.", "Use keras.ops on tensors."
    try:
        graph = tf.function(lambda v: function(v), input_signature=[spec], autograph=False)(x)
    except Exception as error:
        yield "A call inside tf.function.", words(error), why, fix_of(error, fix), link_of(error)
        return
    if found := differ(graph, function(x), 1e-6):
        yield "A call inside tf.function.", f"{found}.", why, fix
    for rows, name in ((slice(0, 1), "first"), (slice(-1, None), "last")) if x.shape.rank > 1 and len(x) > 1 else ():
        if found := differ(function(x[rows]), function(x)[rows], 1e-6):
            fix = "Reduce over the last axis, not over axis 0 or over everything."
            found = f"It depends on the other rows of the batch: {found}."
            yield f"The {name} row alone.", found, "predict then depends on the batch.", fix
            return


@check("activation", after=("activation_values", "activation_in_graph"))
def activation_gradient(case: Case) -> Iterator[Told]:
    """The gradient is the slope that is measured, in float64."""
    function, x = case.subject, tf.cast(case.inputs, "float64")
    out = tf.convert_to_tensor(function(x))
    if not differ(out, x, 0.0):
        raise DoesNotApply("it returns its input: another gradient than 1 is its purpose")
    wrong = []
    for seed in range(1, 5):
        rng = np.random.default_rng(seed)
        direction, weights = rng.normal(size=x.shape), rng.normal(size=out.shape)

        def weighted(given: Any, weights: np.ndarray = weights) -> Any:
            return tf.reduce_sum(function(given) * weights)

        with tf.GradientTape() as tape:
            tape.watch(x)
            total = weighted(x)
        gradient = tape.gradient(total, x)
        told = 0.0 if gradient is None else float(np.sum(as64(gradient) * direction))
        slope = slope_of(functools.partial(along, weighted, x, direction), float(total))
        if slope and not np.isclose(slope, told, rtol=2e-3, atol=1e-5):
            wrong.append((slope, told))
    if len(wrong) > 1:
        found = f"The outputs move by {wrong[0][0]:.5g} per unit, the gradient says {wrong[0][1]:.5g}."
        fix = "Correct the custom gradient."
        yield "Inputs moved a little, in float64.", found, "Training follows the gradient.", fix


# --- checkup ----------------------------------------------------------------------------------------------------------


def kind_of(thing: Any) -> str:
    """Return the kind of an object or a class."""
    for name, base in KINDS.items():
        if (inspect.isclass(thing) and issubclass(thing, base)) or isinstance(thing, base):
            return name
    return ""


def case_of(subject: Any, inputs: Any, keywords: dict[str, Any] | None, kind: str | None, arguments: dict) -> Case:
    """Find what kind of object a subject is, or makes, and what it is called with."""
    if kind not in (None, *KINDS, *FUNCTIONS):
        kinds = ", ".join([*KINDS, *FUNCTIONS])
        raise Refused(f"There is no kind {kind!r}: give one of {kinds}; an argument of this name by functools.partial.")
    subject, found, arguments = kind_of_subject(subject, inputs, kind, arguments)
    rng, made_up = np.random.default_rng(0), {}
    if inputs is None:
        made_up = {"made up": ", as no inputs were given"}
        inputs = (64, 32) if found == "initializer" else rng.normal(size=(6, 4)).astype("float32")
    if found in FUNCTIONS and arguments:
        subject, arguments = functools.partial(subject, **arguments), {}
    if found in LOSSES and not (isinstance(inputs, tuple | list) and len(inputs) == 2):
        raise Refused("Give a loss the pair (y_true, y_pred) as its inputs.")
    if found in LAYERS or found in (*LOSSES, *METRICS):
        inputs = tree.map_structure(as_array, inputs)
    elif found in ("activation", "regularizer", "constraint"):
        inputs = np.asarray(inputs, "float32")
    keywords = {k: tree.map_structure(as_array, v) for k, v in (keywords or {}).items()}
    return Case(subject, inputs, keywords, arguments, found, made_up)


def kind_of_subject(subject: Any, inputs: Any, kind: str | None, arguments: dict) -> tuple[Any, str, dict]:
    """Return what is checked, its kind and its arguments: a function of tensors, or what makes an object."""
    found = kind_of(subject)
    if arguments and found and not inspect.isclass(subject):
        raise Refused(f"It is an object already: {', '.join(arguments)} can be given to a class or a function only.")
    if found or not callable(subject):
        pass
    elif len(needed(subject, arguments)) == 2 and not isinstance(inputs, np.ndarray):
        found = "metric function" if kind and kind.startswith("metric") else "loss function"
    elif len(needed(subject, arguments)) == 1 and not inspect.isclass(subject):
        found = "activation"
    elif not inspect.isclass(subject) or kind == "activation":
        made = subject(**arguments)
        if not kind_of(made):
            return kind_of_subject(made, inputs, kind, {})
        found = kind_of(made)
    if kind in KINDS and found in FUNCTIONS and not found.startswith(kind):
        functions = ", ".join(FUNCTIONS)
        raise Refused(f"For kind={kind!r} give the class or an object; a function of tensors is one of {functions}.")
    if not (found or kind):
        kinds = ", ".join([*KINDS, *FUNCTIONS])
        what = "isn't a Keras class, an object of one, or a function that makes one"
        raise Refused(f"{subject!r} {what}. For a plain function, give kind=, one of: {kinds}")
    return subject, found if kind in KINDS else kind or found, arguments


def needed(function: Callable, arguments: dict) -> list[str]:
    """Return the parameters of a function that have no default and aren't given."""
    given = inspect.signature(function).parameters.values()
    plain_kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in given if p.kind in plain_kinds and p.default is p.empty and p.name not in arguments]


def as_array(value: Any) -> Any:
    """Return an array, floating numbers in float32, or a Python value as it is."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    array = np.asarray(value)
    return array.astype("float32") if array.dtype == np.float64 else array


def checkup(
    subject: Any,
    inputs: Any = None,
    *,
    keywords: dict[str, Any] | None = None,
    leave_out: dict[str, str] | None = None,
    progress: bool | None = None,
    kind: str | None = None,
    **arguments: Any,
) -> Report:
    """Run every check that applies to an object.

    Args:
        subject: A class, a function that makes an object, or an object.
        inputs: One batch as the first argument of `call`: an array, or a list, tuple or dict of arrays. For a loss or
            a metric `(y_true, y_pred)`; for an initializer a shape; for an optimizer or a schedule nothing.
        keywords: Further tensors for `call`, by name.
        leave_out: Names of checks that aren't run, each with the reason, which the report repeats.
        progress: Whether to show a line for each check on the standard error; by default in a terminal.
        kind: For a plain function: `"activation"`, `"loss function"` or `"metric function"`.
        **arguments: Of the constructor, or of the function that makes the object.

    Returns:
        The report: `report.assert_clean()` in a test, `print(report)` elsewhere.
    """
    if DEFINING in os.environ:
        return definitions_only()
    if not isinstance(leave_out or {}, dict):
        raise TypeError("Give leave_out a dict: the name of each check, and the reason.")
    unknown = [name for name in leave_out or {} if name not in CHECKS]
    if unknown:
        close = difflib.get_close_matches(unknown[0], CHECKS, 3, 0.3)
        raise Refused(f"There is no check {unknown[0]!r}. Nearest names: {', '.join(close)}")
    for name, reason in (leave_out or {}).items():
        if not (isinstance(reason, str) and reason.strip()):
            raise Refused(f"Give a reason why {name} is left out, which the report repeats: {reason!r} is none.")
    with global_state_kept():
        case = case_of(subject, inputs, keywords, kind, arguments)
        name = getattr(subject, "__name__", None) or type(subject).__name__
        report = Report(name if inspect.isclass(subject) else f"{name} ({case.kind})")
        # Before anything is made, which may change them.
        defaults = parameters(subject) if inspect.isclass(subject) else []
        case.memory["defaults"] = {p.name: repr(p.default) for p in defaults}
        bar = Progress(sys.stderr.isatty() if progress is None else progress)
        for title, one in CHECKS.items():
            if case.kind in one.kinds:
                bar.show(title)
                run_one(title, one, case, report, (leave_out or {}).get(title))
        bar.show("")
    tried = [reason for name, reason in report.left.items() if name not in (leave_out or {})]
    if tried and not report.passed and not report.findings:
        why, fix = "A report without a finding says nothing then.", f"Begin with the first reason beside ○: {tried[0]}."
        report.findings.append(Finding("checkup", "Every check that is for it.", "None could be run.", why, fix))
    return report


def run_one(title: str, one: Check, case: Case, report: Report, reason: str | None) -> None:
    """Run one check and note what came out."""
    if reason is not None:
        report.left[title] = f"left out: {reason}"
        return
    hidden = [name for name in one.after if any(f.check == name for f in report.findings)]
    if hidden:
        report.left[title] = f"can't be told apart from the finding of {hidden[0]}"
        return
    found: list[Finding] = []
    why = ""
    try:
        found.extend(Finding(title, *told) for told in told_by(one.run, case))
    except DoesNotApply as error:
        why = f"doesn't apply: {error}"
    except Exception as error:
        # Where one can't be made or called, whatever else is raised follows from it.
        failed = [one for one in map(case.memory.get, ("the call", "a new object")) if isinstance(one, Blocked)]
        if one.run.__globals__ is not globals() and not isinstance(error, Blocked) and not failed:
            raise  # a check of the reader's own
        told = error if isinstance(error, Blocked) else words(error)
        why = f"can't be run: {failed[0] if failed else told}"
        if os.environ.get("CHECKUP_DEBUG"):
            traceback.print_exc()
    report.findings += found
    if why and not found:
        report.left[title] = why
    elif not found:
        report.passed.append(title)


def told_by(function: Callable, case: Case) -> Iterator[Told]:
    """Yield what a check yields, which has to be four texts, or five."""
    given = function(case)
    wrong, how = given, "returned"
    if given is None or (hasattr(given, "__iter__") and not isinstance(given, str)):
        for told in given or ():
            texts = isinstance(told, tuple | list) and all(isinstance(text, str) for text in told)
            if not texts or len(told) not in (4, 5):
                wrong, how = told, "yielded"
                break
            yield tuple(told)
        else:
            return
    code = function.__code__
    raise TypeError(
        f"The check {function.__name__} ({Path(code.co_filename).name}, line {code.co_firstlineno}) {how} {wrong!r}. "
        "Yield four texts for each finding: what was tried, what was found, why it matters, how to fix it; a fifth is "
        "an address. Yield nothing if all is well."
    )


class Progress:
    """A line on the standard error that names the check that is running, once a run takes longer than 3 seconds."""

    def __init__(self, wanted: bool) -> None:
        self.wanted, self.start = wanted, time.monotonic()

    def show(self, title: str) -> None:
        """Show the name of a check, or clear the line."""
        if self.wanted and time.monotonic() - self.start > 3:
            print(f"\r\033[K{title}", end="", file=sys.stderr, flush=True)


# --- command line -----------------------------------------------------------------------------------------------------


def example(text: str, seed: int) -> np.ndarray:
    """Make an example from a text such as `8x4` or `8x4:int32`."""
    size, dtype = size_of(text)
    rng = np.random.default_rng(seed)
    if np.dtype(dtype or "float32").kind in "iu":
        return rng.integers(0, 3, size=size).astype(dtype)
    return rng.normal(size=size).astype(dtype or "float32")


def size_of(text: str) -> tuple[tuple[int, ...], str]:
    """Read a shape and a dtype, such as `8x4:int32`."""
    shape, _, dtype = text.partition(":")
    if dtype in ("str", "string", "object"):
        raise Refused(f"{text!r}: the command line makes numbers; strings need a test, which gives them to checkup")
    try:
        return tuple(int(part) for part in shape.split("x")), np.dtype(dtype or "float32").name
    except (ValueError, TypeError):
        raise Refused(f"{text!r} isn't a shape such as 8x4, or 8x4:int32") from None


def literal(text: str) -> tuple[str, Any]:
    """Split `name=value`; a value that is no Python literal is a string."""
    name, found, value = text.partition("=")
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} isn't of the form name=value")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        prog="checkup.py", description="Check a Keras layer, model, loss, metric or another object."
    )
    parser.add_argument("subject", nargs="?", help="module:Class, or module:function that makes an object")
    parser.add_argument("arguments", nargs="*", type=literal, help="arguments of the constructor: name=value")
    parser.add_argument("--input", action="append", default=[], help="8x4 or 8x4:int32; more than one: a list")
    parser.add_argument("--leave-out", action="append", default=[], type=literal, help="name=reason")
    parser.add_argument("--kind", choices=[*KINDS, *FUNCTIONS], help="for a plain function")
    parser.add_argument("--list", action="store_true", help="print each check")
    options = parser.parse_intermixed_args()
    if options.list:
        for name, one in CHECKS.items():
            print(f"{name}: {inspect.getdoc(one.run).splitlines()[0]}")
        return 0
    if not options.subject or ":" not in options.subject:
        parser.error("name what to check as module:Class")
    sys.path.insert(0, "")
    module, _, name = options.subject.partition(":")
    try:
        subject = functools.reduce(getattr, name.split("."), importlib.import_module(module))
    except (ImportError, AttributeError) as error:
        hint = f" Name the module, not the file: {module.removesuffix('.py')}:{name}" if module.endswith(".py") else ""
        parser.error(f"{error}.{hint}")
    arguments = dict(options.arguments)
    if own := arguments.keys() & inspect.signature(checkup).parameters.keys():
        name = min(own)
        parser.error(f"{name} is an argument of checkup: in a test, give the class one by functools.partial")
    try:
        if kind_of(subject) == "initializer":
            inputs = [size_of(text)[0] for text in options.input]
        else:
            inputs = [example(text, seed) for seed, text in enumerate(options.input)]
        inputs = inputs[0] if len(inputs) == 1 else inputs or None
        leave_out = {name: str(reason) for name, reason in options.leave_out}
        report = checkup(subject, inputs, leave_out=leave_out, kind=options.kind, **arguments)
    except Refused as error:
        parser.error(str(error))
    print(report)
    return 0 if report.clean else 1


if __name__ == "__main__":
    sys.modules.setdefault(Path(__file__).stem, sys.modules["__main__"])  # one list of checks for who imports it
    if sys.argv[1:] == ["--answer"]:
        answer_requests()
    else:
        sys.exit(main())
