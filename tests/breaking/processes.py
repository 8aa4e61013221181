"""Two and three processes of one run: stopped, killed, mistaken; and two commands that want the same run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import psutil

from breaking import BASE, Attempt, Said, alone, command, here, outcome, require_line, require_same
from breaking.signals import trained

METHODS = ("elr", "dividemix")


def line_of(method: str, epochs: int) -> list[str]:
    """The command line that trains with a method, with a batch that two and three processes can share."""
    options = ["--set", "warmup=1"] if method == "dividemix" else []
    base = [*BASE[: BASE.index("--batch-size") + 1], "24", *BASE[BASE.index("--batch-size") + 2 :]]
    return [*base, "--epochs", str(epochs), "--method", method, *options]


def together(size: int, *arguments: str) -> list[str]:
    """A command line for so many processes."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(size), "-m", "alasca.cli"]
    return [sys.executable, *launcher, *arguments]


def ours(err: str) -> list[str]:
    """What our processes said, without what the launcher adds."""
    return [line for line in err.splitlines() if line.startswith("alasca: ")]


@cache
def whole(size: int, method: str, folder: Path) -> dict[str, object]:
    """What so many processes end with, undisturbed."""
    done = subprocess.run(
        together(size, *line_of(method, 3), "--out", str(folder)), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return outcome(folder)


def attempts(folder: Path, sizes: tuple[int, ...] = (2, 3), methods: tuple[str, ...] = METHODS) -> Iterator[Attempt]:
    """All of them, with so many processes."""

    def stopped(size: int, method: str, how: str, own: Path) -> None:
        run = own / "run"
        with subprocess.Popen(together(size, *line_of(method, 3), "--out", str(run)), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as process:  # fmt: skip
            while process.poll() is None and not list((run / "checkpoint").glob("[0-9]*")):
                time.sleep(0.002)
            workers = psutil.Process(process.pid).children() if process.poll() is None else []
            if how == "signal":
                process.send_signal(signal.SIGTERM)
            elif workers:
                os.kill(workers[-1 if how == "last killed" else 0].pid, signal.SIGKILL)
            _, err = process.communicate(timeout=100)
        said = ours(err)
        text = err.partition("torch/distributed")[0]
        assert "Traceback" not in text, err
        assert len([line for line in said if "stopping after" not in line]) <= 1, err
        if how == "last killed" and process.returncode:
            assert len(said) == 1, err
            assert "has gone away" in said[0] or "stopp" in said[0], err
        done = subprocess.run(
            together(size, "resume", str(run)), capture_output=True, text=True, timeout=200, check=False
        )
        assert done.returncode == 0, done.stderr
        require_same(outcome(run), whole(size, method, folder / f"whole-{size}-{method}"))

    def mistaken(size: int, own: Path) -> None:
        done = subprocess.run(together(size, *line_of("elr", 1), "--crop", "3", "--out", str(own / "run")), capture_output=True,
                              text=True, timeout=200, check=False)  # fmt: skip
        assert done.returncode != 0
        assert len(ours(done.stderr)) == 1, done.stderr
        assert "Traceback" not in done.stderr.partition("torch/distributed")[0]

    def bug(own: Path) -> None:
        """A network that breaks in training is shown once, by one process."""
        (own / "broken.py").write_text(
            "import torch\nclass Net(torch.nn.Module):\n    def __init__(self, num_classes):\n        super().__init__()\n"
            "        self.calls, self.layer = 0, torch.nn.Linear(64, num_classes)\n    def forward(self, x):\n"
            "        self.calls += 1\n        if self.calls > 9:\n            raise ZeroDivisionError('in the network')\n"
            "        return self.layer(x.flatten(1))\n"
        )
        line = [*line_of("elr", 3), "--no-alasca", "--network", "broken:Net", "--out", str(own / "run")]
        done = subprocess.run(together(2, *line), capture_output=True, text=True, timeout=200, check=False, cwd=own)
        assert done.returncode != 0
        assert done.stderr.count("ZeroDivisionError: in the network") == 1, done.stderr

    def at_once(own: Path) -> None:
        """The second of two commands for one run is refused, and the run ends as if there had been one."""
        run = own / "run"
        line = [*line_of("elr", 60), "--out", str(run)]
        with subprocess.Popen(command(*line), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            trained(run)
            require_line(here("resume", str(run)), 2)
            said = alone("resume", str(run))
            require_line(said, 2)
            assert f"is in use by process {process.pid}" in said.err, said.err
            require_line(alone(*line), 2)
            _, err = process.communicate(timeout=100)
        assert (process.returncode, err) == (0, "")
        assert (run / "metrics.jsonl").read_bytes().count(b"\n") == 60

    def raced(own: Path) -> None:
        """Of four that start at once one trains."""
        run = own / "run"
        line = command(*line_of("elr", 2), "--out", str(run))
        racers = [subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
        ends = [Said(racer.wait(100), *racer.communicate()) for racer in racers]
        assert sorted(end.code for end in ends) == [0, 2, 2, 2], ends
        for end in ends:
            if end.code:
                require_line(end, 2)
        assert (run / "metrics.jsonl").read_bytes().count(b"\n") == 2

    for size in sizes:
        for method in methods:
            for how in ("signal", "last killed", "first killed"):
                case = (size, method, how)
                yield f"{size} processes, {method}, {how}", lambda own, case=case: stopped(*case, own)  # type: ignore[misc]  # bound per case
        yield f"{size} processes, a mistake", lambda own, size=size: mistaken(size, own)  # type: ignore[misc]  # bound per size
    yield "two processes, a network that breaks", bug
    yield "two commands for one run", at_once
    yield "four commands at once", raced
