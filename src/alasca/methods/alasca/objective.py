"""ALASCA's objective (eq. 3): what sub-classifiers learn from."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from alasca.core import Output
from alasca.functional import smoothed_cross_entropy
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
from alasca.stores import STORES, SampleStore, Shadow, make_store

Momentum = float | tuple[float, float, float]
Ramp = tuple[str, float, float, float] | None
Owner = TypeVar("Owner", bound=type)


@dataclass(frozen=True)
class Smoothing:
    """How the labels of sub-classifiers are smoothed and corrected.

    Args:
        momentum: w of ``z <- w z + (1 - w) logits`` (C.2), a number, or ``(start, end, epochs)`` for a linear change;
            0 is instantaneous.
        temperature: tau of ``gamma = softmax(tau z)_y``.
        warmup: first epoch in which labels are corrected (C.3); None: never.
        off_target: where ``1 - gamma`` goes: ``"uniform"``, over all classes, or ``"others"``, all but the label.
        agreement: ``"deepest"`` or ``"all"`` sub-classifiers must agree with the main classifier to correct a label.
        ramp: None, ``("mix", start, end, epochs)`` or ``("cap", start, end, epochs)``, a schedule of confidence.
        confidence_from: whose averaged logits give gamma: ``"main"`` or each classifier's ``"own"``; a number from 0
            to 1: uniform label smoothing with that confidence.
        store: of the averaged logits: ``"float32"``, ``"float16"``, or ``"compact"``, 58 bytes a sample from 16
            classes up; what a smaller one loses is measured on a thousand samples.
        store_dir: folder of a file that holds them, mapped into memory; None: in memory.

    Raises:
        ValueError: an option out of range.
    """

    momentum: Momentum = 0.7
    temperature: float = 3.0
    warmup: int | None = 20
    off_target: str = "uniform"
    agreement: str = "deepest"
    ramp: Ramp = None
    confidence_from: str | float = "main"
    store: str = "float32"
    store_dir: str | None = None

    def __post_init__(self) -> None:
        check_momentum(self.momentum)
        check_ramp(self.ramp)
        if not self.temperature > 0:
            raise ValueError(f"temperature: {self.temperature}, expected above 0")
        if self.warmup is not None and self.warmup < 0:
            raise ValueError(f"warmup: {self.warmup}, expected None or at least 0")
        for name, known in (("off_target", OFF_TARGETS), ("agreement", AGREEMENTS), ("store", STORES)):
            if (value := getattr(self, name)) not in known:
                raise ValueError(f"{name}: {value!r}, expected one of {', '.join(known)}")
        source = self.confidence_from
        if source not in ("main", "own") and not (type(source) in (int, float) and 0 <= float(source) <= 1):
            raise ValueError(f"confidence_from: {source!r}, expected main, own or a number from 0 to 1")


def takes(options: type) -> Callable[[Owner], Owner]:
    """Show a dataclass's fields in the signature, types and words of a class whose ``__init__`` has ``**options``."""

    def decorated(owner: Owner) -> Owner:
        init = owner.__init__  # type: ignore[misc]  # of this very class
        signature, hints = inspect.signature(init), typing.get_type_hints(options)
        shown = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
        for each in dataclasses.fields(options):
            kind = inspect.Parameter.KEYWORD_ONLY
            shown.append(inspect.Parameter(each.name, kind, default=each.default, annotation=hints[each.name]))
        init.__signature__ = signature.replace(parameters=shown)
        init.__annotations__ = {name: hint for name, hint in init.__annotations__.items() if hint != "Any"} | hints
        words = inspect.getdoc(options) or ""
        listed = "\n".join(
            f"    {line}" if line else "" for line in words.split("Args:\n")[1].split("\n\n")[0].splitlines()
        )
        owner.__doc__ = (owner.__doc__ or "").replace("        **options: see `Smoothing`.", listed)
        return owner

    return decorated


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
        smoothing: its options.
    """

    def __init__(self, num_samples: int, num_classes: int, num_heads: int, smoothing: Smoothing) -> None:
        super().__init__()
        self.smoothing = smoothing
        count = num_heads if smoothing.confidence_from == "own" else 1
        self.stores = nn.ModuleList(
            make_store(smoothing.store, num_samples, num_classes, smoothing.temperature, smoothing.store_dir)
            for _ in range(count)
        )
        exact = smoothing.store == "float32"
        self.shadows = nn.ModuleList(Shadow(num_samples, num_classes) for _ in self.stores if not exact)

    def observe(self, output: Output, labels: Tensor, index: Tensor, epoch: int, distinct: bool = False) -> None:
        """Average this visit's logits into the store. Comes before `targets` of the same visit.

        `distinct`: no sample comes twice.
        """
        momentum = self.smoothing.momentum
        if isinstance(momentum, tuple):
            momentum = linear_ramp(*momentum, epoch)
        sources = output.aux if self.smoothing.confidence_from == "own" else (output.logits,)
        for store, logits in zip(self.all_stores(), sources, strict=True):
            store.update(index, logits, momentum, labels, distinct)
        for shadow, logits in zip(self.all_shadows(), sources, strict=False):  # none, or one a store
            shadow.update(index, logits.detach(), momentum)

    def targets(self, output: Output, labels: Tensor, index: Tensor, epoch: int) -> Targets:
        """Labels, corrected where classifiers agree after warm-up, and the confidence in them. No gradient."""
        options = self.smoothing
        with torch.no_grad():
            if options.warmup is not None and epoch >= options.warmup:
                labels = agreed_labels(labels, output.logits, output.aux, options.agreement)
            if isinstance(options.confidence_from, str):
                gammas = [confidence(store.read(index), labels, options.temperature) for store in self.all_stores()]
                gamma = gammas[0] if options.confidence_from == "main" else torch.stack(gammas)
            else:
                gamma = torch.full(labels.shape, float(options.confidence_from), device=labels.device)
            return Targets(labels, ramped_confidence(gamma, options.ramp, epoch))

    def loss(self, aux: tuple[Tensor, ...], targets: Targets) -> Tensor:
        """``sum_i CE(q^i, gamma e_y + (1 - gamma) / K)`` over sub-classifiers, a sample: ``[B]``."""
        gamma = targets.confidence.to(aux[0].dtype)
        return smoothed_cross_entropy(torch.stack(aux), targets.labels, gamma, self.smoothing.off_target).sum(0)

    def confidence(self, labels: Tensor) -> Tensor:
        """Confidence in the labels ``[N]`` of all samples, mean over the stores; NaN where none was visited."""
        index = torch.arange(len(labels), device=labels.device)
        found = [confidence(store.read(index), labels, self.smoothing.temperature) for store in self.all_stores()]
        visits = torch.stack([store.visits.to(labels.device) for store in self.all_stores()]).amax(0)
        return torch.stack(found).mean(0).masked_fill(visits == 0, torch.nan)

    def errors(self, labels: Tensor) -> Tensor:
        """How far confidences are from those of a float32 store, for about a thousand samples; empty where it is one.

        Args:
            labels: given labels ``[N]``.
        """
        pairs = zip(self.all_shadows(), self.all_stores(), strict=False)
        found = [shadow.errors(store, labels, self.smoothing.temperature) for shadow, store in pairs]
        return torch.cat(found) if found else torch.zeros(0)

    def all_shadows(self) -> list[Shadow]:
        """Exact averages of a few samples, one for each store that is not exact itself."""
        return [shadow for shadow in self.shadows if isinstance(shadow, Shadow)]

    def all_stores(self) -> list[SampleStore]:
        """The averaged logits: one store, or one for each sub-classifier."""
        return [store for store in self.stores if isinstance(store, SampleStore)]
