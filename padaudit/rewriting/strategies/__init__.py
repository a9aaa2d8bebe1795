"""The strategies, by the name that ``rules/ops`` uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from padaudit.formats.onnx.edit import GraphEditor
from padaudit.ir.site import PaddingSite
from padaudit.rewriting.edit import Applied, Edit
from padaudit.rewriting.strategies import (
    keras_zero_padding,
    onnx_ceil_mode,
    onnx_computed_pad,
    onnx_fold_pad,
    onnx_pad,
    onnx_pads_attribute,
)


class Strategy(Protocol):
    """A way of making sites explicit (a module of this package)."""

    def refuse(self, document: Any, site: PaddingSite) -> str | None:
        """Return why a site can't be rewritten, or None if it can."""


class KerasStrategy(Strategy, Protocol):
    """A strategy for Keras models, which are edited all at once."""

    def apply(self, document: Any, edits: Sequence[Edit]) -> Applied:
        """Return the document with the edits made; the given one stays as it is."""


class OnnxStrategy(Protocol):
    """A way of editing ONNX models (a module of this package)."""

    def edit(self, editor: GraphEditor, item: Edit) -> str | None:
        """Make an edit; return the name of the Pad it adds, if it adds one."""


KERAS_STRATEGIES: Final[dict[str, KerasStrategy]] = {"keras_zero_padding": keras_zero_padding}
ONNX_STRATEGIES: Final[dict[str, OnnxStrategy]] = {
    "onnx_pad": onnx_pad,
    "onnx_ceil_mode": onnx_ceil_mode,
    "onnx_computed_pad": onnx_computed_pad,
    "onnx_pads_attribute": onnx_pads_attribute,
    onnx_fold_pad.NAME: onnx_fold_pad,
}
STRATEGIES: Final[dict[str, Strategy]] = {
    "keras_zero_padding": keras_zero_padding,
    "onnx_pad": onnx_pad,
    "onnx_ceil_mode": onnx_ceil_mode,
    "onnx_computed_pad": onnx_computed_pad,
    "onnx_pads_attribute": onnx_pads_attribute,
}
"""The strategies that tables name: for implicit sites."""
