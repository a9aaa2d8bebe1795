"""Of two models of which one operator is wrong, that one is named, wherever it stands.

Random networks are made explicit; then the windows of one operator are moved by one. `nested_nets`
has several outputs, shared weights, residual sums, branches, loops, scans and functions.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx import ModelProto

import padaudit
from padaudit.formats.shape_options import InputShapes
from padaudit.ir.site import Family, PaddingSite
from padaudit.rewriting.run import Loaded, load
from padaudit.verification import differing_site, model_level, site_level
from padaudit.verification.evidence import Status, Verification
from padaudit.verification.model_level import feeds_of, input_specs
from padaudit.verification.pair import verify_files
from padaudit.verification.steering import steered

sys.path.insert(0, str(Path(__file__).parents[1]))
from nested_nets import nets
from onnx_amounts import amounts_of
from onnx_runs import results, run_here


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run onnxruntime in this process: starting one per example would take minutes."""
    for module in (differing_site, model_level, site_level):
        monkeypatch.setattr(module, "run", run_here)


SETTINGS: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
}


def moved(values: list[int], axis: int, by: int) -> list[int] | None:
    """Move the windows along an axis; the size stays."""
    rank = len(values) // 2
    changed = list(values)
    changed[axis] += by
    changed[axis + rank] -= by
    return changed if min(changed) >= 0 else None


def same_node(model: Loaded, chosen: str) -> list[str]:
    """Return the ids of all sites that one node stands for: a function may be called twice."""
    origins = {site.id: site.op.origin for site in model.sites}
    return [name for name, origin in origins.items() if origin == origins[chosen]]


def differs(first: ModelProto, second: ModelProto, feeds: list[dict[str, Any]]) -> bool:
    """Tell whether two models give other results, by running them."""
    for feed in feeds:
        ours = results(first.SerializeToString(), feed)
        theirs = results(second.SerializeToString(), feed)
        assert ours is not None and theirs is not None
        if not all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True)):
            return True
    return False


def takes_maxima(site: PaddingSite) -> bool:
    return site.family is Family.MAX_POOL


def check(data: st.DataObject, folder: Path) -> Verification:
    original: ModelProto = data.draw(nets())
    style = data.draw(st.sampled_from(["pad", "attrs", "auto"]))
    feeds = feeds_of(input_specs(original, InputShapes()))
    feeds += steered(feeds[0])
    # onnxruntime refuses a Scan of what comes out of a Loop: it does not know its shape.
    assume(results(original.SerializeToString(), feeds[0]) is not None)
    right = padaudit.explicit(original, style=style)
    names = folder / "a.onnx", folder / "b.onnx"
    names[0].write_bytes(original.SerializeToString())
    names[1].write_bytes(right.SerializeToString())
    read = load(names[1], InputShapes())
    site = data.draw(st.sampled_from(read.sites))
    wrong = ModelProto()
    wrong.CopyFrom(right)
    amounts = amounts_of(wrong, site)
    assume(amounts is not None)
    assert amounts is not None
    axis, by = data.draw(st.integers(0, 1)), data.draw(st.sampled_from([1, -1]))
    values = moved(amounts.values, axis, by)
    assume(values is not None)
    amounts.write(values or [])
    names[1].write_bytes(wrong.SerializeToString())
    found = verify_files(*names, InputShapes())
    different = differs(right, wrong, feeds)
    assert (found.status is Status.DIFFERENT) == different, found
    if different:
        assert found.first_difference == same_node(read, site.id)[0], (found.reason, site.id)
        assert found.error_map is not None, found.reason
        where = found.error_map
        first, last = where.extent[axis]
        sizes = [where.shape[place] for place in where.axes]
        # A pool may take its maximum from the same place as before, and a branch may be taken
        # for inputs only that are constant inside.
        spread = not (takes_maxima(site) or len(original.graph.input) > 1)
        assert last > first or sizes[axis] == 1 or not spread
        assert where.interior > 0 or min(sizes) < 3 or not spread
    return found


@settings(max_examples=40, **SETTINGS)
@given(st.data())
def test_the_moved_operator_is_named(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check(data, Path(folder))


@pytest.mark.slow
@settings(max_examples=1000, **SETTINGS)
@given(st.data())
def test_many_moved_operators_are_named(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check(data, Path(folder))
