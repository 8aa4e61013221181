"""Train any PyTorch classifier on data whose labels are partly wrong, find those labels, and repair them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alasca import functional as functional
    from alasca.audit.issues import LabelIssues as LabelIssues
    from alasca.audit.issues import find_label_issues as find_label_issues
    from alasca.core import LossMethod as LossMethod
    from alasca.core import Method as Method
    from alasca.core import MethodWrapper as MethodWrapper
    from alasca.core import Output as Output
    from alasca.criterion import AlascaLoss as AlascaLoss
    from alasca.data import Task as Task
    from alasca.errors import InputError as InputError
    from alasca.estimator import RobustClassifier as RobustClassifier
    from alasca.methods import create_method as create_method
    from alasca.methods import list_methods as list_methods
    from alasca.methods.alasca import Alasca as Alasca
    from alasca.published_recipes import named_recipe as named_recipe
    from alasca.recipe import Place as Place
    from alasca.recipe import Recipe as Recipe
    from alasca.runs import load as load
    from alasca.surgery import SubClassifiers as SubClassifiers
    from alasca.training import resume as resume
    from alasca.training import train as train

__version__ = "0.1.0"

_HOMES = {
    "Alasca": "methods.alasca",
    "AlascaLoss": "criterion",
    "InputError": "errors",
    "LabelIssues": "audit.issues",
    "LossMethod": "core",
    "Method": "core",
    "MethodWrapper": "core",
    "Output": "core",
    "Place": "recipe",
    "Recipe": "recipe",
    "RobustClassifier": "estimator",
    "SubClassifiers": "surgery",
    "Task": "data",
    "create_method": "methods",
    "find_label_issues": "audit.issues",
    "list_methods": "methods",
    "named_recipe": "published_recipes",
    "load": "runs",
    "resume": "training",
    "train": "training",
}
__all__ = [
    "Alasca",
    "AlascaLoss",
    "InputError",
    "LabelIssues",
    "LossMethod",
    "Method",
    "MethodWrapper",
    "Output",
    "Place",
    "Recipe",
    "RobustClassifier",
    "SubClassifiers",
    "Task",
    "create_method",
    "find_label_issues",
    "functional",
    "list_methods",
    "load",
    "named_recipe",
    "resume",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import public names when they are first used, so that `alasca --help` imports no torch."""
    if name == "functional":
        return importlib.import_module("alasca.functional")
    if name not in _HOMES:
        raise AttributeError(f"module 'alasca' has no attribute {name!r}")
    return getattr(importlib.import_module(f"alasca.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
