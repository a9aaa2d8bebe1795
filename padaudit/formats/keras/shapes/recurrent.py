"""Recurrent layers and their cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from padaudit.formats.keras.shapes.convolution import rank_of, windowed_sizes
from padaudit.formats.keras.shapes.rule import (
    LayerCall,
    ShapeUnknown,
    channels_first,
    integer,
    join,
    shape_rule,
    split,
)
from padaudit.ir.dims import Dim, Shape

_STATES: Final = {
    "LSTM": 2,
    "CuDNNLSTM": 2,
    "UnifiedLSTM": 2,
    "GRU": 1,
    "CuDNNGRU": 1,
    "UnifiedGRU": 1,
    "SimpleRNN": 1,
}
_CELLS: Final = {"LSTMCell": 2, "PeepholeLSTMCell": 2, "GRUCell": 1, "SimpleRNNCell": 1}
_MAX_CELLS: Final = 1024


@shape_rule(*_STATES)
def recurrent(call: LayerCall) -> tuple[Shape, ...]:
    """``(batch, units)``, or with time steps; states behind it if they are returned."""
    units = integer(call.config["units"])
    return _outputs(call, units, (units,) * _STATES[call.class_name])


@shape_rule("RNN")
def custom_cell(call: LayerCall) -> tuple[Shape, ...]:
    """Like the layer of its cell, where that is one of Keras's."""
    states = _state_sizes(call.config["cell"])
    cells = call.config["cell"]
    stacked = cells if isinstance(cells, list) else cells["config"].get("cells")
    last = _state_sizes(stacked[-1]) if stacked else states
    return _outputs(call, last[0], states)


@shape_rule(*_CELLS)
def cell(call: LayerCall) -> tuple[Shape, ...]:
    """One step: the output, and the states behind it."""
    units = integer(call.config["units"])
    batch = call.inputs[0][0]
    return ((batch, units),) * (1 + _CELLS[call.class_name])


@shape_rule("StackedRNNCells")
def stacked_cells(call: LayerCall) -> tuple[Shape, ...]:
    """One step of all cells: the output of the last, and every state behind it."""
    record = {"class_name": call.class_name, "config": call.config}
    batch, states = call.inputs[0][0], _state_sizes(record)
    last = _state_sizes(call.config["cells"][-1])
    return ((batch, last[0]), *((batch, size) for size in states))


def _state_sizes(record: Any, depth: int = 0) -> tuple[int, ...]:
    """Return the sizes of the states of a cell's record, or of a list of them."""
    if depth > 8:
        raise ShapeUnknown("its cells are nested too deeply")
    inner = record if isinstance(record, list) else None
    if isinstance(record, Mapping) and str(record.get("class_name")).endswith("StackedRNNCells"):
        inner = record["config"]["cells"]
    if inner is not None:
        sizes = [size for item in inner[:_MAX_CELLS] for size in _state_sizes(item, depth + 1)]
        return tuple(sizes)
    name = str(record.get("class_name")).rsplit(">", 1)[-1]
    if name not in _CELLS:
        raise ShapeUnknown(f"its cell {name[:80]} is not one of Keras's")
    config = record["config"]
    return (integer(config.get("units", config.get("output_dim"))),) * _CELLS[name]


def _outputs(call: LayerCall, units: int, states: tuple[int, ...]) -> tuple[Shape, ...]:
    batch, time, *_ = call.inputs[0]
    sequences = call.config.get("return_sequences")
    result: tuple[Dim, ...] = (batch, time, units) if sequences else (batch, units)
    if not call.config.get("return_state"):
        return (result,)
    return (result, *((batch, size) for size in states))


@shape_rule("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")
def conv_lstm(call: LayerCall) -> tuple[Shape, ...]:
    """A convolution of every time step; the last one alone without return_sequences."""
    config, rank = call.config, rank_of(call.class_name)
    first = channels_first(config)
    shape = call.inputs[0]
    others, spatial = split((shape[0], *shape[2:]), rank, first)
    sizes = windowed_sizes(config, config["kernel_size"], spatial, 1)
    frame = join((*others[:-1], integer(config["filters"])), sizes, first)
    result = (frame[0], shape[1], *frame[1:]) if config.get("return_sequences") else frame
    return (result, frame, frame) if config.get("return_state") else (result,)
