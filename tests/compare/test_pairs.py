"""Keras networks and their PyTorch ports: exactly the wrong operators are named."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent))
from pairs import DILATIONS, MOBILENET, PAIRS, Padded, copy_weights, export

from padaudit.compare.align import Alignment, align
from padaudit.compare.differences import differences
from padaudit.compare.result import Sameness
from padaudit.compare.run import compare_files
from padaudit.compare.units import units_of
from padaudit.formats.shape_options import InputShapes
from padaudit.rewriting.run import load

NAIVE: dict[str, list[str]] = {
    "mobilenet": ["stem", *(f"block{index}_depthwise" for index in range(len(MOBILENET)))],
    "unet": ["one", "shrink", "two", "down", "wide", "up_two", "two_again", "blur"],
    "wavenet": [
        "start",
        *(f"{part}{dilation}" for dilation in DILATIONS for part in ("gate", "main")),
    ],
}
"""The layers that a naive port gives ``padding=k//2``."""
WRONG: dict[str, set[str]] = {
    "mobilenet": {"stem", "block2_depthwise", "block4_depthwise"},
    "unet": {"shrink", "down", "up_two", "blur"},
    "wavenet": set(NAIVE["wavenet"]),
}
"""Those of them where that is not what "same" or "causal" means."""
CASES = [
    *((name, (), "right") for name in PAIRS),
    *((name, NAIVE[name], "naive") for name in PAIRS),
    ("mobilenet", ["block2_depthwise"], "one"),
    ("mobilenet", ["block0_depthwise", "block1_depthwise"], "none that matters"),
    ("unet", ["blur"], "divisor"),
    ("unet", ["up_two"], "transposed"),
    ("unet", ["shrink", "two"], "pool"),
    ("wavenet", ["gate4"], "one"),
    ("wavenet", ["main1", "gate8"], "two"),
]


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Path]]:
    """Return each Keras network, and its file."""
    folder = tmp_path_factory.mktemp("keras")
    suffixes = {"mobilenet": ".keras", "unet": ".h5", "wavenet": ".h5"}
    found = {}
    for name, (make, _, _) in PAIRS.items():
        model, path = make(), folder / f"{name}{suffixes[name]}"
        model.save(path)
        found[name] = model, path
    return found


def ported(name: str, source: Any, wrong: Collection[str], path: Path) -> Path:
    _, make, shape = PAIRS[name]
    model = make(wrong)
    copy_weights(source, model)
    return export(model, shape, path)


def aligned(original: Path, port: Path) -> Alignment:
    sides = [units_of(load(path, InputShapes())) for path in (original, port)]
    return align(*sides)


@pytest.mark.parametrize(("name", "wrong", "case"), CASES, ids=[f"{c[0]}-{c[2]}" for c in CASES])
def test_the_wrong_layers_are_named(
    name: str, wrong: Collection[str], case: str, originals: Any, tmp_path: Path
) -> None:
    source, original = originals[name]
    alignment = aligned(original, ported(name, source, wrong, tmp_path / "port.onnx"))
    assert not alignment.original and not alignment.port
    for ours, theirs in alignment.pairs:
        assert ours.id in theirs.id.strip("/").split("/")
    found = differences(alignment)
    assert {item.original.id for item in found} == WRONG[name] & set(wrong)


def test_what_is_right_for_a_layer_is_said(originals: Any, tmp_path: Path) -> None:
    source, original = originals["unet"]
    port = ported("unet", source, NAIVE["unet"], tmp_path / "port.onnx")
    found = {item.original.id: item for item in differences(aligned(original, port))}
    assert found["shrink"].port_pads == ((1, 1), (1, 1))
    assert found["shrink"].expected_pads == ((0, 1), (0, 1))
    assert found["up_two"].port_pads == ((1, 1), (1, 1))
    assert found["up_two"].expected_pads == ((0, 1), (0, 1))
    assert found["blur"].divisor and "count_include_pad=0" in found["blur"].note
    assert found["blur"].port_pads == found["blur"].expected_pads == ((1, 1), (1, 1))


def test_a_naive_port_of_keras_is_corrected_and_proven(originals: Any, tmp_path: Path) -> None:
    source, original = originals["unet"]
    port = ported("unet", source, NAIVE["unet"], tmp_path / "port.onnx")
    fixed = tmp_path / "fixed.onnx"
    result = compare_files(original, port, InputShapes(), fixed)
    assert result.status is Sameness.DIFFERENT
    assert {item.original.id for item in result.differences} == WRONG["unet"]
    assert result.before is not None and result.before.relative > 0.01
    assert result.after is not None and result.after.relative < 1e-5
    assert result.fixed == fixed and not result.unfixed
    right = ported("unet", source, (), tmp_path / "right.onnx")
    again = compare_files(fixed, right, InputShapes())
    assert again.status is Sameness.SAME and not again.differences


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("naive", [False, True], ids=["right", "naive"])
def test_ports_run_against_keras(name: str, naive: bool, originals: Any, tmp_path: Path) -> None:
    source, original = originals[name]
    port = ported(name, source, NAIVE[name] if naive else (), tmp_path / "port.onnx")
    result = compare_files(original, port, InputShapes(), tmp_path / "fixed.onnx")
    assert result.status is (Sameness.DIFFERENT if naive else Sameness.SAME)
    assert {item.original.id for item in result.differences} == (WRONG[name] if naive else set())
    assert (result.fixed is not None) == naive


# --- PyTorch against PyTorch ----------------------------------------------------------------


class Deep(nn.Module):
    """Fifty convolutions of few forms with residual sums; every tenth has stride 2."""

    def __init__(self, wrong: Collection[int] = ()) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convs = nn.ModuleList(
            Padded(
                nn.Conv2d(3 if index == 0 else 4, 4, 3, 2 if index % 10 == 4 else 1), index in wrong
            )
            for index in range(50)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for index, conv in enumerate(self.convs):
            y = functional.leaky_relu(conv(x), 0.5)
            x = y if index == 0 or index % 10 == 4 else 0.5 * x + y
        return x


def test_one_wrong_convolution_of_fifty_is_named(tmp_path: Path) -> None:
    right = export(Deep(), (3, 64, 96), tmp_path / "right.onnx")
    port = export(Deep([24]), (3, 64, 96), tmp_path / "port.onnx")
    result = compare_files(right, port, InputShapes(), tmp_path / "fixed.onnx")
    assert len(result.alignment.pairs) == 50
    (item,) = result.differences
    assert item.port.id == item.original.id == "/convs.24/layer/Conv"
    assert (item.port_pads, item.expected_pads) == (((1, 1), (1, 1)), ((0, 1), (0, 1)))
    assert result.after is not None and result.after.max_abs == 0
    assert result.fixed is not None
    assert compare_files(right, result.fixed, InputShapes()).status is Sameness.SAME


class Computed(nn.Conv2d):
    """TensorFlow's "same" as PyTorch ports compute it when they run (timm does)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat: list[Any] = []
        axes = zip(x.shape[2:], self.kernel_size, self.stride, self.dilation, strict=True)
        for size, kernel, stride, dilation in axes:
            needed = ((size + stride - 1) // stride - 1) * stride + (kernel - 1) * dilation + 1
            total = torch.clamp(torch.as_tensor(needed - size), min=0)
            flat = [total // 2, total - total // 2, *flat]
        x = functional.pad(x, flat)
        return functional.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation)


def strided(kind: type[nn.Conv2d], padding: tuple[int, int]) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        kind(3, 8, 3, 2, padding[0]), nn.ReLU(), kind(8, 4, 5, 2, padding[1]), nn.ReLU()
    )


@pytest.mark.parametrize("opened", [False, True], ids=["fixed", "open"])
def test_amounts_that_are_computed_are_seen_in_a_run(opened: bool, tmp_path: Path) -> None:
    axes = {"x": {0: "N", 2: "H", 3: "W"}} if opened else None
    paths = []
    for name, module in {
        "original": strided(Computed, (0, 0)),
        "port": strided(nn.Conv2d, (1, 2)),
    }.items():
        paths.append(tmp_path / f"{name}.onnx")
        example = (torch.zeros(1, 3, 64, 48),)
        torch.onnx.export(
            module.eval(), example, paths[-1], dynamo=False, input_names=["x"], dynamic_axes=axes
        )
    assert compare_files(paths[0], paths[0], InputShapes()).status is Sameness.SAME
    result = compare_files(paths[0], paths[1], InputShapes())
    expected = [item.expected_pads for item in result.differences]
    assert expected == [((0, 1), (0, 1)), ((1, 2), (1, 2))]
    assert result.after is not None and result.after.max_abs == 0
    assert any("open" in note for note in result.notes) == opened


def test_a_port_in_half_precision_is_the_same(tmp_path: Path) -> None:
    original = export(Deep(), (3, 64, 96), tmp_path / "original.onnx")
    half = export(Deep().half(), (3, 64, 96), tmp_path / "half.onnx", dtype=torch.float16)
    assert compare_files(original, half, InputShapes()).status is Sameness.SAME


def test_a_wrong_layer_that_no_output_shows_is_named(tmp_path: Path) -> None:
    """What PyTorch initialises lets nothing of an input through many convolutions."""

    def chain(padding: int) -> nn.Module:
        torch.manual_seed(2)
        layers: list[nn.Module] = []
        for index in range(40):
            strided = index in (10, 20)
            size, pad = (2, 0) if strided else (3, 1)
            layers += [nn.Conv2d(3, 3, size, 2 if strided else 1, pad), nn.ReLU()]
        layers[40] = nn.Conv2d(3, 3, 3, 2, 0)
        return nn.Sequential(*layers[:40], nn.ZeroPad2d((padding, 1, 0, 1)), *layers[40:])

    right, wrong = (
        export(chain(padding), (3, 48, 64), tmp_path / f"{padding}.onnx") for padding in (0, 1)
    )
    result = compare_files(right, wrong, InputShapes())
    assert result.before is not None and result.before.equal
    assert result.status is Sameness.DIFFERENT
    (item,) = result.differences
    assert item.port_pads == ((0, 1), (1, 1)) and item.expected_pads == ((0, 1), (0, 1))
