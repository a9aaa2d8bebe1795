"""Configs with any values in any place: a shape, or a reason; never a traceback."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from padaudit.audit.sites import find_sites
from padaudit.errors import PadauditError
from padaudit.formats.guard import well_formed
from padaudit.formats.keras.container import KerasDocument
from padaudit.formats.keras.read import read_graph
from padaudit.formats.keras.shapes import MODULES, infer_shapes, rules
from padaudit.formats.keras.shapes.rule import LayerCall, ShapeUnknown, Tensor
from padaudit.formats.shape_options import InputShapes
from padaudit.ir.dims import Open, Shape, Unknown

TEXT = """
    activation axes axis axis1 axis2 backward_layer batch_dims begin begin_mask bin_boundaries
    block_size cell cells constants cropping data_format depth depth_multiplier destination
    dilation dilation_rate dilations dims dot_axes end equation expand_dims fft_length filter
    filters frame_length frame_step function height indices indices_or_sections k kernel
    kernel_size ksize layer length max_tokens merge_mode method_name mode multiples n newshape
    node_def num num_bins num_classes num_mel_bins num_or_size_splits num_segments num_tokens
    offset output_dim output_mode output_padding output_sequence_length output_shape
    output_size padding paddings pad_width pads pattern perm pool_size rates repeats
    return_sequences return_state sequence_length sequence_stride shape size sizes slice_spec
    source start start_indices stride strides subscripts target_height target_shape
    target_width top_padding bottom_padding top_cropping units vocabulary width 0 1 2 3
"""
KEYS = TEXT.split()
HUGE = 10**30
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-4, 9),
    st.sampled_from([HUGE, -HUGE, 2**63, 4097, 10**6]),
    st.floats(allow_nan=True),
    st.sampled_from(
        ["same", "valid", "causal", "channels_first", "NCHW", "int", "...ab,b->...", ""]
    ),
    st.text(max_size=4),
)
records = st.fixed_dictionaries(
    {},
    optional={
        "class_name": st.sampled_from(["__slice__", "__numpy__", "__ellipsis__", "LSTMCell", "X"]),
        "config": st.dictionaries(st.sampled_from(["value", "units", "start", "step"]), scalars),
        "start": scalars,
        "step": scalars,
        "op": st.sampled_from(["Conv2D", "Reshape", "StridedSlice", "Pack"]),
        "items": st.lists(scalars, max_size=3),
    },
)
values = st.recursive(
    st.one_of(scalars, records),
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.lists(st.integers(0, 5), max_size=5)),
    max_leaves=8,
)
dims = st.one_of(
    st.integers(0, 40), st.just(HUGE), st.builds(Open), st.builds(Unknown, st.just("a test"))
)
shapes: st.SearchStrategy[Shape] = st.lists(dims, max_size=6).map(tuple)
tensors = st.builds(Tensor, shapes, st.one_of(st.none(), dims, shapes))
settings_of_a_call = st.dictionaries(st.sampled_from(KEYS), values, max_size=8)
arguments = st.dictionaries(
    st.sampled_from(KEYS), st.one_of(values, tensors, st.lists(tensors, max_size=3)), max_size=6
)


def answer(call: LayerCall) -> tuple[Shape, ...] | str:
    """Return the shapes of a call, or why there are none."""
    try:
        return infer_shapes(call)
    except ShapeUnknown as error:
        return error.cause


@pytest.mark.parametrize("domain", sorted(MODULES))
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_every_rule_gives_shapes_or_a_reason(domain: str, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(rules(domain))))
    inputs = data.draw(st.lists(shapes, max_size=3))
    call = LayerCall(
        name, data.draw(settings_of_a_call), tuple(inputs), data.draw(arguments), domain
    )
    results = answer(call)
    if isinstance(results, str):
        assert 0 < len(results) < 400
        return
    assert len(results) <= 4096
    for shape in results:
        assert all(
            isinstance(size, Open | Unknown) or (isinstance(size, int) and size >= 0)
            for size in shape
        )


LAYERS = ["Conv2D", "Bidirectional", "TimeDistributed", "MyLayer", "Dense", "Reshape", "RNN"]
FUNCTIONS = ["TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer"]


@settings(max_examples=150, deadline=None)
@given(
    shape=st.one_of(values, st.just([None, 9, 8, 3])),
    module=st.sampled_from(["keras.src.ops.nn", "keras.layers", 3]),
    class_name=st.sampled_from([*LAYERS, *FUNCTIONS, "Conv", "MaxPool", "GetItem"]),
    config=st.dictionaries(st.sampled_from(KEYS), values, max_size=5),
    keywords=st.dictionaries(st.sampled_from(KEYS), values, max_size=3),
)
def test_a_model_gives_sites_or_an_error_that_names_the_layer(
    shape: Any, module: Any, class_name: str, config: dict[str, Any], keywords: dict[str, Any]
) -> None:
    layers = [
        {
            "class_name": "InputLayer",
            "name": "image",
            "config": {"batch_shape": shape},
            "inbound_nodes": [],
        },
        {
            "class_name": class_name,
            "module": module,
            "name": "strange",
            "config": config,
            "inbound_nodes": [[["image", 0, 0, keywords]]],
        },
    ]
    model = {
        "name": "m",
        "layers": layers,
        "input_layers": [["image", 0, 0]],
        "output_layers": [["strange", 0, 0]],
    }
    document = KerasDocument(None, "keras-json", {"class_name": "Functional", "config": model})
    with suppress(PadauditError), well_formed(None):
        sites = find_sites(read_graph(document, InputShapes()))
        assert all(site.id.startswith("strange") for site in sites)
