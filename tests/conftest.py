"""Shared by all tests. Torchvision beside a CPU torch: two operators that its compiled part would declare."""

from __future__ import annotations

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")  # what tests start too: they run side by side

import hypothesis
import torch

try:
    import torchvision  # noqa: F401
except (ImportError, RuntimeError):
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

torch.set_num_threads(1)

for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
    if signal.getsignal(number) == signal.SIG_IGN:  # as shells leave it to what they start with "&"
        signal.signal(number, usual)

hypothesis.settings.register_profile("shared", deadline=None)
hypothesis.settings.load_profile("shared")  # a machine that others use too has no deadlines


def pytest_terminal_summary(terminalreporter):
    """What the campaign of tests/breaking tried, and how much of it passed."""
    found: dict[str, list[int]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == "break" and report.when == "call":
                    kind, tried, passed = value
                    sums = found.setdefault(kind, [0, 0])
                    sums[0], sums[1] = sums[0] + tried, sums[1] + passed
    for kind, (tried, passed) in found.items():
        terminalreporter.write_line(f"{kind:<20} {tried:>4} tried {passed:>5} passed")
