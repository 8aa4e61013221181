"""Tails: what a network does after one of its modules, as a network of its own with parameters of its own."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from alasca.core import full_precision
from alasca.surgery.calls import first_tensor, main_logits
from alasca.surgery.survey import Survey


class Skipped(nn.Module):
    """Stands where a module of the trunk stood: hands on what it is given, or a value that was put in.

    Whoever looks for the module's attributes (transformers do) finds those of the original, whose weights are not ours.
    """

    def __init__(self, original: nn.Module) -> None:
        super().__init__()
        self.value: Tensor | None = None
        self.original = [original]

    def __getattr__(self, name: str) -> Any:
        """The original's attribute."""
        return getattr(self.__dict__["original"][0], name)

    def forward(self, *inputs: Any, **keywords: Any) -> Any:
        """The value that was put in, else the first input."""
        return self.value if self.value is not None else (first_tensor(inputs) if inputs else first_tensor(keywords))


class Tail(nn.Module):
    """From the output of one module to the logits: a copy of a network whose earlier modules are skipped.

    Args:
        net: the network.
        seen: a survey of it.
        place: name of the module whose output the tail reads.
    """

    def __init__(self, net: nn.Module, seen: Survey, place: str) -> None:
        super().__init__()
        names = [visit.name for visit in seen.visits]
        done = set(names[: names.index(place) + 1])
        self.net = copy.deepcopy(net)
        self.end = [Skipped(net.get_submodule(place))]  # in a list: it is a part of `net` already
        for name in done:
            parents = name.split(".")[:-1]
            if not any(".".join(parents[: k + 1]) in done for k in range(len(parents))):
                self.net.set_submodule(name, self.end[0] if name == place else Skipped(net.get_submodule(name)))

    def forward(self, feature: Tensor, padding: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits ``[B, K]``, twice: a tail has no feature to show."""
        self.end[0].value = feature
        try:
            logits = full_precision(main_logits(self.net(feature)))
        finally:
            self.end[0].value = None
        return logits, logits

    def reset(self, seed: int) -> None:
        """Initialise anew from a seed; the default random state is not moved.

        Modules do it by themselves where they know how (torch's own); parameters that are still as they were are drawn
        from a normal distribution of their own mean and spread.
        """
        before = {name: value.detach().clone() for name, value in self.net.named_parameters()}
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.default_generator.manual_seed(seed)
            for module in self.net.modules():
                for name in ("reset_parameters", "_reset_parameters"):
                    if not isinstance(module, Skipped) and callable(reset := getattr(module, name, None)):
                        reset()
            for name, value in self.net.named_parameters():
                if torch.equal(value, before[name]) and value.numel() > 1 and bool((value != value.flatten()[0]).any()):
                    value.normal_(float(value.mean()), float(value.std()))


def freeze_unused(tail: Tail, feature: Tensor) -> None:
    """Freeze parameters that the tail copied but does not read (a position embedding of the trunk, say)."""
    with torch.enable_grad():
        parameters = [parameter for parameter in tail.parameters() if parameter.requires_grad]
        gradients = torch.autograd.grad(tail(feature)[0].sum(), parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.requires_grad_(gradient is not None)


def make_tail(net: nn.Module, seen: Survey, place: str, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> Tail:
    """A tail that gives the network's own logits, checked.

    Raises:
        ValueError: what follows the module can't run on its output alone.
    """
    held: list[Tensor] = []

    def hold(module: nn.Module, given: tuple[Any, ...], value: object) -> None:
        output = first_tensor(value)
        held.extend([] if output is None else [output.clone()])

    tail = Tail(net, seen, place)
    handle = net.get_submodule(place).register_forward_hook(hold)
    modes = {module: module.training for module in net.modules()}
    try:
        with torch.no_grad():
            expected = full_precision(main_logits(net.eval()(*inputs, **keywords)))
            found = tail.eval()(held[0])[0]
        freeze_unused(tail, held[0])
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ValueError(f"at: what follows module {place!r} can't run on its output alone ({error})") from error
    finally:
        handle.remove()
        for module, mode in modes.items():
            module.training = mode
    if not torch.allclose(found, expected, rtol=1e-4, atol=1e-5):
        raise ValueError(f"at: what follows module {place!r} reads more than its output")
    return tail.train()
