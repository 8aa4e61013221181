"""A trained model as one module: raw samples in, probabilities of the classes out."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from alasca.core import Method
from alasca.runs import Model
from alasca.surgery import OutputNet

TRIED = 16
"""Samples that the exported model is compared on."""


class Deployed(nn.Module):
    """What a model does to samples as they are kept, without whatever its prediction does not need.

    It takes pictures ``[N, C, H, W]`` uint8, rows of numbers ``[N, D]`` float32, or token ids ``[N, T]`` int64, and
    gives probabilities ``[N, K]``.

    Args:
        model: loaded for this alone: its networks lose the sub-classifiers that the prediction does not read.
        prediction: see `Model.predict`.
    """

    def __init__(self, model: Model, prediction: str) -> None:
        super().__init__()
        self.nets = nn.ModuleList(model.nets)
        self.method = model.method
        self.transform = model.transform
        self.prediction = prediction
        if prediction == "main":
            self.method = Method()  # whose one prediction is that of the main classifiers, as all methods' "main"
            for net in model.nets:
                assert isinstance(net, OutputNet)
                net.remove()
        self.eval()

    def forward(self, inputs: Tensor) -> Tensor:
        """Probabilities of the classes."""
        view = self.transform.view(inputs, "plain", inputs)  # a plain view draws nothing
        return self.method.predictions([net(view) for net in self.nets])[self.prediction].exp()


def trial(model: Model, seed: int = 0) -> Tensor:
    """Samples of the kind that a model reads, drawn at random; texts of different lengths."""
    generator = torch.Generator().manual_seed(seed)
    transform, shape = model.transform, (TRIED, *model.raw_shape)
    if transform.kind == "pictures":
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    if transform.kind == "texts":
        tokens = torch.randint(0, transform.tokens, shape, generator=generator)
        lengths = 1 + torch.arange(TRIED) * transform.length // TRIED
        return tokens.masked_fill(torch.arange(transform.length) >= lengths[:, None], transform.padding)
    drawn = torch.randn(shape, generator=generator)
    if transform.mean is None or transform.std is None:
        return drawn
    return transform.mean + drawn * transform.std


def farthest(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference of probabilities; infinite where one is no number."""
    gap = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    return float(gap.max()) if np.isfinite(gap).all() else float("inf")
