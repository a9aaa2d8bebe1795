"""Dense layers and embeddings."""

from __future__ import annotations

from padaudit.formats.keras.shapes.arrays import plain
from padaudit.formats.keras.shapes.rule import LayerCall, ShapeUnknown, integer, shape_rule
from padaudit.ir.dims import Dim, Open, Shape


@shape_rule("Dense", "MaxoutDense", "TimeDistributedDense", "DenseFeatures")
def dense(call: LayerCall) -> tuple[Shape, ...]:
    """The last axis becomes ``units``."""
    if "units" not in call.config:
        raise ShapeUnknown("its output size stands in feature columns")
    return ((*call.inputs[0][:-1], integer(call.config["units"])),)


@shape_rule("RandomFourierFeatures")
def fourier_features(call: LayerCall) -> tuple[Shape, ...]:
    """The last axis becomes ``output_dim`` (``units`` in the words of the dialect)."""
    size = call.config.get("output_dim", call.config.get("units"))
    return ((*call.inputs[0][:-1], integer(size)),)


@shape_rule("EinsumDense")
def einsum_dense(call: LayerCall) -> tuple[Shape, ...]:
    """``output_shape`` behind the batch axis; what it leaves open comes from the input."""
    source, target = str(call.config["equation"]).replace(" ", "").split("->")
    source = source.split(",")[0]
    shape = call.inputs[0]
    known = _letters(source, shape)
    stated = plain(call.config["output_shape"])
    sizes = list(stated) if isinstance(stated, list | tuple) else [stated]
    letters = target.replace("...", "")
    ahead = [known.get(axis, Open()) for axis in letters[: len(letters) - len(sizes)]]
    if len(sizes) > len(letters):
        # An ellipsis at the start stands for the batch, and output_shape for all behind it.
        sizes, ahead = sizes[len(sizes) - len(letters) :], []
    named = letters[len(ahead) :]
    last = [
        known.get(axis, Open()) if size is None else integer(size)
        for axis, size in zip(named, sizes, strict=True)
    ]
    free = shape[: len(shape) - len(source.replace("...", ""))]
    if target.startswith("..."):
        return ((*free, *ahead, *last),)
    if target.endswith("..."):
        return ((*ahead, *last, *shape[len(shape) - len(free) :]),)
    return ((*ahead, *last),)


def _letters(source: str, shape: Shape) -> dict[str, Dim]:
    letters = source.replace("...", "")
    named = shape[: len(letters)] if source.endswith("...") else shape[len(shape) - len(letters) :]
    return dict(zip(letters, named, strict=True))


@shape_rule("Embedding")
def embedding(call: LayerCall) -> tuple[Shape, ...]:
    """An axis of ``output_dim`` is added."""
    return ((*call.inputs[0], integer(call.config["output_dim"])),)


@shape_rule("ReversibleEmbedding")
def reversible_embedding(call: LayerCall) -> tuple[Shape, ...]:
    """An axis of ``output_dim``; in reverse the last one becomes ``input_dim``."""
    if call.arguments.get("reverse"):
        return ((*call.inputs[0][:-1], integer(call.config["input_dim"])),)
    size = call.config.get("output_dim", call.config.get("units"))
    return ((*call.inputs[0], integer(size)),)
