"""The strategies, by the name that ``rules/ops`` uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from padaudit.ir.site import PaddingSite
from padaudit.rewriting.edit import Applied, Edit
from padaudit.rewriting.strategies import keras_zero_padding, onnx_pad_conv, onnx_pads_attribute


class Strategy(Protocol):
    """A way of making sites explicit (a module of this package)."""

    def refuse(self, document: Any, site: PaddingSite) -> str | None:
        """Return why a site with known amounts can't be rewritten, or None if it can."""

    def apply(self, document: Any, edits: Sequence[Edit]) -> Applied:
        """Return the document with the edits made; the given one stays as it is."""


STRATEGIES: Final[dict[str, Strategy]] = {
    "keras_zero_padding": keras_zero_padding,
    "onnx_pad_conv": onnx_pad_conv,
    "onnx_pads_attribute": onnx_pads_attribute,
}
