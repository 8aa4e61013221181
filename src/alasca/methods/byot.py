"""BYOT: the deepest classifier teaches those on earlier layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from alasca.core import Batch, Clock, InputError, Method, Net, Output, Phase, Preset, Problem, Seen, Step
from alasca.functional import cross_entropy, distillation
from alasca.functional.checks import check_above, check_unit
from alasca.surgery import OutputNet, feature_of


class BeYourOwnTeacher(Method):
    """Be Your Own Teacher: classifiers on earlier layers learn from labels and from the deepest one.

    ``CE(z_C) + sum_i (1 - alpha) CE(z_i) + alpha KL(z_C || z_i; T) + feature_weight |F_i - F_C|^2``, the teacher
    without gradient.

    Paper: Zhang et al., "Be Your Own Teacher: Improve the Performance of Convolutional Neural Networks via Self
    Distillation", ICCV 2019.

    Args:
        alpha: weight of the distillation, 0 to 1.
        temperature: T, above 0.
        feature_weight: of the squared distance of features, at least 0; above 0 the heads need the width of the
            network's last layer, which bottlenecks have.
        t_squared: multiply the divergence by T^2, as re-implementations do.
        masked_features: count only entries where either feature is above 0, as re-implementations do.
        predict: ``"main"``, or ``"ensemble"``: the mean of all classifiers.
        at: names of modules; None: the end of every stage but the last.

    Differences from the authors' code: theirs came with a later journal version and other heads; the code that is
    widely used is a third party's: T^2 (`t_squared`), masked features (`masked_features`), whose distance
    it sums over the batch with a weight of 1e-6 (1.28e-4 of our mean at a batch of 128), a soft cross-entropy whose
    gradient is that of the divergence, and 1 - alpha on the deepest classifier too.
    """

    owns_branches = True
    presets = (
        Preset("cifar100", {"t_squared": True, "masked_features": True, "feature_weight": 1.28e-4}, "third-party code"),
        Preset("default", {}, "third-party code's alpha and T, and about its feature weight"),
    )

    def __init__(
        self,
        alpha: float = 0.1,
        temperature: float = 3.0,
        feature_weight: float = 1e-4,
        t_squared: bool = False,
        masked_features: bool = False,
        predict: str = "main",
        at: str | Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        check_unit("alpha", alpha)
        check_above("temperature", temperature, 0.0)
        if not feature_weight >= 0:
            raise ValueError(f"feature_weight: {feature_weight}, expected at least 0")
        if predict not in ("main", "ensemble"):
            raise ValueError(f"predict: {predict!r}, expected one of main, ensemble")
        self.alpha, self.temperature, self.feature_weight = alpha, temperature, feature_weight
        self.t_squared, self.masked_features, self.predict, self.at = t_squared, masked_features, predict, at

    def attach(self, net: nn.Module, problem: Problem) -> nn.Module:
        assert isinstance(net, OutputNet)
        net.attach(self.at, problem.example, "bottleneck", problem.seed)
        widths = {branch.get_parameter("head.classifier.weight").shape[1] for branch in net.branches}
        if self.feature_weight and widths != {net.classifier.in_features}:
            raise InputError("feature_weight: sub-classifiers and network end in different widths; set it to 0")
        return net

    def step(self, nets: Sequence[Net], batches: Mapping[str, Batch], phase: Phase, clock: Clock) -> Step:
        batch = batches["all"]
        output = nets[0](batch.views[0])
        losses = cross_entropy(output.logits, batch.labels)
        scale = self.temperature**2 if self.t_squared else 1.0
        for logits, feature in zip(output.aux, output.aux_features, strict=True):
            taught = scale * distillation(logits, output.logits, self.temperature)
            losses = losses + (1 - self.alpha) * cross_entropy(logits, batch.labels) + self.alpha * taught
            if self.feature_weight:
                losses = losses + self.feature_weight * self.distance(feature, feature_of(output).detach())
        return Step((batch.weight * losses).mean(), (Seen(0, output, batch),))

    def distance(self, feature: Tensor, teacher: Tensor) -> Tensor:
        """Squared distance of features ``[B]``."""
        squares = (feature - teacher).square()
        if self.masked_features:
            squares = squares * ((feature > 0) | (teacher > 0))
        return squares.sum(1)

    @property
    def prediction(self) -> str:  # type: ignore[override]  # a constant of methods, an option here
        return self.predict

    def predictions(self, outputs: Sequence[Output]) -> dict[str, Tensor]:
        (output,) = outputs
        ensemble = torch.stack([output.logits, *output.aux]).mean(0)
        return {**super().predictions(outputs), "ensemble": ensemble.log_softmax(1)}
