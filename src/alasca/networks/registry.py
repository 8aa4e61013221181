"""Which network a name means."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from torch import nn

from alasca.errors import InputError
from alasca.networks.libraries import hf_network, hf_tokenizer, keep_hf, timm_network, torchvision_network
from alasca.networks.resnet import (
    preact_resnet18,
    resnet10_narrow,
    resnet18,
    resnet18_narrow,
    resnet32,
    resnet34,
    wrn28_4,
)
from alasca.networks.small import Perceptron, SmallResNet, kaiming
from alasca.networks.text import TextBag, TextTransformer, Tokens
from alasca.networks.vgg import vgg19, vgg19_bn
from alasca.values import nearest


class Wanted(NamedTuple):
    """What a network must read and tell apart: one sample's shape, classes, what token ids mean, published weights."""

    shape: tuple[int, ...]
    num_classes: int
    tokens: Tokens | None
    pretrained: bool

    @property
    def kind(self) -> str:
        """What samples are."""
        return "texts" if self.tokens is not None else "pictures" if len(self.shape) == 3 else "rows of numbers"


def small_resnet(channels: int, num_classes: int) -> nn.Module:
    """Three residual blocks of width 32, 64, 128: small pictures"""
    return SmallResNet(channels, num_classes)


def mlp(width: int, num_classes: int) -> nn.Module:
    """Three hidden layers of 256 with dropout: rows of numbers"""
    return Perceptron(width, num_classes)


def text_bag(length: int, num_classes: int, tokens: Tokens) -> nn.Module:
    """Words, pairs of words and a hidden layer, from scratch: texts"""
    return TextBag(tokens, num_classes)


def text_transformer(length: int, num_classes: int, tokens: Tokens) -> nn.Module:
    """Four encoder layers of width 64, from scratch: texts"""
    return TextTransformer(tokens, length, num_classes)


PICTURES: dict[str, Callable[[int, int], nn.Module]] = {
    "small-resnet": small_resnet, "resnet10-narrow": resnet10_narrow,
    "resnet18": resnet18, "resnet18-narrow": resnet18_narrow, "resnet32": resnet32, "resnet34": resnet34,
    "preact-resnet18": preact_resnet18, "wrn28-4": wrn28_4, "vgg19-bn": vgg19_bn, "vgg19": vgg19,
}  # fmt: skip
PICTURES |= {f"{name}-kaiming": kaiming(PICTURES[name]) for name in ("small-resnet", "resnet10-narrow", "resnet34")}
"""Networks for pictures, called with (channels, classes)."""
TEXTS: dict[str, Callable[[int, int, Tokens], nn.Module]] = {"text-bag": text_bag, "text-transformer": text_transformer}
NETWORKS: dict[str, Callable[..., nn.Module]] = {**PICTURES, "mlp": mlp, **TEXTS}
"""Networks of our own, called with what one sample's first axis is long, and the number of classes."""
LIBRARIES: dict[str, tuple[str, Callable[[str, Wanted], nn.Module]]] = {
    "timm": ("pictures", lambda name, want: timm_network(name, want.shape, want.num_classes, want.pretrained)),
    "torchvision": (
        "pictures",
        lambda name, want: torchvision_network(name, want.shape, want.num_classes, want.pretrained),
    ),
    "hf": ("texts", lambda name, want: hf_network(name, want.num_classes, want.tokens, want.pretrained)),
}
"""What networks of other libraries read, and how they are made."""
OTHERS = {
    "timm:NAME": "any picture network of timm",
    "torchvision:NAME": "any classifier of torchvision",
    "hf:NAME": "a text classifier of transformers, with its tokenizer: a folder or a name in the cache",
    "package.module:callable": "your own, called with num_classes=K (and shape=, tokens= where it takes them)",
}
READS = {"pictures": "small-resnet", "rows of numbers": "mlp", "texts": "text-bag"}
"""The network that ``auto`` means for each kind of input."""


def create_network(
    name: str, shape: tuple[int, ...], num_classes: int, tokens: Tokens | None = None, pretrained: bool = False
) -> nn.Module:
    """A network by name.

    Args:
        name: see `NETWORKS` and `OTHERS`, or ``auto``. A callable of one's own is called with ``num_classes=...`` and,
            where it takes them, ``shape=...`` (one sample's), ``tokens=...`` (see `Tokens`) and ``pretrained=...``.
        shape: of one sample's input.
        num_classes: K.
        tokens: what token ids mean; None where the samples are no texts.
        pretrained: start from published weights, for networks of other libraries.

    Raises:
        InputError: no such network, or one for other inputs.
    """
    want = Wanted(shape, num_classes, tokens, pretrained)
    name = named_network(name, want.kind)
    library, colon, rest = name.partition(":")
    if colon and library not in LIBRARIES:
        return own_network(name, want)
    if colon:
        reads, make = LIBRARIES[library]
        check_kind(name, reads, want)
        return make(rest, want)
    if name not in NETWORKS:
        hint = nearest(name, NETWORKS, f"expected one of {', '.join([*NETWORKS, *OTHERS])}")
        hint = hint.replace("?", f", or another library's, such as timm:{name}?") if hint.endswith("?") else hint
        raise InputError(f"network: {name!r} is unknown; {hint}")
    if pretrained:
        raise InputError(f"pretrained: there are no published weights of {name}; try e.g. --network timm:resnet50")
    reads = "texts" if name in TEXTS else "pictures" if name in PICTURES else "rows of numbers"
    check_kind(name, reads, want)
    return NETWORKS[name](shape[0], num_classes, *([] if tokens is None else [tokens]))


def named_network(name: str, kind: str) -> str:
    """What ``auto`` means for ``"pictures"``, ``"rows of numbers"`` (or ``"numbers"``) and ``"texts"``."""
    return READS["rows of numbers" if kind == "numbers" else kind] if name == "auto" else name


def check_kind(name: str, reads: str, want: Wanted) -> None:
    """Raise `InputError` where a network reads other samples than these."""
    if reads != want.kind:
        raise InputError(
            f"network: {name} reads {reads}, the data are {want.kind} {list(want.shape)}; try {READS[want.kind]}"
        )


def text_tokenizer(name: str) -> tuple[Callable[[str], list[int]], Tokens] | None:
    """A network's own tokenizer, and what its numbers mean; None where any vocabulary will do."""
    library, _, rest = name.partition(":")
    return hf_tokenizer(rest) if library == "hf" else None


def keep_network(name: str, folder: Path) -> None:
    """Write what a network is made from, where no library has that: ``hf:{folder}`` then names the same network."""
    library, _, rest = name.partition(":")
    if library == "hf":
        keep_hf(rest, folder)


def is_own(name: str) -> bool:
    """Whether a name is that of a callable of somebody's own, which is code that runs."""
    library, colon, _ = name.partition(":")
    return bool(colon) and library not in LIBRARIES


def require_named(name: str, again: str | None, where: str, mend: str) -> None:
    """Raise `InputError` where a file names a network of somebody's own and the person who reads it does not.

    Args:
        name: the network in the file.
        again: the one that the person names, if any.
        where: the file.
        mend: what to type, with ``{!r}`` or ``{}`` in the place of the network.
    """
    if again is None and is_own(name):
        raise InputError(
            f"network: {where} names {name}, which is code that would run; if you trust it, name it again: "
            f"{mend.format(name)}"
        )
    if again is not None and again != name:
        raise InputError(f"network: {again!r}, but {where} names {name!r}")


def not_imported(name: str, error: Exception) -> InputError:
    """What to say of a user's network that can't be imported."""
    why = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return InputError(f"network: {name!r} can't be imported ({why}); expected package.module:name")


def own_network(name: str, want: Wanted) -> nn.Module:
    """The module that a user's ``package.module:name`` returns; the current folder is searched too."""
    module_name, _, attribute = name.partition(":")
    before = list(sys.path)
    sys.path.append(os.getcwd())
    try:
        try:
            make = getattr(importlib.import_module(module_name), attribute)
        except Exception as error:  # whatever a module of the user's does when it is imported
            raise not_imported(name, error) from error
        takes = inspect.signature(make).parameters
        offered = {"shape": want.shape, "tokens": want.tokens, "pretrained": want.pretrained}
        try:
            made = make(num_classes=want.num_classes, **{key: value for key, value in offered.items() if key in takes})
        except ImportError as error:  # it may import what it needs only now
            raise not_imported(name, error) from error
    finally:
        sys.path[:] = before
    if not isinstance(made, nn.Module):
        raise InputError(f"network: {name!r} returned {type(made).__name__}; expected a torch.nn.Module")
    return made
