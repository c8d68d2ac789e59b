"""Docs, docstrings and help that a hurried engineer reads once: no sentence is longer than 35 words."""

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parent.parent
LONGEST = 35
PAGES = sorted((*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "rtl/README.md", ROOT / "peers/nngen/README.md"))
FOLDERS = ("lmu_hw", "quantize/lmu_quantize", "sim/lmu_sim", "kit/lmu_kit", "examples", "peers/nngen")

CODE = "Code"
"""Stands for inline code, as one word; a sentence may start with it."""
ABBREVIATION = re.compile(r"(?:^|[\s([])(?:e\.g|i\.e|etc|vs|al|cf|approx|incl|Fig|No|Eq|Sec|[A-Z])\.$")
END = re.compile(r"[.!?][)\]\"”]*(?=\s)")


def sentences(text: str) -> list[str]:
    """Split a paragraph; an end needs a space and then a capital, a digit, a quote, a bracket or an option."""
    text = " ".join(text.split())
    ends = [0]
    for end in END.finditer(text):
        following = text[end.end() + 1 : end.end() + 2]
        starts = following.isupper() or following.isdigit() or following in tuple("\"“([-")
        if starts and not ABBREVIATION.search(text[ends[-1] : end.start() + 1]):
            ends.append(end.end() + 1)
    return [text[a:b].strip() for a, b in zip(ends, [*ends[1:], len(text)], strict=True) if text[a:b].strip()]


def words(sentence: str) -> int:
    return sum(any(c.isalnum() for c in word) for word in sentence.split())


def prose(token: Token) -> str:
    """Text of a paragraph: links by their text, inline code as one word, pictures left out."""
    parts = []
    for child in token.children or ():
        match child.type:
            case "text":
                parts.append(child.content)
            case "code_inline":
                parts.append(CODE)
            case "softbreak" | "hardbreak":
                parts.append(" ")
    return "".join(parts)


def markdown_sentences(text: str) -> Iterator[tuple[int, str]]:
    """Line and text of each sentence; code blocks and tables are left out, each list item is on its own."""
    table = False
    for token in MarkdownIt().enable("table").parse(text):
        table = token.type == "table_open" or (table and token.type != "table_close")
        if token.type == "inline" and not table:
            yield from (((token.map or [0])[0] + 1, sentence) for sentence in sentences(prose(token)))


ITEM = re.compile(r"(?:[-*+]|\d+[.)])\s")
COLUMN = re.compile(r"\S {3,}\S")
UNDERLINE = re.compile(r"[-=~]{3,}(?:\s+[-=~]{2,})*")


def docstring_paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """Line and text of each paragraph, list item and description; examples, tables and literal blocks are left out."""
    start, paragraph, indent, literal = 0, [], 0, None
    for number, line in enumerate([*inspect.cleandoc(text).splitlines(), ""]):
        stripped, depth = line.strip(), len(line) - len(line.lstrip())
        if literal is not None and (not stripped or depth > literal):
            continue
        literal = None
        other = not stripped or UNDERLINE.fullmatch(stripped) or stripped.startswith((">>>", "...", "|"))
        item = ITEM.match(stripped) is not None or COLUMN.search(stripped) is not None
        deeper = depth > indent and paragraph and ITEM.match(paragraph[0])
        if paragraph and (other or item or (depth != indent and not deeper)):
            yield start, " ".join(paragraph)
            paragraph = []
        if other:
            continue
        if not paragraph:
            start, indent = number, depth
        paragraph.append(stripped)
        if stripped.endswith("::"):
            literal = depth
            yield start, " ".join(paragraph)
            paragraph = []


def docstring_sentences(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of each sentence of the docstrings, and of the strings that stand below what they describe."""
    for node in ast.walk(ast.parse(source)):
        for child in getattr(node, "body", ()) if not isinstance(node, ast.Lambda | ast.IfExp) else ():
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant) and type(child.value.value) is str:
                for line, paragraph in docstring_paragraphs(child.value.value):
                    plain = re.sub(r":\w+:`[^`]*`|``.*?``|`[^`]*`", CODE, paragraph)
                    yield from ((child.lineno + line, sentence) for sentence in sentences(plain))


def string_sentences(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of each sentence of all other strings: help and messages; a value in one counts as a word."""
    tree = ast.parse(source)
    parts_of_others = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else CODE for part in node.values]
            yield from ((node.lineno, sentence) for sentence in sentences("".join(map(str, parts))))
        elif node in parts_of_others or not isinstance(node, ast.Constant):
            continue
        elif isinstance(node.value, str) and "\n" not in node.value:
            yield from ((node.lineno, sentence) for sentence in sentences(node.value))


READERS = {".md": markdown_sentences, ".py": docstring_sentences}


def too_long(path: Path, read: Callable[[str], Iterator[tuple[int, str]]] | None = None) -> list[str]:
    return [
        f"{path.name}:{line}: {words(sentence)} words: {sentence}"
        for line, sentence in (read or READERS[path.suffix])(path.read_text())
        if words(sentence) > LONGEST
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_sentence_of_a_page_is_long(page: Path):
    assert too_long(page) == []


def modules(folder: str) -> list[Path]:
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert paths
    return paths


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_sentence_of_a_docstring_is_long(folder: str):
    assert [line for path in modules(folder) for line in too_long(path)] == []


def test_no_sentence_of_help_or_a_message_is_long():
    assert [line for path in modules("kit/lmu_kit") for line in too_long(path, string_sentences)] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It takes 1.5 mm. That is small.", ["It takes 1.5 mm.", "That is small."]),
        ("Use a lever, e.g. Banks. 32 lanes rest.", ["Use a lever, e.g. Banks.", "32 lanes rest."]),
        ("Blouw et al. 2021 and F. Chung say so.", ["Blouw et al. 2021 and F. Chung say so."]),
        ("Is it so? (It is.) See [Fig. 3].", ["Is it so?", "(It is.)", "See [Fig. 3]."]),
        ("Run a.b now.\nThen stop", ["Run a.b now.", "Then stop"]),
    ],
)
def test_sentences_are_split_where_they_end(text: str, expected: list[str]):
    assert sentences(text) == expected


def test_only_prose_is_counted(tmp_path: Path):
    page = tmp_path / "page.md"
    short = "word " * 35
    page.write_text(
        f"# Title\n\n{short}\n\n- {short}\n- {short}\n  1. {short}\n\n"
        f"| a |\n|---|\n| {short * 2} |\n\n    {short * 2}\n\n```\n{short * 2}\n```\n\n"
        f"{'word ' * 30} `{short}` [a b c d](https://a.b/c.d-e)\n"
    )
    assert too_long(page) == []


@pytest.mark.parametrize("start", ["", "- ", "> ", "1. ", "## ", "Short. "])
def test_a_long_sentence_is_noticed(tmp_path: Path, start: str):
    page = tmp_path / "page.md"
    page.write_text(f"Short.\n\n{start}Word{' e.g. 1.5 word' * 11} and it's `so many` words.\n")
    (line,) = too_long(page)
    assert line.startswith("page.md:3: 38 words: ")


def test_only_prose_of_a_docstring_is_counted(tmp_path: Path):
    module = tmp_path / "module.py"
    short = "word " * 34
    module.write_text(
        f'''"""Title.

{short}::

    {short * 2}

{short}

- {short}
  word
- {short}

table   {short}
gates   {short}

Parameters
----------
name : {short}
    {short}

>>> {short * 2}
"""

NAME = 1
"""{short} `{short}` ."""
'''
    )
    assert too_long(module) == []


@pytest.mark.parametrize("start", ["", "    ", "- ", "name : int\n    "])
def test_a_long_sentence_of_a_docstring_is_noticed(tmp_path: Path, start: str):
    module = tmp_path / "module.py"
    module.write_text(f'def f():\n    """Title.\n\n    {start}{"word " * 36}\n    """\n')
    assert len(too_long(module)) == 1


def test_a_long_sentence_of_a_message_is_noticed(tmp_path: Path):
    module = tmp_path / "module.py"
    module.write_text(f'print(f"{"word " * 30}" "{"word " * 5}{{1}} end")\n')
    (line,) = too_long(module, string_sentences)
    assert line.startswith("module.py:1: 37 words: ")
