"""DivideMix: two networks split the data for each other, then learn semi-supervised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from alasca.core import (
    Batch,
    Clock,
    Method,
    Mixed,
    Net,
    Phase,
    Preset,
    Probe,
    Problem,
    Seen,
    Selection,
    Step,
    Stream,
)
from alasca.functional import cross_entropy, soft_cross_entropy
from alasca.functional.checks import check_above
from alasca.functional.targets import from_uniform, mix, mixing_weight, one_hot, sharpen
from alasca.sample_selection import LossMixture
from alasca.surgery import evaluated

CODE = "authors' code"
HARD = {"threshold": 0.6, "average": 5}


class DivideMix(Method):
    """DivideMix: each network splits the data by its losses for the *other*, which then learns by MixMatch.

    A mixture of two components on the losses gives every sample its probability of being clean. Likely clean samples
    keep their label, refined by the network's own prediction; for the others both networks guess one. All are mixed.

    Paper: Li, Socher and Hoi, "DivideMix: Learning with Noisy Labels as Semi-supervised Learning", ICLR 2020.

    Args:
        threshold: least probability of a clean sample, from 0 to below 1.
        lambda_u: weight of the unlabelled loss, at least 0, reached `ramp` epochs after the warm-up.
        temperature: T of sharpening, above 0.
        alpha: of mixup's Beta(alpha, alpha), at least 0.01.
        warmup: epochs of cross-entropy.
        warmup_batch: batches of the run's size that a step of the warm-up takes, at least 1; 2 in the code (the
            presets), which small data do not forgive.
        ramp: epochs, at least 1.
        penalty: in the warm-up, penalise confident predictions (asymmetric noise).
        average: epochs whose losses are averaged before the split, at least 1.

    Differences from the authors' code: the unlabelled loss is a mean over classes, as in the code (the paper sums), to
    which its weights belong; lambda_u rises by epochs, not by steps; targets are guessed in one pass over all
    views, which share BatchNorm's statistics (four passes in the code); for Clothing1M and WebVision, where lambda_u is
    0, the code mixes likely clean samples only. Where no sample looks clean, a network trains as in the warm-up.
    """

    networks = 2
    mixes = True
    epoch_options = ("warmup", "ramp")
    presets = (
        Preset("cifar10-sym20", {"lambda_u": 0.0, "warmup": 10, "warmup_batch": 2}, CODE),
        Preset("cifar10", {"lambda_u": 25.0, "warmup": 10, "warmup_batch": 2}, f"{CODE}; sym 50% and 80%"),
        Preset("cifar10-sym90", {"lambda_u": 50.0, "warmup": 10, "warmup_batch": 2, **HARD}, CODE),
        Preset("cifar10-asym40", {"lambda_u": 0.0, "warmup": 10, "warmup_batch": 2, "penalty": True}, CODE),
        Preset("cifar100-sym20", {"lambda_u": 25.0, "warmup": 30, "warmup_batch": 2}, CODE),
        Preset("cifar100", {"lambda_u": 150.0, "warmup": 30, "warmup_batch": 2}, f"{CODE}; sym 50% and 80%"),
        Preset("cifar100-sym90", {"lambda_u": 150.0, "warmup": 30, "warmup_batch": 2, **HARD}, CODE),
        Preset("clothing1m", {"lambda_u": 0.0, "alpha": 0.5, "warmup": 1, "warmup_batch": 2, "penalty": True}, CODE),
        Preset("default", {}, "the CIFAR-10 values for 50% and 80%, but for warmup_batch"),
    )

    def __init__(
        self, threshold: float = 0.5, lambda_u: float = 25.0, temperature: float = 0.5, alpha: float = 4.0,
        warmup: int = 10, warmup_batch: int = 1, ramp: int = 16, penalty: bool = False, average: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        for name, value, least in (
            ("lambda_u", lambda_u, 0), ("alpha", alpha, 0.01), ("warmup", warmup, 1), ("ramp", ramp, 1),
            ("warmup_batch", warmup_batch, 1),
            ("average", average, 1),
        ):  # fmt: skip
            if not value >= least:
                raise ValueError(f"{name}: {value}, expected at least {least}")
        if not 0 <= threshold < 1:
            raise ValueError(f"threshold: {threshold}, expected at least 0 and below 1")
        check_above("temperature", temperature, 0.0)
        self.threshold, self.lambda_u, self.temperature, self.alpha = threshold, lambda_u, temperature, alpha
        self.warmup, self.ramp, self.penalty, self.average = warmup, ramp, penalty, average
        self.warmup_batch = warmup_batch

    def begin(self, nets: Sequence[Net], problem: Problem) -> None:
        self.wide = self.warmup_batch * problem.batch_size
        self.mixture = LossMixture(problem.num_samples, len(nets), self.average).to(problem.example.device)

    def plan(self, nets: Sequence[Net], probe: Probe, clock: Clock) -> list[Phase]:
        if clock.epoch < self.warmup:
            return [Phase((k,), {"all": Stream(draw=k, batch=self.wide)}) for k in (0, 1)]
        self.mixture.look(nets, probe, clock.epoch - self.warmup)
        return [self.phase(k, self.mixture.clean[probe.index, 1 - k], probe.index) for k in (0, 1)]

    def phase(self, k: int, clean: Tensor, index: Tensor) -> Phase:
        """What network k learns from, given what its peer thinks is clean."""
        chosen = clean > self.threshold
        if not bool(chosen.any()):
            return Phase((k,), {"all": Stream(draw=k)})
        streams = {"clean": Stream(index[chosen], clean[chosen], ("weak", "weak"), draw=k)}
        if not bool(chosen.all()):
            streams["noisy"] = Stream(index[~chosen], views=("weak", "weak"), draw=2 + k)
        return Phase((k,), streams)

    def draws(self, phase: Phase, clock: Clock) -> dict[str, Tensor]:
        return {} if "all" in phase.streams else {"lam": mixing_weight(self.alpha, self.alpha, upper=True)}

    def step(self, nets: Sequence[Net], batches: Mapping[str, Batch], phase: Phase, clock: Clock) -> Step:
        (k,) = phase.train
        if "all" in batches:
            return self.warm(k, nets[k], batches["all"])
        parts = [batches["clean"], *([batches["noisy"]] if "noisy" in batches else [])]
        with torch.no_grad():
            targets, seen = self.guess(k, nets, parts)
        inputs = torch.cat([view for part in parts for view in part.views])
        places = torch.arange(sum(len(part.labels) for part in parts), device=inputs.device)
        rows = torch.cat([own for own in torch.split(places, [len(part.labels) for part in parts]) for _ in range(2)])
        lam = clock.draws["lam"]
        order = torch.randperm(len(inputs), device=inputs.device)
        output = nets[k](mix(inputs, order, lam))
        wanted = mix(targets, order, lam)
        first = len(parts[0].views) * len(parts[0].labels)
        loss = soft_cross_entropy(output.logits[:first], wanted[:first]).mean()
        if len(parts) == 2:
            loss = loss + self.weight(clock) * (output.logits[first:].softmax(1) - wanted[first:]).square().mean()
        loss = loss + from_uniform(output.logits.softmax(1))
        return Step(loss, seen, (Mixed(k, output.aux, rows, rows[order], lam.expand(len(rows))),))

    def warm(self, k: int, net: Net, batch: Batch) -> Step:
        """Cross-entropy, less the entropy of predictions where asked."""
        output = net(batch.views[0])
        loss = (batch.weight * cross_entropy(output.logits, batch.labels)).mean()
        if self.penalty:
            loss = loss - soft_cross_entropy(output.logits, output.logits.softmax(1)).mean()
        return Step(loss, (Seen(k, output, batch),))

    def guess(self, k: int, nets: Sequence[Net], parts: list[Batch]) -> tuple[Tensor, tuple[Seen, ...]]:
        """Targets of every row, view by view, and what network k saw of each sample's first view."""
        clean, size = parts[0], len(parts[0].labels)
        output = nets[k](torch.cat([view for part in parts for view in part.views]))
        p = output.logits.softmax(1)
        own = (p[:size] + p[size : 2 * size]) / 2
        target = torch.lerp(own, one_hot(clean.labels, own), clean.weight[:, None].to(p.dtype))
        target = sharpen(target, self.temperature)
        targets, seen = [target, target], [Seen(k, output.rows(slice(0, size)), clean)]
        if len(parts) == 2:
            noisy, count = parts[1], len(parts[1].labels)
            peer = evaluated(nets[1 - k], torch.cat(noisy.views)).logits.softmax(1)
            four = [p[2 * size : 2 * size + count], p[2 * size + count :], peer[:count], peer[count:]]
            target = sharpen(torch.stack(four).mean(0), self.temperature)
            targets += [target, target]
            seen.append(Seen(k, output.rows(slice(2 * size, 2 * size + count)), noisy))
        return torch.cat(targets), tuple(seen)

    def selected(self) -> Selection:
        clean = self.mixture.clean.flip(1)
        kept = clean > self.threshold
        return Selection(kept | ~kept.any(0), clean)

    def weight(self, clock: Clock) -> float:
        """lambda_u at an epoch."""
        return self.lambda_u * min(max((clock.epoch - self.warmup) / self.ramp, 0.0), 1.0)
