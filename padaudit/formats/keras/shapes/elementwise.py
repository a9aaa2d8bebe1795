"""Layers whose output has the shape of their input."""

from __future__ import annotations

from typing import Final

from padaudit.formats.keras.shapes.rule import LayerCall, shape_rule
from padaudit.ir.dims import Shape

_LAYERS: Final = """
    Activation ActivityRegularization AlphaDropout BatchNormalization BatchNormalizationV1
    BatchNormalizationV2 Dropout ELU GaussianDropout GaussianNoise GroupNormalization Identity
    InstanceNormalization LayerNormalization LeakyReLU Masking Normalization PReLU
    ParametricSoftplus RMSNormalization ReLU Rescaling SReLU Softmax SpatialDropout1D
    SpatialDropout2D SpatialDropout3D SyncBatchNormalization ThresholdedReLU
    UnitNormalization
"""
_AUGMENTATIONS: Final = """
    AugMix AutoContrast CutMix Equalization GrayscaleToGray MixUp RandAugment RandomBrightness
    RandomColorDegeneration RandomColorJitter RandomContrast RandomElasticTransform
    RandomErasing RandomFlip RandomGaussianBlur RandomHue RandomInvert RandomPerspective
    RandomPosterization RandomRotation RandomSaturation RandomSharpness RandomShear
    RandomTranslation RandomZoom Solarization
"""
_OPERATIONS: Final = """
    Abs Absolute Ceil Clip Cos Elu Erf Exp Floor Gelu HardSigmoid HardSilu HardSwish
    LeakyRelu Log Log1p LogSigmoid LogSoftmax Negative Reciprocal Relu Relu6 Round Rsqrt
    Selu Sigmoid Sign Silu Sin Softplus Softsign Sqrt Square Swish Tanh Cast
    StopGradient ZerosLike OnesLike
"""


@shape_rule(*_LAYERS.split(), *_AUGMENTATIONS.split(), *_OPERATIONS.split())
def unchanged(call: LayerCall) -> tuple[Shape, ...]:
    """Return the input's shape."""
    return call.inputs[:1]
