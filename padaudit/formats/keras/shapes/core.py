"""Dense layers and embeddings."""

from __future__ import annotations

from padaudit.formats.keras.shapes.rule import LayerCall, ShapeUnknown, shape_rule
from padaudit.ir.dims import Open, Shape


@shape_rule("Dense", "MaxoutDense", "TimeDistributedDense")
def dense(call: LayerCall) -> tuple[Shape, ...]:
    """The last axis becomes ``units``."""
    return ((*call.inputs[0][:-1], int(call.config["units"])),)


@shape_rule("Highway")
def highway(call: LayerCall) -> tuple[Shape, ...]:
    """The shape stays."""
    return call.inputs[:1]


@shape_rule("EinsumDense")
def einsum_dense(call: LayerCall) -> tuple[Shape, ...]:
    """``output_shape`` behind the axes that the equation takes over."""
    shape = call.config["output_shape"]
    sizes = [shape] if isinstance(shape, int) else list(shape)
    left, right = call.config["equation"].split("->")
    source = left.split(",")[0].lstrip(".")
    target = right.lstrip(".")
    if "..." in call.config["equation"]:
        kept = call.inputs[0][: len(call.inputs[0]) - len(source)]
        return ((*kept, *_filled(sizes, target, source, call.inputs[0][len(kept) :])),)
    behind = len(target) - len(sizes)
    known = dict(zip(source, call.inputs[0], strict=True))
    ahead = tuple(known.get(axis, Open()) for axis in target[:behind])
    return ((*ahead, *_filled(sizes, target[behind:], source, call.inputs[0])),)


def _filled(sizes: list[int | None], target: str, source: str, shape: Shape) -> Shape:
    known = dict(zip(source, shape, strict=True))
    if len(sizes) != len(target):
        raise ShapeUnknown("its output_shape does not fit its equation")
    return tuple(
        known.get(axis, Open()) if size is None else size
        for axis, size in zip(target, sizes, strict=True)
    )


@shape_rule("Embedding", "ReversibleEmbedding")
def embedding(call: LayerCall) -> tuple[Shape, ...]:
    """An axis of ``output_dim`` is added."""
    return ((*call.inputs[0], int(call.config["output_dim"])),)
