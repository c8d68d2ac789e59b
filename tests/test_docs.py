"""Links, options of command lines, and scripts of the documentation exist."""

import ast
import contextlib
import functools
import importlib.util
import io
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest
from markdown_it import MarkdownIt

import lmu_kit
from lmu_hw.model import program_file
from lmu_hw.plan import weight_file
from lmu_hw.power import technology
from lmu_kit.cli.main import main
from lmu_kit.project.text import markdown
from lmu_quantize import float_file, frames_file

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "rtl/README.md", ROOT / "peers/nngen/README.md"]
TEXTS = {str(page.relative_to(ROOT)): page.read_text() for page in sorted(PAGES)}
LEVERS = "--isolate-operands --control-reset --stop-clock --gate-blocks"


def code(text: str) -> list[str]:
    """Code blocks and inline code."""
    found = []
    for token in MarkdownIt().enable("table").parse(text):
        if token.type in ("fence", "code_block"):
            found.append(token.content)
        found += [child.content for child in token.children or () if child.type == "code_inline"]
    return found


def anchors(text: str) -> set[str]:
    """Anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_to_files_and_headings(page: str):
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", TEXTS[page])):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text()), target


def command_lines(text: str) -> list[list[str]]:
    """Command and arguments of every ``lmu-hw COMMAND ...`` that has arguments."""
    found = []
    for block in code(text):
        for line in re.findall(r"lmu-hw ([a-z]+ [^#\n]*)", re.sub(r"\\\n\s*", " ", block)):
            line = re.sub(r"[\[\]\"]", "", line.partition("&&")[0].partition("; ")[0]).replace("LEVERS", LEVERS)
            found.append(shlex.split(line))
    return found


@functools.cache
def options(command: str) -> frozenset[str]:
    """Options in the help of a command."""
    with contextlib.redirect_stdout(io.StringIO()) as text, pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0, command
    return frozenset(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text.getvalue()))


@pytest.mark.parametrize("page", TEXTS)
def test_options_of_command_lines_exist(page: str):
    for command, *words in command_lines(TEXTS[page]):
        for option in (word for word in words if word.startswith("--")):
            assert option in options(command), f"lmu-hw {command} {option}"


def test_many_command_lines_were_found():
    assert sum(len(command_lines(text)) for text in TEXTS.values()) > 60


@pytest.mark.parametrize("page", TEXTS)
def test_scripts_import_what_exists(page: str):
    for script in re.findall(r"python -c \"\n(.*?)\"(?:\s|$)", "\n".join(code(TEXTS[page])), re.S):
        for node in ast.walk(ast.parse(script)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lmu_"):
                home = importlib.import_module(node.module)
                for name in (alias.name for alias in node.names):
                    assert hasattr(home, name) or importlib.util.find_spec(f"{node.module}.{name}"), name


def exists(dotted: str) -> bool:
    """Whether a name is a module, or an attribute of one."""
    parts = dotted.split(".")
    for k in range(len(parts), 0, -1):
        with contextlib.suppress(ModuleNotFoundError):
            home = importlib.import_module(".".join(parts[:k]))
            return functools.reduce(lambda owner, name: getattr(owner, name, None), parts[k:], home) is not None
    return False


@pytest.mark.parametrize("page", [page for page in TEXTS if page != "CHANGELOG.md"])
def test_names_and_paths_exist(page: str):
    for piece in code(TEXTS[page]):
        for dotted in re.findall(r"(?<![\w/.-])lmu_(?:hw|quantize|sim|kit)(?:\.[A-Za-z_]\w*)+", piece):
            assert exists(dotted), dotted
        for path in re.findall(r"(?:tests|lmu_hw|quantize|sim|kit|peers|examples)/[\w./-]+\.(?:py|json|v)\b", piece):
            assert (ROOT / path).exists() or "NAME" in path, path


def test_the_functions_of_the_architecture_exist():
    names = set(re.findall(r"`lh\.(\w+)`", TEXTS["docs/architecture.md"]))
    assert len(names) >= 12
    assert names <= {*lmu_kit.__all__, "cosimulate"}


@pytest.mark.parametrize("module", [program_file, weight_file, technology, float_file, frames_file])
def test_file_formats_have_the_versions_of_the_docs(module: ModuleType):
    assert f"| `{module.SCHEMA}` {module.VERSION} |" in TEXTS["docs/files.md"]


def test_the_reference_of_the_project_file_is_that_of_the_code():
    assert TEXTS["docs/project.md"] == markdown(), "write docs/project.md again as CONTRIBUTING.md says"


def test_the_ranks_of_the_architecture_are_those_of_the_imports():
    page = TEXTS["docs/architecture.md"]
    items = [re.findall(r"`(\w+)`", line.partition(":")[0]) for line in re.findall(r"^\d+\. (.*)$", page, re.M)]
    tree = ast.parse((ROOT / "tests/test_imports.py").read_text())
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    values = {ast.unparse(node.targets[0]): node.value for node in assigned}
    assert [set(names) for names in items] == [
        set(ast.literal_eval(values["BASE"])), *map(set, ast.literal_eval(values["RANKS"]))
    ]  # fmt: skip
    picture = (ROOT / "docs/architecture.svg").read_text()
    assert all(re.search(rf"[> ]{name}[<,]", picture) for names in items for name in names)
