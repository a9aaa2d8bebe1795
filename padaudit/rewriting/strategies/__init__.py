"""The strategies, by the name that ``rules/ops`` uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from padaudit.formats.onnx.edit import GraphEditor
from padaudit.ir.site import PaddingSite
from padaudit.rewriting.edit import Edit
from padaudit.rewriting.strategies import (
    keras_cropping,
    keras_pad_operation,
    keras_same_padding,
    keras_zero_padding,
    onnx_computed_pad,
    onnx_fold_pad,
    onnx_pad,
    onnx_pads_attribute,
    onnx_sliced_pool,
)

if TYPE_CHECKING:
    from padaudit.formats.keras.edit import Insertion
    from padaudit.formats.keras.places import Place
    from padaudit.rewriting.strategies.keras_case import Host, KerasCase


class Strategy(Protocol):
    """A way of making ONNX sites explicit (a module of this package)."""

    def refuse(self, document: Any, site: PaddingSite) -> str | None:
        """Return why a site can't be rewritten, or None if it can."""


class KerasStrategy(Protocol):
    """A strategy for Keras models, which are edited all at once (a module of this package)."""

    def refuse(self, case: KerasCase) -> str | None:
        """Return why a site can't be rewritten, or None if it can."""

    def insertion(self, edit: Edit, place: Place, host: Host) -> Insertion | None:
        """Return the layer that an edit adds; None where it adds none."""


class OnnxStrategy(Protocol):
    """A way of editing ONNX models (a module of this package)."""

    def edit(self, editor: GraphEditor, item: Edit) -> str | None:
        """Make an edit; return the name of the Pad it adds, if it adds one."""


KERAS_STRATEGIES: Final[dict[str, KerasStrategy]] = {
    "keras_zero_padding": keras_zero_padding,
    "keras_cropping": keras_cropping,
    "keras_pad_operation": keras_pad_operation,
    "keras_same_padding": keras_same_padding,
}
ONNX_STRATEGIES: Final[dict[str, OnnxStrategy]] = {
    "onnx_pad": onnx_pad,
    "onnx_computed_pad": onnx_computed_pad,
    "onnx_pads_attribute": onnx_pads_attribute,
    "onnx_sliced_pool": onnx_sliced_pool,
    onnx_fold_pad.NAME: onnx_fold_pad,
}
STRATEGIES: Final[dict[str, Strategy]] = {
    "onnx_pad": onnx_pad,
    "onnx_computed_pad": onnx_computed_pad,
    "onnx_pads_attribute": onnx_pads_attribute,
    "onnx_sliced_pool": onnx_sliced_pool,
}
"""The strategies for implicit ONNX sites, by the name that tables use."""
