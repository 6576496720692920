"""Records what modules of PyTorch compute, in `pytorch.yaml`: the tests compare what Keras layers compute with it.

PyTorch isn't among what the site needs. In an environment of its own, with `torch==2.13.0`, NumPy and PyYAML:

    python tests/saving/record_pytorch.py

The file holds the names and shapes of each `state_dict` and the outputs. Weights and inputs aren't in it: `numbers`
makes them of the shapes, here and in the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

RECORD = Path(__file__).with_name("pytorch.yaml")


def numbers(shape: Sequence[int], start: float = 0.0) -> np.ndarray:
    """Irregular numbers between -1 and 1, the same everywhere."""
    size = int(np.prod(shape))
    return np.sin(start + np.arange(1, size + 1) ** 1.5).reshape(shape).astype("float32")


def state(shapes: dict[str, Sequence[int]]) -> dict[str, np.ndarray]:
    """Weights for the names and shapes of a `state_dict`; variances are positive."""
    made = {}
    for place, (name, shape) in enumerate(shapes.items()):
        values = numbers(shape, start=float(place))
        if name.endswith("num_batches_tracked"):
            made[name] = np.int64(0)
        else:
            made[name] = 1 + values**2 if name.endswith("running_var") else values
    return made


def main() -> None:
    import torch
    import yaml
    from torch import nn

    def run(module: nn.Module, *inputs: Any, train: bool = False, **options: Any) -> dict[str, Any]:
        shapes = {name: list(value.shape) for name, value in module.state_dict().items()}
        given = {name: torch.as_tensor(value) for name, value in state(shapes).items()}
        module.load_state_dict(given)
        module.train(train)
        tensors = [torch.as_tensor(value) for value in inputs]
        with torch.no_grad():
            outputs = module(*tensors, **options)
        outputs = outputs[0] if isinstance(outputs, tuple) else outputs
        after = {name: value.numpy() for name, value in module.state_dict().items()}
        return {
            "state": shapes,
            "inputs": [list(value.shape) for value in inputs],
            "outputs": listed(outputs.numpy()),
            **({"after": {name: listed(value) for name, value in after.items()}} if train else {}),
        }

    def listed(array: np.ndarray) -> Any:
        return np.round(array.astype("float64"), 6).tolist()

    class Net(nn.Module):
        """The network of the page."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3, stride=2, padding=1)
            self.norm = nn.BatchNorm2d(2)
            self.out = nn.Linear(18, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(torch.flatten(torch.relu(self.norm(self.conv(x))), 1))

    half = torch.ones(2, dtype=torch.bfloat16)
    try:
        half.numpy()
    except TypeError as error:
        says = str(error)
    padding = torch.as_tensor([[False, False, True], [False, True, True]])
    record = {
        "made by": f"torch {torch.__version__.split('+')[0]}",
        "bfloat16 to NumPy": {"raises": says, "as float": half.float().numpy().tolist()},
        "net": run(Net(), numbers((1, 1, 6, 6))),
        "linear": run(nn.Linear(3, 3), numbers((2, 4, 3))),
        "conv1d": run(nn.Conv1d(3, 3, 3, stride=2, padding=1), numbers((1, 3, 6))),
        "conv2d": run(nn.Conv2d(3, 3, 3, stride=2, padding=1), numbers((1, 3, 6, 4))),
        "conv2d without stride": run(nn.Conv2d(1, 2, 3, padding=1), numbers((1, 1, 3, 4))),
        "conv2d depthwise": run(nn.Conv2d(2, 4, 2, groups=2), numbers((1, 2, 3, 2))),
        "conv2d groups": run(nn.Conv2d(4, 4, (1, 2), groups=2), numbers((1, 4, 2, 3))),
        "conv3d": run(nn.Conv3d(2, 2, 2), numbers((1, 2, 2, 3, 2))),
        "conv2d transpose": run(nn.ConvTranspose2d(2, 2, 2, stride=2), numbers((1, 2, 2, 2))),
        "conv2d transpose with padding": run(nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1), numbers((1, 2, 3, 2))),
        "batch norm": run(nn.BatchNorm2d(2), numbers((2, 2, 2, 2))),
        "batch norm in training": run(nn.BatchNorm1d(2), numbers((4, 2)), train=True),
        "batch norm without affine": run(nn.BatchNorm1d(2, affine=False), numbers((4, 2))),
        "layer norm": run(nn.LayerNorm(4), 0.01 * numbers((2, 4))),
        "layer norm of two axes": run(nn.LayerNorm((3, 3)), numbers((2, 3, 3))),
        "group norm": run(nn.GroupNorm(2, 4), 0.01 * numbers((2, 4, 3))),
        "embedding": run(nn.Embedding(5, 3, padding_idx=0), np.array([[1, 0, 4]])),
        "lstm": run(nn.LSTM(3, 3, batch_first=True), numbers((2, 4, 3))),
        "lstm of two layers, both ways": run(
            nn.LSTM(3, 2, num_layers=2, bidirectional=True, batch_first=True), numbers((1, 4, 3))
        ),
        "gru": run(nn.GRU(3, 3, batch_first=True), numbers((2, 4, 3))),
        "attention": run(
            nn.MultiheadAttention(4, 2, batch_first=True),
            numbers((2, 3, 4)),
            numbers((2, 3, 4), 1.0),
            numbers((2, 3, 4), 2.0),
            key_padding_mask=padding,
        ),
        "leaky relu": run(nn.LeakyReLU(), numbers((4,))),
        "gelu": run(nn.GELU(), numbers((4,))),
        "gelu tanh": run(nn.GELU(approximate="tanh"), numbers((4,))),
        "max pool": run(nn.MaxPool2d(3, stride=2, padding=1), numbers((1, 1, 4, 4)) - 2),
        "average pool": run(nn.AvgPool2d(3, stride=2, padding=1), numbers((1, 1, 4, 4))),
    }
    RECORD.write_text(yaml.safe_dump(record, sort_keys=False, default_flow_style=None, width=120), encoding="utf-8")


if __name__ == "__main__":
    main()
