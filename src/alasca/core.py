"""The seam: what a method, a network and the training loop say to each other.

The whole training loop, as pseudocode (`alasca.engine` is its only implementation)::

    for stage in method.stages(epochs):                  # nearly always one
        nets = [method.attach(network) for each network]
        method.begin(nets, problem)                      # per-sample stores are allocated here
        for epoch in range(stage.epochs):
            for phase in method.plan(nets, probe, clock):
                for batches in loader(phase):            # one Batch per stream
                    step = method.step(nets, batches, phase, clock)
                    step.loss.backward()
                    method.on_gradients(backbone, clock)
                    optimiser.step()
                    method.on_updated(nets, phase, clock)
            log(accuracies, quality of method.selected())
        method.end_stage(nets, probe, clock)

A method never sees clean labels: `Batch` and `Problem` have no field for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


class InputError(ValueError):
    """Something the user gave is wrong. The message is one line: what, where, what would be right."""


def full_precision(tensor: Tensor) -> Tensor:
    """Raise half precision to float32; leave float32 and float64 as they are."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


class Output(NamedTuple):
    """What a network returns, in float32 at least.

    Attributes:
        logits: the main classifier's raw scores, ``[B, K]``.
        feature: what the classifier layer reads, ``[B, D]``; None where the network has no such layer.
        aux: the sub-classifiers' logits, shallow to deep, each ``[B, K]``; filled in training mode.
        aux_features: what each sub-classifier's last layer reads, each ``[B, D_i]``.
    """

    logits: Tensor
    feature: Tensor | None = None
    aux: tuple[Tensor, ...] = ()
    aux_features: tuple[Tensor, ...] = ()

    def rows(self, rows: slice) -> Output:
        """The same output for some rows of the batch."""
        return self._map(lambda tensor: tensor[rows])

    def detach(self) -> Output:
        """The same output without its gradient history."""
        return self._map(Tensor.detach)

    def _map(self, change: Callable[[Tensor], Tensor]) -> Output:
        return Output(
            change(self.logits),
            None if self.feature is None else change(self.feature),
            tuple(change(tensor) for tensor in self.aux),
            tuple(change(tensor) for tensor in self.aux_features),
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of one stream in one step. There is no field for clean labels, by construction.

    Attributes:
        views: one tensor ``[B, ...]`` a view; ``views[0]`` is what the per-sample stores see.
        labels: given labels ``[B]``, int64.
        index: stable position in the training set ``[B]``, int64.
        weight: weight of each sample in the main loss ``[B]``, float32.
    """

    views: tuple[Tensor, ...]
    labels: Tensor
    index: Tensor
    weight: Tensor


class Seen(NamedTuple):
    """Network `net`, in training mode, gave `output` on the plain rows of `batch`: this feeds the stores."""

    net: int
    output: Output
    batch: Batch


class Mixed(NamedTuple):
    """A mixed forward with gradient: row j is ``lam[j] * first[j] + (1 - lam[j]) * second[j]``.

    `first` and `second` are positions in the step's batches, concatenated in stream order.
    """

    net: int
    aux: tuple[Tensor, ...]
    first: Tensor
    second: Tensor
    lam: Tensor


class Step(NamedTuple):
    """What one step asks to minimise (`loss`, a scalar), what it saw, and what it wants logged."""

    loss: Tensor
    seen: tuple[Seen, ...] = ()
    mixed: tuple[Mixed, ...] = ()
    log: Mapping[str, Tensor] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Stream:
    """Samples that a phase draws its batches from.

    Attributes:
        index: positions in the training set, int64; None is the epoch's pool.
        weight: ``weight[j]`` belongs to ``index[j]``; None is 1 for all.
        views: one name a view: ``"plain"``, ``"weak"``, ``"strong"``.
        follows: name of a stream whose classes this one matches row by row.
        draw: a number that makes an independent order and independent views.
        batch: batch size; None is the run's.
    """

    index: Tensor | None = None
    weight: Tensor | None = None
    views: tuple[str, ...] = ("weak",)
    follows: str | None = None
    draw: int = 0
    batch: int | None = None


class Phase(NamedTuple):
    """Which networks train, on which streams; streams in `observe` reach only a wrapper, each sample once."""

    train: tuple[int, ...]
    streams: Mapping[str, Stream]
    observe: tuple[str, ...] = ()


class Selection(NamedTuple):
    """What a method learns from, for evaluation and reports: one row a sample, one column a network.

    Attributes:
        kept: whether the network learns from the sample with its given label, ``[N, networks]``, bool.
        clean: probability that the given label is right, ``[N, networks]``; None where the method has none.
        weight: weight of the kept samples in the loss, ``[N, networks]``; None where all weigh the same.
    """

    kept: Tensor
    clean: Tensor | None = None
    weight: Tensor | None = None


class Stage(NamedTuple):
    """`epochs` of training, with fresh networks or not, on a seeded class-balanced `part` of the data or all."""

    epochs: int
    fresh: bool = False
    part: float | None = None


class Clock(NamedTuple):
    """Where training stands. `epoch` counts from 0 in its stage; `step` counts optimiser steps of the stage.

    `steps_per_epoch` counts those of the epoch's phases; in `plan` and `end_stage`, those of one pass over the pool.
    """

    stage: int
    epoch: int
    epochs: int
    step: int
    steps_per_epoch: int


@dataclass(frozen=True, slots=True)
class Problem:
    """What a method may know before training. No clean labels.

    Attributes:
        num_samples: size of the training set; indices run below it.
        num_classes: K.
        example: two rows of inputs as the network reads them, on the training device.
        epochs: epochs of the whole run.
        seed: the run's seed.
    """

    num_samples: int
    num_classes: int
    example: Tensor
    epochs: int
    seed: int


class Probe(Protocol):
    """Looks at the training samples with plain views and the network in eval mode, without gradient."""

    index: Tensor
    """Positions of the samples that the probe covers ``[M]``: the epoch's pool."""
    labels: Tensor
    """Their given labels ``[M]``."""

    @property
    def rest(self) -> Probe | None:
        """The samples that a partial stage leaves out."""

    @property
    def holdout(self) -> Probe | None:
        """The held-out samples, with noisy labels only."""

    @property
    def best(self) -> Sequence[nn.Module] | None:
        """The networks as they were after the epoch with the best accuracy on held-out noisy labels.

        None without held-out samples, before the first epoch has ended, and for methods without `uses_best`.
        """

    def __call__(self, net: nn.Module, fn: Callable[[Output, Batch], Tensor]) -> Tensor:
        """``fn(output, batch)`` of every sample, concatenated: ``[M, ...]``, in the order of `index`."""

    def reduce(self, net: nn.Module, fn: Callable[[Output, Batch], Tensor]) -> Tensor:
        """The sum of ``fn(output, batch)`` over all batches."""


class Preset(NamedTuple):
    """Options for one kind of data (``"unknown"``: the signature's defaults, no options) and where they come from."""

    data: str
    options: Mapping[str, Any]
    source: str


class Method(nn.Module):
    """One way of learning from noisy labels. A module only so that its stores are saved and moved."""

    networks: int = 1
    presets: ClassVar[tuple[Preset, ...]] = ()
    """What `alasca list methods --verbose` shows and `--preset` takes."""
    epoch_options: ClassVar[tuple[str, ...]] = ()
    """Options whose default counts epochs of a run of 120; command line and estimator shrink it for shorter runs."""
    select: ClassVar[str] = "last"
    """How the epoch is chosen where the settings leave it open."""
    uses_best: bool = False
    """It reads `Probe.best`."""
    owns_branches: ClassVar[bool] = False
    """It attaches classifiers of its own; wrapping it in Alasca is refused."""
    mixes: ClassVar[bool] = False
    """It blends inputs; refused for integer inputs such as token ids."""

    def stages(self, epochs: int) -> list[Stage]:
        """How the epochs are divided; one stage by default."""
        return [Stage(epochs)]

    def attach(self, network: nn.Module, problem: Problem) -> nn.Module:
        """Hang what the method needs onto a network; nothing by default. It must not shift any random state."""
        return network

    def begin(self, nets: Sequence[nn.Module], problem: Problem) -> None:
        """Allocate per-sample stores. Runs once a stage; again before a stage with fresh networks."""

    def plan(self, nets: Sequence[nn.Module], probe: Probe, clock: Clock) -> list[Phase]:
        """The phases of one epoch; by default one, all networks, all samples."""
        return [Phase(tuple(range(self.networks)), {"all": Stream()})]

    def step(self, nets: Sequence[nn.Module], batches: Mapping[str, Batch], phase: Phase, clock: Clock) -> Step:
        """The forward passes and the loss of one step."""
        raise NotImplementedError(f"{type(self).__name__} defines no step()")

    def on_gradients(self, backbone: nn.Module, clock: Clock) -> None:
        """Edit a trained backbone's gradients before the optimiser's step. Never sees sub-classifiers."""

    def on_updated(self, nets: Sequence[nn.Module], phase: Phase, clock: Clock) -> None:
        """After the optimiser's step; not called where the step was skipped."""

    def selected(self) -> Selection | None:
        """What it learned from in the epoch that ends; None: it chooses no samples."""
        return None

    def end_stage(self, nets: Sequence[nn.Module], probe: Probe, clock: Clock) -> None:
        """After a stage's last step, its networks still alive."""

    def predict(self, nets: Sequence[nn.Module], inputs: Tensor) -> Tensor:
        """Logits ``[B, K]`` for test inputs; by default the mean of the main logits over the networks."""
        return torch.stack([net(inputs).logits for net in nets]).mean(0)


class LossMethod(Method):
    """A method that is no more than one loss a sample on the main classifier: define `loss`."""

    def loss(self, logits: Tensor, batch: Batch, clock: Clock) -> Tensor:
        """The loss of each sample ``[B]``, from raw logits ``[B, K]``."""
        raise NotImplementedError(f"{type(self).__name__} defines no loss()")

    def step(self, nets: Sequence[nn.Module], batches: Mapping[str, Batch], phase: Phase, clock: Clock) -> Step:
        """The mean loss, weighted by the batch's weights."""
        batch = batches["all"]
        output = nets[0](batch.views[0])
        loss = (batch.weight * self.loss(output.logits, batch, clock)).mean()
        return Step(loss, (Seen(0, output, batch),))


class Wrapper(nn.Module):
    """Holds a user's network as `backbone`, so that `core.backbone` can tell it from a network's own parts."""

    backbone: nn.Module


def backbone(net: nn.Module) -> nn.Module:
    """The plain network inside DDP, compile and Network wrappers.

    >>> backbone(nn.Linear(2, 2))
    Linear(in_features=2, out_features=2, bias=True)
    """
    inner = network(net)
    return network(inner.backbone) if isinstance(inner, Wrapper) else inner


def network(net: nn.Module) -> nn.Module:
    """The network inside DDP and compile wrappers, with its sub-classifiers."""
    while True:
        if isinstance(net, DistributedDataParallel):
            net = net.module
        elif (compiled := net._modules.get("_orig_mod")) is not None:
            net = compiled
        else:
            return net
