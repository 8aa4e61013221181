"""Calls of networks: what they are given, however it is nested, and the logits in what they return."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn


def tensors_in(value: object) -> Iterator[Tensor]:
    """All tensors in a value: itself, or those in tuples, lists, mappings and model-output objects, in order."""
    if isinstance(value, Tensor):
        yield value
        return
    members = list(value.values()) if isinstance(value, Mapping) else value
    for item in members if isinstance(members, (tuple, list)) else ():
        yield from tensors_in(item)


def first_tensor(value: object) -> Tensor | None:
    """The first tensor in a value; see `tensors_in`."""
    return next(tensors_in(value), None)


def changed(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A value with every tensor in it changed, nested as it was."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return type(value)({name: changed(part, change) for name, part in value.items()})  # type: ignore[call-arg]  # as all mappings are made
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(changed(part, change) for part in value))
    return type(value)(changed(part, change) for part in value) if isinstance(value, (tuple, list)) else value


def main_logits(value: object, num_classes: int | None = None, at: int | None = None) -> Tensor:
    """The main classifier's logits in what a network returns: a tensor, a tuple (maybe known `at` where) or an object.

    Raises:
        TypeError: where there is none.
    """
    if isinstance(value, Tensor):
        return value
    logits = value.get("logits") if isinstance(value, Mapping) else getattr(value, "logits", None)
    if isinstance(logits, Tensor):
        return logits
    members = list(value) if isinstance(value, (tuple, list)) else []
    for item in members if at is None else members[at : at + 1]:
        if isinstance(item, Tensor) and item.dim() == 2 and num_classes in (None, item.shape[1]):
            return item
    raise TypeError(f"the network returns {type(value).__name__} without logits of {num_classes or 'any'} classes")


def arguments(net: nn.Module, example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments of a call, from an example batch.

    A mapping holds keyword arguments where the network has parameters of these names, else it is the one argument.
    """
    if not isinstance(example, Mapping):
        return (tuple(example) if isinstance(example, (tuple, list)) else (example,)), {}
    call = inspect.signature(net.forward)
    try:
        call.bind(**example)
    except TypeError:
        try:
            call.bind(example)
        except TypeError:
            return (), dict(example)  # the call itself says what is wrong
        return (example,), {}
    return (), dict(example)


def padding_of(net: nn.Module, inputs: tuple[Any, ...], keywords: Mapping[str, Any]) -> Tensor | None:
    """True where a position is padding ``[B, T]``.

    From the masks that transformers take by keyword or in a mapping, or from the token ids where the network has a
    `padding_index`.
    """
    named = inputs[0] if inputs and isinstance(inputs[0], Mapping) else keywords
    if isinstance(mask := named.get("attention_mask"), Tensor):
        return mask == 0
    if isinstance(mask := named.get("src_key_padding_mask"), Tensor):
        return mask.bool() if not mask.is_floating_point() else mask == float("-inf")
    index = getattr(net, "padding_index", None)
    return inputs[0] == index if isinstance(index, int) and inputs and isinstance(inputs[0], Tensor) else None
