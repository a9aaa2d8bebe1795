"""Layers of Keras 2 and 3 and what they are called on: unequal sizes, open ones, both layouts.

A case is a function of the Keras module (keras or tf_keras) that makes a layer, and the shapes
of its inputs; the name in front is the class, for versions of Keras that do not have it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Dims = tuple[int | None, ...]
IMAGE: Dims = (None, 17, 14, 6)
OPEN: Dims = (None, None, 14, 6)
FIRST: Dims = (None, 6, 17, 14)
RGB: Dims = (None, 17, 14, 3)
LINE: Dims = (None, 19, 6)
OPEN_LINE: Dims = (None, None, 6)
LINE_FIRST: Dims = (None, 6, 19)
VOLUME: Dims = (None, 9, 12, 7, 4)
VOLUME_FIRST: Dims = (None, 4, 9, 12, 7)
VIDEO: Dims = (None, 5, 9, 8, 3)
VIDEO_FIRST: Dims = (None, 5, 3, 9, 8)
FLAT: Dims = (None, 8)
IDS: Dims = (None, 9)
SAMPLES: Dims = (None, 1000)
STEREO: Dims = (None, 1000, 2)
Make = Callable[[Any], Any]
Case = tuple[str, Make, tuple[Dims, ...], str]
CF = {"data_format": "channels_first"}
BY_RANK = {1: (LINE, LINE_FIRST), 2: (IMAGE, FIRST), 3: (VOLUME, VOLUME_FIRST)}
KERNELS = {1: (3,), 2: (3, 2), 3: (2, 3, 1)}
STRIDES = {1: (2,), 2: (2, 3), 3: (2, 3, 1)}


def case(
    name: str, *arguments: Any, of: tuple[Dims, ...], dtype: str = "float32", **how: Any
) -> Case:
    """Return a case that calls the class with some arguments."""
    return name, lambda keras: getattr(keras.layers, name)(*arguments, **how), of, dtype


def windows() -> list[Case]:
    """Convolutions, pools, paddings, croppings and upsampling of every rank and layout."""
    found: list[Case] = []
    for rank, (last, first) in BY_RANK.items():
        opened = (None, None, *last[2:])
        for shape, layout in ((last, {}), (opened, {}), (first, CF)):
            for padding in ("same", "valid"):
                how = {"padding": padding, **layout}
                found += _convolutions(rank, shape, how) + _pools(rank, shape, how)
            found += _frames(rank, shape, layout)
    return found


def _convolutions(rank: int, shape: Dims, how: dict[str, Any]) -> list[Case]:
    kernel, strides = KERNELS[rank], STRIDES[rank]
    of = (shape,)
    found = [
        case(f"Conv{rank}D", 5, kernel, strides=strides, of=of, **how),
        case(f"Conv{rank}DTranspose", 5, kernel, strides=strides, of=of, **how),
        case(f"Conv{rank}DTranspose", 5, kernel, strides=3, output_padding=1, of=of, **how),
    ]
    if "data_format" not in how:
        found.append(case(f"Conv{rank}D", 5, kernel, dilation_rate=2, of=of, **how))
    if rank < 3:
        found += [
            case(f"DepthwiseConv{rank}D", kernel, strides=2, depth_multiplier=2, of=of, **how),
            case(f"SeparableConv{rank}D", 5, kernel, strides=2, of=of, **how),
        ]
    if rank < 3 and how["padding"] == "valid" and None not in shape[1:]:
        name = f"LocallyConnected{rank}D"
        found.append(case(name, 4, kernel, strides=strides, implementation=1, of=of, **how))
    return found


def _pools(rank: int, shape: Dims, how: dict[str, Any]) -> list[Case]:
    kernel, strides, of = KERNELS[rank], STRIDES[rank], (shape,)
    size, step = (kernel[0], strides[0]) if rank == 1 else (kernel, strides)
    return [
        case(f"MaxPooling{rank}D", size, of=of, **how),
        case(f"AveragePooling{rank}D", size, strides=step, of=of, **how),
    ]


def _frames(rank: int, shape: Dims, layout: dict[str, Any]) -> list[Case]:
    amounts = {1: (2, 3), 2: ((1, 2), (3, 4)), 3: ((1, 2), (3, 0), (0, 1))}[rank]
    how = layout if rank > 1 else {}
    of = (shape,)
    found = [
        case(f"ZeroPadding{rank}D", amounts, of=of, **how),
        case(f"ZeroPadding{rank}D", 2, of=of, **how),
        case(f"Cropping{rank}D", amounts, of=of, **how),
        case(f"Cropping{rank}D", 1, of=of, **how),
        case(f"UpSampling{rank}D", KERNELS[rank] if rank > 1 else 3, of=of, **how),
        case(f"SpatialDropout{rank}D", 0.3, of=of, **how),
    ]
    for kind in ("Max", "Average"):
        found += [
            case(f"Global{kind}Pooling{rank}D", of=of, **layout),
            case(f"Global{kind}Pooling{rank}D", keepdims=True, of=of, **layout),
            case(f"Adaptive{kind}Pooling{rank}D", (5, 4, 3)[:rank], of=of, **layout),
        ]
    return found


def core() -> list[Case]:
    """Layers without a window."""
    same = (
        ("Activation", "relu"),
        ("ActivityRegularization", 0.1),
        ("AlphaDropout", 0.2),
        ("BatchNormalization",),
        ("Dropout", 0.2),
        ("ELU",),
        ("GaussianDropout", 0.2),
        ("GaussianNoise", 0.2),
        ("GroupNormalization", 2),
        ("Identity",),
        ("LayerNormalization",),
        ("LeakyReLU",),
        ("Masking",),
        ("PReLU",),
        ("RMSNormalization",),
        ("ReLU",),
        ("Rescaling", 2.0),
        ("Softmax",),
        ("ThresholdedReLU",),
        ("UnitNormalization",),
    )
    return [
        *(case(name, *arguments, of=(IMAGE,)) for name, *arguments in same),
        case("BatchNormalization", of=(OPEN,)),
        case("Normalization", mean=0.5, variance=2.0, of=(IMAGE,)),
        case("Dense", 5, of=(IMAGE,)),
        case("Dense", 5, of=(OPEN_LINE,)),
        case("EinsumDense", "abc,cd->abd", output_shape=(19, 7), of=(LINE,)),
        case("EinsumDense", "abc,cde->abde", output_shape=(None, 7, 2), of=(OPEN_LINE,)),
        case("EinsumDense", "...x,xy->...y", output_shape=7, of=(LINE,)),
        case("EinsumDense", "abc,cd->abd", output_shape=(None, 7), of=(OPEN_LINE,)),
        case("Embedding", 11, 4, of=(IDS,)),
        case("ReversibleEmbedding", 11, 4, of=(IDS,)),
        case("Flatten", of=(IMAGE,)),
        case("Flatten", of=(OPEN,)),
        case("Flatten", of=((None,),)),
        case("Flatten", **CF, of=(FIRST,)),
        case("Reshape", (7, -1, 3), of=(IMAGE,)),
        case("Reshape", (-1, 6), of=(OPEN,)),
        case("Reshape", (6, 238), of=(IMAGE,)),
        case("Permute", (3, 1, 2), of=(IMAGE,)),
        case("Permute", (2, 1), of=(OPEN_LINE,)),
        case("RepeatVector", 3, of=(FLAT,)),
        *(
            case(name, of=of)
            for name in ("Add", "Multiply", "Average", "Maximum", "Minimum")
            for of in ((IMAGE, (None, 17, 1, 6)), (OPEN, (None, 1, 1, 6), OPEN))
        ),
        case("Subtract", of=(IMAGE, (None, 17, 1, 6))),
        case("Add", of=(IMAGE, (None, 14, 6))),
        case("Concatenate", axis=1, of=(IMAGE, (None, 3, 14, 6))),
        case("Concatenate", of=(OPEN, (None, None, 14, 5))),
        case("Dot", axes=(2, 1), of=((None, 4, 7), (None, 7, 3))),
        case("Dot", axes=-1, normalize=True, of=((None, 4, 7), (None, 3, 7))),
        case("Dot", axes=1, of=(FLAT, FLAT)),
        case("Attention", of=(LINE, (None, 8, 6))),
        case("AdditiveAttention", of=(LINE, (None, 8, 6), (None, 8, 6))),
        (
            "MultiHeadAttention",
            lambda k: _called(k.layers.MultiHeadAttention(2, 3)),
            (LINE, (None, 8, 5)),
            "float32",
        ),
        (
            "MultiHeadAttention",
            lambda k: _called(
                k.layers.MultiHeadAttention(2, 3, output_shape=7), return_attention_scores=True
            ),
            (LINE, LINE),
            "float32",
        ),
        (
            "GroupQueryAttention",
            lambda k: _called(k.layers.GroupQueryAttention(4, 6, 2)),
            (LINE, (None, 8, 6)),
            "float32",
        ),
    ]


def _called(layer: Any, **keywords: Any) -> Callable[[Any], Any]:
    """Return how an attention layer is called: with its tensors by name."""
    return lambda tensors: layer(query=tensors[0], value=tensors[1], **keywords)


def recurrent() -> list[Case]:
    """Recurrent layers, their cells and wrappers."""
    found: list[Case] = []
    for name in ("LSTM", "GRU", "SimpleRNN"):
        found += [
            case(name, 5, of=(LINE,)),
            case(name, 5, return_sequences=True, return_state=True, of=(OPEN_LINE,)),
            (f"{name}Cell", lambda k, n=name: _rnn(k, n), (LINE,), "float32"),
        ]
    for rank, shape in ((1, (None, 5, 9, 3)), (2, VIDEO), (3, (None, 5, 9, 8, 7, 3))):
        name, kernel = f"ConvLSTM{rank}D", KERNELS[rank]
        how = {"padding": "same", "strides": STRIDES[rank]}
        found += [
            case(name, 4, kernel, of=(shape,), **how),
            case(name, 4, kernel, return_sequences=True, return_state=True, of=(shape,)),
        ]
    found.append(case("ConvLSTM2D", 4, (3, 2), **CF, of=(VIDEO_FIRST,)))
    for mode in ("concat", "sum", "ave", None):
        found += [
            _wrapped("Bidirectional", "LSTM", (5,), (LINE,), merge_mode=mode),
            _wrapped(
                "Bidirectional",
                "GRU",
                (5,),
                (OPEN_LINE,),
                {"return_sequences": True},
                merge_mode=mode,
            ),
        ]
    state = {"return_state": True}
    return [
        *found,
        _wrapped("Bidirectional", "LSTM", (5,), (LINE,), state),
        _wrapped("Bidirectional", "LSTM", (5,), (LINE,), state, merge_mode=None),
        _wrapped("Bidirectional", "ConvLSTM2D", (4, (3, 2)), (VIDEO,), {"padding": "same"}),
        _wrapped("TimeDistributed", "Conv2D", (4, (3, 2)), (VIDEO,), {"padding": "same"}),
        _wrapped("TimeDistributed", "Dense", (4,), (OPEN_LINE,)),
        _wrapped("SpectralNormalization", "Conv2D", (4, (3, 2)), (IMAGE,), {"strides": 2}),
        ("StackedRNNCells", _stacked, (LINE,), "float32"),
        ("RNN", _stacked, (LINE,), "float32"),
    ]


def _rnn(keras: Any, name: str) -> Any:
    cell = getattr(keras.layers, f"{name}Cell")(4)
    return keras.layers.RNN(cell, return_sequences=True, return_state=True)


def _stacked(keras: Any) -> Any:
    cells = [keras.layers.GRUCell(4), keras.layers.SimpleRNNCell(3)]
    return keras.layers.RNN(keras.layers.StackedRNNCells(cells), return_sequences=True)


def _wrapped(
    wrapper: str,
    inner: str,
    arguments: tuple[Any, ...],
    of: tuple[Dims, ...],
    settings: dict[str, Any] | None = None,
    **how: Any,
) -> Case:
    def make(keras: Any) -> Any:
        layer = getattr(keras.layers, inner)(*arguments, **(settings or {}))
        return getattr(keras.layers, wrapper)(layer, **how)

    return wrapper, make, of, "float32"


def preprocessing() -> list[Case]:
    """Preprocessing and augmentation."""
    ratio = (
        ("RandomBrightness", 0.2),
        ("RandomContrast", 0.2),
        ("RandomFlip",),
        ("RandomRotation", 0.2),
        ("RandomTranslation", 0.2, 0.1),
        ("RandomZoom", 0.2),
        ("AugMix",),
        ("AutoContrast",),
        ("ContrastLimitedAdaptiveHistogramEqualization",),
        ("CutMix",),
        ("Equalization",),
        ("MixUp",),
        ("RandAugment",),
        ("RandomColorDegeneration", 0.2),
        ("RandomColorJitter",),
        ("RandomElasticTransform",),
        ("RandomErasing",),
        ("RandomGaussianBlur",),
        ("RandomGrayscale",),
        ("RandomHue", 0.2),
        ("RandomInvert",),
        ("RandomPerspective",),
        ("RandomPosterization", 4),
        ("RandomSaturation", 0.2),
        ("RandomSharpness", 0.2),
        ("RandomShear", 0.1),
        ("Solarization",),
    )
    modes = [("int", {}), ("one_hot", {}), ("multi_hot", {}), ("count", {})]
    return [
        *(case(name, *arguments, of=(RGB,)) for name, *arguments in ratio),
        case("Resizing", 5, 8, of=(OPEN,)),
        case("Resizing", 5, 8, crop_to_aspect_ratio=True, of=(IMAGE,)),
        case("Resizing", 5, 8, pad_to_aspect_ratio=True, of=(IMAGE,)),
        case("Resizing", 5, 8, **CF, of=(FIRST,)),
        case("CenterCrop", 5, 8, of=(IMAGE,)),
        case("RandomCrop", 5, 8, of=(IMAGE,)),
        *(
            case("CategoryEncoding", 7, output_mode=mode, of=of, dtype="int32")
            for mode in ("one_hot", "multi_hot", "count")
            for of in (((None, 1),), (IDS,))
            if mode != "one_hot" or of[0][-1] == 1
        ),
        *(
            case("Discretization", [1.0, 2.0, 3.0], output_mode=mode, of=((None, 1),))
            for mode, _ in modes
        ),
        case("Hashing", 7, of=(IDS,), dtype="string"),
        case("HashedCrossing", 7, of=((None, 1), (None, 1)), dtype="string"),
        case("HashedCrossing", 7, output_mode="one_hot", of=((None, 1),) * 2, dtype="string"),
        case("Hashing", 7, output_mode="multi_hot", of=(IDS,), dtype="string"),
        *(
            case("StringLookup", vocabulary=["a", "b"], output_mode=mode, of=of, dtype="string")
            for mode, _ in modes
            for of in ((IDS,), ((None, 1),))
            if mode != "one_hot" or of[0][-1] == 1
        ),
        *(
            case("IntegerLookup", vocabulary=[5, 6, 7], output_mode=mode, of=of, dtype="int64")
            for mode, _ in modes
            for of in ((IDS,), ((None, 1),))
            if mode != "one_hot" or of[0][-1] == 1
        ),
        case("TextVectorization", output_sequence_length=9, of=((None, 1),), dtype="string"),
        case(
            "MelSpectrogram", num_mel_bins=7, sequence_stride=30, fft_length=64, of=((None, 1000),)
        ),
        case("STFTSpectrogram", frame_length=32, frame_step=9, of=(STEREO,)),
        case(
            "STFTSpectrogram",
            mode="stft",
            frame_length=32,
            padding="same",
            expand_dims=True,
            of=((None, 1000, 2),),
        ),
        ("Pipeline", _pipeline, (IMAGE,), "float32"),
    ]


def _pipeline(keras: Any) -> Any:
    layers = keras.layers
    return layers.Pipeline([layers.Resizing(9, 11), layers.CenterCrop(5, 7)])


CASES = [*windows(), *core(), *recurrent(), *preprocessing()]
