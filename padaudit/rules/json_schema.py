"""JSON Schemas of the rule files, for editors: ``python -m padaudit.rules.json_schema``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import msgspec

from padaudit.rules.load import rules_folder
from padaudit.rules.schema import BackendTable, OpTable, RuleFile

SCHEMAS: Final[dict[str, type]] = {
    "ops": OpTable,
    "checks": RuleFile,
    "backends": BackendTable,
}
"""The form of the files in each folder of ``rules/``."""


def schema_text(form: type) -> str:
    """Return the JSON Schema of a form, as it stands in ``rules/schema``."""
    schema: dict[str, Any] = msgspec.json.schema(form)
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def schema_path(folder: str) -> Path:
    """Return where the schema of a folder of ``rules/`` is."""
    return rules_folder() / "schema" / f"{folder}.schema.json"


def main() -> None:
    """Write all schemas."""
    for folder, form in SCHEMAS.items():
        path = schema_path(folder)
        path.parent.mkdir(exist_ok=True)
        path.write_text(schema_text(form), encoding="utf-8")


if __name__ == "__main__":
    main()
