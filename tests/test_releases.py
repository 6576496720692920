"""`docs/releases.md`: what changed for custom code, held against the file that `make releases` writes."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from engine.prove.releases import Tried, listed
from engine.site import sections
from tests.site import SITE

TRIED = Tried.read(SITE)
OLD = TRIED.released


@pytest.mark.proves("What the code of this site does on other releases of Keras, from 3.12 to the nightly")
def test_the_releases_that_are_listed_were_tried():
    assert OLD[0].startswith("3.12.")
    wanted = [release.keras for release in listed(SITE.root) if release.keras != "nightly"]
    assert wanted == OLD
    assert all(about["ran"] >= 250 for about in TRIED.releases.values())
    assert [version for version in TRIED.releases if version not in OLD], "and a nightly"


def does(module: str, piece: str) -> dict[str, str]:
    """What a block does on each older release on which it isn't the same."""
    return {
        version: " ".join(next(iter(what.values())).split())
        for version, what in TRIED.differs[module][piece].items()
        if version in OLD
    }


def today(module: str, piece: str) -> str:
    return " ".join(sections(SITE.snippets / f"{module}.txt")[piece].text.split())


def before(minor: str) -> list[str]:
    return [version for version in OLD if [int(n) for n in version.split(".")[:2]] < [int(n) for n in minor.split(".")]]


@pytest.mark.proves(
    "Keras 3.13 | The message of a wrong shape tells the name of the `InputSpec`, too: `Input 0 with name 'None' "
    "of layer 'projection'`.",
    'Before: `Input 0 of layer "projection"`.',
)
def test_the_message_of_a_wrong_shape_tells_the_name_of_the_spec_since_3_13():
    named = keras.layers.Layer()
    named.input_spec = keras.layers.InputSpec(axes={-1: 4}, name="features")
    with pytest.raises(ValueError, match="Input 0 with name 'features' of layer"):
        named(keras.Input((5,), name="x"))
    old = does("layers/custom_layer", "input_spec")
    assert list(old) == before("3.13")
    assert all('Input 0 of layer "projection" is incompatible' in said for said in old.values())
    assert "Input 0 with name 'None' of layer 'projection' is incompatible" in today(
        "layers/custom_layer", "input_spec"
    )


@pytest.mark.proves(
    'Keras 3.14 | A layer\'s `add_weight("kernel", shape=…)` raises a `ValueError`, ``name` must be passed as a '
    "keyword argument`.",
    "Before, it is a `TypeError`, `add_weight() got multiple values for argument 'shape'`: code that catches the one "
    "misses the other.",
)
@pytest.mark.parametrize(
    ("module", "piece"), [("errors/layers", "name_fails"), ("layers/custom_layer", "seen_name_fails")]
)
def test_a_name_by_place_is_a_value_error_since_3_14(module, piece):
    old = does(module, piece)
    assert list(old) == before("3.14")
    for said in old.values():
        assert "TypeError: Layer.add_weight() got multiple values for argument 'shape'" in said
        assert "ValueError: `name`" not in said
    assert "ValueError: `name` must be passed as a keyword argument" in today(module, piece)


@pytest.mark.proves(
    'Keras 3.14 | `metrics=["accuracy"]` for two outputs of a functional model raises in other words: `tuple arity '
    "mismatch` for a list or a tuple, of which the end changes in 3.15 once more, and `Expected an "
    "instance of dict` for "
    "a dict.",
)
@pytest.mark.parametrize(
    ("module", "piece"), [("errors/models", "metrics_fails"), ("models/multiple_inputs_outputs", "seen_metrics_fails")]
)
def test_one_metric_for_two_outputs_raises_in_other_words_in_3_14_and_in_3_15(module, piece):
    old = does(module, piece)
    assert list(old) == before("3.15")
    assert len({old[version] for version in before("3.14")}) == 1
    assert len({*old.values(), today(module, piece)}) == 3
    said = {version: "tuple arity mismatch" in text for version, text in old.items()}
    assert said == {version: version not in before("3.14") for version in old}
    assert "tuple arity mismatch" in today(module, piece)
    if module == "errors/models":
        said = {version: "Expected an instance of dict" in text for version, text in old.items()}
        assert said == {version: version not in before("3.14") for version in old}
    assert all("ValueError: " in said for said in [*old.values(), today(module, piece)])


@pytest.mark.proves(
    "Keras 3.15 | In a layer without `compute_output_shape`, `inputs @ kernel` and `ops.matmul` no "
    "longer hold inputs of "
    "three or more axes against a kernel of two axes while a functional model is built, if the size of an axis isn't "
    "known: a kernel of the wrong size fails at the first batch.",
)
def test_a_kernel_of_the_wrong_size_is_not_noticed_since_3_15():
    old = does("errors/layers", "axis_fails")
    assert list(old) == before("3.15")
    assert all(said.startswith("ValueError: Dimensions must be equal, but are 4 and 7") for said in old.values())
    assert today("errors/layers", "axis_fails").startswith("declared: (None, 7, 8)")
    old = does("layers/custom_layer", "seen_axis_fails")
    assert list(old) == before("3.15")
    assert all(said.startswith("model: ValueError data: ") for said in old.values())


@pytest.mark.proves(
    "Keras 3.16, the nightly | The loss of one output of several, in `evaluate` and in the history of `fit`, is no "
    "longer a mean over batches. In the block, whose last batch is smaller, the losses of the outputs "
    "add up to `loss` now: it prints `equal: True`.",
)
def test_the_losses_of_the_outputs_add_up_on_the_nightly():
    (nightly,) = set(TRIED.releases) - set(OLD)
    differs = TRIED.differs["models/multiple_inputs_outputs"]["uneven"]
    assert list(differs) == [nightly]
    assert "equal: True" in differs[nightly]["prints"]
    assert "equal: False" in today("models/multiple_inputs_outputs", "uneven")


@pytest.mark.proves(
    "Keras 3.16, the nightly | In a layer that is built, a `quantize` of its own can't add weights: `You cannot add "
    "new elements of state`."
)
def test_a_layer_that_quantizes_itself_is_refused_on_the_nightly():
    (nightly,) = set(TRIED.releases) - set(OLD)
    differs = TRIED.differs["saving/smaller"]["program"]
    assert list(differs) == [nightly]
    assert "You cannot add new elements of state" in differs[nightly]["raises"]


@pytest.mark.proves(
    "Keras 3.15 | A kernel of `EinsumDense` may start with other weights, and so a "
    "`MultiHeadAttention`, where the initializer scales by the number of inputs or outputs, as the default does. "
    "The kernel of a query, "
    "`(features, heads, size)`, counts as a matrix of `features` rows now: with 16 features and 2 heads of 8, its "
    "standard deviation is 0.25, and it was 0.11.",
)
@pytest.mark.parametrize("draw", range(5))
def test_an_attention_starts_with_the_kernel_of_a_matrix_since_3_15(draw):
    assert list(does("tutorials/transformer", "cell 14")) == before("3.15")
    keras.utils.set_random_seed(draw)
    attention, einsum = keras.layers.MultiHeadAttention(2, 8), keras.layers.EinsumDense("abc,cde->abde", (None, 2, 8))
    attention.build((None, 7, 16), (None, 7, 16))
    einsum.build((None, 7, 16))
    kernels = [*(dense.kernel for dense in (attention.query_dense, attention.key_dense)), einsum.kernel]
    for kernel in kernels:
        assert kernel.shape == (16, 2, 8)
        assert np.std(kernel) == pytest.approx(0.25, abs=0.03)
    # Glorot's rule: as a matrix of 16 rows and 16 columns, and as it was, with 16 * 2 rows and 16 * 8 columns.
    assert np.sqrt(2 / (16 + 16)) == 0.25
    matrix = keras.layers.EinsumDense("abc,cd->abd", (None, 16))
    matrix.build((None, 7, 16))
    assert np.std(matrix.kernel) == pytest.approx(0.25, abs=0.03), "which is as it was"
    old = keras.initializers.GlorotUniform(seed=draw)((16, 2, 8))
    assert np.std(old) == pytest.approx(0.11, abs=0.01)
