"""What a run starts from: its data, its networks with what the method hangs onto them, its seeds."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from alasca.core import InputError, Method, Problem
from alasca.data.pool import Pool
from alasca.data.samples import Samples
from alasca.data.seeds import fold
from alasca.distributed import share, world
from alasca.engine.settings import Training
from alasca.heads import Network


@dataclass(frozen=True)
class Data:
    """What a run trains and is judged on. `truth` and `test` serve evaluation only; no method can reach them.

    Attributes:
        train: the training set with given labels.
        num_classes: K.
        val: held-out samples with given (noisy) labels, or None.
        test: samples whose labels are true, or None.
        truth: true labels of the training set ``[N]``, or None.
        usable: positions of the training set that may be trained on; None: all.
        epoch_samples: samples of an epoch's class-balanced subset, drawn anew each time; None: all.
    """

    train: Samples
    num_classes: int
    val: Samples | None = None
    test: Samples | None = None
    truth: Tensor | None = None
    usable: Tensor | None = None
    epoch_samples: int | None = None

    def pool(self, seed: int) -> Pool:
        """What epochs draw from."""
        index = torch.arange(len(self.train)) if self.usable is None else self.usable
        return Pool(index, self.train.labels.cpu(), self.epoch_samples, seed)


def seed_generators(device: torch.device, seed: int) -> None:
    """Seed the default generators of the CPU and of the training device."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def check_data(method: Method, data: Data, training: Training) -> None:
    """Refuse what can be known to fail before anything is made.

    Raises:
        InputError: a batch that does not divide by the processes, no held-out samples to select on, or whole
            numbers for a method that blends inputs.
    """
    share(training.batch_size)
    rows = min(training.batch_size, len(data.train)) // world()[1]
    if rows < 2:
        raise InputError(f"data: {rows} samples of a batch for each of {world()[1]} processes; expected at least 2")
    if (training.select or method.select) == "noisy-val" and data.val is None:
        raise InputError("select: noisy-val needs held-out samples; set --val-fraction, e.g. 0.1")
    if method.mixes and data.train.inputs.dtype == torch.int64:
        raise InputError(f"method: {type(method).__name__} blends inputs, and these are whole numbers (token ids)")


def attach_networks(
    method: Method,
    make_network: Callable[[], nn.Module],
    data: Data,
    training: Training,
    device: torch.device,
    stage: int,
) -> tuple[list[nn.Module], Problem]:
    """One network for each of the method's, seeded by its number, with what the method attaches; on the CPU."""
    first = torch.arange(2, device=data.train.labels.device)
    example = data.train.view("plain", first).cpu()
    problem = Problem(len(data.train), data.num_classes, example, training.epochs, training.seed)
    made = []
    for k in range(method.networks):
        seed_generators(device, fold(training.seed, "network", stage, k))
        net = Network(make_network(), example=example, num_classes=data.num_classes)
        heads_seed = fold(training.seed, "heads", stage, k)
        made.append(method.attach(net, replace(problem, seed=heads_seed)))
    return made, problem


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


def check(method: Method, make_network: Callable[[], nn.Module], data: Data, training: Training) -> None:
    """Make everything once and throw it away, so that what does not fit is told before a run folder exists.

    Raises:
        InputError: in one line, whatever a network or a place for sub-classifiers lacks.
    """
    check_data(method, data, training)
    try:
        with torch.random.fork_rng(devices=[]):
            nets, problem = attach_networks(method, make_network, data, training, torch.device("cpu"), 0)
            with torch.no_grad():
                logits = nets[0].eval()(data.train.view("plain", two_samples(data.train))).logits
    except InputError:
        raise
    except (ValueError, TypeError, RuntimeError, IndexError, AttributeError, KeyError) as error:
        raise InputError(f"network: {' '.join(str(error).split())}{place_of(error)}") from error
    if logits.shape != (2, data.num_classes):
        raise InputError(f"network: gives {list(logits.shape)} for 2 samples of {data.num_classes} classes")
    try:
        with torch.random.fork_rng(devices=[]):
            method.begin(nets, problem)
    except ValueError as error:
        raise InputError(f"method: {' '.join(str(error).split())}") from error
