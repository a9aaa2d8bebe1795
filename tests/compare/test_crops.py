"""Transposed convolutions cropped to the size of a skip connection, as ports write that."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
from onnx_models import model, weights
from pairs import export

from padaudit.compare.result import Sameness
from padaudit.compare.run import compare_files
from padaudit.formats.shape_options import InputShapes

SIZE = (22, 34)
Crop = Callable[[Tensor, Tensor], Tensor]


class Skip(nn.Module):
    """Down by half, up again to one row and one column too many, cropped, beside the input."""

    def __init__(self, crop: Crop) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.crop = crop
        self.down, self.up = nn.Conv2d(2, 3, 3, 2), nn.ConvTranspose2d(3, 3, 3, 2)
        self.last = nn.Conv2d(5, 2, (3, 2))

    def forward(self, x: Tensor) -> Tensor:
        up = self.up(self.down(functional.pad(x, (0, 1, 0, 1))))
        both = torch.cat([x, self.crop(up, x)], 1)
        return torch.as_tensor(self.last(functional.pad(both, (0, 1, 1, 1))))


def over(up: Tensor, x: Tensor) -> tuple[int, int]:
    """Return how many rows and columns are missing: less than none."""
    return x.shape[2] - up.shape[2], x.shape[3] - up.shape[3]


def by_pad(up: Tensor, x: Tensor) -> Tensor:
    rows, columns = over(up, x)
    return functional.pad(up, (0, columns, 0, rows))


def by_pad_in_front(up: Tensor, x: Tensor) -> Tensor:
    rows, columns = over(up, x)
    return functional.pad(up, (columns, 0, rows, 0))


RIGHT: dict[str, Crop] = {
    "Slice to a size": lambda up, x: up[:, :, : x.shape[2], : x.shape[3]],
    "Slice by a difference": lambda up, x: up[:, :, : over(up, x)[0], : over(up, x)[1]],
    "Pad": lambda up, x: functional.pad(up, (0, -1, 0, -1)),
    "Pad by a difference": by_pad,
}
WRONG: dict[str, Crop] = {
    "Slice from a difference": lambda up, x: up[:, :, -over(up, x)[0] :, -over(up, x)[1] :],
    "Slice to its own size": lambda up, x: up[:, :, 1 : up.shape[2], 1 : up.shape[3]],
    "Pad": lambda up, x: functional.pad(up, (-1, 0, -1, 0)),
    "Pad by a difference": by_pad_in_front,
}


@pytest.fixture
def original(tmp_path: Path) -> Path:
    rows, columns = SIZE
    plain = Skip(lambda up, x: up[:, :, :rows, :columns])
    return export(plain, (2, *SIZE), tmp_path / "original.onnx")


@pytest.mark.parametrize("idiom", RIGHT)
def test_idioms_of_a_crop_are_the_same(idiom: str, original: Path, tmp_path: Path) -> None:
    port = export(Skip(RIGHT[idiom]), (2, *SIZE), tmp_path / "port.onnx")
    result = compare_files(original, port, InputShapes())
    assert result.status is Sameness.SAME
    assert not result.differences and not result.notes


@pytest.mark.parametrize("idiom", WRONG)
def test_a_crop_at_the_wrong_end_is_moved(idiom: str, original: Path, tmp_path: Path) -> None:
    port = export(Skip(WRONG[idiom]), (2, *SIZE), tmp_path / "port.onnx")
    result = compare_files(original, port, InputShapes(), tmp_path / "fixed.onnx")
    (item,) = result.differences
    assert item.port.id == "/up/ConvTranspose"
    assert (item.port_pads, item.expected_pads) == (((1, 0),) * 2, ((0, 1),) * 2)
    assert result.fixed is not None
    assert compare_files(original, result.fixed, InputShapes()).status is Sameness.SAME


def kept_rows(pads: int, rows: int, *tail: Any) -> onnx.ModelProto:
    """Return a transposed convolution, of whose outputs a Compress keeps some rows."""
    up = helper.make_node("ConvTranspose", ["x", "w"], ["t"], "up", pads=[0, 0, pads, 0])
    keep = helper.make_node("Compress", ["t", "kept"], ["y" if not tail else "u"], "keep", axis=2)
    kept = numpy_helper.from_array(np.arange(rows) < 9, "kept")
    return model([up, keep, *tail], {"x": (1, 2, 8, 5)}, [weights((2, 2, 3, 4)), kept])


def saved(folder: Path, ours: onnx.ModelProto, theirs: onnx.ModelProto) -> tuple[Path, Path]:
    paths = folder / "original.onnx", folder / "port.onnx"
    for path, proto in zip(paths, (ours, theirs), strict=True):
        path.write_bytes(proto.SerializeToString())
    return paths


def test_a_correction_that_moves_nothing_is_none(tmp_path: Path) -> None:
    paths = saved(tmp_path, kept_rows(1, 9), kept_rows(0, 10))
    result = compare_files(*paths, InputShapes(), tmp_path / "fixed.onnx")
    assert result.status is Sameness.SAME
    assert not result.differences and result.fixed is None
    assert result.notes == ("the padding of 'up' differs, without an effect on any output",)


def test_outputs_that_depend_on_nothing_prove_nothing(tmp_path: Path) -> None:
    dead = helper.make_node("Sub", ["u", "u"], ["y"], "dead")
    paths = saved(tmp_path, kept_rows(1, 9, dead), kept_rows(0, 10, dead))
    result = compare_files(*paths, InputShapes())
    assert result.status is Sameness.DIFFERENT
    assert [item.port.id for item in result.differences] == ["up"]
