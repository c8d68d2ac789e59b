"""Docs that a hurried engineer reads once: no sentence is longer than 35 words."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parent.parent
LONGEST = 35
GENERATED = {"ports.md", "registers.md", "spi.md"}
TO_DO = {"README.md"}
PAGES = sorted(
    page
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "rtl/README.md", ROOT / "peers/nngen/README.md")
    if page.name not in GENERATED and str(page.relative_to(ROOT)).removeprefix("docs/") not in TO_DO
)

CODE = "Code"
"""Stands for inline code, as one word; a sentence may start with it."""
ABBREVIATION = re.compile(r"(?:^|[\s([])(?:e\.g|i\.e|etc|vs|al|cf|approx|incl|Fig|No|Eq|Sec|[A-Z])\.$")
END = re.compile(r"[.!?][)\]\"”]*(?=\s)")


def sentences(text: str) -> list[str]:
    """Split a paragraph; an end needs a space and then a capital, a digit, a quote or a bracket."""
    text = " ".join(text.split())
    ends = [0]
    for end in END.finditer(text):
        following = text[end.end() + 1 : end.end() + 2]
        starts = following.isupper() or following.isdigit() or following in "\"“(["
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


def too_long(path: Path) -> list[str]:
    return [
        f"{path.name}:{line}: {words(sentence)} words: {sentence}"
        for line, sentence in markdown_sentences(path.read_text())
        if words(sentence) > LONGEST
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_sentence_of_a_page_is_long(page: Path):
    assert too_long(page) == []


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
