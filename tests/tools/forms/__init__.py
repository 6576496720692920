"""Wrong forms of layers, models and all else, each beside the form that is right."""

from __future__ import annotations

from tests.tools.forms import calls, config, dtype, file, gradients, graph, loss, mask, metric, other, training, weights
from tests.tools.forms.form import OBJECTS, Form

GROUPS = [weights, config, file, calls, dtype, training, mask, gradients, graph, loss, metric, other]
FORMS: list[Form] = [form for group in GROUPS for form in group.FORMS]

__all__ = ["FORMS", "OBJECTS", "Form"]
