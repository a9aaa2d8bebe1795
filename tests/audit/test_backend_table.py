"""What rules/backends says of the installed Keras, against runs of that Keras."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("keras", reason="Keras is not installed (pip install 'padaudit[keras]')")

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
import _layer_space
import keras_backends

STEPS = {"torch": 26, "tensorflow": 26}


@pytest.mark.parametrize("backend", ["torch", pytest.param("tensorflow", marks=pytest.mark.slow)])
def test_the_table_foretells_what_a_backend_does(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    monkeypatch.setattr(keras_backends, "STEPS", STEPS)
    drawn = _layer_space.cases()
    keras_backends.prepare(tmp_path, drawn)
    home = Path(keras.__file__).parents[1] / keras.__version__
    statuses = keras_backends.run(tmp_path, home, backend, len(drawn), tmp_path)
    sites = [keras_backends.site_of(case) for case in drawn]
    seen: Counter[int] = Counter()
    contradictions = keras_backends.judge(
        (keras.__version__, backend), statuses, drawn, sites, seen
    )
    assert list(contradictions) == []
    assert len(statuses) == len(drawn) // STEPS[backend]
    assert sum(seen.values()) > 3
