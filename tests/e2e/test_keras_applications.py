"""`check` on keras.applications, against what Keras itself has and computes.

All architectures: ``pytest -m slow tests/e2e/test_keras_applications.py``.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

import pytest

import padaudit
from padaudit.audit.check import ModelReport
from padaudit.ir.dims import Dim, Unknown

keras = pytest.importorskip("keras", reason="keras is the judge of these tests")
sys.path.insert(0, str(Path(__file__).parent))
from keras_truth import padded_layers  # noqa: E402

FAST = ("MobileNetV2", "EfficientNetV2B0", "Xception")


def architectures() -> list[Any]:
    """Return the name of every model builder of keras.applications."""
    found = vars(keras.applications)
    names = [name for name in sorted(found) if inspect.isfunction(found[name])]
    return [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", architectures())
def test_sites_sizes_and_amounts_are_kerass(name: str, tmp_path: Path) -> None:
    audit_both_formats(name, tmp_path)


def test_open_sizes_are_reported_by_remainder(tmp_path: Path) -> None:
    model = keras.applications.MobileNet(
        weights=None, include_top=False, input_shape=(None, None, 3)
    )
    model.save(tmp_path / "open.keras")
    report = padaudit.check(tmp_path / "open.keras")
    strided = [site for site in report.sites if site.window and max(site.window.strides) > 1]
    implicit = [site for site in strided if site.implicit]
    assert [site.id for site in implicit] == ["conv1"]
    assert all(site.pads is None and site.shape_dependent for site in implicit)
    assert [amount.cases for amount in implicit[0].amounts] == [((0, 1), (1, 1))] * 2


def audit_both_formats(name: str, folder: Path) -> None:
    """Save an architecture with random weights in both formats and compare the audits."""
    keras.backend.clear_session()
    model = getattr(keras.applications, name)(weights=None)
    for suffix in (".h5", ".keras"):
        path = folder / f"{name}{suffix}"
        model.save(path)
        compare_with_keras(padaudit.check(path), model)
        path.unlink()


def compare_with_keras(report: ModelReport, model: Any) -> None:
    """Compare ids, windows, sizes and amounts of all sites."""
    truths = dict(padded_layers(model))
    assert {site.id for site in report.sites} == set(truths)
    for site in report.sites:
        truth = truths[site.id]
        assert site.window is not None
        assert site.window.kernel_shape == truth.kernel
        assert site.window.strides == truth.strides
        assert site.window.dilations == truth.dilations
        assert plain(site.input_size) == truth.input_size
        assert plain(site.output_size) == truth.output_size
        assert site.implicit == truth.same
        assert site.pads == truth.pads


def plain(sizes: tuple[Dim, ...]) -> tuple[int | None, ...]:
    """Return sizes as Keras writes them: None for an open one."""
    assert not any(isinstance(size, Unknown) for size in sizes)
    return tuple(size if isinstance(size, int) else None for size in sizes)
