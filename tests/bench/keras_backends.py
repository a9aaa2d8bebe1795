"""Measures where Keras backends pad "same" differently, and keeps ``rules/backends`` true.

Run ``python tests/bench/keras_backends.py --keras FOLDER``. For each Keras version it runs up to
1,300 layer configurations on every backend that is installed, each in a process of its own, and
compares them with the project's numpy reference (`STEPS`: the two backends that use JAX compile
each shape anew and get every 8th and every 16th). Versions that are missing in
``FOLDER/VERSION`` are installed there with pip, without dependencies: those of this environment
are used (Keras 3.0 to 3.2 need dm-tree as well).

Each divergence of ``rules/backends/keras.toml`` says by facts of the window which
configurations it concerns. The command fails on each configuration that differs and is not
foretold, or is foretold and does not differ. ``--write`` puts the versions that were measured,
and how many configurations each divergence concerns, into the table. ``--results FOLDER`` keeps
what was run, and does not run again what is kept there; with ``--kept`` nothing is run.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _layer_space import Case, cases, truth
from _measure import QUIET, version

from padaudit.audit.backends import foretold, in_version
from padaudit.formats.keras.container import KerasDocument
from padaudit.formats.shape_options import InputShapes
from padaudit.ir.site import PaddingSite
from padaudit.rewriting.run import loaded
from padaudit.rules.load import backend_tables, rules_folder
from padaudit.rules.schema import Divergence

VERSIONS = (
    *("3.0.5", "3.1.1", "3.2.1", "3.3.3", "3.4.1", "3.5.0", "3.6.0", "3.7.0", "3.8.0"),
    *("3.9.2", "3.10.0", "3.11.3", "3.12.4", "3.13.2", "3.14.1", "3.15.1"),
)
STEPS = {"tensorflow": 4, "torch": 1, "jax": 8, "numpy": 16}
"""Every how many configurations are run on each backend."""
PACKAGES = {"tensorflow": "tensorflow", "torch": "torch", "jax": "jax", "numpy": "jax"}
DIFFERS = frozenset({"wrong", "shape", "error", "killed"})
WORKER = Path(__file__).with_name("_backend_worker.py")
TABLE = rules_folder() / "backends" / "keras.toml"
TIMEOUT = 3600

Statuses = dict[int, dict[str, Any]]
"""What became of a configuration, by its number."""


def prepare(folder: Path, drawn: Sequence[Case]) -> None:
    """Write the configurations, their inputs, weights and truths for the worker."""
    records, arrays = [], {}
    for index, case in enumerate(drawn):
        arrays |= {f"{index}.x": case.given(), f"{index}.truth": truth(case)}
        arrays |= {f"{index}.w{place}": weight for place, weight in enumerate(case.weights)}
        record = {"layer": case.layer, "config": case.config, "weights": len(case.weights)}
        records.append(record)
    np.savez(folder / "arrays.npz", **arrays)
    (folder / "cases.json").write_text(json.dumps(records))


def install(keras: str, home: Path) -> Path:
    """Return the folder of a Keras version, installed if it is missing."""
    target = home / keras
    if not target.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--target", str(target), f"keras=={keras}"], check=True)
    return target


def run(folder: Path, keras: Path, backend: str, count: int, results: Path) -> Statuses:
    """Run all configurations on a backend; one that kills the process costs no other."""
    path = results / f"{keras.name}-{backend}.jsonl"
    step = STEPS[backend]
    found = _read(path) if path.exists() else {}
    first = max(found) + step if found else 0
    search = os.pathsep.join([str(keras), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, **QUIET, "KERAS_BACKEND": backend, "PYTHONPATH": search}
    while first < count:
        command = [sys.executable, str(WORKER), str(folder), str(first), str(step)]
        with path.open("a") as lines:
            done = subprocess.run(
                command, stdout=lines, stderr=subprocess.PIPE, env=env, timeout=TIMEOUT, check=False
            )
        found = _read(path)
        if done.returncode == 0:
            break
        if not found:
            raise SystemExit(f"{path.stem}: {done.stderr.decode()[-500:]}")
        first = max(found) + step
        if first < count:
            killed = {"index": first, "status": "killed", "error": f"{done.returncode}"}
            with path.open("a") as lines:
                lines.write(json.dumps(killed) + "\n")
        first += step
    return found


def complete(path: Path, backend: str, count: int) -> bool:
    """Tell whether a kept result has all configurations."""
    return path.exists() and max(_read(path), default=-STEPS[backend]) + STEPS[backend] >= count


def _read(path: Path) -> Statuses:
    records = map(json.loads, path.read_text().splitlines())
    return {record["index"]: record for record in records}


def site_of(case: Case) -> PaddingSite:
    """Return the padding site that `padaudit check` makes of a configuration."""
    shape = [None, *case.given().shape[1:]]
    inputs = {"class_name": "InputLayer", "config": {"name": "input", "batch_shape": shape}}
    layer = {"class_name": case.layer, "config": {"name": "layer", **case.config}}
    config = {"class_name": "Sequential", "config": {"name": "m", "layers": [inputs, layer]}}
    return loaded(KerasDocument(None, "keras-json", config), InputShapes()).sites[0]


def judge(
    name: tuple[str, str],
    statuses: Statuses,
    drawn: Sequence[Case],
    sites: Sequence[PaddingSite],
    seen: Counter[int],
) -> Iterator[str]:
    """Compare what was run with what the table foretells; yield each contradiction."""
    keras, backend = name
    listed = list(enumerate(backend_tables()[0].divergences))
    now = [(i, item) for i, item in listed if item.backend == backend and in_version(item, keras)]
    for index, record in statuses.items():
        if record["status"] == "unsupported":
            continue
        told = [i for i, item in now if foretold(sites[index], [item])]
        differs = record["status"] in DIFFERS
        seen.update(told if differs else ())
        if differs != bool(told):
            case = drawn[index]
            what = "is not foretold" if differs else f"is foretold by {told}"
            how = record.get("error") or record.get("apart")
            yield (
                f"Keras {keras}, {backend}: {case.layer} {case.config} on {case.given().shape} "
                f"is {record['status']} ({how}), which {what}"
            )


def write(measured: Mapping[str, list[str]], seen: Mapping[int, int], count: int) -> None:
    """Put versions and numbers into the table."""
    text = TABLE.read_text(encoding="utf-8")
    head, *blocks = text.split("[[divergences]]\n")
    runtimes = ", ".join(
        f'{name} = "{(version(name) or "?").partition("+")[0]}"' for name in measured
    )
    lines = "\n".join(f"{name} = {json.dumps(found)}" for name, found in measured.items())
    head = re.sub(r"\ncases = \d+", f"\ncases = {count}", head)
    head = re.sub(r"\nruntimes = .*", f"\nruntimes = {{ {runtimes} }}", head)
    head = head[: head.index("[measured]")] + f"[measured]\n{lines}\n\n"
    numbered = (
        re.sub(r"\ncases = \d+", f"\ncases = {seen[index]}", block)
        for index, block in enumerate(blocks)
    )
    TABLE.write_text("[[divergences]]\n".join([head, *numbered]), encoding="utf-8")


def summary(keras: str, backend: str, statuses: Statuses) -> str:
    """Return how many configurations went which way."""
    counts = Counter(record["status"] for record in statuses.values())
    parts = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    return f"Keras {keras}, {backend}: {len(statuses)} run, {parts}"


def described(divergence: Divergence, count: int) -> str:
    """Return one line for a divergence."""
    span = f"{divergence.first} to {divergence.last or 'now'}"
    kinds = ", ".join(divergence.families)
    return f"{divergence.backend} {divergence.effect} ({kinds}; Keras {span}): {count}"


def main() -> None:
    """Measure, compare with the table, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--keras", type=Path, required=True)
    parser.add_argument("--versions", nargs="*", default=VERSIONS)
    parser.add_argument("--backends", nargs="*", default=list(STEPS))
    parser.add_argument("--results", type=Path)
    parser.add_argument("--kept", action="store_true")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    drawn = cases()
    sites = [site_of(case) for case in drawn]
    measured: dict[str, list[str]] = {name: [] for name in options.backends}
    totals: list[Counter[int]] = [Counter()]
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, drawn)
        results = options.results or folder
        for keras in options.versions:
            for backend in options.backends:
                kept = results / f"{keras}-{backend}.jsonl"
                if options.kept and not complete(kept, backend, len(drawn)):
                    continue
                if importlib.util.find_spec(PACKAGES[backend]) is None and not options.kept:
                    continue
                place = install(keras, options.keras)
                statuses = run(folder, place, backend, len(drawn), results)
                print(summary(keras, backend, statuses), flush=True)
                seen: Counter[int] = Counter()
                wrong += judge((keras, backend), statuses, drawn, sites, seen)
                measured[backend].append(keras)
                totals.append(seen)
    table = backend_tables()[0].divergences
    highest = {index: max(seen[index] for seen in totals) for index in range(len(table))}
    for index, item in enumerate(table):
        print(described(item, highest[index]))
    print(*wrong, sep="\n")
    if options.write and not wrong:
        write({name: found for name, found in measured.items() if found}, highest, len(drawn))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
