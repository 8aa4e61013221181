"""The optimisers of all that trains: networks, and a method's own parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from alasca.core import Method, Trained, unwrapped
from alasca.distributed import sum_over_ranks, world
from alasca.engine.state import require_fitting
from alasca.errors import InputError
from alasca.recipe import Recipe


class Optimizers:
    """One optimiser over all networks and a method's own parameters; a second one over per-sample variables.

    Those without gradients in a phase are left as they are. The learning rate is a 0-dim tensor where the kernels take
    one, so that it changes without anything being built anew.

    Args:
        nets: with their sub-classifiers.
        method: after `begin`.
        recipe: how to train.
    """

    def __init__(self, nets: Sequence[nn.Module], method: Method, recipe: Recipe) -> None:
        self.recipe = recipe
        own = list(method.trained())
        self.nets = [unwrapped(net) for net in nets]
        self.named = parameter_names(self.nets, method, own)
        self.shared = [parameter for group in own for parameter in group.parameters]
        of_nets = [parameter for net in self.nets for parameter in net.parameters() if parameter.requires_grad]
        groups = [Trained(of_nets), *(group for group in own if not group.per_sample)]
        rows = [group for group in own if group.per_sample]
        self.scales = [(recipe.lr if group.lr is None else group.lr) / recipe.lr for group in (*groups, *rows)]
        self.all: list[torch.optim.Optimizer] = [self._make(groups)]
        if rows:
            self.all.append(self._plain(rows))

    def _make(self, groups: Sequence[Trained]) -> torch.optim.Optimizer:
        recipe, decay = self.recipe, self.recipe.weight_decay
        device = groups[0].parameters[0].device
        fused = (recipe.optimizer == "adamw" or recipe.precision != "fp16") and device.type != "meta"
        # fused SGD, when its first step is skipped for an overflow, leaves its momentum uninitialised
        parameters = [
            {"params": list(group.parameters), "lr": torch.tensor(recipe.lr, device=device) if fused else recipe.lr}
            for group in groups
        ]
        if recipe.optimizer == "sgd":
            return torch.optim.SGD(parameters, recipe.lr, recipe.momentum, weight_decay=decay, fused=fused)
        recorded = device.type == "cuda"  # steps count on the device
        return torch.optim.AdamW(parameters, recipe.lr, weight_decay=decay, fused=fused, capturable=recorded)

    def _plain(self, groups: Sequence[Trained]) -> torch.optim.Optimizer:
        """SGD without momentum and decay, which moves nothing whose gradient is zero."""
        device = groups[0].parameters[0].device
        parameters = [
            {"params": list(group.parameters), "lr": torch.tensor(self.recipe.lr, device=device)} for group in groups
        ]
        return torch.optim.SGD(parameters, self.recipe.lr, fused=True)

    def set_lr(self, factor: float) -> None:
        """The recipe's learning rate, and that of each group, times a factor."""
        groups = (group for optimizer in self.all for group in optimizer.param_groups)
        for group, scale in zip(groups, self.scales, strict=True):
            value = self.recipe.lr * factor * scale if scale != 1 else self.recipe.lr * factor
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(value)
            else:
                group["lr"] = value

    def average_shared(self) -> None:
        """Average the gradients of a method's own parameters over processes, as DDP does those of networks.

        What no process used keeps no gradient, so that neither decay nor momentum moves it.
        """
        size = world()[1]
        if size == 1 or not self.shared:
            return
        used = torch.tensor([float(each.grad is not None) for each in self.shared], device=self.shared[0].device)
        for parameter, found in zip(self.shared, sum_over_ranks(used).tolist(), strict=True):
            if not found:
                continue
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            sum_over_ranks(parameter.grad).div_(size)

    def step(self, scaler: torch.amp.GradScaler) -> None:
        """One step of all, skipped by the scaler where a gradient overflowed."""
        for optimizer in self._due():
            scaler.step(optimizer)

    def unscale(self, scaler: torch.amp.GradScaler) -> None:
        """Take the loss's scale out of all gradients."""
        for optimizer in self._due():
            scaler.unscale_(optimizer)

    def _due(self) -> list[torch.optim.Optimizer]:
        """Those with a gradient at all: a scaler refuses the others."""
        return [each for each in self.all if any(p.grad is not None for g in each.param_groups for p in g["params"])]

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for optimizer in self.all:
            optimizer.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """Their state by parameter name."""
        return {
            f"{name}/{key}": value
            for name, parameter in self.named.items()
            for optimizer in self.all
            for key, value in optimizer.state.get(parameter, {}).items()
            if isinstance(value, Tensor)
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Put their state back.

        Raises:
            InputError: a name, shape or type that is not the parameter's: fused kernels walk memory, and ask nobody.
        """
        found: dict[str, dict[str, Tensor]] = {}
        for path, value in tensors.items():
            name, _, key = path.rpartition("/")
            found.setdefault(name, {})[key] = value
        owners = {
            id(parameter): optimizer
            for optimizer in self.all
            for group in optimizer.param_groups
            for parameter in group["params"]
        }
        for name, values in found.items():
            if name not in self.named:
                raise InputError(f"checkpoint: optimiser state {name!r} belongs to no parameter of these networks")
            parameter = self.named[name]
            optimizer = owners[id(parameter)]
            require_fitting(values, state_of(optimizer, parameter), f"optimiser state of {name!r}")
            state = optimizer.state[parameter]
            for key, value in values.items():
                like = parameter if value.dim() else torch.empty((), device=parameter.device)
                state[key] = torch.empty_like(like, dtype=value.dtype).copy_(value)  # in the parameter's layout


def state_of(optimizer: torch.optim.Optimizer, parameter: Tensor) -> dict[str, Tensor]:
    """Names, shapes and types of what an optimiser keeps of a parameter, on no device."""
    like = torch.empty_like(parameter, device="meta")
    if isinstance(optimizer, torch.optim.AdamW):
        return {"step": torch.empty((), dtype=torch.float32, device="meta"), "exp_avg": like, "exp_avg_sq": like}
    return {"momentum_buffer": like} if optimizer.param_groups[0]["momentum"] else {}


def parameter_names(nets: Sequence[nn.Module], method: Method, own: Sequence[Trained]) -> dict[str, nn.Parameter]:
    """Trained parameters by ``network/name`` or ``method/name``, the key of their optimiser state."""
    found = {
        f"{k}/{name}": parameter
        for k, net in enumerate(nets)
        for name, parameter in net.named_parameters()
        if parameter.requires_grad
    }
    names = {id(parameter): name for name, parameter in method.named_parameters()}
    for group in own:
        for parameter in group.parameters:
            if id(parameter) not in names:
                raise ValueError(f"{type(method).__name__}.trained() gives a parameter that is no attribute of it")
            found[f"method/{names[id(parameter)]}"] = parameter
    return found
