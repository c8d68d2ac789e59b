"""Checks of values from outside: each message names the value and says what was expected.

A value of the wrong type raises `TypeError`. A value that is not allowed raises `ValueError`, as does JSON that is no
object or has the wrong keys.
"""

import math
import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, fields
from enum import Enum
from typing import Any, TypeVar

__all__ = [
    "from_json",
    "require_choice",
    "require_int",
    "require_list",
    "require_member",
    "require_number",
    "require_object",
    "require_schema",
    "require_type",
]

T = TypeVar("T")
E = TypeVar("E", bound=Enum)

TYPES = {bool: "true or false", int: "an integer", str: "a text", dict: "an object", list: "a list"}
"""How messages call the types of JSON."""

PLURALS = {bool: "booleans", int: "integers", str: "texts", dict: "objects", list: "lists"}


def _interval(low: float, high: float, above: bool, below: bool) -> str:
    """Words for an interval; `above` and `below` exclude its ends."""
    if not (above or below or math.isinf(low) or math.isinf(high)):
        return f"in {low} to {high}"
    words = [f"{'above' if above else 'at least'} {low}", f"{'below' if below else 'at most'} {high}"]
    return " and ".join(text for text, end in zip(words, (low, high), strict=True) if not math.isinf(end))


def require_int(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> int:
    """Check an integer; NumPy's are taken, booleans are not.

    Parameters
    ----------
    name : str
        How messages call it.
    value : object
        The value.
    low, high : int
        Smallest and largest integer that is allowed; no limit if not given.

    Returns
    -------
    int
        The integer.

    Raises
    ------
    TypeError
        If it is no integer.
    ValueError
        If it is out of range.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"{name} must be an integer, not {value!r}")
    if not low <= number <= high:
        raise ValueError(f"{name} must be {_interval(low, high, False, False)}, not {value!r}")
    return number


def require_number(
    name: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: bool = False,
    below: bool = False,
) -> float:
    """Check a finite number; booleans are none.

    Parameters
    ----------
    name : str
        How messages call it.
    value : object
        The value.
    low, high : float
        Ends of the interval that is allowed; no limit if not given.
    above, below : bool
        Whether `low` and `high` themselves are not allowed.

    Returns
    -------
    int or float
        The number.

    Raises
    ------
    TypeError
        If it is no number.
    ValueError
        If it is not finite, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, not {value!r}")
    inside = (low < value if above else low <= value) and (value < high if below else value <= high)
    if not (inside and math.isfinite(value)):
        limits = "" if math.isinf(low) and math.isinf(high) else f" {_interval(low, high, above, below)}"
        raise ValueError(f"{name} must be a finite number{limits}, not {value!r}")
    return value


def require_type(name: str, value: Any, kind: type[T]) -> T:
    """Check that a value is of exactly this type, one of JSON's.

    Raises
    ------
    TypeError
        If it is of another type.
    """
    if type(value) is not kind:
        raise TypeError(f"{name} must be {TYPES[kind]}, not {value!r}")
    return value


def require_list(name: str, value: Any, kind: type[T]) -> tuple[T, ...]:
    """Check a list of values of exactly this type, one of JSON's.

    Raises
    ------
    TypeError
        If it is something else.
    """
    if type(value) is not list or not all(type(item) is kind for item in value):
        raise TypeError(f"{name} must be a list of {PLURALS[kind]}, not {value!r}")
    return tuple(value)


def require_choice(name: str, value: Any, choices: Collection[T]) -> T:
    """Check that a value is one of those that are allowed, and of the same type.

    Raises
    ------
    ValueError
        If it is not.
    """
    for choice in choices:
        if type(value) is type(choice) and value == choice:
            return choice
    raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}, not {value!r}")


def require_member(name: str, value: Any, kind: type[E]) -> E:
    """Member of an enumeration, given itself or by its value.

    Raises
    ------
    ValueError
        If there is no such member.
    """
    try:
        return kind(value)
    except ValueError:
        choices = ", ".join(str(member.value) for member in kind)
        raise ValueError(f"{name} must be one of {choices}, not {value!r}") from None


def require_object(
    name: str, data: Any, known: Collection[str], required: Collection[str] | None = None
) -> dict[str, Any]:
    """Check a JSON object and its keys.

    Parameters
    ----------
    name : str
        How messages call it, with its article: ``"the sweep"``.
    data : object
        What was read.
    known : collection of str
        Keys that it may have.
    required : collection of str, optional
        Keys that it must have; all known keys if not given.

    Returns
    -------
    dict
        A copy.

    Raises
    ------
    ValueError
        If it is no object, or a key is unknown or missing.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"{name} must be an object, not {data!r}")
    for key in data:
        if key not in known:
            raise ValueError(f"unknown key {key!r} in {name}, expected {', '.join(known)}")
    for key in known if required is None else required:
        if key not in data:
            raise ValueError(f"{name} lacks the key {key!r}")
    return dict(data)


def require_schema(name: str, data: Any, schema: str, version: int | str) -> dict[str, Any]:
    """Check the schema and version of a JSON object.

    Parameters
    ----------
    name : str
        How messages call it, with its article.
    data : object
        What was read.
    schema : str
        Its key ``schema`` must be this.
    version : int or str
        Its key ``version`` must be this.

    Returns
    -------
    dict
        The other keys.

    Raises
    ------
    ValueError
        If it is no object, or has another schema or version.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"{name} must be an object, not {data!r}")
    for key, expected in (("schema", schema), ("version", version)):
        value = data.get(key)
        if type(value) is not type(expected) or value != expected:
            raise ValueError(f"{key} of {name} must be {expected!r}, not {value!r}")
    return {key: value for key, value in data.items() if key not in ("schema", "version")}


def from_json(kind: Callable[..., T], name: str, data: Any, /, **parts: Callable[[Any], Any]) -> T:
    """Make a dataclass of a JSON object.

    Parameters
    ----------
    kind : type
        The dataclass. Keys of the object are its fields; those without a default are required.
    name : str
        How messages call the object, with its article.
    data : object
        What was read.
    **parts : callable
        For fields that are not plain JSON: what makes the field's value of the JSON value. A null is left as it is.

    Returns
    -------
    object
        Of the class.

    Raises
    ------
    TypeError, ValueError
        If the object, a key or a value is refused.
    """
    own = [field for field in fields(kind) if field.init]  # type: ignore[arg-type]
    required = [field.name for field in own if field.default is MISSING and field.default_factory is MISSING]
    values = require_object(name, data, [field.name for field in own], required)
    for key, make in parts.items():
        if values.get(key) is not None:
            values[key] = make(values[key])
    return kind(**values)
