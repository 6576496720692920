"""`docs/index.md`: every claim that the page makes, proved."""

from __future__ import annotations

import numpy as np
import pytest

from snippets.index import Scale
from tests import contract

CASES = {"Scale": contract.Layer(lambda **kw: Scale(**kw), inputs=[(3,), (5, 3)])}


@pytest.mark.parametrize("check", contract.LAYER, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contract(case, check, tmp_path, fresh_process):
    check(case, tmp_path=tmp_path, fresh_process=fresh_process)


def test_it_starts_as_the_identity_and_multiplies_each_feature():
    layer = Scale()
    x = np.ones((2, 3), "float32")
    np.testing.assert_array_equal(layer(x), x)
    layer.factor.assign([2.0, -1.0, 0.5])
    np.testing.assert_array_equal(layer(x), x * [2.0, -1.0, 0.5])
