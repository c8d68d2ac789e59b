"""House rules that a reader relies on: functions of one screen, few parameters, nothing printed below the command."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("lmu_hw", "quantize/lmu_quantize", "sim/lmu_sim", "kit/lmu_kit", "peers", "examples")
MOST_LINES = 60
MOST_PARAMETERS = 8


def sources() -> Iterator[tuple[str, ast.Module]]:
    """Every file of the packages with its path from the root."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path, module in sources():
        for node in ast.walk(module):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield f"{path}: {node.name}", node


def lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    first = function.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Parameters of a function without `self` and `cls`."""
    given = function.args
    names = [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def test_a_function_fits_a_screen():
    assert [f"{where}: {count} lines" for where, node in functions() if (count := lines(node)) > MOST_LINES] == []


def test_a_function_has_few_parameters():
    found = [(where, parameters(node)) for where, node in functions()]
    assert [f"{where}: {count} parameters" for where, count in found if count > MOST_PARAMETERS] == []


def test_only_the_command_prints_and_exits():
    wrong = []
    for path, module in sources():
        if path.startswith(("kit/lmu_kit/cli/", "peers/", "examples/")):
            continue
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "sys.exit", "exit", "os._exit"):
                wrong.append(f"{path}:{node.lineno}: {ast.unparse(node.func)}")
            if isinstance(node, ast.Attribute) and node.attr == "Namespace":
                wrong.append(f"{path}:{node.lineno}: Namespace")
    # A worker process ends with the process that started it.
    assert [line for line in wrong if not line.startswith("kit/lmu_kit/workers.py:")] == []


def test_the_rules_notice_what_they_forbid():
    long = ast.parse("def f(self, a, b):\n    '''Doc.\n\n    More.'''\n" + "    x = 1\n" * 61).body[0]
    assert isinstance(long, ast.FunctionDef)
    assert lines(long) == 62
    assert parameters(long) == 2


def test_names_are_not_used_twice():
    """One class name, one thing: those of private classes and of the frameworks' own names aside."""
    seen: dict[str, list[str]] = {}
    for path, module in sources():
        if not path.startswith(("peers", "examples")):
            for node in module.body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    seen.setdefault(node.name, []).append(path)
    assert {name: paths for name, paths in seen.items() if len(paths) > 1} == {}
