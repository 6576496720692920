"""Two replicas on the processor."""

from __future__ import annotations

import warnings
from functools import cache

import tensorflow as tf


@cache
def two_replicas() -> tf.distribute.MirroredStrategy:
    """Two devices that share a processor, in a Python of its own: none can be made once something was computed."""
    warnings.simplefilter("ignore")
    make_two_devices()
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def make_two_devices() -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
