"""Settings in, run folder out: what the command line, the demo and benchmark tables share."""

from __future__ import annotations

import hashlib
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from alasca import __version__
from alasca.audit.issues import find_issues, ranking_auroc
from alasca.core import InputError, Method
from alasca.data import Samples, Source, apply_noise, balanced_part, load_source
from alasca.distributed import barrier, world
from alasca.engine import Data, Fitted, Progress, SampleProbe, Training, fit, resolve_device
from alasca.functional import confidence
from alasca.methods import create_method, wrap
from alasca.methods.alasca import Alasca
from alasca.networks import create_network
from alasca.runs import Records, RunFolder

PICTURES_KEPT = 48


@dataclass(frozen=True)
class Settings:
    """All that decides a run; ``run.json`` holds it and nothing else is needed to repeat the run.

    Attributes:
        data: see `alasca.data.SOURCES`.
        noise: see `alasca.data.NOISES`.
        method: name of the method for the main classifier.
        alasca: whether it is wrapped.
        options: the method's by name, the wrapper's as ``alasca.name``.
        network: see `alasca.networks.NETWORKS`.
        val_fraction: share of the noisy training set held out; None: 0.1 where the data have no test set, else 0.
        limit: at most so many training samples, class-balanced, and so many test samples.
        image_size: side to which a folder's pictures are resized.
        shift, flip: what weak views may do; None: what suits the data.
        threads: CPU threads; None: torch's default.
        training: settings of the loop.
    """

    data: str = "digits"
    noise: str = "none"
    method: str = "ce"
    alasca: bool = True
    options: dict[str, Any] = field(default_factory=dict)
    network: str = "auto"
    val_fraction: float | None = None
    limit: int | None = None
    image_size: int = 32
    shift: int | None = None
    flip: bool | None = None
    threads: int | None = None
    training: Training = field(default_factory=Training)

    def make_method(self) -> Method:
        """The method, wrapped where `alasca` says so, every option checked."""
        own = {name: value for name, value in self.options.items() if not name.startswith("alasca.")}
        outer = {name[7:]: value for name, value in self.options.items() if name.startswith("alasca.")}
        if outer and not self.alasca:
            raise InputError(f"option 'alasca.{next(iter(outer))}': this run is not wrapped; leave out --no-alasca")
        method = create_method(self.method, **own)
        if not self.alasca:
            return method
        if self.training.epochs < 120:
            outer.setdefault("warmup", round(self.training.epochs / 6))
        return wrap(method, **outer)

    @property
    def title(self) -> str:
        """A short name for people."""
        return f"{self.method}{' + ALASCA' if self.alasca else ''}"

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Settings:
        """The inverse of `dataclasses.asdict` through JSON.

        Raises:
            InputError: fields are missing or unknown.
        """
        try:
            training = dict(value["training"])
            training["milestones"] = tuple(training["milestones"])
            options = {name: tuple(v) if isinstance(v, list) else v for name, v in value["options"].items()}
            return cls(**{**value, "options": options, "training": Training(**training)})
        except (KeyError, TypeError) as error:
            raise InputError(f"run.json: settings are not those of this version ({error})") from error


@dataclass(frozen=True)
class Prepared:
    """A run that can begin: everything read and checked, nothing written."""

    settings: Settings
    source: Source
    data: Data
    ids: tuple[str, ...]
    make_method: Callable[[], Method]
    make_network: Callable[[], nn.Module]
    noise_rate: float | None


def prepare(settings: Settings) -> Prepared:
    """Read the data, make the noise and the splits, and check every setting.

    Raises:
        InputError: something in the settings is wrong.
    """
    if settings.threads is not None:
        if settings.threads < 1:
            raise InputError(f"threads: {settings.threads}, expected at least 1")
        torch.set_num_threads(settings.threads)
    resolve_device(settings.training.device)
    settings.make_method()
    seed = settings.training.seed
    source = load_source(settings.data, settings.image_size)
    source = limited(source, settings.limit, seed)
    classes = len(source.classes)
    given = apply_noise(settings.noise, source.labels, classes, seed)
    truth = source.true_labels
    if truth is None and settings.noise != "none":
        truth = source.labels
    fraction = settings.val_fraction
    if fraction is None:
        fraction = 0.1 if source.test_labels is None else 0.0
    if not 0 <= fraction < 1:
        raise InputError(f"val-fraction: {fraction}, expected at least 0 and below 1")
    held = balanced_part(given, round(fraction * len(given)), seed, "val")
    rows = torch.arange(len(given))
    rows = rows[~torch.isin(rows, held)]
    everything = Samples(
        source.inputs, given,
        shift=source.shift if settings.shift is None else settings.shift,
        flip=source.flip if settings.flip is None else settings.flip,
    )  # fmt: skip
    if everything.shift < 0:
        raise InputError(f"shift: {everything.shift}, expected at least 0 pixels")
    train = everything.take(rows).with_statistics()
    if len(train) < 2:
        raise InputError(f"data: {len(train)} training samples are left; expected at least 2")
    val = replace(train, inputs=source.inputs[held], labels=given[held]) if len(held) else None
    test = None
    if source.test_inputs is not None and source.test_labels is not None:
        test = replace(train, inputs=source.test_inputs, labels=source.test_labels)
    shape = tuple(source.inputs.shape[1:])
    create_network(settings.network, shape, classes)
    data = Data(train, classes, val, test, None if truth is None else truth[rows])
    rate = None if truth is None else float((given != truth).double().mean())
    return Prepared(
        settings, source, data, tuple(source.ids[k] for k in rows.tolist()), settings.make_method,
        lambda: create_network(settings.network, shape, classes), rate,
    )  # fmt: skip


def limited(source: Source, limit: int | None, seed: int) -> Source:
    """At most `limit` training samples, class-balanced, and at most as many test samples."""
    if limit is None:
        return source
    if limit < len(source.classes):
        raise InputError(f"limit: {limit}, expected at least one sample a class ({len(source.classes)})")
    rows = balanced_part(source.labels, limit, seed, "limit")
    true = None if source.true_labels is None else source.true_labels[rows]
    ids = tuple(source.ids[k] for k in rows.tolist())
    source = replace(source, inputs=source.inputs[rows], labels=source.labels[rows], ids=ids, true_labels=true)
    if source.test_inputs is None or source.test_labels is None:
        return source
    test = balanced_part(source.test_labels, limit, seed, "limit-test")
    return replace(source, test_inputs=source.test_inputs[test], test_labels=source.test_labels[test])


def train(settings: Settings, out: Path, progress: Progress | None = None) -> RunFolder:
    """A whole run, from settings to ``done.json``, in a new folder.

    Raises:
        InputError: wrong settings, or a folder that is not empty; nothing was written.
        alasca.engine.Stopped: by a signal; `resume` goes on.
        alasca.engine.Diverged: the loss was not finite.
    """
    prepared = prepare(settings)
    if world()[0] == 0:
        run = RunFolder.create(out)
        run.write_settings(describe(prepared))
        run.write_labels(prepared.data.train.labels)
        run.write_history([])
    barrier()
    return complete(prepared, RunFolder.open(out), False, progress)


def resume(path: Path, inexact: bool = False, progress: Progress | None = None) -> RunFolder:
    """Go on with a run from its newest whole checkpoint; a finished run is left as it is.

    Raises:
        InputError: no run there, its data have changed, or (without `inexact`) this machine would round otherwise.
    """
    run = RunFolder.open(path)
    if run.finished:
        return run
    described = run.settings()
    try:
        saved_settings, machine = described["settings"], described["machine"]
        digests = described["source_sha256"], described["labels_sha256"]
    except KeyError as error:
        raise InputError(f"{path / 'run.json'} has no {error}; it can't be resumed") from error
    settings = Settings.from_json(saved_settings)
    if settings.threads is None:
        settings = replace(settings, threads=machine.get("threads"))
    prepared = prepare(settings)
    now = describe(prepared)
    if (now["source_sha256"], now["labels_sha256"]) != digests:
        raise InputError(f"data: {settings.data} is not what {path} was started on; put the old data back")
    different = [name for name in now["machine"] if now["machine"][name] != machine.get(name)]
    if different and not inexact:
        name = different[0]
        raise InputError(
            f"resume: {name} is {now['machine'][name]!r} here and was {machine.get(name)!r}, so the run would not end "
            "in the same bits; add --inexact to go on all the same"
        )
    return complete(prepared, run, True, progress)


def complete(prepared: Prepared, run: RunFolder, resuming: bool, progress: Progress | None) -> RunFolder:
    """Train to the end and write what a finished run holds."""
    settings = prepared.settings
    fitted = fit(
        prepared.make_method(), prepared.make_network, prepared.data, settings.training, run, resuming, progress,
        settings.title,
    )  # fmt: skip
    records = collect(prepared, fitted)
    if world()[0] == 0:
        finish(prepared, fitted, records, run)
    barrier()
    return run


def describe(prepared: Prepared) -> dict[str, Any]:
    """What goes into run.json."""
    settings = prepared.settings
    device = resolve_device(settings.training.device)
    labels = prepared.data.train.labels.numpy().tobytes()
    return {
        "alasca": __version__,
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "settings": asdict(settings),
        "title": settings.title,
        "classes": list(prepared.source.classes),
        "train_samples": len(prepared.data.train),
        "val_samples": 0 if prepared.data.val is None else len(prepared.data.val),
        "test_samples": 0 if prepared.data.test is None else len(prepared.data.test),
        "noise_rate": prepared.noise_rate,
        "source_sha256": prepared.source.digest(),
        "labels_sha256": hashlib.sha256(labels).hexdigest(),
        "machine": {
            "machine": platform.machine(),
            "torch": str(torch.__version__),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "threads": torch.get_num_threads(),
            "processes": world()[1],
        },
        "exact_resume": device.type == "cpu" or settings.training.deterministic,
    }


def collect(prepared: Prepared, fitted: Fitted) -> Records:
    """What training saw of each sample, with a last look at the plain samples."""
    data, trace = prepared.data, fitted.trace
    device = trace.visits.device
    samples = data.train.to(device)
    probe = SampleProbe(samples, torch.arange(len(samples)))
    logits = torch.stack([probe(net, lambda output, batch: output.logits) for net in fitted.nets]).mean(0)
    given = samples.labels
    own = logits.gather(1, given[:, None])[:, 0]
    others = logits.scatter(1, given[:, None], -torch.inf).max(1).values
    visits = trace.visits.clamp(min=1)
    seen = trace.visits > 0
    quality = torch.where(seen, trace.probability / visits, (own - logits.logsumexp(1)).exp())
    margin = torch.where(seen, trace.margin / visits, own - others)
    predicted = logits.argmax(1)
    differing = torch.where(seen, trace.differing / visits, (predicted != given).float())
    rival = torch.where(seen & (trace.differing > 0), trace.rival.long(), predicted)
    issue, suggested = find_issues(array(given), array(differing), array(rival))
    return Records(
        prepared.ids, prepared.source.classes, array(given), array(predicted), suggested, issue,
        array(quality.clamp(0, 1)), array(margin), array(differing), array(trace.visits),
        ema_confidence(fitted.method, given), None if data.truth is None else array(data.truth),
    )  # fmt: skip


def array(tensor: Tensor) -> np.ndarray:
    """As NumPy, in the types that tables hold."""
    values: np.ndarray = tensor.detach().cpu().numpy()
    return values.astype(np.float64 if values.dtype.kind == "f" else np.int64)


def ema_confidence(method: Method, labels: Tensor) -> np.ndarray | None:
    """ALASCA's confidence in the given labels, averaged over networks and stores."""
    if not isinstance(method, Alasca):
        return None
    index = torch.arange(len(labels), device=labels.device)
    found = [confidence(store.read(index), labels, method.temperature) for store in method.stores()]
    return array(torch.stack(found).mean(0))


def finish(prepared: Prepared, fitted: Fitted, records: Records, run: RunFolder) -> None:
    """Write the models, the table of samples, the pictures for the report, and last of all done.json."""
    run.write_model({
        f"{k}/{name}": value
        for k, net in enumerate(fitted.nets)
        for name, value in net.state_dict().items()
        if name.startswith("backbone.")
    })  # fmt: skip
    run.write_records(records)
    if prepared.data.train.pictures:
        rows = torch.from_numpy(records.ranking()[:PICTURES_KEPT].copy())
        run.write_pictures(prepared.data.train.inputs[rows], rows)
    history = fitted.history
    done: dict[str, Any] = {
        "epochs": len(history),
        "select": prepared.settings.training.select,
        "chosen_epoch": fitted.chosen_epoch,
        "seconds_per_epoch": statistics.median(record["seconds"] for record in history),
        "label_issues": int(records.issue.sum()),
        "noise_rate": prepared.noise_rate,
    }
    for kind in ("test_accuracy", "val_accuracy"):
        values = [record[kind] for record in history if kind in record]
        if values:
            done[f"{kind}_last"] = values[-1]
            done[f"{kind}_last10"] = statistics.fmean(values[-10:])
            if prepared.settings.training.select == "noisy-val":
                done[f"{kind}_noisy_val"] = values[fitted.chosen_epoch]
    for kind in ("train_accuracy", "train_true_accuracy", "memorised"):
        if kind in history[-1]:
            done[kind] = history[-1][kind]
    if (auroc := ranking_auroc(records)) is not None:
        done["issue_auroc"] = auroc
    run.write_done(done)


def option_value(text: str) -> Any:
    """The value of ``--set name=value``: a TOML value, or else plain text.

    >>> option_value("0.5"), option_value("uniform"), option_value("[0.1, 0.7, 60]"), option_value("none")
    (0.5, 'uniform', (0.1, 0.7, 60), None)
    """
    import tomllib

    if text.lower() == "none":
        return None
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return tuple(value) if isinstance(value, list) else value


def setting_names() -> list[str]:
    """Names that a configuration file may hold, beside those of `Training`."""
    return [item.name for item in fields(Settings)]
