"""A method around another one: forwards everything that `Method` has, so that it defines only what it changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from alasca.core.method import Method, Trained


class MethodWrapper(Method):
    """Does what `method` does. A subclass overrides what it adds; a hook that `Method` gains is forwarded too.

    Args:
        method: the method that is wrapped.

    >>> class Louder(MethodWrapper):
    ...     def step(self, nets, batches, phase, clock):
    ...         step = self.method.step(nets, batches, phase, clock)
    ...         return step._replace(loss=2 * step.loss)
    """

    method: Method

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def trained(self) -> Sequence[Trained]:
        """What the wrapped method trains, and the wrapper's own parameters."""
        inner = {id(parameter) for parameter in self.method.parameters()}
        own = [p for p in self.parameters() if p.requires_grad and id(p) not in inner]
        return [*self.method.trained(), *([Trained(own)] if own else [])]


def forwarded(name: str, value: object) -> Any:
    """The wrapped method's attribute of that name: a hook, or a trait as a property."""
    if not callable(value):
        return property(lambda self: getattr(self.method, name))

    def call(self: MethodWrapper, *arguments: Any, **keywords: Any) -> Any:
        hook: Callable[..., Any] = getattr(self.method, name)
        return hook(*arguments, **keywords)

    call.__name__, call.__doc__ = name, value.__doc__
    return call


for each, default in list(vars(Method).items()):
    if not each.startswith("_") and each not in ("presets", "epoch_options", *vars(MethodWrapper)):
        setattr(MethodWrapper, each, forwarded(each, default))
