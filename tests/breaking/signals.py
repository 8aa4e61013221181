"""Signals, closed pipes, terminals that vanish: a line, an exit code by convention, and a run that goes on."""

from __future__ import annotations

import os
import pty
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from breaking import Attempt, command, gone_on, kills, outcome, require_same

LONG = kills.line_of("ce", 400)
SHORT = kills.line_of("ce")


def trained(run: Path, epochs: int = 1) -> None:
    """Wait until a run has ended some epochs."""
    for _ in range(4000):
        metrics = run / "metrics.jsonl"
        if metrics.exists() and metrics.read_bytes().count(b"\n") >= epochs:
            return
        time.sleep(0.01)
    raise AssertionError("it did not train")


def attempts(folder: Path, count: int) -> Iterator[Attempt]:
    """Signals at drawn moments, then what happens to streams and terminals."""
    draw = random.Random(0)

    def stop(numbers: list[int], wait: float, own: Path) -> None:
        run = own / "run"
        with subprocess.Popen(command(*LONG, "--out", str(run)), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as process:  # fmt: skip
            trained(run)
            time.sleep(wait)
            for number in numbers:
                process.send_signal(number)
            _, err = process.communicate(timeout=60)
        assert process.returncode in {128 + number for number in numbers} | {-numbers[-1]}, (process.returncode, err)
        assert "Traceback" not in err, err
        if len(numbers) == 1:
            assert err.count("\n") == 2, err
            assert f"Continue it with: alasca resume {run}" in err
        seen = (run / "metrics.jsonl").read_bytes().count(b"\n")
        with subprocess.Popen(command("resume", str(run)), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as process:  # fmt: skip
            trained(run, seen + 1)
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=60)
        assert process.returncode == 128 + signal.SIGTERM, err

    def same(own: Path) -> None:
        """Stopped again and again on the way, it ends in the same bits."""
        expected, _ = kills.whole("ce", folder / "whole-ce")
        run, line = own / "run", [*SHORT, "--out", str(own / "run")]
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with subprocess.Popen(command(*line), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
                while process.poll() is None and not (run / "checkpoint").exists():
                    time.sleep(0.001)
                time.sleep(draw.uniform(0, 0.1))
                process.send_signal(number)
                process.communicate(timeout=60)
            line = ["resume", str(run)]
        gone_on(run, SHORT)
        require_same(outcome(run), expected)

    def ignored(own: Path) -> None:
        """Under nohup a run outlives its terminal."""
        run = own / "run"
        code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); from alasca.cli import main; main()"
        with subprocess.Popen([sys.executable, "-c", code, *kills.line_of("ce", 30), "--out", str(run)],
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:  # fmt: skip
            trained(run)
            process.send_signal(signal.SIGHUP)
            _, err = process.communicate(timeout=100)
        assert (process.returncode, err) == (0, "")

    def closed_pipe(own: Path) -> None:
        """``| head -1`` loses nothing."""
        run = own / "run"
        with subprocess.Popen(command(*SHORT, "--out", str(run)), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as process:  # fmt: skip
            assert process.stdout is not None
            process.stdout.readline()
            process.stdout.close()
            assert process.stderr is not None
            err = process.stderr.read()
            process.wait(100)
        assert process.returncode == 0, err
        assert "Traceback" not in err
        assert "Exception" not in err, err
        expected, _ = kills.whole("ce", folder / "whole-ce")
        require_same(outcome(run), expected)

    def gone_terminal(own: Path) -> None:
        """A terminal that vanishes under a bar of progress, SIGHUP ignored."""
        run = own / "run"
        parent, child = pty.openpty()
        code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); from alasca.cli import main; main()"
        process = subprocess.Popen([sys.executable, "-c", code, *kills.line_of("ce", 30), "--out", str(run)],
                                   stdin=child, stdout=child, stderr=child, start_new_session=True)  # fmt: skip
        os.close(child)
        os.set_blocking(parent, False)
        for _ in range(6000):
            try:
                os.read(parent, 65536)
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:
                break
            if (run / "metrics.jsonl").exists() and (run / "metrics.jsonl").stat().st_size:
                break
        os.close(parent)
        assert process.wait(100) == 0
        assert (run / "done.json").exists()

    def ascii_only(own: Path) -> None:
        """A stream of another alphabet takes what it can't write as codes."""
        run = own / "r"
        clean = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
        for line in ([*SHORT, "--out", str(run)], ["report", str(run)], ["list", "methods", "--verbose"],
                     ["demo", "--seeds", "1", "--epochs", "1", "--out", str(own / "démo")]):  # fmt: skip
            done = subprocess.run(command(*line), capture_output=True, env=clean, check=False, timeout=200)
            assert done.returncode == 0, done.stderr
            assert done.stdout.isascii()

    def list_piped(own: Path) -> None:
        """A list that nobody reads to its end ends as other programs do, in silence."""
        with subprocess.Popen(command("list"), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.close()
            assert process.stderr is not None
            err = process.stderr.read()
            process.wait(60)
        assert (process.returncode, err) == (128 + signal.SIGPIPE, b"")

    yield from (
        ("three signals on the way", same), ("SIGHUP that is ignored", ignored), ("| head -1", closed_pipe),
        ("a terminal that vanishes", gone_terminal), ("streams of ASCII", ascii_only), ("list | head", list_piped),
    )  # fmt: skip
    once = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    for k in range(count):
        numbers = [once[k % 3]] if k % 4 != 3 else [signal.SIGINT, signal.SIGINT]
        wait = draw.uniform(0, 0.5)
        names = " ".join(signal.Signals(number).name for number in numbers)
        yield names, lambda own, numbers=numbers, wait=wait: stop(numbers, wait, own)  # type: ignore[misc]  # bound per attempt
