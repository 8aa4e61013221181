"""The bits that short runs end in, as they were written down: a change that should not move them must not.

    pytest tests/test_digests.py                          # compares
    python tests/test_digests.py "why they changed"       # writes them down anew, with the reason

Bits depend on the processor and the build of torch: where those differ from the recorded ones, this test skips.
"""

from __future__ import annotations

import functools
import hashlib
import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from alasca import Alasca, Method, create_method
from alasca.networks.small import SmallResNet
from alasca.testing import everything, planted, settings, trained

FILE = Path(__file__).parent / "digests.json"
OPTIONS = {
    "ce": {}, "elr": {}, "coteaching": {"warmup": 1, "ramp": 1},
    "dividemix": {"warmup": 1, "ramp": 2, "warmup_batch": 1},
    "fine": {"warmup": 1, "every": 1}, "cdr": {},
}  # fmt: skip
GROUPS = ("net", "optimizer", "method")


def made(name: str, wrapped: bool) -> Method:
    method = create_method(name, **OPTIONS[name])
    return Alasca(method, warmup=2) if wrapped else method


RUNS: dict[str, Callable[[], Method]] = {
    name + (" + ALASCA" if wrapped else ""): functools.partial(made, name, wrapped)
    for name in OPTIONS
    for wrapped in (False, True)
}


def digests(make: Callable[[], Method]) -> dict[str, str]:
    """sha256 of the final tensors of each kind, whatever they are called and in whatever order they come."""
    tensors = everything(trained(make(), planted(16), settings(5), net=lambda: SmallResNet(3, 4)))
    found = {}
    for group in GROUPS:
        own = [value for name, value in tensors.items() if name.split("/")[0] == group]
        parts = sorted(hashlib.sha256(value.detach().contiguous().numpy().tobytes()).hexdigest() for value in own)
        found[group] = hashlib.sha256("".join(parts).encode()).hexdigest()[:16]
    return found


def machine() -> str:
    """What bits depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    return f"{model}, torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}"


@pytest.mark.parametrize("name", RUNS)
def test_runs_end_in_the_recorded_bits(name: str):
    recorded = json.loads(FILE.read_text())
    if recorded["machine"] != machine():
        pytest.skip(f"recorded on {recorded['machine']}")
    assert digests(RUNS[name]) == recorded["runs"][name]["digests"]


if __name__ == "__main__":
    torch.set_num_threads(1)
    before = json.loads(FILE.read_text())["runs"] if FILE.is_file() else {}
    runs = {}
    for name, make in RUNS.items():
        found = digests(make)
        same = before.get(name, {}).get("digests") == found
        runs[name] = before[name] if same else {"digests": found, "since": sys.argv[1]}
        print(name, "as before" if same else "changed")
    FILE.write_text(json.dumps({"machine": machine(), "runs": runs}, indent=1) + "\n")
