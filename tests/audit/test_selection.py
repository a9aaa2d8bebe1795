"""Select, ignore and suppressions."""

from __future__ import annotations

import pytest

from padaudit.audit.findings import Finding
from padaudit.audit.selection import ModelIgnore, Selection
from padaudit.errors import UsageError

FOUND = tuple(
    Finding(rule, "name", "note", f"site{rule[-1]}", "message", "help")
    for rule in ("PAD102", "PAD104", "PAD203")
)


def kept(selection: Selection, path: str = "models/old/net.h5") -> list[str]:
    return [finding.rule for finding in selection.apply(FOUND, path)]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        pytest.param(Selection(), ["PAD102", "PAD104", "PAD203"], id="all-by-default"),
        pytest.param(Selection(select=("PAD1",)), ["PAD102", "PAD104"], id="a-prefix"),
        pytest.param(Selection(ignore=("PAD10",)), ["PAD203"], id="an-ignored-prefix"),
        pytest.param(Selection(select=("PAD1",), ignore=("PAD102",)), ["PAD104"], id="ignore-wins"),
    ],
)
def test_select_and_ignore(selection: Selection, expected: list[str]) -> None:
    assert kept(selection) == expected


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        pytest.param("models/*.h5", ["PAD203"], id="path"),
        pytest.param("net.h5", ["PAD203"], id="file-name"),
        pytest.param("*.onnx", ["PAD102", "PAD104", "PAD203"], id="another-model"),
    ],
)
def test_a_suppression_holds_for_the_models_it_names(glob: str, expected: list[str]) -> None:
    assert kept(Selection(per_model=(ModelIgnore(glob, ("PAD1",), "reason"),))) == expected


def test_a_suppression_that_matches_nothing_is_reported() -> None:
    ignore = ModelIgnore("net.h5", ("PAD102", "PAD105"), "reason")
    findings = Selection(per_model=(ignore,)).apply(FOUND, "net.h5")
    assert [finding.rule for finding in findings] == ["PAD104", "PAD203", "PAD000"]
    assert findings[-1].site is None
    assert findings[-1].message == "the suppression of PAD105 for 'net.h5' matched no finding"


def test_unused_suppressions_can_be_ignored() -> None:
    ignore = ModelIgnore("net.h5", ("PAD105",), "reason")
    assert kept(Selection(ignore=("PAD000",), per_model=(ignore,)), "net.h5") == [
        "PAD102",
        "PAD104",
        "PAD203",
    ]


@pytest.mark.parametrize("wrong", ["PAD999", "E501", ""])
def test_a_rule_that_does_not_exist_is_a_usage_error(wrong: str) -> None:
    with pytest.raises(UsageError, match="there is no rule"):
        Selection(select=(wrong,))
