"""Numbers of each sample by a frozen network that was trained on other data: what ``--features`` reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from alasca.data import Task, Texts
from alasca.data.legacy import first_sentence
from alasca.engine import resolve_device
from alasca.errors import InputError
from alasca.networks.libraries import library, weights

BATCH = 64


class Backbone(NamedTuple):
    """A network without its classifier.

    Attributes:
        kind: what it reads: ``"pictures"`` or ``"texts"``.
        side: of its pictures; 0 for texts.
        embed: a batch (pictures ``[B, C, H, W]`` uint8, or texts) to ``[B, D]``.
    """

    kind: str
    side: int
    embed: Callable[[Any], Tensor]


def backbone(name: str, file: Path | None = None, device: str = "auto", max_length: int = 128) -> Backbone:
    """A network of timm (pictures) or transformers (texts), with published or local weights.

    Args:
        name: ``"timm:NAME"``, or ``"hf:NAME"`` where NAME may be a folder.
        file: weights of a timm network, its state dict as safetensors; None: the published ones, which timm loads
            from its cache or the network.
        device: as `Place` takes it.
        max_length: tokens of a text that are read.

    Raises:
        InputError: no such network, or weights that can't be had or don't fit.
    """
    where, (kind, _, rest) = resolve_device(device), name.partition(":")
    if kind == "timm" and rest:
        return of_timm(rest, file, where)
    if kind == "hf" and rest:
        if file is not None:
            raise InputError("weights: only for timm networks; hf:FOLDER has its weights beside its configuration")
        return of_transformers(rest, where, max_length)
    raise InputError(f"network: {name}: expected timm:NAME for pictures, or hf:NAME for texts")


def of_timm(name: str, file: Path | None, device: torch.device) -> Backbone:
    """Pooled features of a picture network; pictures are resized and scaled as it was trained."""
    timm = library("timm")
    if not timm.is_model(name.partition(".")[0]):
        near = timm.list_models(f"*{name[:8]}*")[:3]
        raise InputError(f"network: timm has no model {name!r}; near it: {', '.join(near) or 'none'}")
    net: nn.Module = weights(
        lambda: timm.create_model(name, pretrained=file is None, num_classes=0), f"timm:{name} with published weights"
    )
    if file is not None:
        load_weights(net, file, f"timm:{name}")
    net = net.eval().to(device)
    known = timm.data.resolve_model_data_config(net)
    channels, side = known["input_size"][0], known["input_size"][-1]
    mean, std = (torch.tensor(known[part], device=device).view(1, -1, 1, 1) for part in ("mean", "std"))

    def embed(pictures: Tensor) -> Tensor:
        values = pictures.to(device).float() / 255
        if values.shape[1] == 1:
            values = values.expand(-1, channels, -1, -1)
        if values.shape[1] != channels:
            raise InputError(f"embed: pictures have {values.shape[1]} channels, timm:{name} reads {channels}")
        if values.shape[2:] != (side, side):
            values = F.interpolate(values, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
        found: Tensor = net((values - mean) / std)
        return found.flatten(1)

    return Backbone("pictures", side, embed)


def load_weights(net: nn.Module, file: Path, name: str) -> None:
    """Load a state dict from a file; nothing in it is executed, and a classifier's weights are left out.

    Raises:
        InputError: no such file, or it is another network's.
    """
    if not file.is_file():
        raise InputError(f"weights: no such file: {file}")
    try:
        state = load_file(file)
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(
            f"weights: {file} is no file of safetensors ({first_sentence(error)}); write yours with "
            "safetensors.torch.save_file(net.state_dict(), FILE)"
        ) from error
    own = net.state_dict()
    if odd := [key for key in own if key not in state or state[key].shape != own[key].shape]:
        raise InputError(
            f"weights: {file} has no {odd[0]} of shape {list(own[odd[0]].shape)}, nor {len(odd) - 1:,} more of {name}; "
            "expected a state of that network"
        )
    net.load_state_dict({key: state[key] for key in own})


def of_transformers(name: str, device: torch.device, max_length: int) -> Backbone:
    """Mean of the last hidden states over a text's tokens."""
    transformers = library("transformers")
    tokenizer = weights(lambda: transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=False), f"hf:{name}")
    net = weights(lambda: transformers.AutoModel.from_pretrained(name, trust_remote_code=False), f"hf:{name}")
    if tokenizer.pad_token_id is None:
        raise InputError(f"network: the tokenizer of hf:{name} has no padding token; give it one and save it anew")
    net = net.float().eval().to(device)

    def embed(texts: Sequence[str]) -> Tensor:
        read = tokenizer(list(texts), padding=True, truncation=True, max_length=max_length, return_tensors="pt")
        ids, mask = read["input_ids"].to(device), read["attention_mask"].to(device)
        hidden: Tensor = net(input_ids=ids, attention_mask=mask).last_hidden_state
        mean: Tensor = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        return mean

    return Backbone("texts", 0, embed)


def embedded_task(task: Task, network: Backbone) -> np.ndarray:
    """Numbers of a task's samples, in their order ``[N, D]``, float32.

    Raises:
        InputError: it reads something else.
    """
    inputs = task.inputs
    kind = "texts" if isinstance(inputs, Texts) else "pictures" if inputs.dtype == torch.uint8 else "rows of numbers"
    if kind != network.kind:
        raise InputError(f"network: it reads {network.kind}, but the data are {kind}")

    def batches() -> Iterator[Any]:
        for start in range(0, len(task.ids), BATCH):
            if isinstance(inputs, Texts):
                yield inputs.values[start : start + BATCH]
            else:
                yield inputs[torch.arange(start, min(start + BATCH, len(task.ids)))]

    return embedded_batches(batches(), network)


def embedded_batches(batches: Iterator[Any], network: Backbone) -> np.ndarray:
    """Numbers of some samples ``[N, D]``, float32."""
    with torch.inference_mode():
        found = [network.embed(batch).float().cpu() for batch in batches]
    return torch.cat(found).numpy()
