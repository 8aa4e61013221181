"""CDR: only critical parameters follow the data."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from alasca.core import Batch, Clock, LossMethod, Preset
from alasca.functional import cross_entropy

DECAYS = ("l1", "l2")


class RobustEarlyLearning(LossMethod):
    """Robust early-learning (CDR): only critical weights follow the data, the others decay.

    Critical are the ``1 - noise_rate`` of all linear and convolution weights with the largest ``|w dL/dw|``, anew in
    every step, by one threshold over the whole network (ties with it stay); their gradient is multiplied by
    ``1 - noise_rate``.

    Paper: Xia et al., "Robust Early-Learning: Hindering the Memorization of Noisy Labels", ICLR 2021.

    Args:
        noise_rate: tau, the assumed share of wrong labels, from 0 to below 1.
        decay: ``"l1"``: every weight decays by ``strength * sign(w)``, as in the paper, and by the optimiser's weight
            decay, which the paper has not (``--weight-decay 0``); ``"l2"``: by the latter alone, as in the code.
        strength: of ``"l1"``, at least 0.

    Differences from the authors' code: L1 decay is the paper's (its strength is ours), the code has L2 (``"l2"``) and
    momentum, which move non-critical weights too; biases and BatchNorm get their whole gradient in both; the code's
    extra forward, which updates BatchNorm twice, is left out. The epoch may be chosen by ``select="noisy-val"``.
    """

    presets = (
        Preset("cifar10", {"decay": "l2"}, "authors' code; noise_rate is the rate of the experiment"),
        Preset("cifar100", {"decay": "l2"}, "authors' code; noise_rate is the rate of the experiment"),
        Preset("default", {}, "a cautious noise rate"),
    )

    def __init__(self, noise_rate: float = 0.4, decay: str = "l1", strength: float = 1e-5) -> None:
        super().__init__()
        if not 0 <= noise_rate < 1:
            raise ValueError(f"noise_rate: {noise_rate}, expected at least 0 and below 1")
        if decay not in DECAYS:
            raise ValueError(f"decay: {decay!r}, expected one of {', '.join(DECAYS)}")
        if not strength >= 0:
            raise ValueError(f"strength: {strength}, expected at least 0")
        self.noise_rate, self.decay, self.strength = noise_rate, decay, strength

    def loss(self, logits: Tensor, batch: Batch, clock: Clock) -> Tensor:
        return cross_entropy(logits, batch.labels)

    @torch.no_grad()
    def on_gradients(self, backbone: nn.Module, clock: Clock) -> None:
        layers = [module for module in backbone.modules() if isinstance(module, (nn.Linear, _ConvNd))]
        weights = [layer.weight for layer in layers if layer.weight.grad is not None]
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        if not weights:
            return
        importance = [(weight * gradient).abs() for weight, gradient in zip(weights, gradients, strict=True)]
        everything = torch.cat([part.flatten() for part in importance])
        dropped = int(self.noise_rate * len(everything))
        if dropped:
            if torch.are_deterministic_algorithms_enabled():  # kthvalue is not, on CUDA
                threshold = everything.sort().values[dropped]
            else:
                threshold = everything.kthvalue(dropped + 1).values
            for part, gradient in zip(importance, gradients, strict=True):
                gradient.mul_(part >= threshold).mul_(1 - self.noise_rate)
        if self.decay == "l1":
            for weight, gradient in zip(weights, gradients, strict=True):
                gradient.add_(weight.sign(), alpha=self.strength)
