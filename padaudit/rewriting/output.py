"""Where an output stands until it is proven, and how it gets to its place."""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from padaudit.errors import InputError
from padaudit.formats.atomic import put, staged
from padaudit.formats.document import Document
from padaudit.interrupts import held, raise_if_requested
from padaudit.rewriting.options import Options
from padaudit.scratch import listed, scratch_folder

_LARGE_BYTES: Final = 1 << 26


@dataclass(slots=True)
class Aside:
    """A written model that is not yet in its place, and the list of what goes if it never is."""

    path: Path
    target: Path
    published: bool = False
    listing: ExitStack = field(default_factory=ExitStack)

    def publish(self) -> None:
        """Put the finished file in its place, in one step.

        Raises
        ------
        InputError
            If the target's folder can't be written.
        """
        with held():
            publish(self.path, self.target)
            self.published = True
            self.listing.close()


@contextmanager
def output(
    document: Document, original: Document, target: Path, options: Options
) -> Iterator[Aside]:
    """Write a document aside; what is not published is gone when the block ends.

    A document that is the original itself is copied byte for byte.

    That is a scratch folder, where even a killed run leaves nothing beside the target. Models
    with external data stand beside the target, where onnxruntime finds that data, and so do
    large ones, which are written only once then.

    Raises
    ------
    InputError
        If the model has external data in another folder and it is not to be copied.
    """
    needed = _data_to_copy(document, target.parent, options)
    with scratch_folder() as scratch:
        path = scratch / f"rewritten{target.suffix}"
        if _locations(document) or _is_large(original):
            path = target.with_name(f".{target.stem}.{os.getpid()}.partial{target.suffix}")
        aside = Aside(path, target)
        aside.listing.enter_context(listed(path))
        made: list[Path] = []
        try:
            with _writable(target if path.parent == target.parent else path.parent):
                for source, copy in needed:
                    aside.listing.enter_context(listed(copy))
                    _copy_data(source, copy, made)
                if _is_copy(document, original) and document.path:
                    shutil.copyfile(document.path, path)
                else:
                    write_document(document, path)
            yield aside
        finally:
            with held():
                path.unlink(missing_ok=True)
                for item in () if aside.published else reversed(made):
                    item.rmdir() if item.is_dir() else item.unlink(missing_ok=True)
                aside.listing.close()


def _is_copy(document: Document, original: Document) -> bool:
    """Tell whether nothing was edited, so that a Keras file can be copied."""
    mended = getattr(document, "modernized", False)
    return document is original and document.format != "onnx" and not mended


def write_document(document: Document, target: Path) -> None:
    """Write a document of either format."""
    if document.format == "onnx":
        from padaudit.formats.onnx.write import write_onnx

        write_onnx(document, target)  # type: ignore[arg-type]
        return
    from padaudit.formats.keras.write import write_keras

    write_keras(document, target)  # type: ignore[arg-type]


def publish(aside: Path, target: Path) -> None:
    """Put a finished file in its place, in one step.

    Raises
    ------
    InputError
        If the target's folder can't be written.
    """
    raise_if_requested()
    with _writable(target):
        if aside.parent == target.parent:
            put(aside, target)
            return
        with staged(target) as partial:
            shutil.copyfile(aside, partial)


@contextmanager
def _writable(target: Path) -> Iterator[None]:
    """Turn a failure to write into a sentence that names the output, or the scratch folder."""
    try:
        yield
    except OSError as error:
        cause = f"the output can't be written ({error.strerror or error})"
        advice = "check the folder and the space left"
        if target.is_dir():
            advice += ", or set TMPDIR to another folder"
        raise InputError(target, cause, advice) from error


def _is_large(document: Document) -> bool:
    return document.path is not None and document.path.stat().st_size > _LARGE_BYTES


def _locations(document: Document) -> tuple[str, ...]:
    if document.format != "onnx":
        return ()
    from padaudit.formats.onnx.write import data_files

    return tuple(data_files(document))  # type: ignore[arg-type]


def _data_to_copy(document: Document, home: Path, options: Options) -> list[tuple[Path, Path]]:
    """Return which data files are to be copied where; refuse to write without them.

    Raises
    ------
    InputError
        If they are not to be copied, or can't be.
    """
    if document.format == "tfjs-layers" and document.path is not None:
        return _weights_to_copy(document.path, home)
    from padaudit.formats.onnx.external import data_copies

    source, locations = document.path, _locations(document)
    if source is None or not locations or home.resolve() == source.resolve().parent:
        return []
    if not options.copy_data:
        cause = f"its weights are in other files beside it ('{locations[0]}')"
        advice = "write the output into the same folder, or give --copy-data"
        raise InputError(source, cause, advice)
    return data_copies(source, locations, home)


def _weights_to_copy(source: Path, home: Path) -> list[tuple[Path, Path]]:
    """Return which weight files of a TensorFlow.js model the output's folder lacks.

    Raises
    ------
    InputError
        If the folder has other files of these names.
    """
    from padaudit.formats.keras.json_file import weight_files

    if home.resolve() == source.resolve().parent:
        return []
    pairs = [(source.parent / name, home / name) for name in weight_files(source)]
    for old, new in pairs:
        if not old.is_file():
            raise InputError(source, f"its weights '{old.name}' are missing", "copy them beside it")
        if new.exists() and not filecmp.cmp(old, new, shallow=False):
            raise InputError(
                new, "the file is there already, with other content", "write elsewhere"
            )
    return [(old, new) for old, new in pairs if not new.exists()]


def _copy_data(source: Path, target: Path, made: list[Path]) -> None:
    """Copy a file and make the folders that it needs; ``made`` gets what is new."""
    from padaudit.formats.onnx.write import copy_file

    for folder in reversed(target.parents):
        if not folder.exists():
            folder.mkdir()
            made.append(folder)
    made.append(target)
    copy_file(source, target)
