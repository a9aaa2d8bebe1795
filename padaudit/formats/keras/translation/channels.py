"""In the process that runs Keras: convolutions of channels-first models, run on a CPU.

TensorFlow has no such convolutions there. They are run channels last instead, between two
transpositions, which is what they mean.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from padaudit.formats.keras.translation.replacing import replaced


@contextmanager
def channels_first_on_cpu() -> Iterator[None]:
    """Let the convolutions of Keras 3 take channels-first data in the block."""
    from keras.src import backend

    with ExitStack() as stack:
        for name in ("conv", "conv_transpose"):
            stack.enter_context(replaced(backend.nn, name, _turned(getattr(backend.nn, name))))
        yield


def _turned(original: Callable[..., Any]) -> Callable[..., Any]:
    import tensorflow as tf

    parameters = inspect.signature(original)

    def call(*args: Any, **kwargs: Any) -> Any:
        given = parameters.bind(*args, **kwargs).arguments
        if given.get("data_format") != "channels_first":
            return original(*args, **kwargs)
        rank = len(given["inputs"].shape) - 2
        given["inputs"] = tf.transpose(given["inputs"], [0, *range(2, rank + 2), 1])
        y = original(**{**given, "data_format": "channels_last"})
        return tf.transpose(y, [0, rank + 1, *range(1, rank + 1)])

    return call
