"""Networks of other libraries by name: timm, torchvision, and Hugging Face transformers for texts."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from alasca.errors import InputError, missing
from alasca.networks.text import Tokens

EXTRAS = {"timm": "timm", "torchvision": "timm", "transformers": "hf"}
"""Which extra brings a library."""


def library(name: str) -> ModuleType:
    """An optional library.

    Raises:
        InputError: it is missing or broken; the message says what to type.
    """
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError, OSError) as error:
        raise InputError(f"network: {missing(name, EXTRAS[name], error)}") from error


def timm_network(name: str, shape: tuple[int, ...], num_classes: int, pretrained: bool) -> nn.Module:
    """A picture network of timm, with a new classifier."""
    timm = library("timm")
    if name not in timm.list_models() and not timm.is_model(name.partition(".")[0]):
        near = timm.list_models(f"*{name[:8]}*")[:3]
        raise InputError(f"network: timm has no model {name!r}; near it: {', '.join(near) or 'none'}")
    net: nn.Module = weights(
        lambda: timm.create_model(name, pretrained=pretrained, num_classes=num_classes, in_chans=shape[0]), name
    )
    known = getattr(net, "pretrained_cfg", None) or {}
    if known.get("fixed_input_size"):
        require_side(f"timm:{name}", shape, known["input_size"][-1])
    return net


def require_side(name: str, shape: tuple[int, ...], side: int) -> None:
    """Raise `InputError` where a network of a fixed size is to read pictures of another."""
    if shape[1:] != (side, side):
        raise InputError(
            f"network: {name} reads pictures of {side}x{side} only, these are {shape[1]}x{shape[2]}; add --image-size "
            f"{side} where they are files (arrays are to be resized to that)"
        )


def torchvision_network(name: str, shape: tuple[int, ...], num_classes: int, pretrained: bool) -> nn.Module:
    """A picture network of torchvision, with a new classifier and no auxiliary ones.

    Built alike with and without published weights, so that a saved state fits either.
    """
    models = library("torchvision").models
    if name not in models.list_models():
        near = [known for known in models.list_models() if known.startswith(name[:5])][:3]
        raise InputError(f"network: torchvision has no model {name!r}; near it: {', '.join(near) or 'none'}")
    own = {}
    if name in ("googlenet", "inception_v3"):
        own = {"aux_logits": False, "transform_input": True, "init_weights": not pretrained}
    net: nn.Module = models.get_model(name, weights=None, num_classes=num_classes, **own)
    if isinstance(side := getattr(net, "image_size", None), int):
        require_side(f"torchvision:{name}", shape, side)
    if not pretrained:
        return net
    published = weights(lambda: models.get_model(name, weights="DEFAULT"), name).state_dict()
    state = net.state_dict()
    fitting = {key: published[key] for key in state if published[key].shape == state[key].shape}  # not the classifier
    net.load_state_dict(fitting, strict=False)
    return net


def weights(make: Callable[[], Any], name: str) -> Any:
    """Make a network whose weights may come from a cache or a network.

    Raises:
        InputError: they can't be had.
    """
    try:
        return make()
    except (OSError, RuntimeError, ValueError, KeyError, ImportError) as error:
        raise InputError(f"network: {name} can't be made ({' '.join(str(error).split())[:200]})") from error


class TextModel(nn.Module):
    """A transformers model that takes token ids alone, and makes the mask from its padding token.

    `padding_index` tells sub-classifiers which tokens are no words.
    """

    def __init__(self, model: nn.Module, padding: int) -> None:
        super().__init__()
        self.model = model
        self.padding_index = padding

    def forward(self, tokens: Tensor) -> Tensor:
        """Token ids ``[B, T]`` to logits ``[B, K]``."""
        mask = (tokens != self.padding_index).long()
        logits: Tensor = self.model(input_ids=tokens, attention_mask=mask).logits
        return logits


def hf_network(name: str, num_classes: int, tokens: Tokens | None, pretrained: bool) -> nn.Module:
    """A text classifier of transformers: from a folder or the cache, with its weights or from scratch."""
    transformers = library("transformers")

    def make() -> Any:
        auto = transformers.AutoModelForSequenceClassification
        if pretrained:
            return auto.from_pretrained(name, num_labels=num_classes, trust_remote_code=False)
        config = transformers.AutoConfig.from_pretrained(name, num_labels=num_classes, trust_remote_code=False)
        return auto.from_config(config, trust_remote_code=False)

    assert tokens is not None, "a network of texts is made for token ids"
    model: nn.Module = weights(make, f"hf:{name}")
    return TextModel(model.float(), tokens.padding)  # a checkpoint in half precision says so in its config


def keep_hf(name: str, folder: Path) -> None:
    """Write a transformers model's configuration and tokenizer into a folder."""
    transformers = library("transformers")
    for auto in (transformers.AutoConfig, transformers.AutoTokenizer):
        auto.from_pretrained(name, trust_remote_code=False).save_pretrained(folder)


def hf_tokenizer(name: str) -> tuple[Callable[[str], list[int]], Tokens]:
    """The tokenizer of a transformers model, and what its numbers mean."""
    transformers = library("transformers")
    tokenizer = weights(lambda: transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=False), f"hf:{name}")
    if tokenizer.pad_token_id is None:
        raise InputError(f"network: the tokenizer of hf:{name} has no padding token; give it one and save it anew")

    def tokens(text: str) -> list[int]:
        found: list[int] = tokenizer(text)["input_ids"]
        return found

    return tokens, Tokens(len(tokenizer), int(tokenizer.pad_token_id), tokenizer.unk_token_id)
