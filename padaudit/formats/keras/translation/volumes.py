"""In the process that runs Keras: windows over volumes that start where the first element is.

On a CPU, TensorFlow 2.21 starts the windows of a 3-D convolution or pool with "same" padding
late where they leave out two or more elements at the end of an axis, against its own
documentation. Without the elements that no window reads it does not.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from padaudit.formats.keras.translation.replacing import replaced

_FUNCTIONS: Final = ("conv", "max_pool", "average_pool")
_RANK: Final = 3


@contextmanager
def windows_from_the_start() -> Iterator[None]:
    """Let the windows of Keras 3 start at the first element in the block, as documented."""
    from keras.src import backend

    with ExitStack() as stack:
        for name in _FUNCTIONS:
            stack.enter_context(replaced(backend.nn, name, _read(getattr(backend.nn, name))))
        yield


def _read(original: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function only what its windows read."""
    parameters = inspect.signature(original)

    def call(*args: Any, **kwargs: Any) -> Any:
        bound = parameters.bind(*args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments
        inputs = given["inputs"]
        if len(inputs.shape) == _RANK + 2 and given["padding"] == "same":
            first = 2 if given["data_format"] == "channels_first" else 1
            index = [slice(None)] * (_RANK + 2)
            index[first : first + _RANK] = map(slice, _ends(given, inputs.shape[first:]))
            given["inputs"] = inputs[tuple(index)]
        return original(**given)

    return call


def _ends(given: dict[str, Any], sizes: Any) -> Iterator[int]:
    """Yield the end of what is read along each spatial axis."""
    kernels = given["kernel"].shape if "kernel" in given else _per_axis(given["pool_size"])
    strides = _per_axis(given["strides"] or tuple(kernels))
    dilations = _per_axis(given.get("dilation_rate", 1))
    for axis in range(_RANK):
        last = (sizes[axis] - 1) // strides[axis]
        yield last * strides[axis] + (kernels[axis] - 1) * dilations[axis] + 1


def _per_axis(value: Any) -> tuple[int, ...]:
    return (value,) * _RANK if isinstance(value, int) else tuple(value)
