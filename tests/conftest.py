"""Shared by all tests. Torchvision beside a CPU torch: two operators that its compiled part would declare."""

from __future__ import annotations

import hypothesis
import torch

try:
    import torchvision  # noqa: F401
except (ImportError, RuntimeError):
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

torch.set_num_threads(1)  # tests run side by side

hypothesis.settings.register_profile("shared", deadline=None)
hypothesis.settings.load_profile("shared")  # a machine that others use too has no deadlines
