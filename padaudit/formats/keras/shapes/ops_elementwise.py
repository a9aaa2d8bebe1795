"""Operations of Keras 3 that work element by element, and reductions."""

from __future__ import annotations

from typing import Final

from padaudit.formats.keras.shapes.arrays import broadcast_all, product, reduced, shape_of
from padaudit.formats.keras.shapes.rule import LayerCall, operation_rule
from padaudit.ir.dims import Shape

_UNARY: Final = """
    Abs Absolute Angle Arccos Arccosh Arcsin Arcsinh Arctan Arctanh Argsort Array BitwiseInvert
    BitwiseNot Cast Cbrt Ceil Celu Cholesky CholeskyInverse Clip Conj Conjugate ConvertToTensor
    Copy Cos Cosh Deg2rad Digitize Elu EmptyLike Erf Erfc Erfinv Exp Exp2 Expm1 Fabs Flip Fliplr
    Flipud Floor Gelu HSVToRGB HardShrink HardSigmoid HardSilu HardTanh I0 Imag Inv Isfinite Isinf
    Isnan Isneginf Isposinf Isreal LayerNorm LeakyRelu Log Log10 Log1p Log2 LogSigmoid LogSoftmax
    LogicalNot NanToNum Negative Normalize OnesLike Polar RGBToHSV RMSNorm Rad2deg Real Reciprocal
    Relu Relu6 Roll Round Rsqrt SaturateCast Selu Sigmoid Sign Signbit Silu Sin Sinc Sinh
    SliceUpdate ScatterUpdate SoftShrink Softmax Softplus Softsign Sort SparsePlus SparseSigmoid
    Sparsemax Sqrt Square Squareplus StopGradient Tan TanhShrink Tanh Threshold Tril Triu Trunc
    View ZerosLike FullLike BatchNorm AffineTransform PerspectiveTransform GaussianBlur
    ElasticTransform DotProductAttention IsIn BinaryCrossentropy
"""
_BROADCAST: Final = """
    Add Arctan2 BitwiseAnd BitwiseLeftShift BitwiseOr BitwiseRightShift BitwiseXor Divide
    DivideNoNan Equal FloorDivide Fmax Fmin Fmod Gcd Greater GreaterEqual Heaviside Hypot Isclose
    Lcm Ldexp LeftShift Less LessEqual Logaddexp Logaddexp2 LogicalAnd LogicalOr LogicalXor
    Maximum Minimum Mod Multiply Nextafter NotEqual Power RightShift Subtract TrueDivide
"""
_REDUCTIONS: Final = """
    All Amax Amin Any Average Argmax Argmin CountNonzero Logsumexp Max Mean Median Min Nanargmax
    Nanargmin Nanmax Nanmean Nanmedian Nanmin Nanprod Nanstd Nansum Nanvar Norm Prod Ptp Std Sum
    Var
"""


@operation_rule(*_UNARY.split())
def unchanged(call: LayerCall) -> tuple[Shape, ...]:
    """The shape of the first argument."""
    return (shape_of(call.arguments["0"] if "0" in call.arguments else call.inputs[0]),)


@operation_rule(*_BROADCAST.split())
def broadcast_operands(call: LayerCall) -> tuple[Shape, ...]:
    """The shapes of the two arguments, broadcast."""
    names = (("x1", "x"), ("x2", "y"))
    operands = [
        call.setting(first, position, call.setting(other))
        for position, (first, other) in enumerate(names)
    ]
    return (broadcast_all([shape_of(value) for value in operands]),)


@operation_rule("Where")
def where(call: LayerCall) -> tuple[Shape, ...]:
    """Condition and both choices, broadcast."""
    operands = [call.setting(*name) for name in (("condition", 0), ("x1", 1), ("x2", 2))]
    return (broadcast_all([shape_of(value) for value in operands if value is not None]),)


@operation_rule("Select")
def select(call: LayerCall) -> tuple[Shape, ...]:
    """All conditions and choices, broadcast."""
    return (broadcast_all(call.inputs),)


@operation_rule(*_REDUCTIONS.split())
def reduction(call: LayerCall) -> tuple[Shape, ...]:
    """The reduced axes vanish, or become 1."""
    return (reduced(call.inputs[0], call.setting("axis", 1), call.setting("keepdims")),)


@operation_rule("Moments")
def moments(call: LayerCall) -> tuple[Shape, ...]:
    """Mean and variance, each reduced."""
    shape = reduced(call.inputs[0], call.setting("axes", 1), call.setting("keepdims"))
    return shape, shape


@operation_rule("Quantile", "Percentile", "Nanquantile", "Nanpercentile")
def quantile(call: LayerCall) -> tuple[Shape, ...]:
    """The reduced shape, behind the axes of the quantiles."""
    shape = reduced(call.inputs[0], call.setting("axis"), call.setting("keepdims"))
    return ((*shape_of(call.setting("q", 1)), *shape),)


@operation_rule("Cumsum", "Cumprod", "Nancumsum", "Nancumprod", "Argpartition")
def cumulative(call: LayerCall) -> tuple[Shape, ...]:
    """The shape stays; without an axis it becomes flat."""
    shape = call.inputs[0]
    return (shape if call.setting("axis") is not None else (product(shape),),)


@operation_rule("CategoricalCrossentropy")
def class_loss(call: LayerCall) -> tuple[Shape, ...]:
    """The class axis vanishes."""
    return (call.inputs[0][:-1],)


@operation_rule("SparseCategoricalCrossentropy")
def sparse_class_loss(call: LayerCall) -> tuple[Shape, ...]:
    """The class axis of the output vanishes."""
    return (reduced(shape_of(call.setting("output", 1)), call.setting("axis", None, -1)),)


@operation_rule("AllClose", "Vdot", "Size", "PSNR")
def number(call: LayerCall) -> tuple[Shape, ...]:
    """A single number."""
    return ((),)


@operation_rule("Det", "Logdet", "MatrixRank")
def of_matrices(call: LayerCall) -> tuple[Shape, ...]:
    """One number per matrix."""
    return (call.inputs[0][:-2],)
