"""Preprocessing layers that change sizes."""

from __future__ import annotations

from typing import Any

from padaudit.formats.keras.shapes.arrays import plain, replaced
from padaudit.formats.keras.shapes.convolution import windowed_size
from padaudit.formats.keras.shapes.rule import (
    LayerCall,
    ShapeUnknown,
    channels_first,
    integer,
    shape_rule,
    split,
)
from padaudit.ir.dims import Dim, Open, Shape, map_dim


@shape_rule("Resizing", "CenterCrop", "RandomCrop")
def resized(call: LayerCall) -> tuple[Shape, ...]:
    """Height and width become what the layer says; cropping or padding to ratio included."""
    first = channels_first(call.config)
    shape = call.inputs[0]
    if len(shape) < 3:
        raise ShapeUnknown(f"its input has {len(shape)} axes, not 4")
    rows, columns = (-2, -1) if first else (-3, -2)
    sizes = integer(call.config["height"]), integer(call.config["width"])
    return (replaced(replaced(shape, rows, sizes[0]), columns, sizes[1]),)


@shape_rule("CategoryEncoding")
def category_encoding(call: LayerCall) -> tuple[Shape, ...]:
    """The categories' axis takes the place of the last one, or is added (``one_hot``)."""
    tokens = integer(call.config.get("num_tokens", call.config.get("max_tokens")))
    return (_encoded(call.inputs[0], call.config.get("output_mode", "multi_hot"), tokens),)


@shape_rule("Discretization")
def discretization(call: LayerCall) -> tuple[Shape, ...]:
    """Like the lookups; the boundaries stand in the config, or their number does."""
    mode = call.config.get("output_mode", "int")
    if mode == "int":
        return call.inputs[:1]
    bounds = plain(call.config.get("bin_boundaries"))
    bins = integer(call.config.get("num_bins")) if bounds is None else len(bounds) + 1
    shape = call.inputs[0]
    if mode == "one_hot" or len(shape) < 2:
        return (_encoded(shape, "one_hot", bins),)
    return ((shape[0], *shape[2:], bins),)


@shape_rule("Hashing")
def hashing(call: LayerCall) -> tuple[Shape, ...]:
    """The shape stays (``int``), or the last axis becomes that of the bins."""
    if call.config.get("output_mode", "int") == "int":
        return call.inputs[:1]
    return (_encoded(call.inputs[0], "multi_hot", integer(call.config["num_bins"])),)


@shape_rule("HashedCrossing")
def hashed_crossing(call: LayerCall) -> tuple[Shape, ...]:
    """The shape of the first input (``int``), or an axis of bins."""
    mode = call.config.get("output_mode", "int")
    if mode == "int":
        return call.inputs[:1]
    return (_encoded(call.inputs[0], mode, integer(call.config["num_bins"])),)


@shape_rule("StringLookup", "IntegerLookup")
def lookup(call: LayerCall) -> tuple[Shape, ...]:
    """The shape stays (``int``), or an axis of the vocabulary."""
    mode = call.config.get("output_mode", "int")
    if mode == "int":
        return call.inputs[:1]
    return (_encoded(call.inputs[0], mode, _vocabulary(call.config)),)


@shape_rule("TextVectorization")
def text_vectorization(call: LayerCall) -> tuple[Shape, ...]:
    """``output_sequence_length`` tokens per text, or an axis of the vocabulary."""
    mode = call.config.get("output_mode", "int")
    if mode != "int":
        return ((call.inputs[0][0], _vocabulary(call.config)),)
    length = call.config.get("output_sequence_length")
    return ((call.inputs[0][0], Open() if length is None else integer(length)),)


def _encoded(shape: Shape, mode: Any, depth: Dim) -> Shape:
    if mode == "one_hot" and (len(shape) < 2 or shape[-1] != 1):
        return (*shape, depth)
    return (*shape[:-1], depth)


def _vocabulary(config: Any) -> Dim:
    """Return the size of a vocabulary, where the config tells it."""
    if config.get("pad_to_max_tokens") and config.get("max_tokens") is not None:
        return integer(config["max_tokens"])
    words = plain(config.get("vocabulary"))
    if not isinstance(words, list):
        raise ShapeUnknown("the size of its vocabulary does not stand in its config")
    extra = integer(config.get("num_oov_indices", 1))
    return len(words) + extra


@shape_rule("MelSpectrogram")
def mel_spectrogram(call: LayerCall) -> tuple[Shape, ...]:
    """Mel bins and frames take the place of the samples."""
    stride = integer(call.config["sequence_stride"])
    if stride < 1:
        raise ShapeUnknown(f"a stride of {stride} makes no sense")
    *batch, samples = call.inputs[0]
    frames = map_dim(samples, lambda n: (n + stride + 1) // stride, f"frames({{}}/{stride})")
    return ((*batch, integer(call.config["num_mel_bins"]), frames),)


@shape_rule("STFTSpectrogram")
def stft_spectrogram(call: LayerCall) -> tuple[Shape, ...]:
    """A strided window over the samples; channels become frequencies."""
    config = call.config
    length = integer(config["frame_length"])
    step = config.get("frame_step")
    fft = config.get("fft_length")
    first = channels_first(config)
    others, (samples,) = split(call.inputs[0], 1, first)
    stride = length // 2 if step is None else integer(step)
    if length < 1 or stride < 1:
        raise ShapeUnknown("its frames make no sense")
    frames = windowed_size(samples, length, stride, 1, str(config.get("padding", "valid")))
    bins = (length if fft is None else integer(fft)) // 2 + 1
    bins *= 2 if config.get("mode") == "stft" else 1
    channels = others[-1]
    if config.get("expand_dims"):
        image = (channels, frames, bins) if first else (frames, bins, channels)
        return ((others[0], *image),)
    depth = map_dim(channels, lambda n: n * bins, f"{bins}*{{}}")
    return ((others[0], depth, frames) if first else (others[0], frames, depth),)
