"""Tables of settings read into frozen dataclasses, with every problem reported at once.

The dataclasses are the schema: their fields are the keys, their type hints the types, and their own checks say which
values are allowed. A check of several fields is attributed to the keys that it depends on, found by leaving keys out.
"""

import dataclasses
import difflib
import enum
import functools
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from lmu_kit.errors import InputError

__all__ = ["Problem", "ProjectError", "build", "field_types", "read_table", "read_values", "show"]

T = TypeVar("T")

WORDS = {bool: "true or false", int: "an integer", float: "a number", str: "a text", dict: "a table"}
MANY = {bool: "booleans", int: "integers", float: "numbers", str: "texts", dict: "tables"}


@dataclass(frozen=True)
class Problem:
    """What is wrong with one key, or with several together.

    Parameters
    ----------
    keys : tuple of (str, object)
        Dotted keys, each with its value; None for a key that is missing.
    text : str
        What is allowed.
    """

    keys: tuple[tuple[str, Any], ...]
    text: str

    def __str__(self) -> str:
        keys = (key if value is None else f"{key} = {show(value)}" for key, value in self.keys)
        return f"{', '.join(keys)}: {self.text}"


class ProjectError(InputError):
    """A project that cannot be used.

    Parameters
    ----------
    source : str
        The file.
    problems : sequence of Problem
        All of them.

    Attributes
    ----------
    problems : tuple of Problem
        As above.
    lines : tuple of str
        A line for each problem, with the file.
    """

    def __init__(self, source: str, problems: Collection[Problem]) -> None:
        self.problems = tuple(problems)
        self.lines = tuple(f"{source}: {problem}" for problem in problems)
        super().__init__("\n".join(self.lines))


class _Refused(Exception):
    """A value of the wrong type; the argument says which types are allowed."""


def show(value: Any) -> str:
    """TOML text of a value, on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, enum.Enum):
        return show(value.value)
    if isinstance(value, str):
        return _quoted(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return show({name: item for name, item in _items(value) if item is not None})
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(name)} = {show(item)}" for name, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(show, value)) + "]"
    return str(value)


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    return ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))


def _quoted(text: str) -> str:
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    characters = (escapes.get(c) or (c if c.isprintable() or ord(c) > 0x9F else f"\\u{ord(c):04X}") for c in text)
    return f'"{"".join(characters)}"'


def _key(name: str) -> str:
    return name if name and all(c.isascii() and (c.isalnum() or c in "-_") for c in name) else _quoted(name)


@functools.cache
def field_types(kind: type) -> dict[str, Any]:
    """Type hint of every field that the constructor of a dataclass takes."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.init}


def read_table(
    kind: Callable[..., T],
    table: Any,
    key: str,
    problems: list[Problem],
    *,
    excluded: Collection[str] = (),
    beside: Collection[str] = (),
    defaults: Mapping[str, Any] | None = None,
) -> T | None:
    """Read a table into a dataclass.

    Parameters
    ----------
    kind : type
        The dataclass.
    table : object
        What the file holds.
    key : str
        Dotted key of the table.
    problems : list of Problem
        Receives what is wrong.
    excluded, beside : collection of str
        As for `read_values`.
    defaults : mapping of str to object, optional
        Values of fields that the table does not set, before those of the dataclass.

    Returns
    -------
    object or None
        Of the class, of all keys that are right; None if a required key is wrong.
    """
    if not isinstance(table, Mapping):
        problems.append(Problem(((key, table),), "must be a table"))
        return None
    values = read_values(kind, table, key, problems, excluded=excluded, beside=beside)
    known = {name: value for name, value in (defaults or {}).items() if name not in values}
    missing = [name for name in _required(kind) if name not in values and name not in known]
    if missing:
        problems.extend(Problem(((f"{key}.{name}", None),), "is missing") for name in missing if name not in table)
        return None
    return build(lambda **chosen: kind(**known, **chosen), values, key, problems)


def read_values(
    kind: Callable[..., Any],
    table: Mapping[str, Any],
    key: str,
    problems: list[Problem],
    *,
    excluded: Collection[str] = (),
    beside: Collection[str] = (),
) -> dict[str, Any]:
    """Read the keys of a table into values of a dataclass's fields.

    Parameters
    ----------
    kind : type
        The dataclass.
    table : mapping
        What the file holds.
    key : str
        Dotted key of the table.
    problems : list of Problem
        Receives unknown keys and values of a wrong type.
    excluded : collection of str
        Fields that the table cannot set.
    beside : collection of str
        Keys that the table has beside the fields, and the caller reads.

    Returns
    -------
    dict of str to object
        The values that are right.
    """
    allowed = {name: hint for name, hint in field_types(kind).items() if name not in excluded}
    values = {}
    for name, value in table.items():
        path = f"{key}.{_key(name)}"
        if name in beside:
            continue
        if name not in allowed:
            names = (*beside, *allowed)
            close = difflib.get_close_matches(name, names, 1)
            perhaps = f"unknown key, perhaps {close[0]}" if close else "unknown key"
            problems.append(Problem(((path, value),), f"{perhaps}; allowed: {', '.join(names)}"))
            continue
        before = len(problems)
        try:
            converted = _convert(allowed[name], value, path, problems)
        except _Refused as refused:
            problems.append(Problem(((path, value),), f"must be {refused}"))
        else:
            if len(problems) == before:
                values[name] = converted
    return values


def _required(kind: Callable[..., Any]) -> list[str]:
    return [
        field.name
        for field in dataclasses.fields(kind)  # type: ignore[arg-type]
        if field.init and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]


def build(make: Callable[..., T], values: Mapping[str, Any], key: str, problems: list[Problem]) -> T | None:
    """Call with keys and values, and report each refusal with the keys that it depends on.

    Parameters
    ----------
    make : callable
        Takes the values by keyword; raises TypeError or ValueError.
    values : mapping of str to object
        All of the right type.
    key : str
        Dotted key of the table.
    problems : list of Problem
        Receives a problem for each refusal.

    Returns
    -------
    object or None
        The result, without the keys that were refused; None if it is refused without any.
    """
    search = _Search(make, values)
    search.explore(dict(values))
    for involved, refusal in search.refused.items():
        paths = tuple((f"{key}.{name}" if key else name, values[name]) for name in involved)
        problems.append(Problem(paths or ((key, None),), refusal))
    return None if search.accepted is None else make(**search.accepted)


class _Search:
    """Finds every refusal of a call: whenever one is found, each of its keys is left out in turn."""

    def __init__(self, make: Callable[..., Any], values: Mapping[str, Any]) -> None:
        self.make, self.values = make, values
        self.refused: dict[tuple[str, ...], str] = {}
        self.accepted: dict[str, Any] | None = None
        self._seen: set[frozenset[str]] = set()

    def explore(self, values: dict[str, Any]) -> None:
        """Find the refusals of these values and of parts of them."""
        if frozenset(values) in self._seen:
            return
        self._seen.add(frozenset(values))
        refusal = _refusal(self.make, values)
        if refusal is None:
            if self.accepted is None or len(values) > len(self.accepted):
                self.accepted = values
            return
        involved = _involved(self.make, values, refusal)
        if not self._follows(involved, values):
            self.refused.setdefault(tuple(involved), refusal)
        for left in involved:
            self.explore({name: value for name, value in values.items() if name != left})


    def _follows(self, involved: list[str], values: Mapping[str, Any]) -> bool:
        """Whether keys are refused only because others were left out, whose defaults do not go with them."""
        if any(set(involved) < set(known) for known in self.refused):
            return True
        chosen = {name: self.values[name] for name in involved}
        without = [name for name in self.values if name not in values]
        return any(_refusal(self.make, chosen | {name: self.values[name]}) is None for name in without)


def _refusal(make: Callable[..., Any], values: Mapping[str, Any]) -> str | None:
    try:
        make(**values)
    except (TypeError, ValueError) as error:
        return str(error)
    return None


def _involved(make: Callable[..., Any], values: Mapping[str, Any], refusal: str) -> list[str]:
    """Keys without which this refusal does not arise: the others are left out one by one."""
    remaining = dict(values)
    for name in values:
        rest = {other: value for other, value in remaining.items() if other != name}
        if _refusal(make, rest) == refusal:
            remaining = rest
    return list(remaining)


def _convert(hint: Any, value: Any, key: str, problems: list[Problem]) -> Any:
    """Value of a field; `_Refused` if it has another type."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(parts, value, key, problems)
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        return read_table(hint, value, key, problems)  # type: ignore[arg-type]
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        choices = [member.value for member in hint]
        if value not in choices:
            raise _Refused(f"one of {', '.join(map(str, choices))}")
        return hint(value)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise _Refused(WORDS[dict])
        return {name: _convert(parts[1], item, f"{key}.{_key(name)}", problems) for name, item in value.items()}
    if origin is not None:
        return _convert_list(parts, value, key, problems)
    right = type(value) in (int, float) if hint is float else type(value) is hint
    if not right:
        raise _Refused(WORDS[hint])
    return value


def _convert_union(parts: tuple[Any, ...], value: Any, key: str, problems: list[Problem]) -> Any:
    """Value of one of several types; false where a setting may be left out."""
    if type(None) in parts and value is False:
        return None
    kinds = [part for part in parts if part is not type(None)]
    if len(kinds) > 1 and all(dataclasses.is_dataclass(part) for part in kinds):
        return _convert_tagged({_tag(part): part for part in kinds}, value, key, problems)
    reasons = []
    for part in kinds:
        try:
            return _convert(part, value, key, problems)
        except _Refused as refused:
            reasons.append(str(refused))
    if any(isinstance(part, type) and issubclass(part, enum.Enum) for part in kinds):
        reasons = reasons[:1]
    raise _Refused(" or ".join([*dict.fromkeys(reasons), *(["false"] if type(None) in parts else [])]))


TAG, NO_TAG = "type", "lmu"
"""Key that tells tables of several kinds apart, and its value where a kind has no such field."""


def _tag(kind: type) -> str:
    tags = [str(field.default) for field in dataclasses.fields(kind) if field.name == TAG]
    return tags[0] if tags else NO_TAG


def _convert_tagged(kinds: Mapping[str, type], value: Any, key: str, problems: list[Problem]) -> Any:
    """Value of a table of one of several kinds."""
    tag = value.get(TAG, NO_TAG) if isinstance(value, Mapping) else NO_TAG
    if tag not in kinds:
        problems.append(Problem(((f"{key}.{TAG}", tag),), f"must be one of {', '.join(kinds)}"))
        return None
    return read_table(kinds[tag], value, key, problems, beside=(TAG,) if tag == NO_TAG else ())


def _convert_list(parts: tuple[Any, ...], value: Any, key: str, problems: list[Problem]) -> Any:
    item_type, count = parts[0], None if parts[-1] is Ellipsis or len(parts) == 1 else len(parts)
    many = MANY.get(item_type, "tables")
    if not isinstance(value, list) or (count is not None and len(value) != count):
        raise _Refused(f"a list of {many}" if count is None else f"a list of {count} {many}")
    try:
        return tuple(_convert(item_type, item, f"{key}[{index}]", problems) for index, item in enumerate(value))
    except _Refused:
        raise _Refused(f"a list of {many}") from None
