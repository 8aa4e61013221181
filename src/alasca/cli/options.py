"""The options of ``alasca train``, in groups; each field is an option of its name."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from alasca.cli.arguments import parse_options

if TYPE_CHECKING:
    from alasca.experiment import Settings

DATA = Group("Data", sort_key=1)
FILES = Group("Files and tables", sort_key=2)
METHOD = Group("Method", sort_key=3)
TRAINING = Group("Training", sort_key=4)
RUN = Group("Run", sort_key=5)


@Parameter(name="*")
@dataclass(frozen=True)
class DataOptions:
    """What to train on."""

    data: Annotated[
        str, Parameter(group=DATA, help="digits, cifar10, folder:DIR, table:FILE, ...; see alasca list data.")
    ] = "digits"
    noise: Annotated[str, Parameter(group=DATA, help="Wrong labels to make: symmetric:R, ...; see the list.")] = "none"
    noise_seed: Annotated[int | None, Parameter(group=DATA, help="Of the noise. Default: the run's.")] = None
    limit: Annotated[int | None, Parameter(group=DATA, help="At most so many samples, class-balanced.")] = None
    epoch_samples: Annotated[
        int | None, Parameter(group=DATA, help="Train on so many an epoch, class-balanced, drawn anew each time.")
    ] = None
    val_fraction: Annotated[
        float | None,
        Parameter(group=DATA, help="Share held out. Default: 0.1 without a test set or for noisy-val, else 0."),
    ] = None
    shift: Annotated[int | None, Parameter(group=DATA, help="Pixels that training shifts pictures by.")] = None
    flip: Annotated[bool | None, Parameter(group=DATA, help="Whether training mirrors pictures.")] = None


@Parameter(name="*")
@dataclass(frozen=True)
class FileOptions:
    """How files and tables are read; the fields of `alasca.data.Reading`."""

    data_dir: Annotated[str | None, Parameter(group=FILES, help="Where published data are. Default: $ALASCA_DATA.")] = (
        None
    )
    image_size: Annotated[
        int | None, Parameter(group=FILES, help="Side to which pictures are resized. Default: 32, or the source's.")
    ] = None
    crop: Annotated[int | None, Parameter(group=FILES, help="Side of the part of them that a network sees.")] = None
    on_bad_image: Annotated[
        str, Parameter(group=FILES, help="fatal, skip (leave it out) or blank (keep its row, never train on it).")
    ] = "fatal"
    in_memory: Annotated[
        bool | None, Parameter(group=FILES, help="Hold pictures in memory. Default: where they take below one GiB.")
    ] = None
    workers: Annotated[
        int | None, Parameter(group=FILES, help="Processes that decode. Default: one a core, 8 at most.")
    ] = None
    checksums: Annotated[bool, Parameter(group=FILES, help="Official files must be the official ones.")] = True
    input: Annotated[
        str | None, Parameter(group=FILES, help="Column of a table's pictures or texts, or a,b,c of numbers.")
    ] = None
    label: Annotated[str, Parameter(group=FILES, help="Column of a table's labels.")] = "label"
    true: Annotated[str | None, Parameter(group=FILES, help="Column of true labels, for evaluation only.")] = None
    id: Annotated[str | None, Parameter(group=FILES, help="Column of sample ids.")] = None
    split: Annotated[str | None, Parameter(group=FILES, help="Column that says train or test.")] = None
    max_length: Annotated[int, Parameter(group=FILES, help="Tokens of a text that are read.")] = 128


@Parameter(name="*")
@dataclass(frozen=True)
class MethodOptions:
    """What to train, and by which method."""

    method: Annotated[str, Parameter(group=METHOD, help="Method for the main classifier; see alasca list.")] = "ce"
    alasca: Annotated[bool, Parameter(group=METHOD, help="Wrap the method in ALASCA.")] = True
    set_: Annotated[
        list[str] | None,
        Parameter(
            name="--set", group=METHOD, help="Option name=value; the wrapper's as alasca.name=value. Repeatable."
        ),
    ] = None
    preset: Annotated[str | None, Parameter(group=METHOD, help="Options; see alasca list --verbose.")] = None
    network: Annotated[
        str, Parameter(group=METHOD, help="auto, resnet34, timm:NAME, ..., or package.module:callable of your own.")
    ] = "auto"
    pretrained: Annotated[bool, Parameter(group=METHOD, help="Start from published weights.", negative="")] = False


@Parameter(name="*")
@dataclass(frozen=True)
class TrainingOptions:
    """How to train; the fields of `alasca.engine.Training`."""

    epochs: Annotated[int, Parameter(group=TRAINING, help="Passes over the data.")] = 60
    batch_size: Annotated[int, Parameter(group=TRAINING, help="Samples a step, over all processes.")] = 64
    optimizer: Annotated[str, Parameter(group=TRAINING, help="sgd or adamw.")] = "sgd"
    lr: Annotated[float, Parameter(group=TRAINING, help="Initial (onecycle: highest) learning rate.")] = 0.05
    momentum: Annotated[float, Parameter(group=TRAINING, help="Of SGD.")] = 0.9
    weight_decay: Annotated[float, Parameter(group=TRAINING, help="L2 for SGD, decoupled for AdamW.")] = 5e-4
    schedule: Annotated[str, Parameter(group=TRAINING, help="cosine, step, constant or onecycle.")] = "cosine"
    milestones: Annotated[tuple[int, ...], Parameter(group=TRAINING, help="Epochs at which step divides.")] = (40, 80)
    lr_decay: Annotated[float, Parameter(group=TRAINING, help="What step multiplies by.")] = 0.01
    clip: Annotated[float | None, Parameter(group=TRAINING, help="Largest gradient norm of a network.")] = None
    accumulate: Annotated[int, Parameter(group=TRAINING, help="Micro-batches an optimiser step.")] = 1
    precision: Annotated[str, Parameter(group=TRAINING, help="float32, bf16 or fp16.")] = "float32"
    select: Annotated[str | None, Parameter(group=TRAINING, help="Epoch: last or noisy-val; else the method's.")] = None
    seed: Annotated[int, Parameter(group=RUN, help="Of everything random.")] = 0
    device: Annotated[str, Parameter(group=RUN, help="auto, cpu, cuda, cuda:N or mps.")] = "auto"
    deterministic: Annotated[bool, Parameter(group=RUN, help="Exact resume on CUDA too, slower.", negative="")] = False
    checkpoint_seconds: Annotated[float, Parameter(group=RUN, help="Least time between checkpoints.")] = 30.0


@Parameter(name="*")
@dataclass(frozen=True)
class RunOptions:
    """Where to write, and with how many threads."""

    threads: Annotated[int | None, Parameter(group=RUN, help="CPU threads.")] = None
    out: Annotated[Path | None, Parameter(group=RUN, help="New run folder. Default: runs/train-DATE.")] = None
    config: Annotated[
        Path | None, Parameter(group=RUN, help="TOML file with these settings; the command line wins.")
    ] = None


def settings_of(
    data: DataOptions, files: FileOptions, method: MethodOptions, training: TrainingOptions, run: RunOptions
) -> Settings:
    """The options as the record that a run keeps.

    Raises:
        InputError: one of them is out of range.
    """
    from alasca.data import Reading
    from alasca.engine import Training
    from alasca.experiment import Settings

    chosen = asdict(method)
    options = parse_options(chosen.pop("set_") or [])
    return Settings(
        **asdict(data), **chosen, options=options, threads=run.threads, reading=Reading(**asdict(files)),
        training=Training(**asdict(training)),
    )  # fmt: skip
