"""Inference time of rewritten models over the originals, in onnxruntime with default options.

Run ``python tests/bench/inference.py [--seconds 6] [--repeats 5] [--only NAME ...]``. One thread;
original and rewritten forms run in turn in one process, which starts with a different one every
round; a ratio is the median of the ratios of neighbouring runs, and of several sessions. Goal: at
most 1.02, all sizes fixed. ``again`` is the original against a second session of itself: what
differs there is noise. ``Pads left`` counts the Pad nodes that onnxruntime's optimizer kept.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from _measure import describe, print_table
from _models import mobilenet
from _operators import cases, two_readers
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

import padaudit

GOAL = 1.02
STYLES = ("pad", "attrs")
UINT8 = TensorProto.UINT8
Array = NDArray[np.generic]


@dataclass(frozen=True)
class Form:
    """An explicit form of a model: how many Pads it has after optimisation, and its name."""

    name: str
    model: ModelProto


def explicit_forms(model: ModelProto, folder: Path) -> tuple[list[Form], list[str]]:
    """Rewrite a model in each style; return the forms, and what was kept or went wrong."""
    forms, notes = [], []
    source = folder / "model.onnx"
    onnx.save(model, source)
    for style in STYLES:
        target = folder / f"{style}.onnx"
        target.unlink(missing_ok=True)
        try:
            result = padaudit.rewrite(source, target, style=style, verify="none")
        except Exception as error:  # a benchmark of one form must not end that of the others
            notes.append(f"{style}: {error}")
            continue
        notes += [f"{style} keeps {kept.site.id}: {kept.reason}" for kept in result.plan.kept]
        if target.exists():
            forms.append(Form(style, onnx.load(target)))
    return forms, notes


def session(model: ModelProto, optimized: Path | None = None) -> ort.InferenceSession:
    """Open a model in onnxruntime: default options, one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def pads_left(model: ModelProto, folder: Path) -> str:
    """Count the Pad nodes that are left after onnxruntime's optimizer."""
    path = folder / "optimized.onnx"
    session(model, path)
    return str(sum(node.op_type == "Pad" for node in onnx.load(path).graph.node))


def feed(model: ModelProto) -> dict[str, Array]:
    """Return random input of the model's fixed shape and type."""
    rng = np.random.default_rng(1)
    tensor = model.graph.input[0].type.tensor_type
    shape = [dim.dim_value for dim in tensor.shape.dim]
    if tensor.elem_type == UINT8:
        return {"x": rng.integers(0, 255, shape).astype(np.uint8)}
    return {"x": rng.standard_normal(shape).astype(np.float32)}


def run_times(runs: Sequence[Callable[[], object]], seconds: float) -> list[list[float]]:
    """Return the times of each run, in turn, another one first in every round.

    It is the thread's own time, so that a busy machine does not count.
    """
    times: list[list[float]] = [[] for _ in runs]
    end, turn = time.perf_counter() + seconds, 0
    while time.perf_counter() < end or turn < 10:
        for offset in range(len(runs)):
            index = (turn + offset) % len(runs)
            start = time.thread_time()
            runs[index]()
            times[index].append(time.thread_time() - start)
        turn += 1
    return times


def ratios(
    original: ModelProto, forms: Sequence[Form], seconds: float, repeats: int
) -> tuple[float, dict[str, float]]:
    """Return the original's time in ms, and the ratio of each form and of the original again."""
    data = feed(original)
    models = {"": original, "again": original, **{form.name: form.model for form in forms}}
    found: dict[str, list[float]] = {name: [] for name in models}
    base: list[float] = []
    for _ in range(repeats):
        sessions = [session(model) for model in models.values()]
        runs = [lambda opened=opened: opened.run(None, data) for opened in sessions]
        times = run_times(runs, seconds / repeats)
        base.append(statistics.median(times[0]))
        for name, column in zip(models, times, strict=True):
            pairs = zip(column, times[0], strict=True)
            found[name].append(statistics.median(ours / theirs for ours, theirs in pairs))
    return min(base) * 1e3, {name: statistics.median(values) for name, values in found.items()}


def largest_difference(original: ModelProto, form: ModelProto) -> str:
    """Return how far the outputs are apart, as onnxruntime runs both by default."""
    data = feed(original)
    first, second = (session(model).run(None, data)[0] for model in (original, form))
    if first.shape != second.shape:
        return f"shape {second.shape}"
    return f"{np.max(np.abs(first.astype(np.float64) - second.astype(np.float64))):.1g}"


def measure_case(
    name: str, model: ModelProto, seconds: float, repeats: int
) -> tuple[list[str], list[str]]:
    """Return the table row of a model, and what there is to say about it."""
    with tempfile.TemporaryDirectory() as folder:
        forms, notes = explicit_forms(model, Path(folder))
        milliseconds, found = ratios(model, forms, seconds, repeats)
        row = [name, f"{milliseconds:.3f} ms", f"{found['again']:.3f}"]
        for style in STYLES:
            form = next((form for form in forms if form.name == style), None)
            if form is None:
                row += ["-", "", ""]
                continue
            mark = " !" if found[style] > GOAL else ""
            left = pads_left(form.model, Path(folder))
            row += [f"{found[style]:.3f}{mark}", left, largest_difference(model, form.model)]
    return row, [f"{name}, {note}" for note in notes]


def main() -> None:
    """Print the ratios of MobileNetV2 and of each family."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=6.0, help="per model")
    parser.add_argument("--repeats", type=int, default=5, help="new sessions per model")
    parser.add_argument("--only", nargs="+", default=[], help="words that a name must contain")
    options = parser.parse_args()
    print(describe("padaudit", "onnx", "onnxruntime"), end="\n\n")
    makers = {"MobileNetV2": mobilenet, "two Convs, one input": two_readers}
    makers |= {name: case.model for name, case in cases().items()}
    rows, notes = [], []
    for name, maker in makers.items():
        if all(word.lower() in name.lower() for word in options.only):
            row, said = measure_case(name, maker(), options.seconds, options.repeats)
            rows.append(row)
            notes += said
    head = ("model", "original", "again", "pad", "Pads left", "difference")
    print_table((*head, "attrs", "Pads left ", "difference "), rows)
    print(f"! above {GOAL}")
    for note in notes:
        print(note)


if __name__ == "__main__":
    main()
