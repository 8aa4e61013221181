"""The methods, by name, their options checked. A new method is one module, one line here, and one test."""

from __future__ import annotations

import importlib
import inspect
import typing
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from alasca.core import Method
from alasca.errors import InputError
from alasca.recipe import Recipe
from alasca.values import as_meant, fits, in_words, nearest

REGISTRY = {
    "ael": "alasca.methods.ael:AsymmetricExponentialLoss",
    "agce": "alasca.methods.agce:AsymmetricGeneralizedCrossEntropy",
    "als": "alasca.methods.als:AdaptiveLabelSmoothing",
    "apl": "alasca.methods.apl:ActivePassiveLoss",
    "aul": "alasca.methods.aul:AsymmetricUnhingedLoss",
    "bootstrapping": "alasca.methods.bootstrapping:Bootstrapping",
    "byot": "alasca.methods.byot:BeYourOwnTeacher",
    "cdr": "alasca.methods.cdr:RobustEarlyLearning",
    "ce": "alasca.methods.ce:CrossEntropy",
    "coteaching": "alasca.methods.coteaching:CoTeaching",
    "coteaching_plus": "alasca.methods.coteaching_plus:CoTeachingPlus",
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
    "tf_kd_code": "alasca.methods.tf_kd_code:PublishedTeacherFreeDistillation",
    "truncated_gce": "alasca.methods.truncated_gce:TruncatedGeneralizedCrossEntropy",
}
WRAPPER = "alasca.methods.alasca:Alasca"
USUAL_EPOCHS = 120
"""Epochs of the runs that options which count epochs are for."""


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
        raise InputError(f"method: {name!r} is unknown; {nearest(name, list_methods())}")
    return load(REGISTRY[name])


def load(path: str) -> type[Method]:
    """The class at ``module:name``."""
    module, _, name = path.partition(":")
    found: type[Method] = getattr(importlib.import_module(module), name)
    return found


def create_method(name: str, /, **options: Any) -> Method:
    """A method by name, its options checked against its signature.

    Raises:
        InputError: no such method or option, or a value out of range.

    >>> create_method("ce")
    CrossEntropy()
    """
    return build(method_class(name), name, options)


def wrap(method: Method, /, **options: Any) -> Method:
    """`method` inside ALASCA, the options checked against its signature."""
    return build(load(WRAPPER), "alasca", options, method)


def all_options(recipe: Recipe) -> dict[str, Any]:
    """A recipe's options with its preset's, and with those that count epochs fitted to its length.

    Raises:
        InputError: no such method or preset, options of a wrapper that is left out, or a method that can't be wrapped.
    """
    cls, outer = method_class(recipe.method), recipe.wrapper_options()
    if outer and not recipe.alasca:
        raise InputError(f"option 'alasca.{next(iter(outer))}': this run is not wrapped; leave out --no-alasca")
    if recipe.alasca and cls.owns_branches:
        raise InputError(
            f"method: {recipe.method} attaches classifiers of its own to intermediate layers, so ALASCA can't wrap it; "
            "add --no-alasca"
        )
    preset = {} if recipe.preset is None else preset_options(recipe.method, recipe.preset)
    found = meant(cls, {**short_run(cls, recipe.epochs, preset), **recipe.own_options()})
    if recipe.alasca:
        wrapping = meant(load(WRAPPER), {**short_run(load(WRAPPER), recipe.epochs), **outer})
        found |= {f"alasca.{name}": value for name, value in wrapping.items()}
    return found


def method_of(recipe: Recipe) -> Method:
    """A recipe's method, wrapped where it says so, every option checked.

    Raises:
        InputError: as `all_options`, or an option that is unknown or out of range.
    """
    whole = replace(recipe, options=all_options(recipe))
    method = create_method(recipe.method, **whole.own_options())
    return wrap(method, **whole.wrapper_options()) if recipe.alasca else method


def build(cls: type[Method], name: str, options: dict[str, Any], *inner: Method) -> Method:
    """An instance, around `inner`; unknown options and values out of range are the user's mistakes, in one line."""
    known = option_names(cls)
    for option in options:
        if option not in known:
            raise InputError(f"option {option!r}: {name} has no such option; {nearest(option, known)}")
    hints = typing.get_type_hints(cls.__init__)
    options = meant(cls, options)
    for option, value in options.items():
        if not fits(value, hints[option]):
            raise InputError(f"option {option}: {value!r}, expected {in_words(hints[option])}")
    try:
        return cls(*inner, **options)
    except InputError:
        raise
    except (ValueError, TypeError) as error:
        raise InputError(f"option {error}") from error


def meant(cls: type[Method], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as their types hold them, so that 1 and 1.0 are one setting; unknown ones as they are."""
    hints = typing.get_type_hints(cls.__init__)
    return {option: as_meant(value, hints.get(option, Any)) for option, value in options.items()}


def short_run(cls: type[Method], epochs: int, preset: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """A preset's options, and defaults that count epochs, shrunk for a run shorter than the 120 that they are for.

    >>> short_run(load(WRAPPER), 60), short_run(load(WRAPPER), 200)
    ({'warmup': 10}, {})
    >>> short_run(method_class("one"), 60, {"ramp": 80}), short_run(method_class("one"), 60)
    ({'ramp': 40}, {'ramp': 0})
    """
    options = dict(preset)
    if epochs < USUAL_EPOCHS:
        signature = inspect.signature(cls).parameters
        for name in cls.epoch_options:
            value = options.get(name, signature[name].default)
            options[name] = max(1, round(value * epochs / USUAL_EPOCHS)) if value else value
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
    ['aux_weight', 'rest', 'on']
    """
    if cls.__init__ is Method.__init__:
        return []
    return [name for name in inspect.signature(cls).parameters if name != "method"]
