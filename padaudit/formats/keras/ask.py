"""``--engine keras``: the shapes that Keras itself has, from a process of its own."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final

import msgspec

from padaudit.errors import InputError, MissingDependencyError, UsageError
from padaudit.formats.shape_options import InputShapes
from padaudit.ir.dims import Open, Shape
from padaudit.scratch import scratch_folder

KERAS: Final = "keras"
ENGINES: Final = ("padaudit", KERAS)
_ADVICE: Final = "leave --engine keras out, and state what stops the inference with --assume"


def require_trust(engine: str, trusted: bool) -> None:
    """Refuse to let Keras load a model that nobody vouches for.

    Raises
    ------
    UsageError
        If Keras is to be asked without ``--trust-model``.
    """
    if engine == KERAS and not trusted:
        raise UsageError(
            "--engine keras lets Keras load the model and call its layers, which runs whatever "
            "code the file holds (Lambdas, custom layers); add --trust-model (trust_model=True) "
            "if you trust it"
        )


def asked_shapes(path: Path, input_shapes: InputShapes) -> dict[str, Shape]:
    """Return the shape of every tensor that Keras states, by its name in the whole model.

    Parameters
    ----------
    path : Path
        A Keras file.
    input_shapes : InputShapes
        Sizes that the user fixes.

    Raises
    ------
    MissingDependencyError
        If TensorFlow or Keras is not installed.
    InputError
        If Keras can't load the model.
    """
    for package in ("tensorflow", KERAS):
        if importlib.util.find_spec(package) is None:
            raise MissingDependencyError(package, "--engine keras", "keras")
    from padaudit.formats.keras.shape_worker import ANSWER, REQUEST, Answer, Request
    from padaudit.subprocesses import run_module
    from padaudit.verification.worker import write_record

    shapes = {name: list(shape) for name, shape in input_shapes.shapes.items()}
    with scratch_folder() as folder:
        write_record(folder / REQUEST, Request(str(path.resolve()), shapes))
        ending = run_module("padaudit.formats.keras.shape_worker", folder, input_shapes.timeout)
        answer = Answer(error=f"the Keras process {ending}")
        if (folder / ANSWER).exists():
            answer = msgspec.json.decode((folder / ANSWER).read_bytes(), type=Answer)
    if answer.error is not None:
        raise InputError(path, f"Keras can't tell its shapes: {answer.error}", _ADVICE)
    return {
        tensor: tuple(Open() if size is None else size for size in shape)
        for tensor, shape in answer.shapes.items()
    }
