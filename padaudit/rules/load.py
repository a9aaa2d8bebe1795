"""Finding, reading and indexing the files of ``rules/``."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from padaudit.errors import RuleFileError
from padaudit.rules.schema import Operator, OpTable, Rule, RuleFile

_PACKAGE: Final = Path(__file__).resolve().parents[1]
_T = TypeVar("_T")


@cache
def rules_folder() -> Path:
    """Return the folder of the rule files: inside the wheel, or beside the package.

    Raises
    ------
    RuleFileError
        If padaudit was installed without its rules.
    """
    for folder in (_PACKAGE / "_rules", _PACKAGE.parent / "rules"):
        if (folder / "ops").is_dir():
            return folder
    raise RuleFileError("padaudit is installed without its rules folder; install it again.")


@cache
def op_tables() -> tuple[OpTable, ...]:
    """Return every table of ``rules/ops``, in the order of the file names."""
    return tuple(_read(path, OpTable) for path in sorted((rules_folder() / "ops").glob("*.toml")))


@cache
def op_index() -> dict[tuple[str, str], tuple[OpTable, Operator]]:
    """Return table and operator by (domain, op_type); a Keras layer's domain is ``keras``."""
    index: dict[tuple[str, str], tuple[OpTable, Operator]] = {}
    for table in op_tables():
        for operator in table.operators:
            domain = "keras" if table.framework == "keras" else operator.domain
            key = (domain, operator.name)
            if key in index:
                raise RuleFileError(f"rules/ops: {key} stands in two tables.")
            index[key] = (table, operator)
    return index


@cache
def catalogue() -> dict[str, Rule]:
    """Return every rule of ``rules/checks`` by id, in the order of the ids."""
    files = sorted((rules_folder() / "checks").glob("*.toml"))
    rules = [rule for path in files for rule in _read(path, RuleFile).rules]
    found: dict[str, Rule] = {}
    for rule in sorted(rules, key=lambda rule: rule.id):
        if rule.id in found:
            raise RuleFileError(f"rules/checks: {rule.id} is defined twice.")
        found[rule.id] = rule
    return found


def _read(path: Path, form: type[_T]) -> _T:
    try:
        return msgspec.toml.decode(path.read_bytes(), type=form)
    except (msgspec.DecodeError, OSError) as error:
        raise RuleFileError(f"rules/{path.parent.name}/{path.name}: {error}") from error
