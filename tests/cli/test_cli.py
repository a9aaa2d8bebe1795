"""The command line as a user or a pipeline sees it: exit codes, streams, files and JSON."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

sys.path.insert(0, str(Path(__file__).parents[1]))
from command_line import run_command
from onnx_models import conv_model, model, weights

FIXTURES = Path(__file__).parents[2] / "fixtures"
ESCAPE = "\x1b"
COLOUR = re.compile(r"\x1b\[[0-9;]*\b(3[0-8]|4[0-8]|9[0-7]|10[0-7])[0-9;]*m")
"""An escape code that sets a colour; bold is no colour (https://no-color.org)."""
REWRITE = ("rewrite", "--explicit", "--verify", "site")


def run(
    *arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "padaudit", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a function that runs the command line in this process, which is faster."""

    return partial(run_command, monkeypatch, capsys)


def write_model(path: Path, width: int | str = 14, **attributes: Any) -> Path:
    """Write a 4 x 3 Conv with strides 3 x 2 on 17 x ``width``."""
    settings: dict[str, Any] = {"strides": [3, 2], "auto_pad": "SAME_UPPER"} | attributes
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(conv_model((17, width), (4, 3), **settings).SerializeToString())
    return path


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """Return a folder with a model of each severity."""
    write_model(tmp_path / "warning.onnx")
    write_model(tmp_path / "note.onnx", width=15)  # (1, 1) on both axes
    write_model(tmp_path / "error.onnx", strides=[1, 1], dilations=[1, 2])
    write_model(tmp_path / "clean.onnx", auto_pad="VALID")
    return tmp_path


# --- exit codes ---------------------------------------------------------------------------

CHECKS: dict[str, tuple[list[str], int]] = {
    "clean": (["clean.onnx"], 0),
    "a note is not enough": (["note.onnx"], 0),
    "a warning is": (["warning.onnx"], 1),
    "an error is": (["error.onnx"], 1),
    "fail on notes": (["--fail-on", "note", "note.onnx"], 1),
    "fail on notes, but there are none": (["--fail-on", "note", "clean.onnx"], 0),
    "fail on errors only": (["--fail-on", "error", "warning.onnx"], 0),
    "an error reaches every threshold": (["--fail-on", "error", "error.onnx"], 1),
    "whatever is found": (["--exit-zero", "error.onnx", "warning.onnx"], 0),
    "not even --exit-zero hides a missing file": (["--exit-zero", "missing.onnx"], 2),
    "one of several fails": (["clean.onnx", "note.onnx", "warning.onnx"], 1),
    "a rule left out": (["--ignore", "PAD102", "warning.onnx"], 0),
    "a family left out": (["--ignore", "PAD1", "warning.onnx"], 0),
    "another rule chosen": (["--select", "PAD2", "warning.onnx"], 0),
    "this rule chosen": (["--select", "PAD201,PAD102", "warning.onnx"], 1),
    "ignore wins over select": (["--select", "PAD1", "--ignore", "PAD102", "warning.onnx"], 0),
    "small letters": (["--select", "pad102", "warning.onnx"], 1),
}


@pytest.mark.parametrize("case", CHECKS)
def test_exit_code_of_check(case: str, workplace: Path, here: Any) -> None:
    arguments, code = CHECKS[case]
    result = here("check", "--output-format", "concise", *arguments, cwd=workplace)
    assert result.returncode == code
    assert bool(result.stderr) == (code == 2)


def test_exit_codes_of_rewrite_and_verify(workplace: Path) -> None:
    before = sorted(item.name for item in workplace.iterdir())
    written = run(*REWRITE, "warning.onnx", cwd=workplace)
    assert written.returncode == 0
    assert sorted(item.name for item in workplace.iterdir()) == sorted(
        [*before, "warning.explicit.onnx"]
    )
    same = run("verify", "warning.onnx", "warning.explicit.onnx", cwd=workplace)
    assert same.returncode == 0
    other = run("verify", "note.onnx", "clean.onnx", cwd=workplace)
    assert other.returncode == 1
    assert run("verify", "note.onnx", "missing.onnx", cwd=workplace).returncode == 2


@pytest.mark.parametrize(
    "arguments",
    [[], ["nonsense"], ["check"], ["check", "--no-such-option", "clean.onnx"],
     ["check", "--fail-on", "fatal", "clean.onnx"], ["rewrite"], ["explain"]],
    ids=" ".join,
)  # fmt: skip
def test_usage_errors_exit_with_2(arguments: list[str], workplace: Path, here: Any) -> None:
    result = here(*arguments, cwd=workplace)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_an_unverified_rewrite_says_so(workplace: Path, here: Any) -> None:
    result = here("rewrite", "--explicit", "--verify", "none", "warning.onnx", cwd=workplace)
    assert result.returncode == 0
    assert "unverified" in result.stderr
    assert (workplace / "warning.explicit.onnx").exists()


def test_an_obligatory_proof_that_can_not_run_writes_nothing(workplace: Path, here: Any) -> None:
    arguments = ("rewrite", "--explicit", "--verify", "model", "error.onnx")
    result = here(*arguments, cwd=workplace)
    assert result.returncode == 1
    assert not (workplace / "error.explicit.onnx").exists()
    allowed = here(*arguments, "--allow-unverified", cwd=workplace)
    assert (workplace / "error.explicit.onnx").exists()
    assert allowed.returncode == 0


# --- JSON ---------------------------------------------------------------------------------

SITE_KEYS = {
    "id", "op", "family", "kernel_shape", "strides", "dilations", "group", "padding", "implicit",
    "input_size", "output_size", "pads", "shape_dependent", "pad_value",
}  # fmt: skip
FINDING_KEYS = {"rule", "name", "severity", "site", "message", "help", "fix"}


def test_json_of_check_has_the_keys_of_the_contract_and_stands_alone(workplace: Path) -> None:
    paths = [FIXTURES / "digits.h5", FIXTURES / "auto-pad-open.onnx", "missing.onnx"]
    result = run("check", "--output-format", "json", *paths, cwd=workplace)
    data = json.loads(result.stdout)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert set(data) == {"schema", "version", "models", "summary"}
    assert data["schema"] == "padaudit.check/1"
    assert set(data["summary"]) == {"models", "sites", "implicit", "findings", "errors"}
    assert [item["format"] for item in data["models"]] == ["keras-h5", "onnx", None]
    for item in data["models"]:
        assert set(item) == {"path", "format", "status", "error", "sites", "findings"}
        assert all(set(site) == SITE_KEYS for site in item["sites"])
        for finding in item["findings"]:
            assert set(finding) == FINDING_KEYS
            assert finding["fix"] is None or set(finding["fix"]) == {"action", "applicability"}
    missing = data["models"][2]
    assert (missing["status"], missing["sites"]) == ("error", [])
    assert "no such file" in missing["error"]
    counted = [site for item in data["models"] for site in item["sites"]]
    assert data["summary"] == {
        "models": 3,
        "sites": len(counted),
        "implicit": sum(site["implicit"] for site in counted),
        "findings": sum(len(item["findings"]) for item in data["models"]),
        "errors": 1,
    }


def test_values_in_the_json_of_check(workplace: Path, here: Any) -> None:
    path = FIXTURES / "auto-pad-open.onnx"
    result = here("check", "--output-format", "json", FIXTURES / "digits.h5", path, cwd=workplace)
    keras, opened = json.loads(result.stdout)["models"]
    stem = keras["sites"][0]
    assert stem == {
        "id": "stem",
        "op": "Conv2D",
        "family": "conv",
        "kernel_shape": [3, 4],
        "strides": [2, 1],
        "dilations": [1, 1],
        "group": 1,
        "padding": "same_upper",
        "implicit": True,
        "input_size": [17, 14],
        "output_size": [9, 14],
        "pads": [[1, 1], [1, 2]],
        "shape_dependent": False,
        "pad_value": 0.0,
    }
    strided = next(site for site in opened["sites"] if site["id"] == "stride_2")
    assert strided["pads"] is None
    assert strided["shape_dependent"] is True
    assert strided["input_size"] == ["H", "W"]


VERIFICATION = {"status", "max_abs", "max_ulp", "evidence"}
OF_LEVEL = {"level", "runtime", "max_abs"}
"""What the contract shows for a rewrite; texts that explain it stand beside these."""
TEXTS = {"reason", "not_covered", "first_difference"}


def test_json_of_rewrite_has_the_keys_of_the_contract_and_stands_alone(workplace: Path) -> None:
    source = FIXTURES / "digits-keras2.h5"
    options = ("--output-format", "json", "-o", "out.h5", source)
    result = run(*REWRITE, *options, cwd=workplace)
    data = json.loads(result.stdout)
    assert result.returncode == 0
    documented = {"schema", "input", "output", "written", "rewritten", "kept", "verification"}
    assert set(data) - {"version"} == documented
    assert data["schema"] == "padaudit.rewrite/1"
    assert (data["input"], data["output"], data["written"]) == (str(source), "out.h5", True)
    for item in data["rewritten"]:
        assert set(item) - {"created", "note"} == {"site", "strategy", "pads"}
    assert [item["site"] for item in data["rewritten"]] == ["stem", "inner/inner_sep"]
    (kept,) = data["kept"]
    assert set(kept) == {"site", "reason"}
    assert kept["site"] == "right_pool"
    assert kept["reason"][0].isupper()
    assert kept["reason"].endswith(".")
    verification = data["verification"]
    assert set(verification) - TEXTS == VERIFICATION
    assert (verification["status"], verification["max_abs"]) == ("equivalent", 0.0)
    assert all(set(item) >= OF_LEVEL for item in verification["evidence"])


def test_json_of_verify_has_the_keys_of_the_contract(workplace: Path, here: Any) -> None:
    options = ("--output-format", "json", "note.onnx", "clean.onnx")
    result = here("verify", *options, cwd=workplace)
    data = json.loads(result.stdout)
    assert set(data) >= {"schema", "a", "b", "status", "max_abs", "max_ulp", "evidence"}
    assert "first_difference" in data
    assert (data["schema"], data["status"]) == ("padaudit.verify/1", "different")
    assert (data["a"], data["b"]) == ("note.onnx", "clean.onnx")


def test_json_into_a_file_leaves_stdout_without_json(workplace: Path, here: Any) -> None:
    options = ("--output-format", "json", "--output-file", "r.json", "clean.onnx")
    result = here("check", *options, cwd=workplace)
    assert json.loads((workplace / "r.json").read_text())["schema"] == "padaudit.check/1"
    assert "{" not in result.stdout


def test_a_report_does_not_replace_a_model(workplace: Path, here: Any) -> None:
    before = (workplace / "clean.onnx").read_bytes()
    (workplace / "linked.onnx").hardlink_to(workplace / "clean.onnx")
    result = here("check", "--output-file", "linked.onnx", "clean.onnx", cwd=workplace)
    assert result.returncode == 2
    assert "--output-file linked.onnx is a model" in result.stderr
    assert (workplace / "clean.onnx").read_bytes() == before


# --- paths --------------------------------------------------------------------------------


def checked(result: subprocess.CompletedProcess[str]) -> list[str]:
    return [item["path"] for item in json.loads(result.stdout)["models"]]


def test_files_folders_and_globs(workplace: Path, here: Any) -> None:
    write_model(workplace / "deep" / "er" / "a.onnx")
    shutil.copy(FIXTURES / "digits.keras", workplace / "deep" / "b.keras")
    (workplace / "deep" / "notes.txt").write_text("not a model\n")
    options = ("check", "--output-format", "json", "--exit-zero")
    several = here(*options, "clean.onnx", "deep/b.keras", cwd=workplace)
    assert checked(several) == ["clean.onnx", "deep/b.keras"]
    folder = here(*options, "deep", cwd=workplace)
    assert checked(folder) == ["deep/b.keras", "deep/er/a.onnx"]
    glob = here(*options, "[cn]*.onnx", "deep/**/*.onnx", cwd=workplace)
    assert checked(glob) == ["clean.onnx", "note.onnx", "deep/er/a.onnx"]
    nothing = here(*options, "*.h5", cwd=workplace)
    assert nothing.returncode == 2
    assert nothing.stderr.startswith("error: *.h5: the pattern matches nothing")


def test_the_format_is_that_of_the_content(workplace: Path, here: Any) -> None:
    shutil.copy(FIXTURES / "digits.keras", workplace / "misnamed.h5")
    shutil.copy(FIXTURES / "digits.h5", workplace / "model.bin")
    options = ("--output-format", "json", "--exit-zero", "misnamed.h5", "model.bin")
    data = json.loads(here("check", *options, cwd=workplace).stdout)
    assert [item["format"] for item in data["models"]] == ["keras-v3", "keras-h5"]


def test_input_shapes_settle_open_sizes(workplace: Path, here: Any) -> None:
    write_model(workplace / "open.onnx", width="W")
    options = ("check", "--output-format", "json", "--exit-zero", "open.onnx")
    before = json.loads(here(*options, cwd=workplace).stdout)["models"][0]
    assert [item["rule"] for item in before["findings"]] == ["PAD103"]
    shape = ("--input-shape", "x=1,2,17,14")
    after = json.loads(here(*options, *shape, cwd=workplace).stdout)["models"][0]
    assert [item["rule"] for item in after["findings"]] == ["PAD102"]
    assert after["sites"][0]["pads"] == [[1, 1], [0, 1]]
    assert here(*REWRITE, "open.onnx", *shape, cwd=workplace).returncode == 0


# --- streams ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "env", [{"NO_COLOR": "1"}, {"TERM": "xterm-256color"}], ids=["NO_COLOR", "no terminal"]
)
def test_no_escape_codes_without_a_terminal(env: dict[str, str], workplace: Path) -> None:
    for arguments in (("check", "warning.onnx", "missing.onnx"), ("rules",)):
        result = run(*arguments, cwd=workplace, env=env)
        assert ESCAPE not in result.stdout + result.stderr
        assert result.stdout


def test_a_terminal_gets_colours_unless_no_color_is_set(workplace: Path) -> None:
    pty = pytest.importorskip("pty", reason="a terminal is needed")
    outputs = {}
    for label, extra in {"plain": {"NO_COLOR": "1"}, "colour": {}}.items():
        parent, child = pty.openpty()
        env = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
        env |= {"TERM": "xterm-256color", "COLUMNS": "120", **extra}
        process = subprocess.Popen(
            [sys.executable, "-m", "padaudit", "check", "warning.onnx"],
            cwd=workplace, env=env, stdout=child, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(child)
        data = b""
        while True:
            try:
                part = os.read(parent, 65536)
            except OSError:
                break
            if not part:
                break
            data += part
        os.close(parent)
        assert process.wait(timeout=60) == 1
        outputs[label] = data.decode()
    assert "PAD102" in outputs["plain"]
    assert not COLOUR.search(outputs["plain"])
    assert COLOUR.search(outputs["colour"])


# --- what is written ----------------------------------------------------------------------


def listing(folder: Path) -> dict[str, bytes]:
    return {str(item.relative_to(folder)): item.read_bytes() for item in folder.rglob("*.*")}


def test_diff_writes_nothing(workplace: Path, here: Any) -> None:
    before = listing(workplace)
    result = here("rewrite", "--explicit", "--diff", "warning.onnx", cwd=workplace)
    assert result.returncode == 0
    assert listing(workplace) == before
    assert "height (1, 1), width (0, 1)" in result.stdout
    assert "1 would be rewritten" in result.stderr


def test_diff_as_json_is_the_plan_and_stands_alone(workplace: Path, here: Any) -> None:
    before = listing(workplace)
    arguments = ("rewrite", "--explicit", "--diff", "--output-format", "json", "warning.onnx")
    result = here(*arguments, cwd=workplace)
    assert (result.returncode, result.stderr) == (0, "")
    data = json.loads(result.stdout)
    assert (data["written"], data["verification"]["status"]) == (False, "unverified")
    assert [(item["site"], item["pads"]) for item in data["rewritten"]] == [
        ("conv", [[1, 1], [0, 1]])
    ]
    assert listing(workplace) == before


def test_diff_shows_the_sizes_that_are_frozen(workplace: Path, here: Any) -> None:
    write_model(workplace / "open.onnx", width="W")
    shape = ("--input-shape", "1,2,17,14")
    result = here("rewrite", "--explicit", "--diff", *shape, "--freeze", "open.onnx", cwd=workplace)
    assert result.stdout.startswith("+ x  input 1x2x17x14\n")
    result = here("rewrite", "--explicit", "--diff", *shape, "open.onnx", cwd=workplace)
    assert result.stdout.startswith("- conv")


def test_what_stays_implicit_is_said_without_being_asked(workplace: Path, here: Any) -> None:
    proto = conv_model((17, "W"), (4, 3), opset=9, strides=[3, 2], auto_pad="SAME_UPPER")
    (workplace / "old.onnx").write_bytes(proto.SerializeToString())
    result = here(*REWRITE, "old.onnx", cwd=workplace)
    assert result.returncode == 0
    (reason,) = [line for line in result.stdout.splitlines() if "kept: " in line]
    assert "conv" in reason
    assert "opset 9" in reason
    assert "--input-shape" in reason
    assert "not the same" not in reason  # where more telling words follow


def test_a_long_list_of_what_stays_is_cut(workplace: Path, here: Any) -> None:
    count = 12
    settings: dict[str, Any] = {"auto_pad": "SAME_UPPER", "strides": [3, 2]}
    nodes = [
        helper.make_node("Conv", ["x", "w"], [f"y{i}"], f"c{i}", **settings) for i in range(count)
    ]
    outputs = [f"y{i}" for i in range(count)]
    shape = {"x": (1, 2, 17, "W")}
    proto = model(nodes, shape, [weights((4, 2, 4, 3))], opset=9, outputs=outputs)
    (workplace / "old.onnx").write_bytes(proto.SerializeToString())
    result = here(*REWRITE, "old.onnx", cwd=workplace)
    assert "... and 4 more kept (--verbose)" in result.stdout
    verbose = here(*REWRITE, "-v", "old.onnx", cwd=workplace).stdout
    assert all(f"c{i}  kept: " in verbose for i in range(count))


def test_amounts_of_a_size_that_nobody_knows_are_computed(workplace: Path, here: Any) -> None:
    nodes = [
        helper.make_node("Mystery", ["x"], ["h"], "lost", domain="custom"),
        helper.make_node("Conv", ["h", "w"], ["y"], "conv", auto_pad="SAME_UPPER", strides=[3, 2]),
    ]
    shape = {"x": (1, 2, 17, 14)}
    proto = model(nodes, shape, [weights((4, 2, 4, 3))], domains=["custom"])
    (workplace / "lost.onnx").write_bytes(proto.SerializeToString())
    result = here("rewrite", "--explicit", "--diff", "lost.onnx", cwd=workplace)
    assert "conv  Conv padding=valid, amounts computed from the size by conv/pad" in result.stdout


def test_moved_pads_are_not_counted_as_implicit(workplace: Path, here: Any) -> None:
    here(*REWRITE, "-o", "pad.onnx", "warning.onnx", cwd=workplace)
    result = here(*REWRITE, "-v", "--style", "attrs", "pad.onnx", cwd=workplace)
    first, _, after, *_ = result.stdout.splitlines()
    assert first == "pad.onnx: 0 implicitly padded operators found, 1 explicit one to move"
    assert "padding=explicit, height (1, 1), width (0, 1), without conv/pad" in after


@pytest.mark.parametrize("name", ["digits.h5", "digits.keras", "auto-pad.onnx"])
def test_the_default_name_stands_beside_the_input(name: str, tmp_path: Path, here: Any) -> None:
    (tmp_path / "models").mkdir()
    shutil.copy(FIXTURES / name, tmp_path / "models" / name)
    result = here(*REWRITE, f"models/{name}", cwd=tmp_path)
    stem, suffix = name.rsplit(".", 1)
    assert result.returncode == 0
    assert sorted(item.name for item in (tmp_path / "models").iterdir()) == sorted(
        [name, f"{stem}.explicit.{suffix}"]
    )
    assert (tmp_path / "models" / name).read_bytes() == (FIXTURES / name).read_bytes()


FULL: dict[str, tuple[int, list[str], str]] = {
    "for the output": (500, ["--verify", "none"], "the output can't be written"),
    "for the sites": (1200, ["--verify", "site"], "what the proof runs can't be written"),
    "for the whole models": (1200, ["--verify", "model"], "what the proof runs can't be written"),
}


@pytest.mark.parametrize("case", FULL)
def test_no_space_left_is_one_sentence(case: str, workplace: Path) -> None:
    """A limit on the size of files stands for a full disk."""
    limit, options, says = FULL[case]
    before = listing(workplace)
    code = (
        f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); "
        "import padaudit.cli.app; padaudit.cli.app.main()"
    )
    command = [sys.executable, "-B", "-c", code, "rewrite", "--explicit", *options, "warning.onnx"]
    result = subprocess.run(
        command, cwd=workplace, capture_output=True, text=True, check=False, timeout=120
    )
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1), result.stderr
    assert says in result.stderr
    assert "TMPDIR" in result.stderr
    assert listing(workplace) == before


def test_in_place_replaces_the_input_and_only_then(workplace: Path, here: Any) -> None:
    source = workplace / "warning.onnx"
    original = source.read_bytes()
    result = here(*REWRITE, "--in-place", "warning.onnx", cwd=workplace)
    assert result.returncode == 0
    assert source.read_bytes() != original
    assert here("check", "warning.onnx", cwd=workplace).returncode == 0
    assert not list(workplace.glob("*explicit*"))
    refused = (workplace / "error.onnx").read_bytes()
    options = ("rewrite", "--explicit", "--verify", "model", "--in-place", "error.onnx")
    assert here(*options, cwd=workplace).returncode == 1
    assert (workplace / "error.onnx").read_bytes() == refused


def test_style_attrs_adds_no_node(workplace: Path, here: Any) -> None:
    options = ("--style", "attrs", "-o", "out.onnx", "warning.onnx")
    assert here(*REWRITE, *options, cwd=workplace).returncode == 0
    nodes = onnx.load(workplace / "out.onnx").graph.node
    assert [node.op_type for node in nodes] == ["Conv"]
    wrong = here(*REWRITE, "--style", "attrs", FIXTURES / "digits.h5", "-o", "o.h5", cwd=workplace)
    assert wrong.returncode == 2
    assert "--style attrs" in wrong.stderr


def test_an_interrupt_during_the_imports_leaves_no_traceback(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, padaudit.__main__\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'padaudit.cli.app': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "padaudit.__main__.main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (-signal.SIGINT, "")


def slow_model(folder: Path, external: bool) -> Path:
    """Write a model whose proof takes a while: every site of another form and of open size."""
    nodes, kernels = [], []
    for index in range(60):
        shape = (2, 2, 2 + index % 7, 3 + index % 5)
        kernels.append(weights(shape, f"w{index}", seed=index))
        source = f"h{index - 1}" if index else "x"
        name = f"h{index}" if index < 59 else "y"
        nodes.append(
            helper.make_node(
                "Conv", [source, f"w{index}"], [name], f"conv{index}",
                dilations=[1 + index % 3, 1 + index % 2], auto_pad="SAME_UPPER",
            )
        )  # fmt: skip
    proto = model(nodes, {"x": (1, 2, "H", "W")}, kernels)
    path = folder / "slow.onnx"
    if external:
        proto.graph.initializer.append(
            numpy_helper.from_array(np.arange(4096, dtype=np.float32), "unused")
        )
        onnx.save(proto, path, save_as_external_data=True, location="slow.bin", size_threshold=999)
    else:
        onnx.save(proto, path)
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(
    ("names", "code", "external"),
    [
        (["SIGINT"], 130, False),
        (["SIGTERM"], 143, True),
        (["SIGHUP"], 129, False),
        # Of signals that wait, the one with the lowest number comes first.
        (["SIGINT", *["SIGTERM"] * 6], 130, False),
        (["SIGKILL"], -9, True),
    ],
    ids=["SIGINT", "SIGTERM", "SIGHUP", "many", "SIGKILL"],
)
def test_an_interrupted_rewrite_leaves_nothing(
    names: list[str], code: int, external: bool, tmp_path: Path
) -> None:
    slow_model(tmp_path, external)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    before = listing(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "padaudit", "rewrite", "--explicit", "slow.onnx"],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: any(scratch.glob("*/runtime.json")), "the proof never began")
    assert len(children(scratch)) == 1
    assert process.poll() is None, "the rewrite was over too soon to be interrupted"
    for name in names:
        process.send_signal(signal.Signals[name])
        time.sleep(0.005)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    said = "" if names == ["SIGKILL"] else "error: interrupted; nothing was written."
    assert errors.strip() == said
    until(lambda: not children(scratch), "a child outlived the run")
    until(lambda: not list(scratch.iterdir()), "temporary files were left")
    assert listing(tmp_path) == before


def until(done: Callable[[], bool], otherwise: str) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.02)


def children(scratch: Path) -> list[str]:
    """Return the processes that work in a folder."""
    listed = subprocess.run(["ps", "-ewwo", "args"], capture_output=True, text=True, check=True)
    return [line for line in listed.stdout.splitlines() if f" {scratch}/" in line]


# --- configuration ------------------------------------------------------------------------


def findings(result: subprocess.CompletedProcess[str]) -> list[tuple[str, str | None]]:
    (item,) = json.loads(result.stdout)["models"]
    return [(finding["rule"], finding["site"]) for finding in item["findings"]]


def test_per_model_ignores_and_the_ones_that_match_nothing(workplace: Path, here: Any) -> None:
    (workplace / "pyproject.toml").write_text(
        """
[project]
name = "something"

[[tool.padaudit.per-model-ignores]]
glob = "warn*.onnx"
rules = ["PAD102", "PAD203"]
reason = "the target reads unequal pads"
"""
    )
    deeper = workplace / "sub"
    deeper.mkdir()
    options = ("check", "--output-format", "json", "--fail-on", "note")
    suppressed = here(*options, "../warning.onnx", cwd=deeper)
    assert findings(suppressed) == [("PAD000", None)]
    assert suppressed.returncode == 1
    assert "PAD203" in json.loads(suppressed.stdout)["models"][0]["findings"][0]["message"]
    other = here(*options, "note.onnx", cwd=workplace)
    assert findings(other) == [("PAD101", "conv")]
    silenced = here(*options, "--ignore", "PAD000", "warning.onnx", cwd=workplace)
    assert findings(silenced) == []


def test_select_and_ignore_of_the_configuration(workplace: Path, here: Any) -> None:
    (workplace / "padaudit.toml").write_text('select = ["PAD1"]\nignore = ["PAD101"]\n')
    options = ("check", "--output-format", "json", "--exit-zero")
    assert findings(here(*options, "error.onnx", cwd=workplace)) == [("PAD102", "conv")]
    assert findings(here(*options, "note.onnx", cwd=workplace)) == []
    chosen = here(*options, "--select", "PAD2", "error.onnx", cwd=workplace)
    assert findings(chosen) == [("PAD201", "conv")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[tool.padaudit]\nselekt = ['PAD1']\n", "selekt"),
        ("[tool.padaudit]\nselect = 'PAD1'\n", "select"),
        ("[tool.padaudit\n", "not valid"),
        ("[tool.padaudit]\nignore = ['PAD999']\n", "PAD999"),
    ],
    ids=["unknown key", "wrong type", "not TOML", "unknown rule"],
)
def test_a_wrong_configuration_is_refused(text: str, says: str, workplace: Path, here: Any) -> None:
    (workplace / "pyproject.toml").write_text(text)
    result = here("check", "clean.onnx", cwd=workplace)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert says in line


# --- explain, rules, imports --------------------------------------------------------------


def test_explain_a_rule_shows_how_to_pad_explicitly(here: Any) -> None:
    result = here("explain", "PAD102", cwd=FIXTURES)
    assert result.returncode == 0
    for text in (
        "ZeroPadding2D(((top, bottom), (left, right)))",
        "F.pad",
        "Pad(x, pads=",
        "What it means",
        "Why it is a problem",
        "Fix",
        "When it is fine",
        "References",
    ):
        assert text in result.stdout


def test_explain_a_site_shows_its_own_numbers(here: Any) -> None:
    result = here("explain", FIXTURES / "digits.h5", "stem", cwd=FIXTURES)
    assert result.returncode == 0
    for text in (
        "ZeroPadding2D(((1, 1), (1, 2)))",
        "torch.nn.functional.pad(x, (1, 2, 1, 1))",
        "Pad(x, pads=[0, 0, 1, 1, 0, 0, 1, 2], value=0.0)",
        "Conv with pads=[1, 1, 1, 2]",
        "17x14",
    ):
        assert text in result.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["PAD999"], "PAD999"),
        ([str(FIXTURES / "digits.h5")], "site"),
        ([str(FIXTURES / "digits.h5"), "steam"], "steam"),
        (["missing.h5", "stem"], "no such file"),
    ],
)
def test_explain_of_nothing_is_refused(
    arguments: list[str], says: str, tmp_path: Path, here: Any
) -> None:
    result = here("explain", *arguments, cwd=tmp_path)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert says in line


def test_rules_lists_every_rule_as_json_too(tmp_path: Path, here: Any) -> None:
    listed = json.loads(here("rules", "--output-format", "json", cwd=tmp_path).stdout)
    ids = [item["id"] for item in listed]
    assert {"PAD000", "PAD001", "PAD101", "PAD102", "PAD103", "PAD201"} <= set(ids)
    assert len(ids) == len(set(ids))
    table = here("rules", cwd=tmp_path).stdout
    assert all(name in table for name in ids)


HEAVY = ("onnxruntime", "tensorflow", "keras", "torch", "tf2onnx", "matplotlib")


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        (["--help"], (*HEAVY, "onnx", "h5py")),
        (["check", str(FIXTURES / "auto-pad.onnx")], (*HEAVY, "h5py")),
        (["check", str(FIXTURES / "digits.h5")], (*HEAVY, "onnx")),
        (["check", str(FIXTURES / "digits.keras")], (*HEAVY, "onnx")),
        (["explain", "PAD102"], (*HEAVY, "onnx", "h5py")),
        (["rewrite", "--explicit", "--diff", str(FIXTURES / "digits.keras")], HEAVY),
    ],
    ids=["help", "check onnx", "check h5", "check keras", "explain", "diff"],
)
def test_nothing_heavy_is_imported(
    arguments: list[str], absent: tuple[str, ...], tmp_path: Path
) -> None:
    code = (
        "import sys\n"
        "from padaudit.cli.app import main\n"
        "sys.argv = ['padaudit', *sys.argv[1:]]\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "print(*sorted(sys.modules), file=sys.stderr)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    loaded = set(result.stderr.split())
    assert "padaudit.cli.app" in loaded
    assert not loaded & set(absent)


def test_version_and_help(tmp_path: Path) -> None:
    import padaudit

    assert padaudit.__version__ in run("--version", cwd=tmp_path).stdout
    text = run("--help", cwd=tmp_path).stdout
    for command in ("check", "rewrite", "verify", "explain", "rules"):
        assert command in text
