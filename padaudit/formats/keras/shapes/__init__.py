"""Output shapes of Keras layers, operations and functions, from their configs, without Keras."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from padaudit.formats.keras.shapes.opaque import OPAQUE
from padaudit.formats.keras.shapes.rule import (
    FUNCTIONS,
    LAYERS,
    OPERATIONS,
    RULES,
    LayerCall,
    ShapeRule,
    ShapeUnknown,
)
from padaudit.ir.dims import Shape

MODULES: Final[dict[str, tuple[str, ...]]] = {
    LAYERS: (
        "attention",
        "convolution",
        "core",
        "elementwise",
        "merging",
        "pooling",
        "preprocessing",
        "recurrent",
        "reshaping",
    ),
    OPERATIONS: ("ops_arrangement", "ops_elementwise", "ops_image", "ops_products", "ops_windows"),
    FUNCTIONS: ("tensorflow", "tf_windows"),
}
"""The modules with the rules of each domain; they are imported when a model first needs one."""
MAX_SIZE: Final = 1 << 62
_KINDS: Final = {LAYERS: "layer class", OPERATIONS: "operation", FUNCTIONS: "function"}


def rules(domain: str) -> dict[str, ShapeRule]:
    """Return the rules of a domain by class name."""
    for name in MODULES[domain]:
        import_module(f"{__name__}.{name}")
    return RULES[domain]


def infer_shapes(call: LayerCall) -> tuple[Shape, ...]:
    """Return the shape of every output of a call.

    Raises
    ------
    ShapeUnknown
        If the class has no rule, or its config is not what Keras writes.
    """
    rule = RULES[call.domain].get(call.class_name) or rules(call.domain).get(call.class_name)
    if rule is None:
        kind = f"{_KINDS[call.domain]} {call.class_name[:80]} is not one of Keras's"
        raise ShapeUnknown(OPAQUE[call.domain].get(call.class_name, kind))
    try:
        results = rule(call)
    except ShapeUnknown:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = (str(error).splitlines() or [""])[0][:120]
        cause = f"its config is not what Keras writes ({type(error).__name__}: {reason})"
        raise ShapeUnknown(cause) from error
    for shape in results:
        if any(isinstance(size, int) and not 0 <= size < MAX_SIZE for size in shape):
            raise ShapeUnknown("its output would have a size that makes no sense")
    return results
