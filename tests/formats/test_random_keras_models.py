"""Random models of many layers, against the shapes that Keras has for every one of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

keras = pytest.importorskip("keras", reason="keras is the judge of these tests")
sys.path.insert(0, str(Path(__file__).parent))
from keras_shapes import graph_of, plain  # noqa: E402

L, K = keras.layers, keras.ops
WINDOW = st.sampled_from(["Conv2D", "MaxPooling2D", "AveragePooling2D", "Conv2DTranspose"])
STEPS = st.lists(st.integers(0, 11), min_size=3, max_size=9)


def step(kind: int, x: Any, draw: Any) -> Any:
    """Return the tensor after one more layer; every image stays an image."""
    amount = draw(st.integers(1, 3))
    if kind < 4:
        kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
        how = {
            "strides": draw(st.integers(1, 3)),
            "padding": draw(st.sampled_from(["same", "valid"])),
        }
        name = draw(WINDOW)
        window = (5, kernel) if name.startswith("Conv") else (kernel,)
        return getattr(L, name)(*window, **how)(x)
    return [
        lambda: L.ZeroPadding2D(((amount, 0), (1, amount)))(x),
        lambda: L.UpSampling2D((1, amount))(x),
        lambda: L.Add()([L.Dense(x.shape[-1])(x), x]),
        lambda: L.Concatenate()([x, L.BatchNormalization()(x)]),
        lambda: L.Permute((2, 1, 3))(x),
        lambda: L.SeparableConv2D(4, 3, padding="same")(x),
        lambda: K.pad(x, ((0, 0), (amount, 1), (0, amount), (0, 0))),
        lambda: K.concatenate([x[:, :, 1:], x], axis=2),
    ][kind - 4]()


@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_every_tensor_has_the_shape_that_keras_says(data: st.DataObject) -> None:
    keras.backend.clear_session()
    sizes = data.draw(st.tuples(*(st.one_of(st.none(), st.integers(40, 60)),) * 2))
    image = keras.Input((*sizes, 3))
    x = image
    for kind in data.draw(STEPS):
        if None not in x.shape[1:] and min(x.shape[1:3]) < 9:
            break
        x = step(kind, x, data.draw)
    model = keras.Model(image, x)
    graph = graph_of(model)
    stated = {node.name: tuple(node.output.shape) for node in model.operations}
    for op in graph.ops():
        info = graph.tensor(op.outputs[0])
        assert info.shape is not None, info.cause
        assert plain(info.shape) == stated[op.name]
