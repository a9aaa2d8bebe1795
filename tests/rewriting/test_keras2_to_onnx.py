"""Keras 2 files to ONNX, loaded by tf-keras."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

tf_keras = pytest.importorskip("tf_keras", reason="tf-keras writes, loads and judges these files")
pytest.importorskip("tf2onnx", reason="tf2onnx translates these models")
sys.path.insert(0, str(Path(__file__).parents[1]))
from keras_translation import (  # noqa: E402
    assert_explicit,
    assert_near,
    feeds,
    predicted,
    ran,
    translated,
    varied,
)

L = tf_keras.layers
SAME = {"padding": "same"}


def images() -> tuple[Any, list[tuple[int, ...]]]:
    """Return a stack of what pads in two dimensions; a layer is called at two sizes."""
    image = tf_keras.Input((None, None, 4), name="image")
    shared = L.Conv2D(4, (3, 2), (2, 3), name="shared", **SAME)
    small = shared(shared(image))
    x = L.Conv2DTranspose(5, (2, 3), 4, activation="relu", **SAME)(small)
    x = L.BatchNormalization()(x)
    x = L.MaxPooling2D((2, 3), (3, 2), **SAME)(x)
    x = L.DepthwiseConv2D((3, 2), 2, depth_multiplier=2, **SAME)(x)
    x = L.SeparableConv2D(6, 3, dilation_rate=2, **SAME)(x)
    x = L.AveragePooling2D(3, 2, **SAME)(x)
    return tf_keras.Model(image, [x, small]), [(2, 19, 28, 4), (1, 12, 13, 4)]


def signals() -> tuple[Any, list[tuple[int, ...]]]:
    """Return a Sequential of what pads in one dimension, with code of its own."""
    layers = [
        L.Conv1D(4, 3, padding="causal", dilation_rate=2, input_shape=(None, 3)),
        L.Lambda(lambda x: x * 2.0),
        L.Conv1DTranspose(3, 2, 3, **SAME),
        L.AveragePooling1D(3, 2, **SAME),
        L.SeparableConv1D(3, 3, padding="causal"),
        L.DepthwiseConv1D(4, 3, **SAME),
    ]
    return tf_keras.Sequential(layers), [(2, 12, 3), (1, 7, 3)]


def videos() -> tuple[Any, list[tuple[int, ...]]]:
    """Return what pads in time, in an inner model that is called twice."""
    frame = tf_keras.Input((None, None, 2))
    inner = tf_keras.Model(frame, L.Conv2D(2, (3, 2), name="conv", **SAME)(frame), name="inner")
    video = tf_keras.Input((3, 9, 8, 2), name="video")
    x = L.ConvLSTM2D(2, 3, return_sequences=True, name="cell", **SAME)(video)
    x = L.TimeDistributed(L.Conv2D(2, 2, 2, name="frame", **SAME), name="each")(x)
    last = L.Lambda(lambda y: y[:, -1])(x)
    return tf_keras.Model(video, [inner(inner(last)), x]), [(2, 3, 9, 8, 2)]


def volumes() -> tuple[Any, list[tuple[int, ...]]]:
    """Return a stack of what pads in three dimensions."""
    volume = tf_keras.Input((None, None, None, 2), name="volume")
    x = L.Conv3D(4, (2, 3, 4), (3, 2, 1), **SAME)(volume)
    x = L.MaxPooling3D((1, 2, 3), (2, 1, 2), **SAME)(x)
    x = L.Conv3DTranspose(3, (2, 1, 3), (3, 2, 1), **SAME)(x)
    return tf_keras.Model(volume, L.AveragePooling3D((2, 1, 3), 2, **SAME)(x)), [(1, 4, 5, 6, 2)]


@pytest.mark.parametrize("build", [images, signals, videos, volumes])
def test_what_tf_keras_computes(build: Any, tmp_path: Path) -> None:
    model, shapes = build()
    case = translated(varied(model), tmp_path, legacy=tf_keras)
    assert_explicit(case)
    for shape in shapes:
        given = feeds(case.model, [shape])
        assert_near(predicted(case.model, given), ran(case.path, given))


@pytest.mark.parametrize("back", [None, "back"])
def test_both_ways_go_by_the_names_of_the_definition(back: str | None, tmp_path: Path) -> None:
    video = tf_keras.Input((3, 9, 2))
    cell = L.ConvLSTM1D(2, 3, name="cell", **SAME)
    other = back and L.ConvLSTM1D(2, 2, name=back, go_backwards=True, **SAME)
    both = L.Bidirectional(cell, backward_layer=other, name="both")(video)
    case = translated(varied(tf_keras.Model(video, both)), tmp_path, legacy=tf_keras)
    assert_explicit(case)
    assert not case.settled.report.kept
    ids = {edit.site.id for edit in case.settled.report.edits}
    assert {"both/cell"} | ({f"both/backward/{back}"} if back else set()) <= ids


def test_calls_go_by_their_names(tmp_path: Path) -> None:
    case = translated(varied(videos()[0]), tmp_path, legacy=tf_keras)
    ids = {edit.site.id for edit in case.settled.report.edits}
    assert ids == {"cell", "each/frame", "inner/conv", "inner#2/conv"}
    case = translated(varied(images()[0]), tmp_path, legacy=tf_keras)
    assert {"shared", "shared#2"} <= {node.name for node in case.proto.graph.node}
