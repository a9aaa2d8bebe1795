"""No mutant of a rewritten ONNX operator is proven: generated mutants, judged by golden values.

More of them, with a table of what was tried: ``python tests/bench/mutants.py``.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from padaudit.rewriting.strategies import KERAS_STRATEGIES, ONNX_STRATEGIES, STRATEGIES
from padaudit.rules.load import op_index
from padaudit.verification import site_level

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
import test_keras_mutants
import test_onnx_mutants
from mutant_space import OPERATORS, OPSETS, Rewritten, Scenario, rewritten, scenarios, tally
from onnx_runs import run_here

MOST = 7
"""Mutants that are tried of one scenario here; `tests/bench/mutants.py` tries all."""
COUNTED = frozenset({"onnx_computed_pad", "onnx_sliced_pool"})
"""The strategies that write other nodes in other opsets."""
Key = tuple[str, str]


def tables() -> dict[Key, list[str]]:
    """Return the strategies of every ONNX operator that the tables name, by domain and name."""
    return {
        key: list(table.strategies)
        for key, (table, _) in op_index().items()
        if table.framework == "onnx"
    }


def key_of(scenario: Scenario) -> Key:
    operator = OPERATORS[scenario.case.op]
    return operator.domain, operator.op_type


def chosen(key: Key) -> list[Rewritten]:
    """Return scenarios of an operator: one for each of its strategies and kinds of opset."""
    mine = [item for item in scenarios() if key_of(item) == key]
    random.Random(str(key)).shuffle(mine)
    wanted = {
        (strategy, opset)
        for strategy in tables()[key]
        for opset in (OPSETS if strategy in COUNTED else (None,))
    }
    found: list[Rewritten] = []
    for scenario in mine:
        made = rewritten(scenario) if wanted else None
        if made is not None:
            opset = scenario.opset if made.strategy in COUNTED else None
            if (made.strategy, opset) in wanted:
                wanted.remove((made.strategy, opset))
                found.append(made)
    assert {made.strategy for made in found} == set(tables()[key])
    return found


def test_every_operator_of_the_tables_is_in_the_space() -> None:
    assert {(item.domain, item.op_type) for item in OPERATORS.values()} == set(tables())


def test_every_strategy_has_mutants() -> None:
    """A new strategy has to be added to the space (ONNX), or to the scenarios of Keras."""
    listed = {strategy for strategies in tables().values() for strategy in strategies}
    assert listed == set(STRATEGIES)
    by_hand = {item.strategy for item in test_onnx_mutants.SCENARIOS.values()}
    assert by_hand == set(ONNX_STRATEGIES)
    of_keras = {item.strategy for item in test_keras_mutants.SCENARIOS.values()}
    assert of_keras == set(KERAS_STRATEGIES)
    for module in (test_onnx_mutants, test_keras_mutants):
        assert all(item.mutants for item in module.SCENARIOS.values())


@pytest.mark.parametrize("key", sorted(tables()), ids=lambda key: ":".join(filter(None, key)))
def test_no_generated_mutant_survives(key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_level, "run", run_here)
    for made in chosen(key):
        found = tally(made, MOST)
        assert not found.survivors, (found.scenario.label, found.strategy)
        assert found.fates["caught"] >= MOST // 2
