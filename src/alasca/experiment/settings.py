"""All that decides a run, as one flat record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from alasca.core import InputError, Method
from alasca.data import Reading
from alasca.engine import Training
from alasca.methods import WRAPPER, create_method, load, method_class, preset_options, short_run, wrap


@dataclass(frozen=True)
class Settings:
    """All that decides a run; ``run.json`` holds it and nothing else is needed to repeat the run.

    Attributes:
        data: see `alasca.data.SOURCES`.
        noise: see `alasca.data.NOISES`.
        method: name of the method for the main classifier.
        alasca: whether it is wrapped.
        options: the method's by name, the wrapper's as ``alasca.name``.
        preset: name of one of the method's presets, whose options `options` overrule.
        network: see `alasca.networks.NETWORKS`.
        val_fraction: share of the noisy training set held out; None: 0.1 where the data have no test set or the
            epoch is chosen on it, else 0.
        limit: at most so many training samples, class-balanced, and so many test samples.
        noise_seed: of the noise; None: the run's.
        epoch_samples: samples of an epoch's class-balanced subset, drawn anew each time; None: all, or what the data
            are used with.
        pretrained: start from published weights.
        shift, flip: what weak views may do; None: what suits the data.
        threads: CPU threads; None: torch's default.
        reading: how files are read.
        training: settings of the loop.
    """

    data: str = "digits"
    noise: str = "none"
    method: str = "ce"
    alasca: bool = True
    options: dict[str, Any] = field(default_factory=dict)
    preset: str | None = None
    network: str = "auto"
    val_fraction: float | None = None
    limit: int | None = None
    noise_seed: int | None = None
    epoch_samples: int | None = None
    pretrained: bool = False
    shift: int | None = None
    flip: bool | None = None
    threads: int | None = None
    reading: Reading = field(default_factory=Reading)
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        if self.epoch_samples is not None and self.epoch_samples < 2:
            raise InputError(f"epoch-samples: {self.epoch_samples}, expected at least 2")

    def make_method(self) -> Method:
        """The method, wrapped where `alasca` says so, every option checked."""
        own = {name: value for name, value in self.options.items() if not name.startswith("alasca.")}
        outer = {name[7:]: value for name, value in self.options.items() if name.startswith("alasca.")}
        if outer and not self.alasca:
            raise InputError(f"option 'alasca.{next(iter(outer))}': this run is not wrapped; leave out --no-alasca")
        cls = method_class(self.method)
        if cls.owns_branches and self.alasca:
            raise InputError(
                f"method: {self.method} attaches classifiers of its own to intermediate layers, so ALASCA can't wrap "
                "it; add --no-alasca"
            )
        preset = {} if self.preset is None else preset_options(self.method, self.preset)
        method = create_method(self.method, **{**short_run(cls, self.training.epochs, preset), **own})
        if not self.alasca:
            return method
        return wrap(method, **{**short_run(load(WRAPPER), self.training.epochs), **outer})

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
            parts = {"options": options, "reading": Reading(**value["reading"]), "training": Training(**training)}
            return cls(**{**value, **parts})
        except (KeyError, TypeError) as error:
            raise InputError(f"run.json: settings are not those of this version ({error})") from error


def option_value(text: str) -> Any:
    """The value of ``--set name=value``: a TOML value, or else plain text.

    >>> option_value("0.5"), option_value("uniform"), option_value("[0.1, 0.7, 60]"), option_value("none")
    (0.5, 'uniform', (0.1, 0.7, 60), None)
    """
    import tomllib

    words = {"none": None, "true": True, "false": False}
    if text.lower() in words:
        return words[text.lower()]
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return tuple(value) if isinstance(value, list) else value
