"""The proof of a Keras model's translation: its levels, joined into one verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from padaudit.formats.keras.engine import KerasRun, run_keras
from padaudit.scratch import scratch_folder
from padaudit.verification.evidence import Status, Verification, join
from padaudit.verification.keras_level import OTHERWISE, Feeds, computes_otherwise, precision
from padaudit.verification.known_errors import tensorflow_starts_late
from padaudit.verification.model_level import Tolerance, on_provider
from padaudit.verification.proof import with_scope
from padaudit.verification.translation_level import prove_nodes, prove_translation

if TYPE_CHECKING:
    from padaudit.formats.keras.translation.marks import Layout, Mark
    from padaudit.rewriting.options import Options
    from padaudit.rewriting.run import Loaded
    from padaudit.rewriting.translated import Settled

TRANSLATION_RTOL: Final = 1e-5
"""Relative to the largest magnitude of an output; the coarser types of a model allow more."""
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class TranslationProof:
    """All that a translation is proven with.

    Parameters
    ----------
    model : Loaded
        The Keras model.
    file : Path
        The file that Keras loads.
    translated : Loaded
        The translation with "same" as ``auto_pad``.
    settled : Settled
        What was done to it.
    marks : sequence of Mark
        What its padded operators are in Keras.
    aside : Path
        The written model.
    layout : Layout
        Which inputs and outputs have their channels moved in it.
    options : Options
        ``verify`` says how far to go.
    """

    model: Loaded
    file: Path
    translated: Loaded
    settled: Settled
    marks: Sequence[Mark]
    aside: Path
    layout: Layout
    options: Options

    def verdict(self, run: KerasRun, feeds: Sequence[Feeds]) -> Verification:
        """Prove it on the inputs that Keras was run on."""
        how = self.options.verify
        if how == "none":
            reason = "no proof was asked for (--verify none)"
            return Verification(Status.UNVERIFIED, reason=reason)
        if self.settled.contradiction:
            return Verification(Status.DIFFERENT, reason=self.settled.contradiction)
        limits = self.options.timeout, self.options.memory_mb
        levels = prove_nodes(self.translated, self.aside, self.settled, self.marks, *limits)
        if how != "site":
            levels.append(self._source(run, feeds))
        verdict = join(levels, *(["source"] if how == "model" else []))
        if verdict.status is Status.DIFFERENT and verdict.reason == levels[-1].reason:
            verdict = self._as_documented(verdict, feeds)
        if verdict.status is Status.EQUIVALENT and self._in_another_keras(run):
            verdict = replace(verdict, status=Status.UNVERIFIED, reason=OTHERWISE)
        return with_scope(verdict, self.options, self.settled.report)

    def _in_another_keras(self, run: KerasRun) -> bool:
        """Tell whether Keras 3 judged or translated what it computes otherwise than Keras 2."""
        legacy = self.options.trust_model and run.runtime.startswith("tf-keras")
        return not legacy and computes_otherwise(self.model)

    def _source(self, run: KerasRun, feeds: Sequence[Feeds]) -> Verification:
        tolerance = Tolerance(TRANSLATION_RTOL, scaled=True).for_type(precision(self.model))
        limits = self.options.timeout, self.options.memory_mb
        return prove_translation(
            run, self.aside, feeds, self.layout, on_provider(tolerance), *limits
        )

    def _as_documented(self, verdict: Verification, feeds: Sequence[Feeds]) -> Verification:
        """Find out whether a difference is TensorFlow's, which starts some windows late on a CPU.

        Then it can't be told what is meant: a model that was trained on a GPU had other windows.
        """
        late = [site.id for site in self.model.sites if tensorflow_starts_late(site)]
        if not late or not verdict.evidence:
            return verdict
        arrays = [list(feed.values()) for feed in feeds]
        with scratch_folder() as folder:
            run = run_keras(
                [self.file],
                arrays,
                folder,
                timeout=self.options.timeout,
                memory_mb=self.options.memory_mb,
                as_documented=True,
            )[0]
        level = self._source(run, feeds)
        if level.status is not Status.EQUIVALENT:
            return verdict
        evidence = tuple(
            replace(item, detail=f"{item.detail}; windows from the first element, as documented")
            for item in level.evidence
        )
        return replace(
            verdict,
            status=Status.UNVERIFIED,
            evidence=(*verdict.evidence, *evidence),
            reason=_disputed(late),
        )


def _disputed(late: Sequence[str]) -> str:
    """Say what it means that TensorFlow itself computes something else."""
    names = ", ".join(f"'{name}'" for name in late[:_SHOWN])
    more = f" and {len(late) - _SHOWN} more" if len(late) > _SHOWN else ""
    return (
        f"TensorFlow on a CPU starts the windows of {names}{more} after the first element, "
        "against its own documentation and unlike GPUs and other backends; the output follows "
        "the documentation, and is equivalent to the model with these windows: if the model was "
        "trained where they are so, write it with --allow-unverified"
    )
