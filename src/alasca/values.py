"""Values that people write: what a text means, whether a value fits its type and range, how it is told. Torch-free."""

from __future__ import annotations

import difflib
import tomllib
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from alasca.errors import InputError

WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", type(None): "none"}


LARGEST = 3.4028234663852886e38
"""Of the numbers that networks compute with (float32)."""


def option_value(text: str) -> Any:
    """The value of ``--set name=value``: a TOML value, or else plain text.

    >>> option_value("0.5"), option_value("uniform"), option_value("[0.1, 0.7, 60]"), option_value("none")
    (0.5, 'uniform', (0.1, 0.7, 60), None)
    """
    words = {"none": None, "true": True, "false": False}
    if text.lower() in words:
        return words[text.lower()]
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return tuple(value) if isinstance(value, list) else value


def written(value: object) -> str:
    """A value as ``--set`` takes it.

    >>> written(True), written(None), written(0.5), written((1, 2))
    ('true', 'none', '0.5', '[1, 2]')
    """
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(written(each) for each in value)}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def as_meant(value: Any, hint: Any) -> Any:
    """A value as its type holds it: 1 is 1.0 where a number may have a fraction, and modules may be called 5.

    >>> as_meant(5, str | None), as_meant((1, 3), Sequence[str] | None), as_meant((1, 3), tuple[int, int])
    ('5', ('1', '3'), (1, 3))
    >>> as_meant(1, float | None), as_meant(1, int | float), as_meant((1, 3), tuple[float, int]), as_meant(True, float)
    (1.0, 1, (1.0, 3), True)
    """
    union = typing.get_origin(hint) in (types.UnionType, typing.Union)
    members = typing.get_args(hint) if union else (hint,)
    if isinstance(value, tuple) and Sequence[str] in members:
        return tuple(map(str, value))
    for member in members:
        if isinstance(value, tuple) and typing.get_origin(member) is tuple and fits(value, member):
            parts = typing.get_args(member)
            parts = parts[:1] * len(value) if parts[1:] == (...,) else parts
            return tuple(map(as_meant, value, parts))
    if type(value) is int and float in members and int not in members and fits(value, float):
        return float(value)
    if type(value) in (int, float) and str in members and not fits(value, hint):
        return str(value)
    return value


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type.

    >>> fits(1, float), fits(True, float), fits("no", bool), fits(None, int | None), fits((1, 2), tuple[int, int, int])
    (True, False, False, True, False)
    >>> fits((40, 80), tuple[int, ...]), fits((1.5,), tuple[int, ...]), fits("a", int), fits("a", str | None)
    (True, False, False, True)
    """
    if hint is float:
        return type(value) in (int, float) and abs(value) <= LARGEST  # not so of NaN
    if hint in WORDS:
        return type(value) is hint
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return any(fits(value, part) for part in parts)
    if origin is tuple:
        inner = [parts[0]] * len(value) if isinstance(value, tuple) and parts[1:] == (...,) else list(parts)
        return isinstance(value, tuple) and len(value) == len(inner) and all(map(fits, value, inner))
    return not isinstance(value, (bool, int, float, type(None))) or hint is Any


def check(option: str, value: Any, hint: Any, limits: Mapping[str, Any]) -> None:
    """Raise `InputError` naming an option whose value is of another type or out of range."""
    if "among" in limits:
        if value not in limits["among"]:
            raise InputError(f"{option}: {value!r}, expected one of {', '.join(filter(None, limits['among']))}")
        return
    if not fits(value, hint):
        raise InputError(f"{option}: {value!r}, expected {in_words(hint)}")
    if isinstance(value, tuple):
        for part in value:
            check(option, part, Any, limits)
        return
    if value is None:
        return
    words: dict[str, tuple[str, Callable[[Any], bool]]] = {
        "least": ("at least", lambda limit: value >= limit), "above": ("above", lambda limit: value > limit),
        "most": ("at most", lambda limit: value <= limit),
        "below": ("below", lambda limit: value < limit),
    }  # fmt: skip
    known = {name: limits[name] for name in words if name in limits}
    if not all(words[name][1](limit) for name, limit in known.items()):
        raise InputError(f"{option}: {value}, expected {' and '.join(f'{words[n][0]} {v}' for n, v in known.items())}")


def conform(value: Any, hint: Any, where: str, rest: Any = None) -> None:
    """Raise `InputError` naming the field unless a value from JSON is of a type.

    Args:
        value: what was read.
        hint: a type of this module's, or one made of ``TypedDict``, ``list``, ``dict[str, ...]``, ``Literal`` and
            ``Annotated`` with the limits that `check` takes.
        where: the field, for the message.
        rest: type of fields that a ``TypedDict`` does not name; None: there must be none.

    >>> conform([0, -1], list[Annotated[int, {"least": 0}]], "position")
    Traceback (most recent call last):
    alasca.errors.InputError: position[1]: -1, expected at least 0
    """
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if typing.is_typeddict(hint):
        if not isinstance(value, dict):
            raise InputError(f"{where}: expected a JSON object")
        hints = typing.get_type_hints(hint, include_extras=True)
        if lacking := sorted(hint.__required_keys__ - value.keys()):
            raise InputError(f"{where}: lacks {lacking[0]!r}")
        if rest is None and (odd := sorted(value.keys() - hints.keys())):
            raise InputError(f"{where}: {odd[0]!r} is no field of it")
        for name, part in value.items():
            conform(part, hints.get(name, rest), f"{where}: {name}")
    elif origin is Annotated:
        conform(value, parts[0], where)
        if value is not None:
            check(where, value, parts[0], parts[1])
    elif origin is Literal:
        if value not in parts or type(value) not in map(type, parts):
            raise InputError(f"{where}: {shown(value)}, expected one of {', '.join(map(str, parts))}")
    elif origin is list and isinstance(value, list):
        for k, part in enumerate(value):
            conform(part, parts[0], f"{where}[{k}]")
    elif origin is dict and isinstance(value, dict):
        for name, part in value.items():
            conform(part, parts[1], f"{where}: {name}")
    elif origin in (types.UnionType, typing.Union):
        held = [part for part in parts if typing.get_origin(part) in (list, dict) or typing.is_typeddict(part)]
        if isinstance(value, (list, dict)) and held:
            conform(value, next((part for part in held if typing.get_origin(part) is type(value)), held[0]), where)
        elif not any(fits(value, part) for part in parts if part not in held):
            raise InputError(f"{where}: {shown(value)}, expected {in_words(hint)}")
    elif origin in (list, dict) or (hint is not Any and (isinstance(value, (list, dict)) or not fits(value, hint))):
        raise InputError(f"{where}: {shown(value)}, expected {in_words(hint)}")


def shown(value: Any, most: int = 60) -> str:
    """A value for a message, however long it is.

    >>> shown("a" * 100, 10)
    "'aaaaaa..."
    """
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def in_words(hint: Any) -> str:
    """What a type asks for, for people.

    >>> in_words(int | None), in_words(float | tuple[float, float]), in_words(tuple[int, ...])
    ('a whole number or none', 'a number or [a number, a number]', 'a list of: a whole number')
    """
    parts = typing.get_args(hint)
    if typing.is_typeddict(hint) or typing.get_origin(hint) is dict:
        return "a JSON object"
    if typing.get_origin(hint) is list:
        return f"a list of: {in_words(parts[0])}"
    if typing.get_origin(hint) is Annotated:
        return in_words(parts[0])
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return " or ".join(dict.fromkeys(in_words(part) for part in parts))
    if typing.get_origin(hint) is tuple:
        if parts[1:] == (...,):
            return f"a list of: {in_words(parts[0])}"
        return f"[{', '.join(in_words(part) for part in parts)}]"
    return WORDS.get(hint, "a text")


def nearest(name: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """What to say of a name that is none of those that are known.

    >>> nearest("cee", ["ce", "gce", "elr"]), nearest("zzz", ["ce", "elr"])
    ("did you mean 'ce'?", 'expected one of ce, elr')
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, 1)
    if near:
        return f"did you mean {near[0]!r}?"
    return otherwise or f"expected one of {', '.join(known) or 'none'}"
