"""Calling Keras models in a process that has imported Keras, on whichever backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from numpy.typing import NDArray

from padaudit.subprocesses import uncoloured

Array = NDArray[Any]
_LONGEST: Final = 240


def outputs_of(model: Any, arrays: Sequence[Array]) -> list[Array]:
    """Return a model's outputs, flat and in order, for inputs in the order of its own.

    Parameters
    ----------
    model : keras.Model
        It is called in inference mode.
    arrays : sequence of ndarray
        One per input, batch axis first.
    """
    import keras
    import numpy
    from keras import tree

    named = getattr(model, "_inputs_struct", None)
    structure = named if isinstance(named, dict) else list(arrays)
    given = tree.pack_sequence_as(structure, list(arrays))
    outputs = model(given if len(arrays) > 1 else arrays[0], training=False)
    return [numpy.asarray(keras.ops.convert_to_numpy(value)) for value in tree.flatten(outputs)]


def one_line(error: BaseException) -> str:
    """Return an error as one short line, without the colours of a terminal.

    >>> one_line(ValueError("no  such layer"))
    'ValueError: no such layer'
    """
    text = " ".join(uncoloured(f"{type(error).__name__}: {error}").split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
