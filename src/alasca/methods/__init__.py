"""The methods, by name. A new method is one module, one line here, and one test against independent values."""

from __future__ import annotations

import difflib
import importlib
import inspect
import math
import types
import typing
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from alasca.core import InputError, Method

REGISTRY = {
    "alf": "alasca.methods.alf:AsymmetricLoss",
    "als": "alasca.methods.als:AdaptiveLabelSmoothing",
    "apl": "alasca.methods.apl:ActivePassiveLoss",
    "bootstrapping": "alasca.methods.bootstrapping:Bootstrapping",
    "byot": "alasca.methods.byot:BeYourOwnTeacher",
    "cdr": "alasca.methods.cdr:RobustEarlyLearning",
    "ce": "alasca.methods.ce:CrossEntropy",
    "coteaching": "alasca.methods.coteaching:CoTeaching",
    "crust": "alasca.methods.crust:Crust",
    "decoupling": "alasca.methods.decoupling:Decoupling",
    "dividemix": "alasca.methods.dividemix:DivideMix",
    "early_stopping": "alasca.methods.early_stopping:EarlyStopping",
    "elr": "alasca.methods.elr:EarlyLearningRegularization",
    "elr_plus": "alasca.methods.elr_plus:EarlyLearningPlus",
    "fine": "alasca.methods.fine:Fine",
    "gce": "alasca.methods.gce:GeneralizedCrossEntropy",
    "gjs": "alasca.methods.gjs:JensenShannon",
    "har": "alasca.methods.har:HeteroskedasticRegularization",
    "jocor": "alasca.methods.jocor:JoCoR",
    "lsr": "alasca.methods.lsr:LabelSmoothing",
    "mae": "alasca.methods.mae:MeanAbsoluteError",
    "mixup": "alasca.methods.mixup:Mixup",
    "one": "alasca.methods.one:OnTheFlyNativeEnsemble",
    "sce": "alasca.methods.sce:SymmetricCrossEntropy",
    "tf_kd": "alasca.methods.tf_kd:TeacherFreeDistillation",
}
WRAPPER = "alasca.methods.alasca:Alasca"


def list_methods() -> list[str]:
    """Names that `create_method` takes.

    >>> "ce" in list_methods()
    True
    """
    return sorted(REGISTRY)


def method_class(name: str) -> type[Method]:
    """The class behind a name.

    Raises:
        InputError: no such method.
    """
    if name not in REGISTRY:
        near = difflib.get_close_matches(name, REGISTRY, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(list_methods())}"
        raise InputError(f"method: {name!r} is unknown; {hint}")
    return load(REGISTRY[name])


def load(path: str) -> type[Method]:
    """The class at ``module:name``."""
    module, _, name = path.partition(":")
    found: type[Method] = getattr(importlib.import_module(module), name)
    return found


def create_method(name: str, **options: Any) -> Method:
    """A method by name, its options checked against its signature.

    Raises:
        InputError: no such method or option, or a value out of range.

    >>> create_method("ce")
    CrossEntropy()
    """
    return build(method_class(name), name, options)


def wrap(method: Method, **options: Any) -> Method:
    """`method` inside ALASCA, the options checked against its signature."""
    return build(load(WRAPPER), "alasca", {"method": method, **options})


def build(cls: type[Method], name: str, options: dict[str, Any]) -> Method:
    """An instance; unknown options and values out of range are the user's mistakes, told in one line."""
    known = option_names(cls)
    for option in options:
        if option not in known and option != "method":
            near = difflib.get_close_matches(option, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known) or 'none'}"
            raise InputError(f"option {option!r}: {name} has no such option; {hint}")
    hints = typing.get_type_hints(cls.__init__)
    options = {option: named(value, hints[option]) for option, value in options.items()}
    for option, value in options.items():
        if not fits(value, hints[option]):
            raise InputError(f"option {option}: {value!r}, expected {in_words(hints[option])}")
    try:
        return cls(**options)
    except InputError:
        raise
    except (ValueError, TypeError) as error:
        raise InputError(f"option {error}") from error


def named(value: Any, hint: Any) -> Any:
    """Numbers as texts where texts are expected and numbers are not: modules may be called 5.

    >>> named(5, str | None), named((1, 3), Sequence[str] | None), named(5, int), named((1, 3), tuple[int, int])
    ('5', ('1', '3'), 5, (1, 3))
    """
    members = (hint, *typing.get_args(hint))
    if isinstance(value, tuple) and Sequence[str] in members:
        return tuple(map(str, value))
    if type(value) in (int, float) and str in members and not fits(value, hint):
        return str(value)
    return value


WORDS = {bool: "true or false", int: "a whole number", float: "a number", type(None): "none"}


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type. Texts and sequences pass: a method itself says which ones it knows.

    >>> fits(1, float), fits(True, float), fits("no", bool), fits(None, int | None), fits((1, 2), tuple[int, int, int])
    (True, False, False, True, False)
    """
    if hint is float:
        return type(value) in (int, float) and math.isfinite(value)
    if hint in WORDS:
        return type(value) is hint
    parts = typing.get_args(hint)
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return any(fits(value, part) for part in parts)
    if typing.get_origin(hint) is tuple:
        return isinstance(value, tuple) and len(value) == len(parts) and all(map(fits, value, parts))
    return not isinstance(value, (bool, int, float, type(None))) or hint is Any


def in_words(hint: Any) -> str:
    """What a type asks for, for people.

    >>> in_words(int | None), in_words(float | tuple[float, float])
    ('a whole number or none', 'a number or [a number, a number]')
    """
    parts = typing.get_args(hint)
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return " or ".join(dict.fromkeys(in_words(part) for part in parts))
    if typing.get_origin(hint) is tuple:
        return f"[{', '.join(in_words(part) for part in parts)}]"
    return WORDS.get(hint, "a text")


def short_run(cls: type[Method], epochs: int, preset: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """A preset's options, and defaults that count epochs, shrunk for a run shorter than the 120 epochs they are for.

    >>> short_run(load(WRAPPER), 60), short_run(load(WRAPPER), 200)
    ({'warmup': 10}, {})
    >>> short_run(method_class("one"), 60, {"ramp": 80}), short_run(method_class("one"), 60)
    ({'ramp': 40}, {'ramp': 0})
    """
    options = dict(preset)
    if epochs < 120:
        signature = inspect.signature(cls).parameters
        for name in cls.epoch_options:
            value = options.get(name, signature[name].default)
            options[name] = max(1, round(value * epochs / 120)) if value else value
    return options


def preset_options(name: str, preset: str) -> dict[str, Any]:
    """The options of a method's preset.

    Raises:
        InputError: it has no such preset.
    """
    presets = {each.data: each for each in method_class(name).presets}
    if preset not in presets:
        hint = f"expected one of {', '.join(presets)}" if presets else "it has none"
        raise InputError(f"preset: {name} has no preset {preset!r}; {hint}")
    return dict(presets[preset].options)


def option_names(cls: type[Method]) -> list[str]:
    """Names of a method's options.

    >>> option_names(load(WRAPPER))[:3]
    ['aux_weight', 'momentum', 'temperature']
    """
    if cls.__init__ is Method.__init__:
        return []
    return [name for name in inspect.signature(cls).parameters if name != "method"]
