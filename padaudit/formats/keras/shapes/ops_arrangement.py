"""Operations of Keras 3 that move, add or drop elements."""

from __future__ import annotations

from padaudit.formats.keras.shapes import arrays, indexing
from padaudit.formats.keras.shapes.arrays import plain, product, replaced, shape_of
from padaudit.formats.keras.shapes.keys import key_items
from padaudit.formats.keras.shapes.rearrange import rearranged
from padaudit.formats.keras.shapes.rule import LayerCall, ShapeUnknown, integer, operation_rule
from padaudit.ir.dims import Open, Shape


@operation_rule("Reshape")
def reshape(call: LayerCall) -> tuple[Shape, ...]:
    """One -1 takes what is left, the batch axis included."""
    target = plain(call.setting("newshape", 1, call.setting("shape")))
    sizes = target if isinstance(target, list | tuple) else [target]
    return (arrays.reshaped(call.inputs[0], sizes),)


@operation_rule("Ravel")
def ravel(call: LayerCall) -> tuple[Shape, ...]:
    """All axes become one."""
    return ((product(call.inputs[0]),),)


@operation_rule("Transpose")
def transpose(call: LayerCall) -> tuple[Shape, ...]:
    """Axes are reordered (reversed without ``axes``)."""
    return (arrays.transposed(call.inputs[0], call.setting("axes", 1)),)


@operation_rule("Moveaxis")
def moveaxis(call: LayerCall) -> tuple[Shape, ...]:
    """Some axes move, the others keep their order."""
    moves = call.setting("source", 1), call.setting("destination", 2)
    return (arrays.moved(call.inputs[0], *moves),)


@operation_rule("Swapaxes")
def swapaxes(call: LayerCall) -> tuple[Shape, ...]:
    """Two axes are exchanged."""
    return (arrays.swapped(call.inputs[0], call.setting("axis1", 1), call.setting("axis2", 2)),)


@operation_rule("Rot90")
def rot90(call: LayerCall) -> tuple[Shape, ...]:
    """Two axes are exchanged by an odd number of turns."""
    axes = plain(call.setting("axes", 2, (0, 1)))
    if integer(call.setting("k", 1, 1)) % 2 == 0:
        return call.inputs[:1]
    return (arrays.swapped(call.inputs[0], *axes),)


@operation_rule("Rearrange")
def rearrange(call: LayerCall) -> tuple[Shape, ...]:
    """A pattern of einops: ``b (h p) w -> b h (p w)``."""
    lengths = {**call.config, **call.arguments}
    return (rearranged(call.inputs[0], call.setting("pattern", 1), lengths),)


@operation_rule("ExpandDims")
def expand_dims(call: LayerCall) -> tuple[Shape, ...]:
    """Axes of 1 are added."""
    return (arrays.expanded(call.inputs[0], call.setting("axis", 1)),)


@operation_rule("Squeeze")
def squeeze(call: LayerCall) -> tuple[Shape, ...]:
    """Axes of 1 vanish."""
    return (arrays.squeezed(call.inputs[0], call.setting("axis", 1)),)


@operation_rule("BroadcastTo", "Full", "Scatter")
def stated(call: LayerCall) -> tuple[Shape, ...]:
    """The shape that is asked for."""
    return (
        arrays.reshaped(call.inputs[0] if call.inputs else (), plain(call.setting("shape", 1))),
    )


@operation_rule("Tile")
def tile(call: LayerCall) -> tuple[Shape, ...]:
    """Axes are multiplied."""
    return (arrays.tiled(call.inputs[0], call.setting("repeats", 1)),)


@operation_rule("Repeat")
def repeat(call: LayerCall) -> tuple[Shape, ...]:
    """One axis (without one: all of them as one) is multiplied."""
    shape, axis = call.inputs[0], call.setting("axis", 2)
    repeats = plain(call.setting("repeats", 1))
    if axis is None:
        shape, axis = (product(shape),), 0
    where = arrays.axis_of(axis, len(shape))
    if isinstance(repeats, list | tuple) and len(repeats) != 1:
        return (replaced(shape, where, sum(map(integer, repeats))),)
    factor = integer(repeats[0] if isinstance(repeats, list | tuple) else repeats)
    return (replaced(shape, where, arrays.scaled(shape[where], factor)),)


@operation_rule("Pad")
def pad(call: LayerCall) -> tuple[Shape, ...]:
    """Axes grow by ``pad_width``."""
    return (arrays.padded(call.inputs[0], call.setting("pad_width", 1)),)


@operation_rule("Concatenate")
def concatenate(call: LayerCall) -> tuple[Shape, ...]:
    """One axis is summed."""
    return (arrays.joined(_listed(call), call.setting("axis", 1, 0)),)


@operation_rule("Append")
def append(call: LayerCall) -> tuple[Shape, ...]:
    """One axis is summed; without one both become flat."""
    axis = call.setting("axis", 2)
    if axis is None:
        return ((arrays.total([product(shape) for shape in call.inputs]),),)
    return (arrays.joined(call.inputs, axis),)


@operation_rule("Hstack", "Vstack", "Dstack")
def stack_along(call: LayerCall) -> tuple[Shape, ...]:
    """The second, first or third axis is summed."""
    axis = {"Hstack": 1, "Vstack": 0, "Dstack": 2}[call.class_name]
    shapes = [_deep(shape) for shape in _listed(call)] if axis == 2 else _listed(call)
    return (arrays.joined(shapes, axis),)


def _deep(shape: Shape) -> Shape:
    if len(shape) > 2:
        return shape
    return {0: (1, 1, 1), 1: (1, *shape, 1), 2: (*shape, 1)}[len(shape)]


@operation_rule("Stack")
def stack(call: LayerCall) -> tuple[Shape, ...]:
    """A new axis counts the tensors."""
    return (arrays.stacked(_listed(call), call.setting("axis", 1, 0)),)


def _listed(call: LayerCall) -> list[Shape]:
    """Return the shapes in a list of tensors, constants among them."""
    items = plain(call.setting("xs", 0, call.setting("x")))
    return [shape_of(item) for item in items] if isinstance(items, list) else list(call.inputs)


@operation_rule("Split", "Hsplit", "Vsplit", "Dsplit")
def split(call: LayerCall) -> tuple[Shape, ...]:
    """Equal parts, or the parts between indices."""
    shape = call.inputs[0]
    fixed = {"Hsplit": min(1, len(shape) - 1), "Vsplit": 0, "Dsplit": 2}
    axis = fixed.get(call.class_name, call.setting("axis", 2, 0))
    return indexing.split(shape, call.setting("indices_or_sections", 1), axis)


@operation_rule("ArraySplit")
def array_split(call: LayerCall) -> tuple[Shape, ...]:
    """Parts of which the first may be one longer."""
    sections = call.setting("indices_or_sections", 1)
    return indexing.unequal_parts(call.inputs[0], sections, call.setting("axis", 2, 0))


@operation_rule("Unstack")
def unstack(call: LayerCall) -> tuple[Shape, ...]:
    """The slices along an axis."""
    return indexing.unstacked(call.inputs[0], call.setting("num"), call.setting("axis", 2, 0))


@operation_rule("GetItem")
def get_item(call: LayerCall) -> tuple[Shape, ...]:
    """``tensor[key]``."""
    return (indexing.indexed(call.inputs[0], key_items(call.setting("key", 1))),)


@operation_rule("Slice")
def slice_(call: LayerCall) -> tuple[Shape, ...]:
    """A block of the stated shape; -1 goes to the end."""
    starts = plain(call.setting("start_indices", 1))
    sizes = plain(call.setting("shape", 2))
    return (tuple(indexing.block(call.inputs[0], starts, sizes)),)


@operation_rule("Take")
def take(call: LayerCall) -> tuple[Shape, ...]:
    """The axis becomes the axes of the indices."""
    indices = shape_of(call.setting("indices", 1))
    return (indexing.taken(call.inputs[0], indices, call.setting("axis", 2)),)


@operation_rule("TakeAlongAxis")
def take_along_axis(call: LayerCall) -> tuple[Shape, ...]:
    """The indices' shape, broadcast with the tensor's on the other axes."""
    shape, indices = call.inputs[0], shape_of(call.setting("indices", 1))
    axis = call.setting("axis", 2)
    if axis is None:
        return (indices,)
    where = arrays.axis_of(axis, len(shape))
    return (arrays.broadcast(replaced(shape, where, 1), indices),)


@operation_rule("Diff")
def diff(call: LayerCall) -> tuple[Shape, ...]:
    """The axis shrinks by ``n``."""
    shape, axis = call.inputs[0], call.setting("axis", 2, -1)
    size = shape[arrays.axis_of(axis, len(shape))]
    shorter = arrays.grown(size, -integer(call.setting("n", 1, 1)))
    return (replaced(shape, axis, max(shorter, 0) if isinstance(shorter, int) else shorter),)


@operation_rule("Diagonal", "Trace")
def diagonal(call: LayerCall) -> tuple[Shape, ...]:
    """Two axes become their diagonal, or its sum."""
    names = (("offset", 0), ("axis1", 0), ("axis2", 1))
    settings = [call.setting(name, None, default) for name, default in names]
    shape = arrays.diagonal(call.inputs[0], *settings)
    return (shape[:-1] if call.class_name == "Trace" else shape,)


@operation_rule("Diag")
def diag(call: LayerCall) -> tuple[Shape, ...]:
    """A vector becomes a matrix, a matrix its diagonal."""
    shape, shift = call.inputs[0], integer(call.setting("k", 1, 0))
    if len(shape) == 1:
        return ((arrays.grown(shape[0], abs(shift)),) * 2,)
    if len(shape) != 2:
        raise ShapeUnknown("it takes a vector or a matrix")
    return (arrays.diagonal(shape, shift, 0, 1),)


@operation_rule("OneHot")
def one_hot(call: LayerCall) -> tuple[Shape, ...]:
    """An axis of classes is added."""
    shape = arrays.expanded(call.inputs[0], call.setting("axis", None, -1))
    return (
        replaced(shape, call.setting("axis", None, -1), integer(call.setting("num_classes", 1))),
    )


@operation_rule("MultiHot")
def multi_hot(call: LayerCall) -> tuple[Shape, ...]:
    """The axis of classes takes the place of the last one; a vector gets a batch of its own."""
    shape, classes = call.inputs[0], integer(call.setting("num_classes", 1))
    return ((*(shape[:-1] if len(shape) > 1 else shape[:0]), classes),)


@operation_rule("Ndim")
def ndim(call: LayerCall) -> tuple[Shape, ...]:
    """One number, of which Keras states the shape as the rank itself."""
    return ((len(call.inputs[0]),),)


@operation_rule("Meshgrid")
def meshgrid(call: LayerCall) -> tuple[Shape, ...]:
    """One grid per vector; ``xy`` exchanges the first two axes."""
    axes = [product(shape) if shape else 1 for shape in call.inputs]
    if call.setting("indexing", None, "xy") == "xy" and len(axes) > 1:
        axes[:2] = axes[1::-1]
    return (tuple(axes),) * len(axes)


@operation_rule("Vander")
def vander(call: LayerCall) -> tuple[Shape, ...]:
    """One row of powers per element."""
    count = call.setting("N", 1)
    size = call.inputs[0][0]
    return ((size, size if count is None else integer(count)),)


@operation_rule("Linspace", "Logspace", "Geomspace")
def linspace(call: LayerCall) -> tuple[Shape, ...]:
    """An axis of ``num`` steps is added."""
    ends = [shape_of(call.setting(*name)) for name in (("start", 0), ("stop", 1))]
    shape = arrays.expanded(arrays.broadcast_all(ends), call.setting("axis", None, 0))
    return (replaced(shape, call.setting("axis", None, 0), integer(call.setting("num", None, 50))),)


@operation_rule("Histogram")
def histogram(call: LayerCall) -> tuple[Shape, ...]:
    """Counts, and the edges around them."""
    bins = integer(call.setting("bins", 1, 10))
    return (bins,), (bins + 1,)


@operation_rule("Bincount")
def bincount(call: LayerCall) -> tuple[Shape, ...]:
    """As many counts as the values ask for."""
    return ((*call.inputs[0][:-1], Open()),)
