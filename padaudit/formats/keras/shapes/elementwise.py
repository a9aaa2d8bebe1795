"""Layers whose output has the shape of their input."""

from __future__ import annotations

from typing import Final

from padaudit.formats.keras.shapes.arrays import shape_of
from padaudit.formats.keras.shapes.rule import LayerCall, shape_rule
from padaudit.ir.dims import Shape

_LAYERS: Final = """
    Activation ActivityRegularization AlphaDropout BatchNormalization BatchNormalizationV1
    BatchNormalizationV2 Dropout ELU GaussianDropout GaussianNoise GroupNormalization Highway
    Identity InstanceNormalization LayerNormalization LeakyReLU Linear Masking Normalization PReLU
    ParametricSoftplus RMSNormalization ReLU Rescaling SReLU Softmax SpatialDropout1D
    SpatialDropout2D SpatialDropout3D SyncBatchNormalization ThresholdedReLU UnitNormalization
"""
_AUGMENTATIONS: Final = """
    AugMix AutoContrast ContrastLimitedAdaptiveHistogramEqualization CutMix Equalization MixUp
    RandAugment RandomBrightness RandomColorDegeneration RandomColorJitter RandomContrast
    RandomElasticTransform RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale RandomHeight
    RandomHue RandomInvert RandomPerspective RandomPosterization RandomRotation RandomSaturation
    RandomSharpness RandomShear RandomTranslation RandomWidth RandomZoom Solarization
"""


@shape_rule(*_LAYERS.split(), *_AUGMENTATIONS.split())
def unchanged(call: LayerCall) -> tuple[Shape, ...]:
    """Return the input's shape (RandomHeight and RandomWidth change it in training only)."""
    first = call.arguments.get("0")
    return (shape_of(first) if first is not None else call.inputs[0],)
