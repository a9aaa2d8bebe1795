"""The compiled rules are those of the rule files."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from padaudit.rules import load
from padaudit.rules.compile import main


def test_the_compiled_file_is_what_the_command_writes() -> None:
    stored = (load.rules_folder() / load.COMPILED).read_bytes()
    assert msgspec.json.decode(stored, type=load.Compiled) == load.compile_rules()


@pytest.mark.parametrize(
    "stale", [None, b"not json", b'{"checksum": "0", "ops": [], "checks": []}']
)
def test_a_compiled_file_of_other_rules_does_not_count(
    stale: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in load.FOLDERS:
        (tmp_path / folder).mkdir()
        for path in (load.rules_folder() / folder).glob("*.toml"):
            (tmp_path / folder / path.name).write_bytes(path.read_bytes())
    if stale is not None:
        (tmp_path / load.COMPILED).write_bytes(stale)
    expected = load.compile_rules()
    monkeypatch.setattr(load, "rules_folder", lambda: tmp_path)
    assert load._all(tmp_path) == expected
    monkeypatch.setattr("padaudit.rules.compile.rules_folder", lambda: tmp_path)
    main()
    assert (
        msgspec.json.decode((tmp_path / load.COMPILED).read_bytes())["checksum"]
        == expected.checksum
    )
