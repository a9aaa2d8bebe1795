import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from padaudit import subprocesses

sys.path.insert(0, str(Path(__file__).parent))
import warm_processes

# A loaded machine is no failure: examples are counted, not timed.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# What passed once passes again: new examples are looked for on purpose (explore), never by CI.
settings.register_profile("padaudit", settings.get_profile("explore"), derandomize=True)
settings.load_profile("padaudit")


@pytest.fixture(scope="session", autouse=sys.platform == "linux")
def warm() -> Iterator[None]:
    """Let padaudit's processes begin where TensorFlow and onnxruntime are imported already."""
    with warm_processes.warm():
        yield


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let padaudit's processes begin as they do for users."""
    monkeypatch.setattr(subprocesses, "start", warm_processes.cold_start)
