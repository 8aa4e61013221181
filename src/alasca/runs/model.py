"""The model that a run ends with: networks with their sub-classifiers, and what turns raw samples into their inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from alasca.core import Method, Problem, own_tensors
from alasca.data import Samples, Transform
from alasca.data.raw import read_raw
from alasca.data.split import Tokenizer
from alasca.errors import InputError
from alasca.methods import method_of
from alasca.networks import Tokens, create_network, require_named, text_tokenizer
from alasca.recipe import Recipe
from alasca.runs.folder import Json, RunFolder
from alasca.runs.reading import FORMAT
from alasca.surgery import OutputNet, set_arithmetic

BATCH = 512


def model_tensors(method: Method, nets: Sequence[nn.Module]) -> dict[str, Tensor]:
    """All that predictions depend on: the networks, and the method's own parameters with the buffers beside them."""
    found = {f"net/{k}/{name}": value for k, net in enumerate(nets) for name, value in net.state_dict().items()}
    return found | {f"method/{name}": value for name, value in own_tensors(method).items()}


def describe_model(
    recipe: Recipe, samples: Samples, classes: Sequence[str], shape: Sequence[int], channels_last: bool
) -> Json:
    """What `model.json` holds: no folder of the machine that trained."""
    return {
        "format": FORMAT, "recipe": recipe.identity(), "classes": list(classes), "shape": list(shape),
        "raw_shape": list(samples.inputs.shape[1:]), "channels_last": channels_last and len(shape) == 3,
        "transform": samples.transform.as_json(),
    }  # fmt: skip


def own_tokenizer(recipe: Recipe) -> Tokenizer | None:
    """The tokenizer of a recipe's network; None where it has none of its own."""
    found = text_tokenizer(recipe.network)
    return None if found is None else Tokenizer(found[0], found[1].size, found[1].padding, unknown=found[1].unknown)


def tokens_of(transform: Transform) -> Tokens | None:
    """What token ids mean; None where samples are no texts."""
    return Tokens(transform.tokens, transform.padding) if transform.kind == "texts" else None


@dataclass(frozen=True)
class Model:
    """A trained model, ready to predict: ``alasca.load("runs/photos").predict(["a.jpg", "b.jpg"])``.

    Attributes:
        classes: class names; columns of predictions are in their order.
        method: whose predictions they are.
        nets: its networks, in eval mode.
        transform: what turns raw samples into what the networks read.
        raw_shape: of one sample before that.
        tokenizer: of texts.
    """

    classes: tuple[str, ...]
    method: Method
    nets: list[nn.Module]
    transform: Transform
    raw_shape: tuple[int, ...]
    tokenizer: Tokenizer | None = None

    def predict(self, inputs: Any, prediction: str | None = None) -> np.ndarray:
        """Probabilities of the classes ``[N, K]``.

        Args:
            inputs: pictures (paths, arrays or tensors of bytes), rows of numbers (an array, tensor or data frame with
                the columns of the training table), or texts; as the run was trained on.
            prediction: ``"main"``, ``"average"``, ``"all"`` or ``"sub"`` where the method has such; None: the run's.

        Raises:
            InputError: inputs of another kind or shape, or no such prediction.
        """
        values = self.read(inputs)
        parts = []
        with torch.no_grad():
            for start in range(0, len(values), BATCH):
                rows = torch.arange(start, min(start + BATCH, len(values)))
                view = self.transform.view(values[rows], "plain", rows)
                found = self.method.predictions([net(view) for net in self.nets])
                kind = prediction or self.method.prediction
                if kind not in found:
                    raise InputError(f"predict: {kind!r}, expected one of {', '.join(found)}")
                parts.append(found[kind].exp())
        probabilities: np.ndarray = torch.cat(parts).numpy() if parts else np.zeros((0, len(self.classes)))
        return probabilities

    def read(self, inputs: Any) -> Tensor:
        """Samples as they are kept, which exported models read: ``[N, C, H, W]`` bytes, ``[N, D]`` numbers or
        ``[N, T]`` token ids.

        Args:
            inputs: see `predict`.

        Raises:
            InputError: inputs of another kind or shape.
        """
        values = read_raw(self.transform, inputs, None if self.tokenizer is None else self.tokenizer.tokens)
        if len(values) and values.shape[1:] != self.raw_shape:
            raise InputError(
                f"predict: samples are {list(values.shape[1:])}, but those of the run were {list(self.raw_shape)}"
            )
        return values

    def labels(self, inputs: Any, prediction: str | None = None) -> list[str]:
        """The likeliest class of each sample, by name; see `predict`."""
        return [self.classes[k] for k in self.predict(inputs, prediction).argmax(1).tolist()]


def load(folder: str | Path, network: str | None = None) -> Model:
    """The model of a finished run's folder, on the CPU.

    Args:
        folder: of the run.
        network: the run's, where that is ``module:callable``: a folder that is read imports nothing of its own accord.

    Raises:
        InputError: no finished run there, files that do not fit together, or a network that is not named again.
    """
    run = RunFolder.open(Path(folder))
    tensors, described = run.model()
    recipe, transform = Recipe.from_json(described["recipe"]), Transform.from_json(described["transform"])
    require_named(recipe.network, network, str(run.path / "model.json"), "load(folder, network={!r})")
    classes, shape, last = tuple(described["classes"]), tuple(described["shape"]), described["channels_last"]
    raw_shape = tuple(described["raw_shape"])
    if recipe.network.startswith("hf:"):
        recipe = replace(recipe, network=f"hf:{run.network}")
    tokenizer = None
    if transform.kind == "texts":
        tokenizer = own_tokenizer(recipe) if transform.words is None else Tokenizer.of_words(transform.words)
    method, nets = method_of(recipe), []
    example = torch.zeros(2, *shape) if transform.kind != "texts" else torch.ones(2, *shape, dtype=torch.int64)
    problem = Problem(1, len(classes), example, recipe.epochs, recipe.seed)
    with torch.random.fork_rng(devices=[]):
        for _ in range(method.networks):
            made = create_network(recipe.network, shape, len(classes), tokens_of(transform))
            net = method.attach(OutputNet(made, example=example, num_classes=len(classes)), problem)
            set_arithmetic(net, recipe.precision, last)
            nets.append(net.eval())
        method.begin(nets, problem)
    own = {name.removeprefix("method/"): value for name, value in tensors.items() if name.startswith("method/")}
    try:
        for k, net in enumerate(nets):
            prefix = f"net/{k}/"
            state = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
            net.load_state_dict(state, strict=True)
        if odd := own.keys() ^ own_tensors(method).keys():
            raise RuntimeError(f"lacks or should not have {', '.join(sorted(odd))}")
        method.load_state_dict(own, strict=False)
    except RuntimeError as error:
        raise InputError(
            f"{run.path}: model.safetensors does not fit model.json ({' '.join(str(error).split())})"
        ) from error
    return Model(classes, method.eval(), nets, transform, raw_shape, tokenizer)
