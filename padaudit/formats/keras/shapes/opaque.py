"""Layers and operations whose output shape no rule can tell, and why."""

from __future__ import annotations

from typing import Final

from padaudit.formats.keras.shapes.rule import FUNCTIONS, LAYERS, OPERATIONS

_CODE: Final = "only its own code tells its output shape"
_GIVEN: Final = "its output shape is that of a function that it is given"
_VALUES: Final = "its output shape depends on the values of its input"
_FOREIGN: Final = "it runs a model of another framework"
OPAQUE: Final[dict[str, dict[str, str]]] = {
    LAYERS: {
        "Lambda": _CODE,
        "Layer": _CODE,
        "Wrapper": _CODE,
        "AbstractRNNCell": _CODE,
        "JaxLayer": _CODE,
        "FlaxLayer": _CODE,
        "TorchModuleWrapper": _FOREIGN,
        "TFSMLayer": _FOREIGN,
        "MaxNumBoundingBoxes": "it takes bounding boxes, not a tensor",
        "KerasLayer": "it runs a model of TensorFlow Hub",
    },
    OPERATIONS: {
        **dict.fromkeys(
            (
                "AssociativeScan",
                "Cond",
                "ForiLoop",
                "JVP",
                "Map",
                "Scan",
                "Switch",
                "VectorizedMap",
                "WhileLoop",
            ),
            _GIVEN,
        ),
        "Nonzero": _VALUES,
        "Unique": _VALUES,
        "Arange": _VALUES,
        "Diagflat": "it makes a matrix of all elements, which no model pads",
        "Function": "it is a model without a class of its own",
        "Operation": _CODE,
    },
    FUNCTIONS: {
        **dict.fromkeys(("map_fn", "while_loop", "cond", "scan", "vectorized_map"), _GIVEN),
        **dict.fromkeys(("boolean_mask", "unique", "where_indices", "py_function"), _VALUES),
    },
}
"""Reason by domain and class."""
