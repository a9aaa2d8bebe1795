"""The first differing operator is found in batches, within a budget, and mapped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from padaudit.formats.shape_options import InputShapes
from padaudit.rewriting.options import Options
from padaudit.rewriting.run import load
from padaudit.verification import differing_site
from padaudit.verification.differing_site import same_sites, search
from padaudit.verification.error_map import error_map
from padaudit.verification.evidence import Status
from padaudit.verification.model_level import ModelPair, Tolerance, compare_models
from padaudit.verification.proof import with_first_site

LENGTH = 5
WEIGHTS = np.random.default_rng(2).standard_normal((LENGTH, 3, 3, 2, 3)).astype(np.float32)
X = {"x": np.random.default_rng(4).standard_normal((1, 3, 6, 7)).astype(np.float32)}


def chain(path: Path, wrong: int | None = None, factor: float = 1.0) -> Path:
    """A chain of convolutions; one of them with its padding on the other side."""
    nodes, weights = [], []
    for index in range(LENGTH):
        pads = [1, 1, 0, 1] if index == wrong else [0, 1, 1, 1]
        data = "x" if index == 0 else f"t{index - 1}"
        nodes.append(
            helper.make_node(
                "Conv", [data, f"w{index}"], [f"t{index}"], name=f"c{index}", pads=pads
            )
        )
        scale = factor if index == 0 else 1 / factor if index == 1 else 1.0
        weights.append(numpy_helper.from_array(WEIGHTS[index] * np.float32(scale), f"w{index}"))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 6, 7])],
        [helper.make_tensor_value_info(f"t{LENGTH - 1}", TensorProto.FLOAT, None)],
        weights,
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


ONE = 3 * 6 * 7 * 4
"""Bytes of one operator's output."""


@pytest.mark.parametrize(
    ("budget", "runs"), [(1, 6), (2 * ONE, 4), (5 * ONE, 2)], ids=["one", "two", "all"]
)
def test_no_more_outputs_are_fetched_than_the_budget_holds(
    budget: int, runs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tuple(
        load(chain(tmp_path / f"{name}.onnx", wrong), InputShapes())
        for name, wrong in (("a", None), ("b", 2))
    )
    fetched: list[int] = []
    plain = differing_site.run

    def counted(jobs, **how):  # type: ignore[no-untyped-def]
        fetched.append(sum(len(job.outputs) for job in jobs))
        return plain(jobs, **how)

    monkeypatch.setattr(differing_site, "run", counted)
    pair = models[0], models[1]
    result = search(same_sites(pair), pair, (X, X), Tolerance(), timeout=60, budget=budget)
    found = result.site
    assert found is not None
    assert (found.id, found.where and found.where.shape) == ("c2", (1, 3, 6, 7))
    assert len(fetched) == runs
    assert max(fetched) <= max(budget // ONE, 1)


def test_a_rewrite_whose_outputs_differ_names_the_site(tmp_path: Path) -> None:
    source, written = chain(tmp_path / "a.onnx"), chain(tmp_path / "b.onnx", 1)
    level = compare_models(ModelPair(source, written), [(X, X)], Tolerance(), 60)
    assert (level.status, level.first_difference) == (Status.DIFFERENT, "t4")
    model = load(source, InputShapes())
    found = with_first_site(level, model, written, [X], Tolerance(), Options())
    assert (found.status, found.first_difference) == (Status.DIFFERENT, "c1")
    assert found.error_map is not None
    assert "'c1'" in found.reason


def test_a_factor_per_channel_is_no_difference_across_frameworks(tmp_path: Path) -> None:
    plain = load(chain(tmp_path / "a.onnx"), InputShapes())
    scaled = load(chain(tmp_path / "b.onnx", factor=4.0), InputShapes())
    wrong = load(chain(tmp_path / "c.onnx", 3, factor=4.0), InputShapes())
    across = Tolerance(1e-4, scaled=True)

    def first(other, tolerance):  # type: ignore[no-untyped-def]
        pair = plain, other
        return search(same_sites(pair), pair, (X, X), tolerance, timeout=60).site

    assert first(scaled, across) is None
    assert first(scaled, Tolerance()).id == "c0"
    assert first(wrong, across).id == "c3"


@given(
    shape=st.tuples(*[st.integers(1, 5)] * 3),
    data=st.data(),
)
def test_the_map_counts_zones_as_loops_do(shape: tuple[int, ...], data: st.DataObject) -> None:
    apart = np.zeros((2, *shape))
    places = list(np.ndindex(2, *shape))
    chosen = data.draw(st.lists(st.sampled_from(places), min_size=1, unique=True))
    for rank, place in enumerate(chosen):
        apart[place] = rank + 1
    where = error_map(apart, apart > 0, (2, 3))
    counts = {"corner": [0, 0], "border": [0, 0], "interior": [0, 0]}
    for place in places:
        ends = sum(place[axis] in (0, apart.shape[axis] - 1) for axis in (2, 3))
        zone = counts[("interior", "border", "corner")[ends]]
        zone[0] += place in chosen
        zone[1] += 1
    for name, (differing, size) in counts.items():
        assert getattr(where, name) == pytest.approx(differing / size if size else 0.0)
    assert where.worst == chosen[-1]
    assert where.differing == len(chosen)
    assert where.extent == tuple(
        (min(p[axis] for p in chosen), max(p[axis] for p in chosen)) for axis in (2, 3)
    )
