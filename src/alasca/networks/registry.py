"""Which network a name means."""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import sys
from collections.abc import Callable

from torch import nn

from alasca.core import InputError
from alasca.networks.small import Perceptron, SmallResNet


def small_resnet(shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Three residual blocks of width 32, 64, 128: small pictures"""
    if len(shape) != 3:
        raise InputError(f"network: small-resnet reads pictures, the data are rows of {shape[0]} numbers; try mlp")
    return SmallResNet(shape[0], num_classes)


def mlp(shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Three hidden layers of 256: rows of numbers"""
    if len(shape) != 1:
        raise InputError(f"network: mlp reads rows of numbers, the data are pictures {list(shape)}; try small-resnet")
    return Perceptron(shape[0], num_classes)


NETWORKS: dict[str, Callable[[tuple[int, ...], int], nn.Module]] = {"small-resnet": small_resnet, "mlp": mlp}


def default_network(shape: tuple[int, ...]) -> str:
    """The network that ``auto`` means for inputs of a shape.

    >>> default_network((3, 32, 32)), default_network((4,))
    ('small-resnet', 'mlp')
    """
    return "small-resnet" if len(shape) == 3 else "mlp"


def create_network(name: str, shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """A network by name.

    Args:
        name: see `NETWORKS`, ``auto``, or ``package.module:name`` of a callable; it is called with
            ``num_classes=...`` and, where it takes it, ``shape=...`` (one sample's).
        shape: of one sample's input.
        num_classes: K.

    Raises:
        InputError: no such network, or one for other inputs.
    """
    if name == "auto":
        name = default_network(shape)
    if ":" in name:
        return own_network(name, shape, num_classes)
    if name not in NETWORKS:
        near = difflib.get_close_matches(name, NETWORKS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(NETWORKS)} or package.module:name"
        raise InputError(f"network: {name!r} is unknown; {hint}")
    return NETWORKS[name](shape, num_classes)


def own_network(name: str, shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """The module that a user's ``package.module:name`` returns; the current folder is searched too."""
    module_name, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        make = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"network: {name!r} can't be imported ({error}); expected package.module:name") from error
    takes = inspect.signature(make).parameters
    made = make(num_classes=num_classes, **({"shape": shape} if "shape" in takes else {}))
    if not isinstance(made, nn.Module):
        raise InputError(f"network: {name!r} returned {type(made).__name__}; expected a torch.nn.Module")
    return made
