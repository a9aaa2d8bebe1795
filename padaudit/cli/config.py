"""The configuration: ``padaudit.toml``, or ``[tool.padaudit]`` in the nearest pyproject.toml."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from padaudit.audit.selection import ModelIgnore
from padaudit.errors import InputError
from padaudit.formats.assumptions import Assumptions, parse_assumed, parse_assumptions

_T = TypeVar("_T")


class IgnoreEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rules that are ignored for models that match a glob."""

    glob: str
    rules: tuple[str, ...]
    reason: str = ""


class ConfigFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """What may stand in a configuration."""

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    per_model_ignores: tuple[IgnoreEntry, ...] = ()
    assume: dict[str, str] = {}

    @property
    def per_model(self) -> tuple[ModelIgnore, ...]:
        """The per-model ignores as the audit takes them."""
        return tuple(
            ModelIgnore(item.glob, item.rules, item.reason) for item in self.per_model_ignores
        )

    def assumptions(self, options: Sequence[str]) -> Assumptions:
        """Return the assumptions of the command line and, next to them, of the configuration.

        Raises
        ------
        UsageError
            If one of them is no shape.
        """
        given = parse_assumptions(options)
        own = {
            name: parse_assumed(shape, f"assume.{name} of the configuration")
            for name, shape in self.assume.items()
            if name not in given.shapes
        }
        return Assumptions({**own, **given.shapes}, frozenset(own))


class _Tool(msgspec.Struct, frozen=True):
    padaudit: ConfigFile | None = None


class _Pyproject(msgspec.Struct, frozen=True):
    tool: _Tool = _Tool()


def load_config(start: Path) -> ConfigFile:
    """Return the configuration that holds for a folder.

    The nearest folder upwards that has either file decides; ``padaudit.toml`` wins.

    Raises
    ------
    InputError
        If the file is not valid TOML, or has an unknown key or a wrong type.
    """
    for folder in (start, *start.parents):
        own, project = folder / "padaudit.toml", folder / "pyproject.toml"
        if own.is_file():
            return _decode(own, ConfigFile)
        if project.is_file():
            found = _decode(project, _Pyproject).tool.padaudit
            if found is not None:
                return found
    return ConfigFile()


def _decode(path: Path, form: type[_T]) -> _T:
    try:
        return msgspec.toml.decode(path.read_bytes(), type=form)
    except (msgspec.DecodeError, OSError, UnicodeDecodeError) as error:
        cause = f"the configuration is not valid ({error})"
        raise InputError(path, cause, "see 'Configuration' in the README") from error
