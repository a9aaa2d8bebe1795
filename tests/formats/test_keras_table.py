"""The table of layers in rules/ is the one that the code gives, and says what is true."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

pytest.importorskip("keras", reason="the table says which layers Keras 3 has")
pytest.importorskip("tf_keras", reason="the table says which layers Keras 2 has")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from fixtures import keras_layers


def test_the_table_is_current() -> None:
    assert keras_layers.TARGET.read_text("utf-8") == keras_layers.text()


def test_an_opaque_layer_has_a_reason_and_no_other_does() -> None:
    table = tomllib.loads(keras_layers.TARGET.read_text("utf-8"))
    rows = [row for part in table.values() for row in part.values()]
    assert len(rows) > 500
    assert all((row["shape"] == "opaque") is bool(row.get("reason")) for row in rows)
    assert table["layers"]["Conv2D"] == {"keras": [1, 2, 3], "shape": "propagated"}
    assert table["layers"]["Lambda"]["reason"] == "only its own code tells its output shape"
    assert table["layers"]["LocallyConnected2D"]["keras"] == [1, 2]
