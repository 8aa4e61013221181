"""One way of learning from noisy labels: what a method may define, and what it gets where it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from alasca.core.net import Net, Output
from alasca.core.plan import Clock, Phase, Probe, Problem, Stage, Stream
from alasca.core.step import Batch, Seen, Step
from alasca.functional.ensembles import log_mean_softmax


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


class Preset(NamedTuple):
    """Options for one kind of data (``"default"``: the signature's defaults, no options) and where they come from."""

    data: str
    options: Mapping[str, Any]
    source: str


class Trained(NamedTuple):
    """Parameters of a method's own that train along with the networks; their gradients are averaged over processes.

    Attributes:
        parameters: made in `begin`, and attributes of the method.
        lr: their learning rate, on the run's schedule; None: the run's.
        per_sample: one row a sample: plain SGD without momentum or decay, so that a step changes only its own rows.
    """

    parameters: Sequence[nn.Parameter]
    lr: float | None = None
    per_sample: bool = False


class Method(nn.Module):
    """One way of learning from noisy labels. A module so that its tables and parameters are saved and moved."""

    networks: int = 1
    presets: ClassVar[tuple[Preset, ...]] = ()
    """What `alasca list methods --verbose` shows and `--preset` takes."""
    epoch_options: ClassVar[tuple[str, ...]] = ()
    """Options whose default counts epochs of a run of 120; command line and estimator shrink it for shorter runs."""
    select: str = "last"
    """How the epoch is chosen where the recipe leaves it open."""
    uses_best: bool = False
    """It reads `Probe.best`."""
    owns_branches: bool = False
    """It attaches classifiers of its own; wrapping it in Alasca is refused."""
    mixes: bool = False
    """It blends inputs; refused for integer inputs such as token ids."""
    captures: ClassVar[bool] = True
    """Its step may be recorded in a phase and replayed: it reads nothing back, and Python decides by epoch alone."""
    prediction: str = "main"
    """Which of its `predictions` is in force."""

    def stages(self, epochs: int) -> list[Stage]:
        """How the epochs are divided; one stage by default."""
        return [Stage(epochs)]

    def attach(self, network: nn.Module, problem: Problem) -> nn.Module:
        """Hang what the method needs onto a network; nothing by default. It must not shift any random state."""
        return network

    def begin(self, nets: Sequence[Net], problem: Problem) -> None:
        """Make per-sample tables and own parameters. Once a stage; again before a stage with fresh networks."""

    def trained(self) -> Sequence[Trained]:
        """Its own parameters that train; by default all that it has, like those of the networks."""
        own = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return [Trained(own)] if own else []

    def plan(self, nets: Sequence[Net], probe: Probe, clock: Clock) -> list[Phase]:
        """The phases of one epoch; by default one, all networks, all samples."""
        return [Phase(tuple(range(self.networks)), {"all": Stream()})]

    def draws(self, phase: Phase, clock: Clock) -> Mapping[str, Tensor]:
        """What a step needs that is drawn on the CPU, by name: `step` finds it in `clock.draws`, on the device."""
        return {}

    def step(self, nets: Sequence[Net], batches: Mapping[str, Batch], phase: Phase, clock: Clock) -> Step:
        """The forward passes and the loss of one step."""
        raise NotImplementedError(f"{type(self).__name__} defines no step()")

    def on_gradients(self, backbone: nn.Module, clock: Clock) -> None:
        """Edit a trained backbone's gradients before the optimiser's step. Never sees sub-classifiers."""

    def on_updated(self, nets: Sequence[Net], phase: Phase, clock: Clock) -> None:
        """After the optimiser's step; not called where the step was skipped."""

    def selected(self) -> Selection | None:
        """What it learned from in the epoch that ends; None: it chooses no samples."""
        return None

    def columns(self, labels: Tensor) -> dict[str, Tensor]:
        """What it knows of every sample for tables, by column ``[N]``; by default what it chose.

        Args:
            labels: given labels ``[N]``.
        """
        selection = self.selected()
        if selection is None:
            return {}
        clean = {} if selection.clean is None else {"clean_probability": selection.clean.mean(1)}
        return {"selected": selection.kept.float().mean(1), **clean}

    def figures(self, labels: Tensor) -> dict[str, float]:
        """Figures of the whole run that it wants told at the end, by name; `labels` as in `columns`."""
        return {}

    def end_stage(self, nets: Sequence[Net], probe: Probe, clock: Clock) -> None:
        """After a stage's last step, its networks still alive."""

    def predictions(self, outputs: Sequence[Output]) -> dict[str, Tensor]:
        """Log-probabilities ``[B, K]`` for test inputs, by kind of prediction, from the output of each network.

        By default ``"main"``: the mean of the main classifiers' probabilities over the networks.
        """
        return {"main": log_mean_softmax([output.logits for output in outputs])}


def own_tensors(method: Method) -> dict[str, Tensor]:
    """A method's own trained parameters by name, and all else that lies in modules with such; no per-sample tables."""
    own = {id(parameter) for group in method.trained() if not group.per_sample for parameter in group.parameters}
    found: dict[str, Tensor] = {}
    for path, module in method.named_modules():
        if not isinstance(module, Method):
            continue
        prefix = f"{path}." if path else ""
        found |= {prefix + name: value for name, value in module.named_parameters(recurse=False) if id(value) in own}
        for name, part in module.named_children():
            if not isinstance(part, Method) and any(id(parameter) in own for parameter in part.parameters()):
                found |= part.state_dict(prefix=f"{prefix}{name}.")
    return found


class LossMethod(Method):
    """A method that is no more than one loss a sample on the main classifier: define `loss`."""

    def loss(self, logits: Tensor, batch: Batch, clock: Clock) -> Tensor:
        """The loss of each sample ``[B]``, from raw logits ``[B, K]``."""
        raise NotImplementedError(f"{type(self).__name__} defines no loss()")

    def step(self, nets: Sequence[Net], batches: Mapping[str, Batch], phase: Phase, clock: Clock) -> Step:
        """The mean loss, weighted by the batch's weights."""
        batch = batches["all"]
        output = nets[0](batch.views[0])
        loss = (batch.weight * self.loss(output.logits, batch, clock)).mean()
        return Step(loss, (Seen(0, output, batch),))
