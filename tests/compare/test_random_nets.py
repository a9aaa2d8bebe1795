"""Random networks with random amounts changed: exactly those operators are named."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from nets import Layer, Net, Pads, Style, nets, perturbations, styles, written

from padaudit.compare.align import Alignment, align
from padaudit.compare.differences import PaddingDifference, differences
from padaudit.compare.result import Sameness
from padaudit.compare.run import compare_files
from padaudit.compare.units import units_of
from padaudit.formats.shape_options import InputShapes
from padaudit.rewriting.run import load

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def save(net: Net, style: Style, path: Path) -> Path:
    path.write_bytes(written(net, style).SerializeToString())
    return path


def aligned(original: tuple[Net, Style], port: tuple[Net, Style]) -> Alignment:
    """Align two networks without running anything."""
    with tempfile.TemporaryDirectory() as name:
        sides = [
            units_of(load(save(*side, Path(name) / f"{place}.onnx"), InputShapes()))
            for place, side in enumerate((original, port))
        ]
    return align(*sides)


def layer_name(item: PaddingDifference, side: str = "port") -> str:
    return str(getattr(item, side).site.op.name).removeprefix("port/")


@settings(max_examples=25, deadline=None, suppress_health_check=SLOW)
@given(st.data())
def test_exactly_the_changed_operators_are_named(data: st.DataObject) -> None:
    net: Net = data.draw(nets())
    changed: dict[str, Pads] = data.draw(perturbations(net))
    ours = data.draw(styles)
    alignment = aligned((net, ours), (net.changed(changed), data.draw(styles)))
    assert not alignment.original and not alignment.port
    found = differences(alignment)
    assert {layer_name(item) for item in found} == set(changed)
    layers: dict[str, Layer] = {layer.name: layer for layer in net.layers}
    for item in found:
        layer = layers[layer_name(item)]
        assert layer_name(item, "original") == layer.name
        assert item.port_pads == changed[layer.name]
        assert item.expected_pads is not None
        size = net.sizes()[layer.source]
        wanted = item.expected_pads[0], item.expected_pads[1]
        assert [pair[0] for pair in wanted] == [pair[0] for pair in layer.pads]
        assert layer.output(size, wanted) == layer.output(size)


@settings(max_examples=10, deadline=None, suppress_health_check=SLOW)
@given(st.data())
def test_a_retrained_port_is_aligned_by_its_graph(data: st.DataObject) -> None:
    net: Net = data.draw(nets())
    changed: dict[str, Pads] = data.draw(perturbations(net))
    style = Style(
        retrained=True, pad_nodes=data.draw(st.booleans()), identities=data.draw(st.booleans())
    )
    found = differences(aligned((net, Style()), (net.changed(changed), style)))
    assert {layer_name(item) for item in found} == set(changed)


@settings(max_examples=4, deadline=None, suppress_health_check=SLOW)
@given(st.data())
def test_the_corrected_port_agrees_with_the_original(data: st.DataObject) -> None:
    net: Net = data.draw(nets())
    changed: dict[str, Pads] = data.draw(perturbations(net))
    assume(changed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        original = save(net, data.draw(styles), folder / "original.onnx")
        port = save(net.changed(changed), data.draw(styles), folder / "port.onnx")
        result = compare_files(original, port, InputShapes(), folder / "fixed.onnx")
        assert result.status is Sameness.DIFFERENT, result.notes
        assert result.after is not None
        assert result.after.equal, (result.after, result.unfixed)
        again = compare_files(original, folder / "fixed.onnx", InputShapes())
        assert again.status is Sameness.SAME
        assert not again.differences
