"""How to train: the settings of the loop, its learning-rate schedules, its optimisers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from alasca.core import Clock, InputError

OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("cosine", "step", "constant", "onecycle")
PRECISIONS = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
RISE = 0.3
"""Share of a one-cycle schedule in which the learning rate rises."""
SELECTIONS = ("last", "noisy-val")


@dataclass(frozen=True)
class Training:
    """Settings of the training loop.

    Attributes:
        epochs: of the whole run.
        batch_size: over all processes.
        optimizer: ``"sgd"`` or ``"adamw"``.
        lr: initial learning rate.
        momentum: of SGD.
        weight_decay: L2 for SGD, decoupled for AdamW; on all parameters.
        schedule: ``"cosine"`` to 0 by step, ``"step"`` (times `lr_decay` after each of `milestones`),
            ``"constant"``, or ``"onecycle"`` (Smith and Topin, 2019: lr / 25 to lr in three tenths, then to 0).
        milestones: epochs.
        lr_decay: factor.
        clip: largest norm of a network's gradient, or None.
        accumulate: micro-batches an optimiser step.
        precision: ``"float32"``, ``"bf16"`` or ``"fp16"`` (with loss scaling).
        channels_last: memory format of pictures and convolutions.
        select: the epoch whose networks are kept: ``"last"``, or ``"noisy-val"``, best on the held-out noisy labels;
            None leaves it to the method (``"last"`` for all but early stopping).
        seed: of everything random.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        deterministic: refuse kernels that are not deterministic (CUDA).
        checkpoint_seconds: least time between checkpoints; 0 is after every step.
    """

    epochs: int = 60
    batch_size: int = 64
    optimizer: str = "sgd"
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "cosine"
    milestones: tuple[int, ...] = (40, 80)
    lr_decay: float = 0.01
    clip: float | None = None
    accumulate: int = 1
    precision: str = "float32"
    channels_last: bool = True
    select: str | None = None
    seed: int = 0
    device: str = "auto"
    deterministic: bool = False
    checkpoint_seconds: float = 30.0

    def __post_init__(self) -> None:
        for name, value, known in (
            ("optimizer", self.optimizer, OPTIMIZERS), ("schedule", self.schedule, SCHEDULES),
            ("precision", self.precision, tuple(PRECISIONS)), ("select", self.select, (None, *SELECTIONS)),
        ):  # fmt: skip
            if value not in known:
                raise InputError(f"{name}: {value!r}, expected one of {', '.join(filter(None, known))}")
        for name, number, least in (
            ("epochs", self.epochs, 1), ("batch-size", self.batch_size, 2), ("accumulate", self.accumulate, 1),
            ("weight-decay", self.weight_decay, 0), ("checkpoint-seconds", self.checkpoint_seconds, 0),
        ):  # fmt: skip
            if not number >= least:
                raise InputError(f"{name}: {number}, expected at least {least}")
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise InputError(f"lr: {self.lr}, expected above 0")
        if not 0 <= self.momentum < 1:
            raise InputError(f"momentum: {self.momentum}, expected at least 0 and below 1")
        if self.clip is not None and not self.clip > 0:
            raise InputError(f"clip: {self.clip}, expected above 0")

    def lr_factor(self, clock: Clock, step: int = 0) -> float:
        """What the learning rate is multiplied by at a step, counted from 0 in its epoch.

        Epochs differ in length where a method chooses samples: the schedule goes by epochs and shares of them.

        >>> Training(schedule="step").lr_factor(Clock(0, 40, 120, 0, 10))
        0.01
        """
        if self.schedule == "constant":
            return 1.0
        if self.schedule == "step":
            return float(self.lr_decay ** sum(clock.epoch >= milestone for milestone in self.milestones))
        done = (clock.epoch * clock.steps_per_epoch + step) / max(1, clock.epochs * clock.steps_per_epoch)
        if self.schedule == "onecycle":
            if done < RISE:
                return 1 - (1 - 1 / 25) * 0.5 * (1 + math.cos(math.pi * done / RISE))
            done = (done - RISE) / (1 - RISE)
        return 0.5 * (1 + math.cos(math.pi * done))


def resolve_device(name: str) -> torch.device:
    """The device that a name means.

    Raises:
        InputError: it is unknown or not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"device: {name!r}, expected auto, cpu, cuda, cuda:N or mps") from None
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device.type, False):
        raise InputError(f"device: {name!r} is not there on this machine; use --device auto")
    if device.type != "cuda":
        return device
    if device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    if device.index >= torch.cuda.device_count():
        raise InputError(f"device: {name!r}, but this machine's last is cuda:{torch.cuda.device_count() - 1}")
    return device


def make_optimizer(nets: list[nn.Module], training: Training) -> torch.optim.Optimizer:
    """One optimiser over all networks; those without gradients in a phase are left as they are."""
    parameters = [parameter for net in nets for parameter in net.parameters() if parameter.requires_grad]
    decay = training.weight_decay
    if training.optimizer == "sgd":
        fused = training.precision != "fp16"  # fused, a first step that is skipped leaves its momentum uninitialised
        return torch.optim.SGD(parameters, training.lr, training.momentum, weight_decay=decay, fused=fused)
    return torch.optim.AdamW(parameters, training.lr, weight_decay=decay, fused=True)


def parameter_names(nets: list[nn.Module]) -> dict[str, nn.Parameter]:
    """Trained parameters by ``network/name``, the key of their optimiser state."""
    return {
        f"{k}/{name}": parameter
        for k, net in enumerate(nets)
        for name, parameter in net.named_parameters()
        if parameter.requires_grad
    }


def optimizer_tensors(optimizer: torch.optim.Optimizer, nets: list[nn.Module]) -> dict[str, Tensor]:
    """An optimiser's state by parameter name."""
    return {
        f"{name}/{key}": value
        for name, parameter in parameter_names(nets).items()
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def load_optimizer(optimizer: torch.optim.Optimizer, nets: list[nn.Module], tensors: dict[str, Tensor]) -> None:
    """Put an optimiser's state back.

    Raises:
        InputError: a key belongs to no parameter.
    """
    parameters = parameter_names(nets)
    for path, value in tensors.items():
        name, _, key = path.rpartition("/")
        if name not in parameters:
            raise InputError(f"checkpoint: optimiser state {path!r} belongs to no parameter of these networks")
        parameter = parameters[name]
        if value.shape == parameter.shape:  # fused kernels walk memory: the layout must be the parameter's
            optimizer.state[parameter][key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        else:
            optimizer.state[parameter][key] = value.to(parameter.device)
