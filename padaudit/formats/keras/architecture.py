"""Weights in one file, the definition that they are of in another (``--architecture``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from padaudit.errors import InputError, UsageError
from padaudit.formats.detect import read_document
from padaudit.formats.keras.config import ModelSpec, parse_model
from padaudit.formats.keras.container import KerasDocument
from padaudit.formats.keras.hdf5 import WeightsOnlyError, opened, read_h5
from padaudit.formats.keras.weights import group_names

_OTHER: Final = "give the definition that was saved with these weights"


def read_with_architecture(path: Path, architecture: Path) -> KerasDocument:
    """Read the definition that a file of weights is of.

    Parameters
    ----------
    path : Path
        HDF5 weights of ``model.save_weights(...)``.
    architecture : Path
        The definition: JSON of ``model.to_json()``, or any other Keras file.

    Raises
    ------
    InputError
        If a file can't be used, or the weights are of another model.
    UsageError
        If ``path`` holds a model of its own, or ``architecture`` is no Keras model.
    """
    document = read_document(architecture)
    if not isinstance(document, KerasDocument):
        raise UsageError(f"--architecture {architecture}: it is no Keras definition")
    try:
        read_h5(path)
    except WeightsOnlyError:
        _refuse_misfit(path, architecture, parse_model(document.config))
        return document
    raise UsageError(f"{path} holds a model itself; leave --architecture out")


def _refuse_misfit(path: Path, architecture: Path, spec: ModelSpec) -> None:
    with opened(path) as file:
        stored, named = _stored_groups(file)
    expected = {layer.name for layer in spec.layers} if named else set(group_names(spec).values())
    strangers = [name for name in stored if name not in expected]
    if strangers:
        cause = f"it holds weights of '{strangers[0]}', which {architecture} does not have"
        raise InputError(path, cause, _OTHER)


def _stored_groups(file: Any) -> tuple[list[str], bool]:
    """Return which groups hold weights, and whether they have the names of layers."""
    for root in ("layers", "_layer_checkpoint_dependencies"):
        if root in file:
            return [name for name in file[root] if _holds_any(file[root][name])], False
    groups = {name: file[name] for name in file if "weight_names" in file[name].attrs}
    return [name for name, group in groups.items() if len(group.attrs["weight_names"])], True


def _holds_any(group: Any) -> bool:
    import h5py

    return group.visititems(lambda _, item: isinstance(item, h5py.Dataset) or None) is not None
