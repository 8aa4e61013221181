"""Every setting once: `Recipe` holds what decides a run's result, `Place` where and how it is computed.

The command line, files of settings, run folders and tables of runs are made from these two classes. Whoever runs one
recipe on the same data gets the same result (up to rounding on other hardware); recipes of equal `digest` are such.
Nothing here imports torch.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from alasca.errors import InputError
from alasca.values import as_meant, check

DATA, FILES, METHOD, TRAINING, RUN = "Data", "Files and tables", "Method", "Training", "Run"
SOMEWHERE = ("folder", "table", "npz", "npy", "hf", "file", "matrix")
"""Kinds of data and noise whose argument says where they are, not what they are."""


def setting(group: str, default: Any, help: str, **limits: Any) -> Any:
    """A field with all that is known of it.

    Args:
        group: heading in the command line's help.
        default: its value where nobody says otherwise.
        help: a line for people.
        limits: ``least``, ``most``, ``above``, ``below`` (numbers), ``among`` (values).
    """
    return field(default=default, metadata={"group": group, "help": help, **limits})


@functools.cache
def types_of(owner: type) -> Mapping[str, Any]:
    """Types of a class's settings."""
    return typing.get_type_hints(owner)


class Checked:
    """Settings whose types and ranges are checked when they are made."""

    def __post_init__(self) -> None:
        hints = types_of(type(self))  # type: ignore[arg-type]  # a class is hashable, whatever its instances are
        for each in dataclasses.fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            value = getattr(self, each.name)
            value = value.item() if hasattr(value, "dtype") and not value.ndim else value  # a number of NumPy's
            if each.metadata:
                check(each.name.replace("_", "-"), value, hints[each.name], each.metadata)
                object.__setattr__(self, each.name, as_meant(value, hints[each.name]))  # 1 and 1.0 are one recipe

    def as_json(self) -> dict[str, Any]:
        """Values that JSON can hold; `from_json` is the inverse."""
        return {each.name: plain(getattr(self, each.name)) for each in dataclasses.fields(self)}  # type: ignore[arg-type]  # as above

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `as_json` through JSON.

        Raises:
            InputError: fields are missing, unknown or out of range.
        """
        names = [each.name for each in dataclasses.fields(cls)]  # type: ignore[arg-type]  # as above
        wrong = sorted(set(value) ^ set(names))
        if wrong:
            raise InputError(f"{cls.__name__.lower()}: settings are not those of this version ({', '.join(wrong)})")
        return cls(**{name: restored(part) for name, part in value.items()})


LATER = {"group": None, "features": None, "augment": "weak", "balance": 0.0}
"""Settings that came after others, and what each was before; where they are that, a recipe is named as it was then."""


@dataclass(frozen=True)
class Recipe(Checked):
    """All that decides a run's result, beside the data themselves. Frozen; `digest` names it.

    Every field is an option of ``alasca train`` of its name; its metadata hold its help and range. None, and
    ``"auto"``, mean what suits data and method; a run resolves them before it begins and keeps what it chose.
    """

    data: str = setting(DATA, "digits", "digits, cifar10, folder:DIR, table:FILE, ...; see alasca list data.")
    noise: str = setting(DATA, "none", "Wrong labels to make: symmetric:R, ...; see alasca list noise.")
    noise_seed: int | None = setting(DATA, None, "Of the noise. Default: the run's.", least=0)
    limit: int | None = setting(DATA, None, "At most so many samples, class-balanced.", least=2)
    epoch_samples: int | None = setting(
        DATA, None, "Train on so many an epoch, class-balanced, drawn anew each time.", least=2
    )
    val_fraction: float | None = setting(
        DATA, None, "Share held out. Default: 0.1 without a test set or for noisy-val, else 0.", least=0, below=1
    )
    shift: int | None = setting(DATA, None, "Pixels that training shifts pictures by.", least=0)
    flip: bool | None = setting(DATA, None, "Whether training mirrors pictures.")
    augment: str = setting(
        DATA, "weak", "Views of pictures in training: weak (shift, mirror), strong (two more changes and a gap) or "
        "randaugment (one, and a larger gap).", among=("weak", "strong", "randaugment"),
    )  # fmt: skip
    balance: float = setting(
        DATA, 0.0, "How much more rare classes count: 0 no more, 0.5 by the root, 1 all classes alike.", least=0, most=1
    )

    image_size: int | None = setting(
        FILES, None, "Side to which pictures are resized. Default: 32, or the source's.", least=4
    )
    crop: int | None = setting(FILES, None, "Side of the part of them that a network sees.", least=4)
    on_bad_image: str = setting(
        FILES, "fatal", "fatal, skip (leave it out) or blank (keep its row, never train on it).",
        among=("fatal", "skip", "blank"),
    )  # fmt: skip
    input: str | None = setting(FILES, None, "Column of a table's pictures or texts, or a,b,c of numbers.")
    label: str = setting(FILES, "label", "Column of a table's labels.")
    true: str | None = setting(FILES, None, "Column of true labels, for evaluation only.")
    id: str | None = setting(FILES, None, "Column of sample ids.")
    group: str | None = setting(FILES, None, "Column of groups, none of which is split: one product's photos.")
    split: str | None = setting(FILES, None, "Column that says train, test or validation.")
    labels: str | None = setting(FILES, None, "Table of id and label: labels in the place of the data's own.")
    features: str | None = setting(
        FILES, None, "Numbers of each sample (.npy, or .npz with ids and x) that are read instead of the inputs."
    )
    missing_label: str | None = setting(
        FILES, None, "What says that there is no label. Default: nothing, NaN, None, N/A."
    )
    normalise_labels: bool = setting(FILES, False, "Join labels that differ in space, case or as 1 and 1.0 do.")
    classes_are_splits: bool = setting(FILES, False, "Folders train, test, ... are classes all the same.")
    train_split: str | None = setting(FILES, None, "Split of a Hugging Face set to train on. Default: train.")
    test_split: str | None = setting(FILES, None, "Split of it to test on. Default: test, or validation.")
    max_length: int = setting(FILES, 128, "Tokens of a text that are read.", least=2)

    method: str = setting(METHOD, "ce", "Method for the main classifier; see alasca list.")
    alasca: bool = setting(METHOD, True, "Wrap the method in ALASCA.")
    options: Mapping[str, Any] = field(default_factory=dict, metadata={
        "group": METHOD, "set": True,
        "help": "Option name=value; the wrapper's as alasca.name=value. Repeatable.",
    })  # fmt: skip
    preset: str | None = setting(METHOD, None, "Options; see alasca list methods --verbose.")
    network: str = setting(METHOD, "auto", "auto, resnet34, timm:NAME, ..., or package.module:callable of your own.")
    pretrained: bool = setting(METHOD, False, "Start from published weights.")

    epochs: int = setting(TRAINING, 60, "Passes over the data.", least=1)
    batch_size: int = setting(TRAINING, 64, "Samples a step, over all processes.", least=2)
    optimizer: str = setting(TRAINING, "sgd", "sgd or adamw.", among=("sgd", "adamw"))
    lr: float = setting(TRAINING, 0.05, "Initial (onecycle: highest) learning rate.", above=0)
    momentum: float = setting(TRAINING, 0.9, "Of SGD.", least=0, below=1)
    weight_decay: float = setting(TRAINING, 5e-4, "L2 for SGD, decoupled for AdamW; on all parameters.", least=0)
    schedule: str = setting(
        TRAINING,
        "cosine",
        "cosine, restarts, step, constant or onecycle.",
        among=("cosine", "restarts", "step", "constant", "onecycle"),
    )
    milestones: tuple[int, ...] = setting(TRAINING, (40, 80), "Epochs at which step divides.", least=1)
    restart_epochs: int = setting(TRAINING, 10, "Epochs of each cosine of restarts.", least=1)
    lr_min: float = setting(TRAINING, 0.0, "Where the learning rate of cosine and restarts ends.", least=0)
    lr_decay: float = setting(TRAINING, 0.01, "What step multiplies by.", above=0)
    clip: float | None = setting(TRAINING, None, "Largest gradient norm of a network.", above=0)
    accumulate: int = setting(TRAINING, 1, "Micro-batches an optimiser step.", least=1)
    precision: str = setting(
        TRAINING, "auto", "auto (bf16 on a GPU that has it, else float32), float32, bf16 or fp16.",
        among=("auto", "float32", "bf16", "fp16"),
    )  # fmt: skip
    select: str | None = setting(
        TRAINING, None, "Epoch: last or noisy-val; else the method's.", among=(None, "last", "noisy-val")
    )
    seed: int = setting(TRAINING, 0, "Of everything random.", least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "options", dict(self.options))
        if odd := [name for name in self.options if not isinstance(name, str)]:
            raise InputError(f"set: {odd[0]!r}, expected the name of an option")
        if self.image_size is not None and self.crop is not None and self.crop > self.image_size:
            raise InputError(f"crop: {self.crop}, expected at most image-size ({self.image_size})")
        if self.lr_min > self.lr:
            raise InputError(f"lr-min: {self.lr_min}, expected at most lr ({self.lr})")

    def own_options(self) -> dict[str, Any]:
        """Options of the method."""
        return {name: value for name, value in self.options.items() if not name.startswith("alasca.")}

    def wrapper_options(self) -> dict[str, Any]:
        """Options of the wrapper, without their prefix."""
        return {name[7:]: value for name, value in self.options.items() if name.startswith("alasca.")}

    @property
    def title(self) -> str:
        """A short name for people."""
        return f"{self.method}{' + ALASCA' if self.alasca else ''}"

    def identity(self) -> dict[str, Any]:
        """What decides the result: no path, no folder. What lies there is the data's own digest to say."""
        found = self.as_json()
        for name in ("data", "noise"):
            kind = found[name].partition(":")[0]
            found[name] = kind if kind in SOMEWHERE else found[name]
        library, _, path = found["network"].partition(":")
        if library == "hf" and path.startswith(("/", ".", "~")):
            found["network"] = f"hf:./{path.rstrip('/').rpartition('/')[2]}"
        found["options"] = {name: value for name, value in found["options"].items() if not name.endswith("_dir")}
        found["labels"] = None if self.labels is None else "table"
        found["features"] = None if self.features is None else "array"
        for name, before in LATER.items():
            if found[name] == before:
                del found[name]
        return found

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `as_json` and of `identity` through JSON."""
        return super().from_json({**LATER, **value})

    def digest(self) -> str:
        """sha256 of the identity: equal wherever the run is made, different for all that changes a result.

        >>> Recipe(data="folder:a").digest() == Recipe(data="folder:b").digest() != Recipe(lr=1.0).digest()
        True
        """
        return hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Place(Checked):
    """Where and how a run is computed: nothing that decides its result, up to rounding."""

    data_dir: str | None = setting(FILES, None, "Where published data are. Default: $ALASCA_DATA.")
    in_memory: bool | None = setting(FILES, None, "Hold pictures in memory. Default: where they take below one GiB.")
    workers: int | None = setting(FILES, None, "Processes that decode. Default: one a core, 8 at most.", least=0)
    checksums: bool = setting(FILES, True, "Official files must be the official ones.")
    device: str = setting(RUN, "auto", "auto, cpu, cuda, cuda:N or mps.")
    threads: int | None = setting(RUN, None, "CPU threads.", least=1)
    deterministic: bool = setting(RUN, False, "Exact resume on CUDA too, slower.")
    channels_last: bool = setting(RUN, True, "Memory format of pictures and convolutions.")
    capture: bool = setting(RUN, True, "Record a GPU's step in each phase and replay it: same numbers, no waiting.")
    compile: bool = setting(RUN, False, "Fuse operators of networks (torch.compile): a minute more to begin with.")
    history: int = setting(
        RUN, 0, "Every so many epochs keep what alasca analyze draws, of up to 1,000 samples (0: nothing).", least=0
    )
    checkpoint_seconds: float = setting(RUN, 30.0, "Least time between checkpoints.", least=0)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `as_json` through JSON, of earlier versions' too."""
        return super().from_json({"capture": True, "compile": False, "history": 0, **value})


def found_from(recipe: Recipe, place: Place, home: Path) -> tuple[Recipe, Place]:
    """The same settings with the paths of files that were meant from another folder, for whoever is elsewhere.

    Where nothing is there any more, a path that leads somewhere from the current folder stays as it is.

    Args:
        recipe, place: as they were typed in `home`.
        home: absolute.
    """

    def moved(path: str) -> str:
        there = home / path
        return path if not path or (not there.exists() and Path(path).exists()) else str(there)

    changes: dict[str, Any] = {}
    for name in ("data", "noise"):
        kind, colon, rest = getattr(recipe, name).partition(":")
        file, mark, key = rest.partition("#") if name == "noise" else (rest, "", "")
        if kind in SOMEWHERE and (kind != "hf" or (home / file).is_dir()):
            changes[name] = f"{kind}{colon}{moved(file)}{mark}{key}"
    if recipe.labels is not None:
        changes["labels"] = moved(recipe.labels)
    if recipe.features is not None:
        changes["features"] = moved(recipe.features)
    library, _, path = recipe.network.partition(":")
    if library == "hf" and path.startswith("."):
        changes["network"] = f"hf:{moved(path)}"
    options = {
        name: moved(value) if name.endswith("_dir") and value else value for name, value in recipe.options.items()
    }
    data_dir = None if place.data_dir is None else moved(place.data_dir)
    return dataclasses.replace(recipe, options=options, **changes), dataclasses.replace(place, data_dir=data_dir)


def plain(value: Any) -> Any:
    """A value as JSON holds it."""
    if isinstance(value, Mapping):
        return {name: plain(part) for name, part in value.items()}
    return [plain(part) for part in value] if isinstance(value, tuple) else value


def restored(value: Any) -> Any:
    """The inverse of `plain`."""
    if isinstance(value, Mapping):
        return {name: restored(part) for name, part in value.items()}
    return tuple(restored(part) for part in value) if isinstance(value, list) else value
