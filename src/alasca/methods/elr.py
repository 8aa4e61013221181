"""Early-learning regularisation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from alasca.core import Batch, Clock, LossMethod, Net, Preset, Problem
from alasca.functional import cross_entropy, elr_regularizer
from alasca.stores import SampleStore

SOURCE = "Liu et al. (2020), section 5, and the authors' configuration"


class EarlyLearningRegularization(LossMethod):
    """Early-learning regularisation: ``CE + lam * log(1 - <p, t>)``, t being a sample's averaged predictions.

    It keeps the gradient of clean samples alive after their cross-entropy has died away, and cancels that of wrongly
    labelled ones. t starts at 0 and is updated with this visit's prediction before the loss reads it.

    Paper: Liu et al., "Early-Learning Regularization Prevents Memorization of Noisy Labels", NeurIPS 2020.

    Args:
        lam: lambda, at least 0; 0 is cross-entropy.
        beta: momentum of t, from 0 to below 1.

    Differences from the authors' code: the memory is as long as the training set, whatever part of it an epoch draws.
    Their CIFAR-10 configuration anneals with cosine restarts (the "ELR*" rows); their tables have steps at 40 and 80.
    """

    presets = (
        Preset("cifar10", {"lam": 3.0, "beta": 0.7}, SOURCE),
        Preset("cifar10-asymmetric", {"lam": 1.0, "beta": 0.9}, SOURCE),
        Preset("cifar100", {"lam": 7.0, "beta": 0.9}, SOURCE),
        Preset("clothing1m", {"lam": 3.0, "beta": 0.7}, SOURCE),
        Preset("default", {}, "the CIFAR-10 and Clothing1M values"),
    )

    def __init__(self, lam: float = 3.0, beta: float = 0.7) -> None:
        super().__init__()
        if not lam >= 0:
            raise ValueError(f"lam: {lam}, expected at least 0")
        if not 0 <= beta < 1:
            raise ValueError(f"beta: {beta}, expected at least 0 and below 1")
        self.lam, self.beta = lam, beta

    def begin(self, nets: Sequence[Net], problem: Problem) -> None:
        self.memory = SampleStore(problem.num_samples, problem.num_classes).to(problem.example.device)

    def loss(self, logits: Tensor, batch: Batch, clock: Clock) -> Tensor:
        p = torch.softmax(logits.detach(), 1).clamp(1e-4, 1 - 1e-4)
        self.memory.update(batch.index, p / p.sum(1, keepdim=True), self.beta, distinct=batch.distinct)
        target = self.memory.read(batch.index)
        return cross_entropy(logits, batch.labels) + self.lam * elr_regularizer(logits, target)
