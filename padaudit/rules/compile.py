"""Writing all rule files as one that reads fast: ``python -m padaudit.rules.compile``."""

from __future__ import annotations

import msgspec

from padaudit.rules.load import COMPILED, compile_rules, rules_folder


def main() -> None:
    """Write ``rules/compiled.json``."""
    text = msgspec.json.format(msgspec.json.encode(compile_rules()), indent=0)
    (rules_folder() / COMPILED).write_bytes(text + b"\n")


if __name__ == "__main__":
    main()
