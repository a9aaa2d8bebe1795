"""`compare` on keras.applications: no false alarm, and one wrong operator is the one named.

``pytest -m slow tests/e2e/test_compare_applications.py`` (minutes each; every one is built in
a process of its own, for TensorFlow keeps the memory of models that are gone).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, helper, numpy_helper

from padaudit.compare.result import Comparison, Sameness
from padaudit.compare.run import compare_files
from padaudit.formats.shape_options import InputShapes
from padaudit.ir.site import PaddingSite
from padaudit.rewriting.run import load

ARCHITECTURES = (
    *("MobileNet", "MobileNetV2", "MobileNetV3Small", "EfficientNetB0", "EfficientNetV2B0"),
    *("NASNetMobile", "ResNet50", "ResNet50V2", "DenseNet121", "InceptionV3"),
    *("InceptionResNetV2", "Xception", "VGG16", "ConvNeXtTiny"),
)
BUILDER = Path(__file__).parent / "applications_pair.py"


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_ports_that_are_right_and_one_that_is_not(name: str, tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(BUILDER), name, str(tmp_path)], check=True, timeout=1800)
    examine(tmp_path)


def examine(folder: Path) -> None:
    """Compare an architecture with its translations, and with one that is made wrong."""
    original = folder / "model.keras"
    for port in ("padaudit.onnx", "keras.onnx"):
        if not (folder / port).exists():
            continue
        result = compare_files(original, folder / port, InputShapes())
        print(folder.name, port, told(result), flush=True)
        assert result.status is Sameness.SAME, (port, result.reason)
        assert not result.differences and not result.windows and not result.alignment.port
        # tf2onnx merges pools of one input that are one and the same (NASNet has both kinds).
        left = {unit.site.op.op_type for unit in result.alignment.original}
        assert left <= {"AveragePooling2D", "MaxPooling2D"}
    wrong, site = folder / "wrong.onnx", made_wrong(folder / "padaudit.onnx", folder / "wrong.onnx")
    result = compare_files(original, wrong, InputShapes(), folder / "fixed.onnx")
    print(folder.name, site, told(result), flush=True)
    assert [item.port.id for item in result.differences] == [site]
    assert result.before is not None and not result.before.equal
    assert result.after is not None and result.after.equal
    assert result.fixed is not None


def told(result: Comparison) -> str:
    gaps = [f"{gap.relative:.2g}" for gap in (result.before, result.after) if gap is not None]
    return f"{result.status.value}, {len(result.alignment.pairs)} aligned, {' -> '.join(gaps)}"


def made_wrong(port: Path, target: Path) -> str:
    """Write a port whose middle strided operator has other amounts; return that operator's id."""
    proto, model = onnx.load(port), load(port, InputShapes())
    nodes = {node.name: node for node in proto.graph.node}
    strided = [site for site in model.sites if windowed(site) and site.op.name in nodes]
    chosen = strided[len(strided) // 2]
    shift(proto, nodes[chosen.op.name], len(chosen.spatial_axes))
    onnx.save(proto, target)
    return chosen.id


def windowed(site: PaddingSite) -> bool:
    window = site.window
    if window is None or site.op.op_type not in ("Conv", "MaxPool"):
        return False
    return max(window.strides) > 1 and min(window.kernel_shape) > 1


def shift(proto: ModelProto, node: NodeProto, rank: int) -> None:
    """Pad what a naive port pads: half a kernel on both sides, or where it does so, one off."""
    pad = next((item for item in proto.graph.node if item.output[0] == node.input[0]), None)
    kernel = attribute(node, "kernel_shape")
    naive = [size // 2 for size in kernel] * 2
    if pad is not None and pad.op_type == "Pad":
        flat = constant(proto, pad.input[1])
        own = [*flat[2 : 2 + rank], *flat[4 + rank :]]
        wrong = naive if naive != own else shifted(own)
        flat[2 : 2 + rank], flat[4 + rank :] = wrong[:rank], wrong[rank:]
        name = f"{pad.name}/wrong"
        proto.graph.initializer.append(numpy_helper.from_array(np.int64(flat), name))
        pad.input[1] = name
        return
    own = attribute(node, "pads") or [0] * (2 * rank)
    kept = [item for item in node.attribute if item.name != "pads"]
    del node.attribute[:]
    wrong = naive if naive != own else shifted(own)
    node.attribute.extend([*kept, helper.make_attribute("pads", wrong)])


def shifted(own: Sequence[int]) -> list[int]:
    half = len(own) // 2
    return [*(size - 1 for size in own[:half]), *(size + 1 for size in own[half:])]


def attribute(node: NodeProto, name: str) -> Any:
    found = next((item for item in node.attribute if item.name == name), None)
    return None if found is None else list(helper.get_attribute_value(found))


def constant(proto: ModelProto, name: str) -> list[int]:
    found = next(item for item in proto.graph.initializer if item.name == name)
    return [int(size) for size in numpy_helper.to_array(found)]


if __name__ == "__main__":
    for place in sys.argv[1:]:
        examine(Path(place))
