"""Finding, reading and indexing the files of ``rules/``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from padaudit.errors import RuleFileError
from padaudit.rules.schema import BackendTable, Divergence, Operator, OpTable, Rule, RuleFile

_PACKAGE: Final = Path(__file__).resolve().parents[1]
FOLDERS: Final = ("ops", "checks", "backends")
COMPILED: Final = "compiled.json"
"""All rule files as one, which reads in a thirtieth of their time."""
_T = TypeVar("_T")


class Compiled(msgspec.Struct, frozen=True):
    """The rule files' content, and the digest of the files it was read from."""

    checksum: str
    ops: list[OpTable]
    checks: list[RuleFile]
    backends: list[BackendTable]


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
def _all(folder: Path) -> Compiled:
    """Return what the rule files say: from the compiled file, if it is that of these files."""
    texts = {name: _texts(name) for name in FOLDERS}
    compiled = folder / COMPILED
    if compiled.is_file():
        try:
            found = msgspec.json.decode(compiled.read_bytes(), type=Compiled)
        except msgspec.DecodeError:
            found = Compiled("", [], [], [])
        if found.checksum == checksum(texts):
            return found
    return compile_rules()


def compile_rules() -> Compiled:
    """Read and validate every rule file.

    Raises
    ------
    RuleFileError
        If a file has not its form.
    """
    texts = {name: _texts(name) for name in FOLDERS}
    return Compiled(
        checksum(texts),
        [_read(path, text, OpTable) for path, text in texts["ops"].items()],
        [_read(path, text, RuleFile) for path, text in texts["checks"].items()],
        [_read(path, text, BackendTable) for path, text in texts["backends"].items()],
    )


def checksum(texts: Mapping[str, Mapping[Path, bytes]]) -> str:
    """Return a digest of names and contents of the rule files."""
    digest = blake2b(digest_size=16)
    for folder, files in texts.items():
        for path, text in files.items():
            digest.update(f"{folder}/{path.name}:{len(text)}:".encode() + text)
    return digest.hexdigest()


def _texts(folder: str) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted((rules_folder() / folder).glob("*.toml"))}


@cache
def op_tables() -> tuple[OpTable, ...]:
    """Return every table of ``rules/ops``, in the order of the file names."""
    return tuple(_all(rules_folder()).ops)


@cache
def op_index() -> dict[tuple[str, str], tuple[OpTable, Operator]]:
    """Return table and operator by (domain, op_type).

    The domain of a Keras layer is ``keras``, of an operation node ``keras.ops``, and of a
    TensorFlow function in a Keras model ``tensorflow``.
    """
    index: dict[tuple[str, str], tuple[OpTable, Operator]] = {}
    for table in op_tables():
        for operator in table.operators:
            layer = table.framework == "keras" and not operator.domain
            domain = "keras" if layer else operator.domain
            key = (domain, operator.name)
            if key in index:
                raise RuleFileError(f"rules/ops: {key} stands in two tables.")
            index[key] = (table, operator)
    return index


@cache
def catalogue() -> dict[str, Rule]:
    """Return every rule of ``rules/checks`` by id, in the order of the ids."""
    rules = [rule for file in _all(rules_folder()).checks for rule in file.rules]
    found: dict[str, Rule] = {}
    for rule in sorted(rules, key=lambda rule: rule.id):
        if rule.id in found:
            raise RuleFileError(f"rules/checks: {rule.id} is defined twice.")
        found[rule.id] = rule
    return found


@cache
def backend_tables() -> tuple[BackendTable, ...]:
    """Return every table of ``rules/backends``, in the order of the file names."""
    return tuple(_all(rules_folder()).backends)


@cache
def divergences() -> tuple[Divergence, ...]:
    """Return every divergence of every table."""
    return tuple(item for table in backend_tables() for item in table.divergences)


def _read(path: Path, text: bytes, form: type[_T]) -> _T:
    try:
        return msgspec.toml.decode(text, type=form)
    except msgspec.DecodeError as error:
        raise RuleFileError(f"rules/{path.parent.name}/{path.name}: {error}") from error
