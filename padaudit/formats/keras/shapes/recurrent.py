"""Recurrent layers."""

from __future__ import annotations

from padaudit.formats.keras.shapes.convolution import rank_of, windowed_sizes
from padaudit.formats.keras.shapes.rule import (
    LayerCall,
    ShapeUnknown,
    channels_first,
    join,
    shape_rule,
    split,
)
from padaudit.ir.dims import Shape

_STATES = {"LSTM": 2, "CuDNNLSTM": 2, "GRU": 1, "CuDNNGRU": 1, "SimpleRNN": 1}


@shape_rule(*_STATES)
def recurrent(call: LayerCall) -> tuple[Shape, ...]:
    """``(batch, units)``, or with time steps; states behind it if they are returned."""
    return _outputs(call, int(call.config["units"]), _STATES[call.class_name])


@shape_rule("RNN")
def custom_cell(call: LayerCall) -> tuple[Shape, ...]:
    """Like the layer of its cell, where that is one of Keras's."""
    cell = call.config["cell"]
    units = cell["config"].get("units")
    if not isinstance(units, int):
        raise ShapeUnknown(f"its cell {cell.get('class_name')} has no units")
    return _outputs(call, units, 2 if "LSTM" in cell["class_name"] else 1)


def _outputs(call: LayerCall, units: int, states: int) -> tuple[Shape, ...]:
    batch, time, *_ = call.inputs[0]
    sequence: Shape = (
        (batch, time, units) if call.config.get("return_sequences") else (batch, units)
    )
    if not call.config.get("return_state"):
        return (sequence,)
    return (sequence, *(((batch, units),) * states))


@shape_rule("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")
def conv_lstm(call: LayerCall) -> tuple[Shape, ...]:
    """A convolution of every time step; the last one alone without return_sequences."""
    config, rank = call.config, rank_of(call.class_name)
    first = channels_first(config)
    shape = call.inputs[0]
    others, spatial = split((shape[0], *shape[2:]), rank, first)
    sizes = windowed_sizes(config, config["kernel_size"], spatial, 1)
    frame = join((*others[:-1], config["filters"]), sizes, first)
    result = (frame[0], shape[1], *frame[1:]) if config.get("return_sequences") else frame
    return (result, frame, frame) if config.get("return_state") else (result,)
