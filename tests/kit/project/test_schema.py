"""Tables become dataclasses, and everything that is wrong is said at once, with the keys that it depends on."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from lmu_kit.project.schema import Problem, ProjectError, read_table, show


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Inner:
    width: int
    signed: bool = True

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width must be at least 1, not {self.width}")


@dataclass(frozen=True)
class Other:
    units: int = 1
    type: str = "other"


@dataclass(frozen=True)
class Outer:
    count: int = 1
    share: float = 0.5
    name: str = ""
    on: bool = False
    limit: int | None = None
    pair: tuple[float, float] = (0.0, 1.0)
    names: tuple[str, ...] = ()
    colour: Colour = Colour.RED
    simulator: Colour | str = Colour.RED
    inner: Inner | None = None
    inners: tuple[Inner, ...] = ()
    mixed: tuple[Inner | Other, ...] = ()
    widths: Mapping[str, int] = field(default_factory=dict)
    formats: Mapping[str, Inner] = field(default_factory=dict)
    anything: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.count > 9:
            raise ValueError(f"count must be at most 9, not {self.count}")
        if self.on and self.count > 4:
            raise ValueError(f"count of {self.count} and on exclude each other")
        if self.on and self.name:
            raise ValueError("a name and on exclude each other")
        if self.limit is not None and self.limit >= self.count:
            raise ValueError(f"limit must be below the count {self.count}, not {self.limit}")


def read(table: Any, **options: Any) -> tuple[Outer | None, list[str]]:
    problems: list[Problem] = []
    made = read_table(Outer, table, "outer", problems, **options)
    return made, [str(problem) for problem in problems]


def test_values_of_every_type():
    table = {
        "count": 3, "share": 1, "name": "a", "on": False, "limit": 2, "pair": [1, 2.5], "names": ["b", "c"],
        "colour": "blue", "simulator": "blue", "inner": {"width": 3},
        "inners": [{"width": 1}, {"width": 2, "signed": False}],
        "mixed": [{"type": "other", "units": 3}, {"width": 4}, {"type": "lmu", "width": 5}],
        "widths": {"x": 1}, "formats": {"layer0.u": {"width": 8}}, "anything": {"x": [1]},
    }  # fmt: skip
    assert read(table) == (
        Outer(
            3, 1, "a", False, 2, (1, 2.5), ("b", "c"), Colour.BLUE, Colour.BLUE, Inner(3), (Inner(1), Inner(2, False)),
            (Other(3), Inner(4), Inner(5)), {"x": 1}, {"layer0.u": Inner(8)}, {"x": [1]},
        ),
        [],
    )  # fmt: skip
    assert read({"limit": False}) == (Outer(), [])
    assert read({"count": 4}, defaults={"count": 5, "share": 0.25}) == (Outer(4, 0.25), [])


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (3, "outer = 3: must be a table"),
        ({"count": 2.0}, "outer.count = 2.0: must be an integer"),
        ({"count": True}, "outer.count = true: must be an integer"),
        ({"share": "1"}, 'outer.share = "1": must be a number'),
        ({"name": 1}, "outer.name = 1: must be a text"),
        ({"on": 1}, "outer.on = 1: must be true or false"),
        ({"limit": "no"}, 'outer.limit = "no": must be an integer or false'),
        ({"pair": [1]}, "outer.pair = [1]: must be a list of 2 numbers"),
        ({"names": "ab"}, 'outer.names = "ab": must be a list of texts'),
        ({"names": ["a", 1]}, 'outer.names = ["a", 1]: must be a list of texts'),
        ({"colour": "green"}, 'outer.colour = "green": must be one of red, blue'),
        ({"simulator": 3}, "outer.simulator = 3: must be one of red, blue"),
        ({"inner": 3}, "outer.inner = 3: must be a table"),
        ({"inner": {}}, "outer.inner.width: is missing"),
        ({"inners": [{"width": 1}, {"width": 0}]}, "outer.inners[1].width = 0: width must be at least 1, not 0"),
        ({"mixed": [{"type": "third"}]}, 'outer.mixed[0].type = "third": must be one of lmu, other'),
        ({"mixed": 3}, "outer.mixed = 3: must be a list of tables"),
        ({"widths": 3}, "outer.widths = 3: must be a table"),
        ({"widths": {"a b": "x"}}, 'outer.widths = {"a b" = "x"}: must be an integer'),
        ({"formats": {"x": {"wide": 3, "width": 1}}},
         "outer.formats.x.wide = 3: unknown key, perhaps width; allowed: width, signed"),
        ({"zzz": "é\n\""}, f'outer.zzz = "é\\n\\"": unknown key; allowed: {", ".join(Outer.__dataclass_fields__)}'),
        ({"count": 10}, "outer.count = 10: count must be at most 9, not 10"),
        ({"limit": 3, "count": 2}, "outer.limit = 3, outer.count = 2: limit must be below the count 2, not 3"),
    ],
)  # fmt: skip
def test_one_problem(table: Any, problem: str):
    made, problems = read(table)
    assert problems == [problem]
    assert made is None or isinstance(made, Outer)


def test_all_problems_at_once():
    inner = {"width": 0, "signed": 3}
    made, problems = read({"on": True, "count": 6, "name": "a", "share": "b", "inner": inner, "x": 1})
    assert problems == [
        'outer.share = "b": must be a number',
        "outer.inner.signed = 3: must be true or false",
        "outer.inner.width = 0: width must be at least 1, not 0",
        f"outer.x = 1: unknown key; allowed: {', '.join(Outer.__dataclass_fields__)}",
        "outer.on = true, outer.count = 6: count of 6 and on exclude each other",
        'outer.on = true, outer.name = "a": a name and on exclude each other',
    ]
    assert made is not None


def test_a_refusal_that_follows_from_another_is_not_reported():
    """Without the count of 5 the limit would be too high for the default: that is not the user's mistake."""
    _, problems = read({"count": 5, "limit": 7})
    assert problems == ["outer.count = 5, outer.limit = 7: limit must be below the count 5, not 7"]
    _, problems = read({"count": 5, "limit": 3, "on": True})
    assert problems == ["outer.count = 5, outer.on = true: count of 5 and on exclude each other"]


def test_fields_that_a_table_cannot_set():
    _, problems = read({"name": "a", "levers": 3}, excluded=("name",), beside=("levers",))
    (problem,) = problems
    assert problem.startswith('outer.name = "a": unknown key')
    assert "levers, count" in problem
    assert ", name," not in problem


def test_an_error_has_a_line_for_each_problem():
    problems = [Problem((("a", 1), ("b", None)), "must not be"), Problem((("c.d", [1]),), "is odd")]
    error = ProjectError("own.toml", problems)
    assert error.lines == ("own.toml: a = 1, b: must not be", "own.toml: c.d = [1]: is odd")
    assert str(error) == "\n".join(error.lines)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"), (1, "1"), (0.1, "0.1"), (1e-6, "1e-06"), ("نعم \\ \t\x01", '"نعم \\\\ \\t\\u0001"'),
        ([1, [2]], "[1, [2]]"), ({"a": 1, "لا": "x"}, '{a = 1, "لا" = "x"}'), (Colour.RED, '"red"'),
        (Inner(3), "{width = 3, signed = true}"),
    ],
)  # fmt: skip
def test_values_as_toml(value: Any, text: str):
    assert show(value) == text
