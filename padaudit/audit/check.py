"""The audit of files: one report per model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from padaudit.audit.definition import definition_findings
from padaudit.audit.findings import SEVERITIES, Finding, audit
from padaudit.audit.selection import Selection
from padaudit.audit.sites import find_sites
from padaudit.errors import InputError, MissingDependencyError
from padaudit.formats.detect import (
    MODEL_SUFFIXES,
    TRANSLATED,
    build_graph,
    is_saved_model,
    is_translated,
    read_document,
)
from padaudit.formats.document import Document
from padaudit.formats.guard import well_formed
from padaudit.formats.shape_options import InputShapes
from padaudit.formats.walk import model_files
from padaudit.ir.site import PaddingSite
from padaudit.rules.schema import Severity

_GLOB: Final = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What the audit of one model found.

    Parameters
    ----------
    path : str
        The file as the user named it.
    format : str or None
        See `padaudit.formats.document.Document`; None where the file could not be read.
    sites : tuple of PaddingSite
        Every padded operator, valid ones too.
    findings : tuple of Finding
        What the rules say.
    error : str or None
        Why the model could not be audited.
    note : str
        What else there is to say about how it was read, a clause.
    assumed : frozenset of str
        The user's assumptions (``--assume``) that some layer matched.
    """

    path: str
    format: str | None
    sites: tuple[PaddingSite, ...] = ()
    findings: tuple[Finding, ...] = ()
    error: str | None = None
    note: str = ""
    assumed: frozenset[str] = frozenset()

    @property
    def implicit(self) -> tuple[PaddingSite, ...]:
        """The sites that a rewrite would make explicit."""
        return tuple(site for site in self.sites if site.implicit)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The reports of one run, in the order of the paths."""

    models: tuple[ModelReport, ...] = field(default=())

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings of all models."""
        return tuple(finding for model in self.models for finding in model.findings)

    @property
    def errors(self) -> tuple[str, ...]:
        """One sentence for each model that could not be audited."""
        return tuple(model.error for model in self.models if model.error)

    def count(self, severity: Severity) -> int:
        """Return how many findings have a severity."""
        return Counter(finding.severity for finding in self.findings)[severity]

    def reaches(self, threshold: Severity) -> bool:
        """Tell whether some finding is at or above a severity."""
        limit = SEVERITIES.index(threshold)
        return any(SEVERITIES.index(finding.severity) >= limit for finding in self.findings)


def check_paths(
    paths: Sequence[Path],
    input_shapes: InputShapes,
    selection: Selection,
    architecture: Path | None = None,
) -> CheckResult:
    """Audit files, folders (walked) and globs; an unreadable model is a report of its own.

    Parameters
    ----------
    paths : sequence of Path
        What to audit; the folder of a SavedModel is a model.
    input_shapes : InputShapes
        Sizes that the user fixes.
    selection : Selection
        Which findings to report.
    architecture : Path, optional
        The definition that files of weights alone are of.

    Raises
    ------
    InputError
        If nothing at all is found to audit.
    UsageError
        If an input shape does not fit a model, or an assumption no layer of any of them.
    """
    files = [file for path in paths for file in expand(path)]
    result = CheckResult(
        tuple(check_file(file, input_shapes, selection, architecture) for file in files)
    )
    if not result.errors:
        matched = {name for model in result.models for name in model.assumed}
        input_shapes.assumed.require(matched, ", ".join(str(path) for path in paths))
    return result


def check_file(
    path: Path, input_shapes: InputShapes, selection: Selection, architecture: Path | None = None
) -> ModelReport:
    """Audit one file; an error becomes part of the report."""
    try:
        document = read_document(path, architecture)
        report = check_document(document, input_shapes, selection, str(path))
    except (InputError, MissingDependencyError) as error:
        return ModelReport(str(path), None, error=str(error))
    return replace(report, note=TRANSLATED) if is_translated(document) else report


def check_document(
    document: Document, input_shapes: InputShapes, selection: Selection, name: str
) -> ModelReport:
    """Audit a document of either format.

    Raises
    ------
    InputError
        If the definition is not a graph.
    UsageError
        If an input shape does not fit the model.
    """
    with well_formed(document.path):
        graph = build_graph(document, input_shapes)
        sites = find_sites(graph)
        found = (*audit(graph, sites), *definition_findings(document))
        findings = selection.apply(found, name)
    return ModelReport(name, document.format, sites, findings, assumed=graph.assumed)


def expand(path: Path) -> Iterator[Path]:
    """Yield the model files that a path stands for.

    Raises
    ------
    InputError
        If a folder holds no model, or a glob matches nothing.
    """
    if path.is_dir() and not is_saved_model(path):
        found = list(model_files(path))
        if not found:
            suffixes = ", ".join(sorted((*MODEL_SUFFIXES, ".json")))
            raise InputError(path, f"the folder holds no model ({suffixes})", "name a model file")
        yield from found
    elif _GLOB & set(str(path)) and not path.exists():
        matched = sorted(Path(path.anchor or ".").glob(str(path.relative_to(path.anchor))))
        if not matched:
            raise InputError(path, "the pattern matches nothing", "check the pattern")
        for item in matched:
            yield from expand(item)
    else:
        yield path
