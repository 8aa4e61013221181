"""ALASCA's objective (eq. 3): what sub-classifiers learn from, and `AlascaLoss` for a loop of one's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from alasca.core import Output
from alasca.functional import cross_entropy, smoothed_cross_entropy
from alasca.functional.losses import OFF_TARGETS
from alasca.functional.targets import (
    AGREEMENTS,
    agreed_labels,
    check_momentum,
    check_ramp,
    confidence,
    linear_ramp,
    ramped_confidence,
)
from alasca.heads.survey import main_logits
from alasca.stores import SampleStore, Shadow, make_store

Momentum = float | tuple[float, float, float]
Ramp = tuple[str, float, float, float] | None


class Targets(NamedTuple):
    """What sub-classifiers are asked for: labels ``[B]``, and confidence in them ``[B]`` or ``[H, B]``."""

    labels: Tensor
    confidence: Tensor

    def take(self, rows: Tensor) -> Targets:
        """The targets of some rows."""
        return Targets(self.labels[rows], self.confidence[..., rows])


class AuxiliaryObjective(nn.Module):
    """Sub-classifiers' targets and losses, and the averaged logits that they rest on: one for each network.

    Args:
        num_samples: N.
        num_classes: K.
        num_heads: sub-classifiers of the network; read with ``confidence_from="own"`` only.
        momentum: w of ``z <- w z + (1 - w) logits`` (C.2): a number, or ``(start, end, epochs)``.
        temperature: tau of ``gamma = softmax(tau z)_y``.
        warmup: epochs before labels are corrected (C.3); None: never.
        off_target: ``"uniform"`` or ``"others"``, where ``1 - gamma`` goes.
        agreement: ``"deepest"`` or ``"all"``, which sub-classifiers must agree with the main classifier.
        ramp: None, ``("mix", start, end, epochs)`` or ``("cap", start, end, epochs)``.
        confidence_from: ``"main"``, ``"own"`` (each sub-classifier's own averaged logits), or a number from 0 to 1:
            uniform label smoothing, with one confidence for every sample.
        store: ``"float32"``, ``"float16"``, or ``"compact"``: 58 bytes a sample (see `alasca.stores.CompactStore`).
        store_dir: folder of a file that holds the averages, mapped into memory; None: in memory.
    """

    def __init__(
        self,
        num_samples: int,
        num_classes: int,
        num_heads: int = 0,
        *,
        momentum: Momentum = 0.7,
        temperature: float = 3.0,
        warmup: int | None = 20,
        off_target: str = "uniform",
        agreement: str = "deepest",
        ramp: Ramp = None,
        confidence_from: str | float = "main",
        store: str = "float32",
        store_dir: str | None = None,
    ) -> None:
        super().__init__()
        check_objective(momentum, temperature, warmup, off_target, agreement, ramp, confidence_from)
        self.momentum = momentum
        self.temperature = temperature
        self.warmup = warmup
        self.off_target = off_target
        self.agreement = agreement
        self.ramp = ramp
        self.confidence_from = confidence_from
        count = num_heads if confidence_from == "own" else 1
        self.stores = nn.ModuleList(
            make_store(store, num_samples, num_classes, temperature, store_dir) for _ in range(count)
        )
        self.shadows = nn.ModuleList(Shadow(num_samples, num_classes) for _ in self.stores if store != "float32")

    def observe(self, output: Output, labels: Tensor, index: Tensor, epoch: int) -> None:
        """Average this visit's logits into the store. Comes before `targets` of the same visit."""
        momentum = self.momentum
        if isinstance(momentum, tuple):
            momentum = linear_ramp(*momentum, epoch)
        sources = output.aux if self.confidence_from == "own" else (output.logits,)
        for store, logits in zip(self.all_stores(), sources, strict=True):
            store.update(index, logits, momentum, labels)
        for shadow, logits in zip(self.all_shadows(), sources, strict=False):  # none, or one a store
            shadow.update(index, logits.detach(), momentum)

    def targets(self, output: Output, labels: Tensor, index: Tensor, epoch: int) -> Targets:
        """Labels, corrected where classifiers agree after warm-up, and the confidence in them. No gradient."""
        with torch.no_grad():
            if self.warmup is not None and epoch >= self.warmup:
                labels = agreed_labels(labels, output.logits, output.aux, self.agreement)
            if isinstance(self.confidence_from, str):
                gammas = [confidence(store.read(index), labels, self.temperature) for store in self.all_stores()]
                gamma = gammas[0] if self.confidence_from == "main" else torch.stack(gammas)
            else:
                gamma = torch.full(labels.shape, float(self.confidence_from), device=labels.device)
            return Targets(labels, ramped_confidence(gamma, self.ramp, epoch))

    def loss(self, aux: tuple[Tensor, ...], targets: Targets) -> Tensor:
        """``sum_i CE(q^i, gamma e_y + (1 - gamma) / K)`` over sub-classifiers, a sample: ``[B]``."""
        gamma = targets.confidence.to(aux[0].dtype)
        return smoothed_cross_entropy(torch.stack(aux), targets.labels, gamma, self.off_target).sum(0)

    def errors(self, labels: Tensor) -> Tensor | None:
        """How far confidences are from those of a float32 store, for about a thousand samples; None where it is one.

        Args:
            labels: given labels of the training set ``[N]``.
        """
        pairs = zip(self.all_shadows(), self.all_stores(), strict=False)
        found = [shadow.errors(store, labels, self.temperature) for shadow, store in pairs]
        return torch.cat(found) if found else None

    def all_shadows(self) -> list[Shadow]:
        """Exact averages of a few samples, one for each store that is not exact itself."""
        return [shadow for shadow in self.shadows if isinstance(shadow, Shadow)]

    def all_stores(self) -> list[SampleStore]:
        """The averaged logits: one store, or one for each sub-classifier."""
        return [store for store in self.stores if isinstance(store, SampleStore)]


def check_objective(
    momentum: Momentum,
    temperature: float,
    warmup: int | None,
    off_target: str,
    agreement: str,
    ramp: Ramp,
    confidence_from: str | float,
) -> None:
    """Raise `ValueError` naming the option that is out of range."""
    check_momentum(momentum)
    check_ramp(ramp)
    if not temperature > 0:
        raise ValueError(f"temperature: {temperature}, expected above 0")
    if warmup is not None and warmup < 0:
        raise ValueError(f"warmup: {warmup}, expected None or at least 0")
    for name, value, known in (
        ("off_target", off_target, OFF_TARGETS),
        ("agreement", agreement, AGREEMENTS),
    ):
        if value not in known:
            raise ValueError(f"{name}: {value!r}, expected one of {', '.join(known)}")
    fixed = type(confidence_from) in (int, float) and 0 <= float(confidence_from) <= 1
    if confidence_from not in ("main", "own") and not fixed:
        raise ValueError(f"confidence_from: {confidence_from!r}, expected main, own or a number from 0 to 1")


class AlascaLoss(nn.Module):
    """ALASCA's loss for a training loop of one's own: ``base(main) + aux_weight * sum over sub-classifiers``.

    Eq. 3 of Ko et al., 2022. Called as ``criterion(output, labels, index, epoch)`` with the `alasca.Output` that
    `alasca.SubClassifiers` returns in training; epochs count from 0. It holds the averaged logits of every sample,
    ``[N, K]`` in float32, so move it to the device and save it with the network. Given anything but an
    `alasca.Output`, after ``criterion.eval()``, or where gradients are off, it returns the base loss of the main
    logits and leaves the store alone. A step reads no value back from the device.

    Args:
        num_samples: N; `index` runs from 0 to N - 1.
        num_classes: K.
        base: the main classifier's loss, ``(logits, labels) -> [B]``, or a module that also takes ``index`` and
            ``epoch`` by name.
        aux_weight: lambda, of the *sum* over sub-classifiers.
        momentum: of the averaged logits: a number, or ``(start, end, epochs)`` for a linear change.
        temperature: multiplies the averaged logits before the softmax.
        warmup: first epoch in which labels of sub-classifiers are corrected; None: never.
        off_target: ``"uniform"`` spreads ``1 - gamma`` over all classes, ``"others"`` over all but the label.
        agreement: ``"deepest"`` or ``"all"`` sub-classifiers must agree with the main one to correct a label.
        ramp: None, ``("mix", start, end, epochs)`` or ``("cap", start, end, epochs)``, a schedule of confidence.
        store: ``"float32"``, ``"float16"``, or ``"compact"``: 58 bytes a sample from 16 classes up.
        store_dir: folder of a file that holds the averages, mapped into memory; None: in memory.

    Raises:
        ValueError: an option out of range; labels or index out of range at the first call.

    >>> criterion = AlascaLoss(num_samples=5, num_classes=3)
    >>> output = Output(torch.zeros(2, 3), aux=(torch.zeros(2, 3),))
    >>> criterion(output, torch.tensor([0, 2]), index=torch.tensor([4, 1]), epoch=0)  # log 3 + 2 log 3
    tensor(3.2958)
    """

    def __init__(
        self,
        num_samples: int,
        num_classes: int,
        base: Callable[..., Tensor] = cross_entropy,
        aux_weight: float = 2.0,
        momentum: Momentum = 0.7,
        temperature: float = 3.0,
        warmup: int | None = 20,
        off_target: str = "uniform",
        agreement: str = "deepest",
        ramp: Ramp = None,
        store: str = "float32",
        store_dir: str | None = None,
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes: {num_classes}, expected at least 2")
        if not aux_weight >= 0:
            raise ValueError(f"aux_weight: {aux_weight}, expected at least 0")
        self.num_classes = num_classes
        self.aux_weight = aux_weight
        self.base = base
        call = base.forward if isinstance(base, nn.Module) else base
        self._stateful = {"index", "epoch"} <= inspect.signature(call).parameters.keys()
        self.objective = AuxiliaryObjective(
            num_samples, num_classes, momentum=momentum, temperature=temperature, warmup=warmup,
            off_target=off_target, agreement=agreement, ramp=ramp, store=store, store_dir=store_dir,
        )  # fmt: skip
        self._checked = False

    def forward(self, output: object, labels: Tensor, index: Tensor | None = None, epoch: int | None = None) -> Tensor:
        """The mean loss of a batch, a scalar.

        Args:
            output: an `alasca.Output` in training; logits, a tuple or a model-output object elsewhere.
            labels: given labels ``[B]``.
            index: position of each sample in the training set ``[B]``.
            epoch: counts from 0.
        """
        logits = main_logits(output, self.num_classes)
        if not isinstance(output, Output) or not self.training or not torch.is_grad_enabled():
            return self._base(logits, labels, index, epoch)
        if index is None or epoch is None:
            raise ValueError("index, epoch: missing; in training, call criterion(output, labels, index, epoch)")
        if not output.aux:
            raise ValueError("output: no sub-classifiers' logits; wrap the network in SubClassifiers, in train() mode")
        if not self._checked:
            self._check(logits, labels, index)
        index = index.to(logits.device, torch.int64)
        self.objective.observe(output, labels, index, epoch)
        targets = self.objective.targets(output, labels, index, epoch)
        auxiliary = self.objective.loss(output.aux, targets).mean()
        return self._base(logits, labels, index, epoch) + self.aux_weight * auxiliary

    def _base(self, logits: Tensor, labels: Tensor, index: Tensor | None, epoch: int | None) -> Tensor:
        if self._stateful:
            return self.base(logits, labels, index=index, epoch=epoch).mean()
        return self.base(logits, labels).mean()

    def _check(self, logits: Tensor, labels: Tensor, index: Tensor) -> None:
        """Once, at the first call: values that later calls trust."""
        store = self.objective.stores[0]
        assert isinstance(store, SampleStore)
        samples = len(store.visits)
        if logits.shape[-1] != self.num_classes:
            raise ValueError(f"output: {logits.shape[-1]} classes, expected num_classes={self.num_classes}")
        for name, values, size in (("labels", labels, self.num_classes), ("index", index, samples)):
            if values.shape != logits.shape[:1]:
                raise ValueError(f"{name}: shape {tuple(values.shape)}, expected ({len(logits)},)")
            if len(values) and not 0 <= int(values.min()) <= int(values.max()) < size:
                raise ValueError(f"{name}: from {int(values.min())} to {int(values.max())}, expected 0 to {size - 1}")
        self._checked = True
