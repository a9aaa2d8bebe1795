"""What a command imports: `check` and an unproven `rewrite` of ONNX start light."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FIXTURES = Path(__file__).parents[2] / "fixtures"
HEAVY = {"numpy", "onnx", "onnxruntime", "networkx", "rich", "rich_click", "tensorflow", "torch"}
SCRIPT = """
import json, sys
from padaudit.cli.app import main
try:
    main()
except SystemExit as done:
    print(json.dumps([done.code, sorted(set(sys.modules) & set(json.loads({heavy!r})))]))
"""


def imported(*arguments: str) -> tuple[int, set[str]]:
    """Run a command in a process of its own; return its exit code and what it imported."""
    script = SCRIPT.format(heavy=json.dumps(sorted(HEAVY)))
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    code, names = json.loads(done.stdout.splitlines()[-1])
    return code, set(names)


@pytest.mark.parametrize("name", ["auto-pad.onnx", "auto-pad-open.onnx", "auto-pad-nested.onnx"])
def test_onnx_is_checked_and_rewritten_without_heavy_packages(name: str, tmp_path: Path) -> None:
    path = str(FIXTURES / name)
    assert imported("check", "--exit-zero", path) == (0, set())
    target = str(tmp_path / "out.onnx")
    assert imported("rewrite", "--explicit", "--verify", "none", path, "-o", target) == (0, set())


def test_onnx_loads_as_usual_after_its_parts_were_loaded_alone() -> None:
    script = (
        "import padaudit.formats.onnx.protos as protos; protos.compiled();"
        "import sys; assert 'onnx' not in sys.modules;"
        "import onnx, onnx.checker, onnx.shape_inference, onnx.version_converter, onnx.reference;"
        "assert onnx.ModelProto is protos.ModelProto;"
        f"model = onnx.load({str(FIXTURES / 'auto-pad.onnx')!r});"
        "onnx.checker.check_model(model, full_check=True);"
        "onnx.shape_inference.infer_shapes(model);"
        "onnx.version_converter.convert_version(model, 21);"
        "print(onnx.helper.printable_graph(model.graph)[:5])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("graph")
