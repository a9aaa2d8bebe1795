"""Invalid rule files: the error names the file and what is wrong in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from padaudit.errors import PadauditError, RuleFileError
from padaudit.rules import load

RULE = """
[[rules]]
id = "PAD901"
name = "made-up"
severity = "note"
when = ["implicit"]
message = "m"
help = "h"
cases = []

[rules.doc]
what = "w"
why = "w"
example = "e"
fix = "f"
fine = "f"
references = []
"""
TABLE = """
schema = "padaudit.ops/1"
framework = "onnx"
family = "conv"
amounts = "window"
strategies = []
source = "https://onnx.ai"
operators = [{ name = "Conv" }]
cases = []

[padding]
attribute = "auto_pad"
default = "NOTSET"
values = { NOTSET = "explicit" }

[window]
kernel_shape = "kernel_shape"
strides = "strides"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "ops").mkdir()
    (tmp_path / "checks").mkdir()
    monkeypatch.setattr(load, "rules_folder", lambda: tmp_path)
    return tmp_path


def checks(*rules: str) -> str:
    return 'schema = "padaudit.checks/1"\n' + "\n".join(rules)


def test_the_templates_of_these_tests_are_valid(folder: Path) -> None:
    (folder / "checks" / "a.toml").write_text(checks(RULE))
    (folder / "ops" / "a.toml").write_text(TABLE)
    assert list(load.catalogue.__wrapped__()) == ["PAD901"]
    assert [table.family for table in load.op_tables.__wrapped__()] == ["conv"]


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        pytest.param("severity =", "severty =", "severty", id="misspelt-field"),
        pytest.param('"note"', '"fatal"', "severity", id="unknown-severity"),
        pytest.param('what = "w"', "what = 3", "what", id="wrong-type"),
        pytest.param('"PAD901"', '"PAD9"', "id", id="id-of-another-form"),
        pytest.param('"made-up"', '"Made Up"', "name", id="name-of-another-form"),
        pytest.param('fine = "f"\n', "", "fine", id="page-without-a-heading"),
        pytest.param("cases = []", "", "cases", id="no-cases"),
        pytest.param("padaudit.checks/1", "padaudit.checks/2", "schema", id="another-schema"),
        pytest.param("[[rules]]", "[[rules", "parse", id="not-toml"),
    ],
)
def test_a_bad_rule_names_file_and_field(folder: Path, old: str, new: str, named: str) -> None:
    text = checks(RULE)
    assert old in text
    (folder / "checks" / "pad9.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(RuleFileError) as caught:
        load.catalogue.__wrapped__()
    assert "rules/checks/pad9.toml" in str(caught.value)
    assert named in str(caught.value) or named == "parse"


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        pytest.param("strides =", "stride =", "stride", id="misspelt-field"),
        pytest.param('"conv"', '"convolution"', "family", id="unknown-family"),
        pytest.param('"explicit"', '"some"', "values", id="unknown-padding"),
        pytest.param('{ name = "Conv" }', '{ name = "Conv", rank = 0 }', "rank", id="rank-0"),
    ],
)
def test_a_bad_table_names_file_and_field(folder: Path, old: str, new: str, named: str) -> None:
    assert old in TABLE
    (folder / "ops" / "odd.toml").write_text(TABLE.replace(old, new, 1))
    with pytest.raises(RuleFileError, match=r"rules/ops/odd\.toml") as caught:
        load.op_tables.__wrapped__()
    assert named in str(caught.value)


def test_an_id_is_defined_once(folder: Path) -> None:
    (folder / "checks" / "a.toml").write_text(checks(RULE))
    (folder / "checks" / "b.toml").write_text(checks(RULE.replace("made-up", "other-name")))
    with pytest.raises(RuleFileError, match="PAD901 is defined twice"):
        load.catalogue.__wrapped__()


def test_an_operator_stands_in_one_table(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "ops" / "a.toml").write_text(TABLE)
    (folder / "ops" / "b.toml").write_text(TABLE)
    monkeypatch.setattr(load, "op_tables", load.op_tables.__wrapped__)
    with pytest.raises(RuleFileError, match="Conv"):
        load.op_index.__wrapped__()


def test_the_order_is_that_of_the_ids_not_of_the_files(folder: Path) -> None:
    (folder / "checks" / "a.toml").write_text(checks(RULE))
    (folder / "checks" / "b.toml").write_text(checks(RULE.replace("PAD901", "PAD900")))
    assert list(load.catalogue.__wrapped__()) == ["PAD900", "PAD901"]


def test_a_rule_file_error_is_ours_not_the_users() -> None:
    assert issubclass(RuleFileError, PadauditError)
    assert "bug of padaudit" in (RuleFileError.__doc__ or "")
