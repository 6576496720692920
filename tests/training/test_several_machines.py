"""`docs/training/several_machines.md`: every claim that the page makes, proved, by two workers that are started."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from engine.prove import records
from engine.site import sections
from tests.shown import shown
from tests.site import SITE

MODULE = "snippets.training.several_machines"
PROGRAM = sections(SITE.snippets / "training/several_machines.py")["program"]


def addresses() -> list[str]:
    """Of two free ports."""
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        return [f"localhost:{each.getsockname()[1]}" for each in (one, other)]


def by_two_workers(text: str, folder: Path) -> list[list[str]]:
    """Run a program as the page says, each in a folder of its own. Returns the lines that each prints."""
    cluster, started = {"worker": addresses()}, []
    for index in (0, 1):
        place = folder / str(index)
        place.mkdir()
        (place / "several_machines.py").write_text(text, encoding="utf-8")
        task = {"type": "worker", "index": index}
        env = os.environ | {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task}), "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, "several_machines.py"]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, cwd=place, env=env, stdout=pipe, stderr=pipe, text=True))
    printed = [worker.communicate(timeout=300) for worker in started]
    assert printed[0][0], printed[0][1]
    return [out.splitlines() for out, _err in printed]


AFTER_IT = """
drawn = strategy.experimental_distribute_dataset(tf.data.Dataset.range(321).shuffle(321).batch(64))
own = [strategy.experimental_local_results(ids)[0] for ids in drawn]
print("weights", kernel, bias, float(mean_loss.result()))
print("seen", *np.concatenate(own))
"""


@pytest.mark.proves(
    "Run as it is, the program is its own only worker:",
    'To try it on one machine, start this in two terminals, with `"index": 1` in the second:',
    "The first waits for the second. Then both print the lines above, and their weights are equal.",
    "`all_reduce` counts the losses of all workers, so that the loss is a mean over the whole batch, for any number "
    "of samples: the last batch has one.",
    "A metric that is made under the scope is the same on each worker: `result` adds up the sums and the counts of "
    "all.",
    "The weights are the same everywhere, so the first worker saves them, and the file loads anywhere, without a "
    "strategy.",
    "Each worker shuffles all samples, and takes its part of each batch.",
    "`TF_CONFIG` tells each worker the addresses of all of them, the same list everywhere, and its own place in it.",
)
def test_two_workers_do_what_one_does(tmp_path):
    first, second = by_two_workers(PROGRAM.text + AFTER_IT, tmp_path)
    expected = records.read(SITE, PROGRAM).printed.splitlines()
    assert first[:-2] == second[:-2] == expected
    assert first[-2] == second[-2]

    parts = [{int(number) for number in lines[-1].split()[1:]} for lines in (first, second)]
    assert not parts[0] & parts[1]
    assert parts[0] | parts[1] == set(range(321))

    assert not (tmp_path / "1/line.keras").exists()
    loaded = keras.saving.load_model(tmp_path / "0/line.keras")
    _, kernel, bias, loss = first[-2].split()
    assert [weight.item() for weight in loaded.get_weights()] == pytest.approx([float(kernel), float(bias)])
    page = shown(MODULE, "program")
    assert page["strategy"].num_replicas_in_sync == 1
    assert float(page["mean_loss"].result()) == pytest.approx(float(loss), rel=1e-4)
    assert [page["kernel"], page["bias"]] == pytest.approx([float(kernel), float(bias)], rel=1e-4)


OTHERWISE = """
import os, time
import keras
import numpy as np
import tensorflow as tf

strategy = tf.distribute.MultiWorkerMirroredStrategy()
worker = strategy.cluster_resolver.task_id
drawn = strategy.experimental_distribute_dataset(tf.data.Dataset.range(320).shuffle(320).batch(64))
print("seen", *np.concatenate([strategy.experimental_local_results(ids)[0] for ids in drawn]))

x = y = np.ones((64, 1), "float32")
data = tf.data.Dataset.from_tensor_slices((x, y)).batch(32)
shared = strategy.experimental_distribute_dataset(data)
ways = {
    "arrays": lambda model: model.fit(x, y, verbose=0),
    "dataset": lambda model: model.fit(data, shuffle=False, verbose=0),
    "distributed": lambda model: model.fit(shared, shuffle=False, verbose=0),
    "eager": lambda model: model.fit(x, y, verbose=0),
    "evaluate": lambda model: model.evaluate(x, y, verbose=0),
}
for name, call in ways.items():
    with strategy.scope():
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse", run_eagerly=name == "eager")
    before = model.get_weights()
    try:
        call(model)
        print(name, "works")
    except Exception as error:
        same = np.array_equal(before[0], model.get_weights()[0])
        print(name, "raises", same, str(error).split("PerReplica:")[0])

@tf.function
def step():
    return strategy.reduce("SUM", strategy.run(lambda: tf.constant(1.0)), axis=None)

print("sum", float(step()))
mark = "../stepping"
if worker == 1:
    while not os.path.exists(mark):
        time.sleep(0.1)
    time.sleep(2)
    os._exit(0)
open(mark, "w").close()
start = time.monotonic()
try:
    step()
except Exception as error:
    print("ended", type(error).__name__, time.monotonic() - start > 1.5)
"""


@pytest.mark.proves(
    "With different orders, some samples are seen twice and others not at all, silently: in an epoch on two workers, "
    "about a quarter of the samples is left out.",
    "With two workers or more, `fit` and `evaluate` raise `Attempt to convert a value (PerReplica:{…` before the first "
    "step, with arrays, datasets and distributed datasets, and with `run_eagerly=True`.",
    "With Keras 3 it takes a loop of your own, since `fit` raises there.",
    "A worker that is one step ahead waits for the others.",
    "When a worker ends, the others' next step raises `UnavailableError`.",
)
def test_what_fails_on_two_workers(tmp_path):
    first, second = by_two_workers(OTHERWISE, tmp_path)
    parts = [[int(number) for number in lines[0].split()[1:]] for lines in (first, second)]
    assert [len(part) for part in parts] == [160, 160]
    assert 0.15 < 1 - len({*parts[0], *parts[1]}) / 320 < 0.35
    message = "raises True Attempt to convert a value ("
    for name in ("arrays", "dataset", "distributed", "eager", "evaluate"):
        for lines in (first, second):
            assert any(line.startswith(f"{name} {message}") for line in lines), (name, lines)
    assert "sum 2.0" in first
    assert "ended UnavailableError True" in first


def alone() -> list[str]:
    """What one worker does: `fit`, and a strategy that comes too late."""
    strategy, found = tf.distribute.MultiWorkerMirroredStrategy(), []
    x = np.ones((8, 1), "float32")
    for options in ({}, {"run_eagerly": True}):
        with strategy.scope():
            model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
            model.compile("sgd", "mse", **options)
        found.append(sorted(model.fit(x, x, verbose=0).history))
        found.append(model.evaluate(x, x, verbose=0) >= 0)
    return found


def too_late() -> str:
    tf.constant(1.0)
    os.environ["TF_CONFIG"] = json.dumps(
        {"cluster": {"worker": ["localhost:12345", "localhost:12346"]}, "task": {"type": "worker", "index": 0}}
    )
    try:
        tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        return str(error)
    return "nothing"


@pytest.mark.proves(
    "With one worker they work, so that a try on one machine doesn't tell.",
    "On two workers or more, it raises `Collective ops must be configured at program startup` after anything else was "
    "computed.",
)
def test_one_worker_and_a_late_one(process, readers):
    assert process.call(alone) == [["loss"], True] * 2
    late = readers.page()
    assert "Collective ops must be configured at program startup" in late.call(too_late)
    late.end()
