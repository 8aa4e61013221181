"""The options of ``alasca train``: one for each field of `Recipe` and of `Place`, made from these classes."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any

from cyclopts import Group, Parameter

from alasca.cli.arguments import parse_options
from alasca.errors import InputError
from alasca.recipe import DATA, FILES, METHOD, RUN, TRAINING, Place, Recipe, types_of
from alasca.terminal import visible

GROUPS = {name: Group(name, sort_key=k) for k, name in enumerate((DATA, FILES, METHOD, TRAINING, RUN), start=1)}


def whole(hint: Any, tokens: Sequence[Any]) -> Any:
    """Whole numbers from what was typed, ``1e3`` among them; nothing is rounded.

    Raises:
        InputError: anything else.
    """
    found = []
    for token in tokens:
        text, option = token.value.strip(), str(token.keyword or token.name or "number").lstrip("-")
        try:
            number = Decimal(text.replace("_", ""))
            if not number.is_finite() or number != number.to_integral_value() or abs(number) > 1 << 62:
                raise ValueError(text)
        except (ArithmeticError, ValueError):
            raise InputError(f"{option}: {visible(text)!r}, expected a whole number") from None
        found.append(int(number))
    return tuple(found) if typing.get_origin(hint) is tuple else found[0]


WHOLE: Any = {"converter": whole}
"""Of options that take whole numbers."""


def options_of(settings: type, name: str = "", leave_out: tuple[str, ...] = (), opened: bool = False) -> type:
    """A class of command-line options, one for each field of a class of settings, in the field's group.

    Args:
        settings: `Recipe` or `Place`.
        name: of the class.
        leave_out: fields without an option.
        opened: let all options be None where they are not given.
    """
    hints, made = types_of(settings), []
    for each in dataclasses.fields(settings):
        if each.name in leave_out:
            continue
        hint, default = hints[each.name], each.default
        extra: dict[str, Any] = {}
        if each.metadata.get("set"):  # name=value, repeated
            hint, extra, default = list[str] | None, {"name": "--set"}, None
        elif hint is bool and default is False:
            extra = {"negative": ""}
        elif hint in (int, int | None, tuple[int, ...]):
            extra = WHOLE
        if opened:
            hint, default = hint | None, None
        parameter = Parameter(group=GROUPS[each.metadata["group"]], help=each.metadata["help"], **extra)
        made.append((each.name, Annotated[hint, parameter], dataclasses.field(default=default)))
    found = dataclasses.make_dataclass(name or f"{settings.__name__}Options", made, frozen=True)
    found.__module__ = __name__  # what the standard library makes is a leaf to cyclopts
    return Parameter(name="*")(found)


RecipeOptions: Any = options_of(Recipe)
PlaceOptions: Any = options_of(Place)
OpenOptions: Any = options_of(Recipe, "OpenOptions", ("data",), opened=True)
"""Options of a recipe whose data are an argument; what is not given is None, and chosen to suit the data."""


def recipe_of(options: Any) -> Recipe:
    """The recipe that options name.

    Raises:
        InputError: one of them is out of range.
    """
    given = {each.name: getattr(options, each.name) for each in dataclasses.fields(options)}
    return Recipe(**{**given, "options": parse_options(given["options"] or [])})


def given_of(options: Any) -> dict[str, Any]:
    """The settings of a recipe that were given."""
    given = {each.name: getattr(options, each.name) for each in dataclasses.fields(options)}
    found = {name: value for name, value in given.items() if value is not None}
    return {**found, "options": parse_options(found["options"])} if "options" in found else found


def place_of(options: Any) -> Place:
    """The place that options name; errors as in `recipe_of`."""
    return Place(**{each.name: getattr(options, each.name) for each in dataclasses.fields(options)})
