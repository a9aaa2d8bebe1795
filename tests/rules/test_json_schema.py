"""The generated JSON Schemas are current, and the rule files fit them."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

from padaudit.rules.json_schema import SCHEMAS, schema_path, schema_text
from padaudit.rules.load import rules_folder

FILES = sorted(path for folder in SCHEMAS for path in (rules_folder() / folder).glob("*.toml"))


@pytest.mark.parametrize("folder", SCHEMAS)
def test_the_schema_is_what_the_command_writes(folder: str) -> None:
    assert schema_path(folder).read_text(encoding="utf-8") == schema_text(SCHEMAS[folder])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_rule_file_fits_its_schema(path: Path) -> None:
    schema = json.loads(schema_path(path.parent.name).read_text(encoding="utf-8"))
    jsonschema.validate(tomllib.loads(path.read_text(encoding="utf-8")), schema)


def test_a_rule_file_with_a_wrong_word_does_not_fit() -> None:
    path = next(path for path in FILES if path.stem == "pad1")
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    content["rules"][0]["severity"] = "fatal"
    schema = json.loads(schema_path("checks").read_text(encoding="utf-8"))
    with pytest.raises(jsonschema.ValidationError, match="fatal"):
        jsonschema.validate(content, schema)
