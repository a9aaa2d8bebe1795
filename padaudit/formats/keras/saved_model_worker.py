"""The process that translates a SavedModel (see `padaudit.child`)."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Final

from padaudit.formats.keras.saved_model import ERROR_FILE, RESULT_FILE, TASK_FILE

_OPSET: Final = "17"
_LONGEST: Final = 240


def main(folder: Path) -> None:
    """Translate the SavedModel that the folder's task names, or write down why not."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    task = json.loads((folder / TASK_FILE).read_text())
    partial = folder / "partial.onnx"
    sys.argv = ["tf2onnx", "--saved-model", task["model"], "--output", str(partial)]
    sys.argv += ["--opset", _OPSET]
    try:
        from tf2onnx.convert import main as convert

        convert()
    except (Exception, SystemExit) as error:
        # Whatever tf2onnx raises here says that it can't translate the model.
        text = " ".join(f"{type(error).__name__}: {error}".split())
        (folder / ERROR_FILE).write_text(text[:_LONGEST])
        return
    partial.rename(folder / RESULT_FILE)
