"""An ONNX model with other padding at some operators, beside weights that all variants share."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

from padaudit.formats.onnx.document import NodeOrigin, container_at, opset_at
from padaudit.formats.onnx.locate import Steps
from padaudit.formats.onnx.padding import (
    PAD_INPUTS_OPSET,
    clear_padding,
    remove_attributes,
    write_ints,
    write_pads,
)
from padaudit.ir.site import Family, PaddingSite
from padaudit.verification.naive import Change

_DATA: Final = "weights.bin"
_THRESHOLD: Final = 1024


class Variants:
    """Writes variants of a model into a folder; they all read one file of weights.

    Parameters
    ----------
    model : Path
        The model.
    folder : Path
        Where they go.
    """

    def __init__(self, model: Path, folder: Path) -> None:
        self.folder = folder
        self.base = folder / "base.onnx"
        onnx.save_model(
            onnx.load(model),
            self.base,
            save_as_external_data=True,
            all_tensors_to_one_file=True,
            location=_DATA,
            size_threshold=_THRESHOLD,
        )
        self._light = onnx.load(self.base, load_external_data=False)
        self._written = 0

    def write(self, changes: Sequence[Change]) -> Path:
        """Write the model with some operators changed."""
        model = ModelProto()
        model.CopyFrom(self._light)
        for steps, found in _by_container(changes).items():
            _edit(model, steps, found)
        self._written += 1
        path = self.folder / f"variant-{self._written}.onnx"
        path.write_bytes(model.SerializeToString())
        return path


def refusal(change: Change, changes: Sequence[Change]) -> str | None:
    """Return why a change can't be tried in a graph, or None if it can."""
    site = change.unit.site
    if not change.by_attribute and site.family is Family.AVG_POOL:
        return "an average pool can't have such amounts"
    if any(change.trim) and any(site.op.outputs[1:]):
        return "its indices would have another size"
    if not change.by_attribute and (site.quantized or site.family is Family.TRANSPOSED_CONV):
        return "such amounts have no form for it"
    origins = Counter(item.unit.site.op.origin for item in changes)
    if origins[site.op.origin] > 1:
        return "its function is called several times"
    return None


def _by_container(changes: Sequence[Change]) -> dict[Steps, list[Change]]:
    found: dict[Steps, list[Change]] = defaultdict(list)
    for change in changes:
        found[change.unit.site.op.origin.steps].append(change)
    # Bodies first: what stands in them is found through the indices of the graphs around them.
    return dict(sorted(found.items(), key=lambda item: -len(item[0])))


def _edit(model: ModelProto, steps: Steps, changes: Sequence[Change]) -> None:
    container = container_at(model, steps)
    nodes = list(container.node)
    ordered = sorted(changes, key=lambda change: change.unit.site.op.origin.index, reverse=True)
    for number, change in enumerate(ordered):
        origin: NodeOrigin = change.unit.site.op.origin
        place = origin.index
        nodes[place : place + 1] = _replaced(nodes[place], change, opset_at(model, origin), number)
    del container.node[:]
    container.node.extend(nodes)


def _replaced(node: NodeProto, change: Change, opset: int, number: int) -> list[NodeProto]:
    """Return a node with other padding, and the Pads in front of it and behind it."""
    site = change.unit.site
    new = NodeProto()
    new.CopyFrom(node)
    clear_padding(new)
    remove_attributes(new, ["ceil_mode", "output_shape", "output_padding"])
    ahead: list[NodeProto] = []
    behind: list[NodeProto] = []
    if change.by_attribute:
        write_pads(new, change.own)
    else:
        value = float("-inf") if site.family is Family.MAX_POOL else 0.0
        names = node.input[0], f"padaudit.what_if.{number}.ahead"
        ahead = _pad(site, names, change.own, value, opset)
        new.input[0] = names[1]
    if any(change.appended):
        write_ints(new, "output_padding", change.appended)
    if any(change.trim):
        names = f"padaudit.what_if.{number}.behind", node.output[0]
        new.output[0] = names[0]
        behind = _pad(site, names, [(0, count) for count in change.trim], 0.0, opset)
    return [*ahead, new, *behind]


def _pad(
    site: PaddingSite,
    names: tuple[str, str],
    pads: Sequence[tuple[int, int]],
    value: float,
    opset: int,
) -> list[NodeProto]:
    source, result = names
    rank = len(pads) + 2
    flat = [0] * (2 * rank)
    for axis, pair in zip(site.spatial_axes, pads, strict=True):
        flat[axis], flat[rank + axis] = pair
    label = f"{source}/to/{result}"
    if opset < PAD_INPUTS_OPSET:
        return [helper.make_node("Pad", [source], [result], label, pads=flat, value=value)]
    amounts: Any = numpy_helper.from_array(np.asarray(flat, np.int64))
    nodes = [helper.make_node("Constant", [], [f"{label}/pads"], f"{label}/pads", value=amounts)]
    inputs = [source, f"{label}/pads"]
    if value:
        least: Any = numpy_helper.from_array(np.asarray(value, site.dtype or "float32"))
        name = f"{label}/value"
        nodes.append(helper.make_node("Constant", [], [name], name, value=least))
        inputs.append(name)
    return [*nodes, helper.make_node("Pad", inputs, [result], label)]
