"""Which findings are reported: select, ignore, and per-model ignores with a reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch

from padaudit.audit.findings import Finding
from padaudit.errors import UsageError
from padaudit.rules.load import catalogue

_UNUSED = "PAD000"


@dataclass(frozen=True, slots=True)
class ModelIgnore:
    """Rules that are ignored for the models whose path matches a glob, and why."""

    glob: str
    rules: tuple[str, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Selection:
    """Rule ids or prefixes (``PAD1``) to report and to leave out.

    Parameters
    ----------
    select : tuple of str
        Empty: all rules.
    ignore : tuple of str
        Wins over ``select``.
    per_model : tuple of ModelIgnore
        Suppressions; one that matches nothing is reported as PAD000.

    Raises
    ------
    UsageError
        If a rule or prefix is not in the catalogue.
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    per_model: tuple[ModelIgnore, ...] = field(default=())

    def __post_init__(self) -> None:
        suppressed = (rule for item in self.per_model for rule in item.rules)
        for prefix in (*self.select, *self.ignore, *suppressed):
            if not any(rule.startswith(prefix) for rule in catalogue()) or not prefix:
                raise UsageError(f"there is no rule '{prefix}'; 'padaudit rules' lists them")

    def apply(self, findings: Iterable[Finding], path: str) -> tuple[Finding, ...]:
        """Return the findings to report for a model."""
        used: dict[tuple[int, str], bool] = {}
        suppressions = [
            (index, rule)
            for index, item in enumerate(self.per_model)
            if fnmatch(path, item.glob) or fnmatch(path.rsplit("/", 1)[-1], item.glob)
            for rule in item.rules
        ]
        kept = []
        for finding in findings:
            hits = [key for key in suppressions if finding.rule.startswith(key[1])]
            used |= dict.fromkeys(hits, True)
            if not hits and self.reports(finding.rule):
                kept.append(finding)
        unused = [key for key in suppressions if key not in used]
        return (*kept, *(self._unused(key) for key in unused if self.reports(_UNUSED)))

    def reports(self, rule: str) -> bool:
        """Tell whether a rule is selected and not ignored."""
        if any(rule.startswith(prefix) for prefix in self.ignore):
            return False
        return not self.select or any(rule.startswith(prefix) for prefix in self.select)

    def _unused(self, key: tuple[int, str]) -> Finding:
        rule, item = catalogue()[_UNUSED], self.per_model[key[0]]
        facts: Mapping[str, str] = {"suppressed": key[1], "glob": item.glob}
        return Finding(
            rule.id,
            rule.name,
            rule.severity,
            None,
            rule.message.format_map(facts),
            rule.help.format_map(facts),
        )
