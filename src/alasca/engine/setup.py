"""What a run is made of: its method, networks, data and settings, checked before anything is written."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from alasca.core import Method, Problem
from alasca.data import Samples, Split
from alasca.data.seeds import fold
from alasca.distributed import share, world
from alasca.engine.device import precision_on, resolve_device, seed_generators
from alasca.errors import InputError
from alasca.recipe import Place, Recipe
from alasca.stores import Trace
from alasca.surgery import OutputNet


@dataclass(frozen=True)
class Job:
    """All that training needs.

    Attributes:
        method: a fresh method.
        make_network: makes one backbone; called with the default generator seeded, once for each network.
        split: samples.
        recipe: how to train.
        place: where.
    """

    method: Method
    make_network: Callable[[], nn.Module]
    split: Split
    recipe: Recipe
    place: Place

    @property
    def device(self) -> torch.device:
        """Where networks and tables are."""
        return resolve_device(self.place.device)

    @property
    def precision(self) -> str:
        """What numbers networks multiply."""
        return precision_on(self.device, self.recipe.precision)

    @property
    def select(self) -> str:
        """How the epoch is chosen."""
        return self.recipe.select or self.method.select

    def problem(self) -> Problem:
        """What the method may know."""
        samples = self.split.samples
        example = samples.view("plain", self.split.train[:2].to(samples.labels.device)).cpu()
        recipe = self.recipe
        return Problem(len(samples), self.split.num_classes, example, recipe.epochs, recipe.seed, recipe.batch_size)

    def networks(self, stage: int) -> tuple[list[nn.Module], Problem]:
        """One network for each of the method's, seeded by its number, with what the method attaches; on the CPU."""
        problem, made = self.problem(), []
        for k in range(self.method.networks):
            seed_generators(torch.device("cpu"), fold(self.recipe.seed, "network", stage, k))
            net = OutputNet(self.make_network(), example=problem.example, num_classes=problem.num_classes)
            made.append(self.method.attach(net, replace(problem, seed=fold(self.recipe.seed, "heads", stage, k))))
        return made, problem

    def check(self) -> None:
        """Refuse what can be known to fail before anything is made.

        Raises:
            InputError: a batch that does not divide by the processes, no held-out samples to select on, or whole
                numbers for a method that blends inputs.
        """
        share(self.recipe.batch_size)
        rows = min(self.recipe.batch_size, len(self.split.train)) // world()[1]
        if rows < 2:
            raise InputError(f"data: {rows} samples of a batch for each of {world()[1]} processes; expected at least 2")
        if self.select == "noisy-val" and self.split.held is None:
            raise InputError("select: noisy-val needs held-out samples; set --val-fraction, e.g. 0.1")
        if self.method.mixes and self.split.samples.transform.kind == "texts":
            raise InputError(
                f"method: {type(self.method).__name__} blends inputs, and these are whole numbers (token ids)"
            )

    def rehearse(self) -> list[nn.Module]:
        """Make everything once and throw it away, so that what does not fit is told before a run folder exists.

        Returns:
            The networks of the rehearsal, on the CPU.

        Raises:
            InputError: in one line, whatever a network or a place for sub-classifiers lacks.
        """
        self.check()
        split = self.split
        try:
            with torch.random.fork_rng(devices=[]):
                nets, problem = self.networks(0)
                with torch.no_grad():
                    logits = nets[0].eval()(split.samples.view("plain", two_samples(split.samples))).logits
        except InputError:
            raise
        except (ValueError, TypeError, RuntimeError, IndexError, AttributeError, KeyError, AssertionError) as error:
            raise InputError(f"network: {' '.join(str(error).split())}{place_of(error)}") from error
        if logits.shape != (2, split.num_classes):
            raise InputError(f"network: gives {list(logits.shape)} for 2 samples of {split.num_classes} classes")
        try:
            with torch.random.fork_rng(devices=[]):
                self.method.begin(nets, problem)
        except ValueError as error:
            raise InputError(f"method: {' '.join(str(error).split())}") from error
        return nets

    def checkpoint_bytes(self, nets: Sequence[nn.Module]) -> int:
        """What a checkpoint takes, about: networks, optimiser, the best networks, the method's tables, the trace."""
        states = [net.state_dict() for net in nets]
        networks = sum(size_of(state.values()) for state in states)
        moments = (2 if self.recipe.optimizer == "adamw" else bool(self.recipe.momentum)) + (
            self.select == "noisy-val" or self.method.uses_best
        )
        tables = size_of(self.method.state_dict().values()) + size_of(Trace(len(self.split.samples)).buffers())
        return networks * (1 + moments) + tables


def size_of(tensors: Iterable[Tensor]) -> int:
    """Bytes that tensors take.

    >>> size_of([torch.zeros(2, 3), torch.zeros(4, dtype=torch.int8)])
    28
    """
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def two_samples(samples: Samples) -> Tensor:
    """The first two; of texts the first, and the one with the largest token."""
    if not isinstance(samples.inputs, Tensor) or samples.inputs.dtype != torch.int64:
        return torch.arange(2)
    return torch.tensor([0, int(samples.inputs.amax(1).argmax())])


def place_of(error: BaseException) -> str:
    """Where in a user's own code an error came from: the deepest line outside of this package and of installed ones."""
    here = Path(__file__).parent.parent
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "site-packages" not in f.filename and here not in Path(f.filename).parents]
    own = [f for f in own if Path(f.filename).is_file() and sysconfig.get_path("stdlib") not in f.filename]
    if not own or here in Path(frames[-1].filename).parents:
        return ""
    return f" ({type(error).__name__}, {own[-1].filename}:{own[-1].lineno})"
