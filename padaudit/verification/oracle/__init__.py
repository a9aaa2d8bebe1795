"""An independent reference for every padded operator: numpy, float64, gather by index.

Nothing is padded here and nothing is shared with `padaudit.padding`: each tap of each window
reads its element by index, and an index outside the input reads the pad value. Transposed
convolutions scatter. Sums of small integers are exact.
"""

from padaudit.verification.oracle.convolution import convolve
from padaudit.verification.oracle.pooling import average_pool, lp_pool, max_pool
from padaudit.verification.oracle.quantized import conv_integer, qlinear_conv
from padaudit.verification.oracle.transposed import conv_transpose
from padaudit.verification.oracle.windows import (
    AxisWindows,
    axis_windows,
    each_tap,
    gather,
    same_start,
)

__all__ = [
    "AxisWindows",
    "average_pool",
    "axis_windows",
    "conv_integer",
    "conv_transpose",
    "convolve",
    "each_tap",
    "gather",
    "lp_pool",
    "max_pool",
    "qlinear_conv",
    "same_start",
]
