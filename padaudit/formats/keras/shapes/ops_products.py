"""Operations of Keras 3 that contract, factorise or transform axes."""

from __future__ import annotations

from padaudit.formats.keras.shapes import arrays, products
from padaudit.formats.keras.shapes.arrays import replaced, shape_of
from padaudit.formats.keras.shapes.rule import LayerCall, ShapeUnknown, integer, operation_rule
from padaudit.ir.dims import Dim, Open, Shape, map_dim


def _operands(call: LayerCall) -> tuple[Shape, Shape]:
    return shape_of(call.setting("x1", 0)), shape_of(call.setting("x2", 1))


@operation_rule("Matmul")
def matmul(call: LayerCall) -> tuple[Shape, ...]:
    """A matrix product with broadcast batch axes."""
    return (products.matmul(*_operands(call)),)


@operation_rule("Dot")
def dot(call: LayerCall) -> tuple[Shape, ...]:
    """The last axis of the first and the last but one of the second vanish."""
    return (products.dot(*_operands(call)),)


@operation_rule("Inner")
def inner(call: LayerCall) -> tuple[Shape, ...]:
    """The last axes vanish."""
    left, right = _operands(call)
    return ((*left[:-1], *right[:-1]) if left and right else left or right,)


@operation_rule("Outer")
def outer(call: LayerCall) -> tuple[Shape, ...]:
    """Both become flat, and span a matrix."""
    left, right = _operands(call)
    return ((arrays.product(left), arrays.product(right)),)


@operation_rule("Kron")
def kron(call: LayerCall) -> tuple[Shape, ...]:
    """Sizes are multiplied per axis."""
    pairs = zip(*_operands(call), strict=True)
    return (tuple(arrays.product(pair) for pair in pairs),)


@operation_rule("Tensordot")
def tensordot(call: LayerCall) -> tuple[Shape, ...]:
    """The contracted axes vanish."""
    return (products.tensordot(*_operands(call), call.setting("axes", 2, 2)),)


@operation_rule("Einsum")
def einsum(call: LayerCall) -> tuple[Shape, ...]:
    """What the equation says."""
    given = [value for key, value in call.arguments.items() if key.isdigit()]
    if "subscripts" not in call.config:
        given = given[1:]
    return (products.einsum(call.setting("subscripts", 0), [shape_of(item) for item in given]),)


@operation_rule("Cross")
def cross(call: LayerCall) -> tuple[Shape, ...]:
    """The vectors' axis stays if one of them has three elements."""
    left, right = _operands(call)
    axis = call.setting("axis")
    first, second, result = (
        call.setting(name, None, -1) if axis is None else axis
        for name in ("axisa", "axisb", "axisc")
    )
    shape = arrays.broadcast(arrays.reduced(left, first), arrays.reduced(right, second))
    sizes = left[arrays.axis_of(first, len(left))], right[arrays.axis_of(second, len(right))]
    if 3 not in sizes:
        return (shape,)
    return (replaced(arrays.expanded(shape, result), result, 3),)


@operation_rule("Trapezoid")
def trapezoid(call: LayerCall) -> tuple[Shape, ...]:
    """The axis vanishes."""
    return (arrays.reduced(call.inputs[0], call.setting("axis", None, -1)),)


@operation_rule("Glu")
def glu(call: LayerCall) -> tuple[Shape, ...]:
    """The axis is halved."""
    shape, axis = call.inputs[0], call.setting("axis", 1, -1)
    size = shape[arrays.axis_of(axis, len(shape))]
    return (replaced(shape, axis, arrays.divided(size, 2)),)


@operation_rule("TopK")
def top_k(call: LayerCall) -> tuple[Shape, ...]:
    """Values and indices of the last axis."""
    shape = replaced(call.inputs[0], -1, integer(call.setting("k", 1)))
    return shape, shape


@operation_rule("InTopK")
def in_top_k(call: LayerCall) -> tuple[Shape, ...]:
    """The shape of the targets."""
    return call.inputs[:1]


@operation_rule("SegmentSum", "SegmentMax", "SegmentMin", "SegmentProd", "SegmentReduction")
def segment(call: LayerCall) -> tuple[Shape, ...]:
    """The first axis counts the segments."""
    count = call.setting("num_segments")
    return (replaced(call.inputs[0], 0, Open() if count is None else integer(count)),)


@operation_rule("CDist")
def distances(call: LayerCall) -> tuple[Shape, ...]:
    """One distance per pair of rows."""
    left, right = call.inputs[:2]
    return ((*arrays.broadcast(left[:-2], right[:-2]), left[-2], right[-2]),)


@operation_rule("CTCLoss")
def ctc_loss(call: LayerCall) -> tuple[Shape, ...]:
    """One loss per sequence."""
    return (call.inputs[0][:1],)


@operation_rule("CTCDecode")
def ctc_decode(call: LayerCall) -> tuple[Shape, ...]:
    """The decoded sequences, and their scores."""
    greedy = call.setting("strategy", None, "greedy") == "greedy"
    paths = 1 if greedy else integer(call.setting("top_paths", None, 1))
    batch, steps = call.inputs[0][:2]
    return (paths, batch, steps), (batch, paths)


@operation_rule("Solve", "SolveTriangular")
def solve(call: LayerCall) -> tuple[Shape, ...]:
    """The shape of the right-hand side."""
    return (shape_of(call.setting("b", 1)),)


@operation_rule("Lstsq")
def lstsq(call: LayerCall) -> tuple[Shape, ...]:
    """One row per unknown."""
    return ((call.inputs[0][1], *shape_of(call.setting("b", 1))[1:]),)


@operation_rule("Pinv")
def pseudo_inverse(call: LayerCall) -> tuple[Shape, ...]:
    """The matrices' axes are exchanged."""
    return (arrays.swapped(call.inputs[0], -1, -2),)


@operation_rule("Eig", "Eigh")
def eigenvalues(call: LayerCall) -> tuple[Shape, ...]:
    """Values, and the vectors of each matrix."""
    return call.inputs[0][:-1], call.inputs[0]


@operation_rule("Slogdet")
def sign_and_logarithm(call: LayerCall) -> tuple[Shape, ...]:
    """Sign (Keras states a single number) and logarithm of each determinant."""
    return (), call.inputs[0][:-2]


@operation_rule("SVD")
def svd(call: LayerCall) -> tuple[Shape, ...]:
    """Left vectors, singular values, right vectors."""
    *batch, rows, columns = call.inputs[0]
    small = _smaller(rows, columns)
    values = (*batch, small)
    if not call.setting("compute_uv", None, True):
        return (values,)
    full = call.setting("full_matrices", None, True)
    left, right = (rows, columns) if full else (small, small)
    return (*batch, rows, left), values, (*batch, right, columns)


@operation_rule("Qr")
def qr(call: LayerCall) -> tuple[Shape, ...]:
    """The two factors."""
    *batch, rows, columns = call.inputs[0]
    inner_size = rows if call.setting("mode") == "complete" else _smaller(rows, columns)
    return (*batch, rows, inner_size), (*batch, inner_size, columns)


@operation_rule("LuFactor")
def lu_factor(call: LayerCall) -> tuple[Shape, ...]:
    """Both factors in one matrix, and the pivots."""
    *batch, rows, columns = call.inputs[0]
    return call.inputs[0], (*batch, _smaller(rows, columns))


def _smaller(rows: Dim, columns: Dim) -> Dim:
    if not isinstance(rows, int) or not isinstance(columns, int):
        return Open()
    return min(rows, columns)


@operation_rule("Corrcoef")
def corrcoef(call: LayerCall) -> tuple[Shape, ...]:
    """Keras states the shape of the input."""
    return call.inputs[:1]


@operation_rule("Correlate")
def correlate(call: LayerCall) -> tuple[Shape, ...]:
    """Two vectors, moved past each other."""
    (first,), (second,) = _operands(call)
    if not isinstance(first, int) or not isinstance(second, int):
        return ((Open(),),)
    long, short = max(first, second), min(first, second)
    sizes = {"valid": long - short + 1, "same": long, "full": long + short - 1}
    return ((sizes[call.setting("mode", None, "valid")],),)


@operation_rule("FFT", "FFT2", "IFFT2")
def fft(call: LayerCall) -> tuple[Shape, ...]:
    """Real and imaginary part keep their shapes."""
    return call.inputs[0], call.inputs[-1]


@operation_rule("RFFT")
def rfft(call: LayerCall) -> tuple[Shape, ...]:
    """Half of the frequencies, twice."""
    length = call.setting("fft_length", 1)
    size = call.inputs[0][-1] if length is None else integer(length)
    shape = replaced(call.inputs[0], -1, map_dim(size, lambda n: n // 2 + 1, "floor({}/2)+1"))
    return shape, shape


@operation_rule("IRFFT")
def irfft(call: LayerCall) -> tuple[Shape, ...]:
    """As many samples as the frequencies stand for."""
    length = call.setting("fft_length", 1)
    size = map_dim(call.inputs[0][-1], lambda n: 2 * (n - 1), "2*({}-1)")
    return (replaced(call.inputs[0], -1, size if length is None else integer(length)),)


@operation_rule("STFT")
def stft(call: LayerCall) -> tuple[Shape, ...]:
    """Frames and frequencies, twice."""
    length = integer(call.setting("fft_length", 3))
    step = _positive(call.setting("sequence_stride", 2))
    around = (length // 2) * 2 if call.setting("center", None, True) else 0
    frames = map_dim(
        call.inputs[0][-1], lambda n: 1 + (n + around - length) // step, f"frames({{}}/{step})"
    )
    shape = (*call.inputs[0][:-1], frames, length // 2 + 1)
    return shape, shape


@operation_rule("ISTFT")
def istft(call: LayerCall) -> tuple[Shape, ...]:
    """As many samples as the frames cover."""
    stated = call.setting("length")
    length = integer(call.setting("fft_length", 3))
    step = _positive(call.setting("sequence_stride", 2))
    around = (length // 2) * 2 if call.setting("center", None, True) else 0
    size = map_dim(call.inputs[0][-2], lambda n: (n - 1) * step + length - around, "samples({})")
    return ((*call.inputs[0][:-2], size if stated is None else integer(stated)),)


@operation_rule("ExtractSequences")
def extract_sequences(call: LayerCall) -> tuple[Shape, ...]:
    """The last axis becomes frames and their samples."""
    length = integer(call.setting("sequence_length", 1))
    step = _positive(call.setting("sequence_stride", 2))
    frames = map_dim(call.inputs[0][-1], lambda n: 1 + (n - length) // step, f"frames({{}}/{step})")
    return ((*call.inputs[0][:-1], frames, length),)


@operation_rule("ViewAsComplex")
def view_as_complex(call: LayerCall) -> tuple[Shape, ...]:
    """The last axis held both parts."""
    return (call.inputs[0][:-1],)


@operation_rule("ViewAsReal")
def view_as_real(call: LayerCall) -> tuple[Shape, ...]:
    """An axis for both parts is added."""
    return ((*call.inputs[0], 2),)


@operation_rule("UnravelIndex")
def unravel_index(call: LayerCall) -> tuple[Shape, ...]:
    """One tensor of indices per axis."""
    target = arrays.plain(call.setting("shape", 1))
    if len(target) > arrays.MAX_OUTPUTS:
        raise ShapeUnknown(f"it makes {len(target)} tensors")
    return (call.inputs[0],) * len(target)


@operation_rule("SearchSorted")
def search_sorted(call: LayerCall) -> tuple[Shape, ...]:
    """The shape of the values."""
    return (shape_of(call.setting("values", 1)),)


def _positive(value: object) -> int:
    number = integer(value)
    if number < 1:
        raise ShapeUnknown(f"a step of {number} makes no sense")
    return number
