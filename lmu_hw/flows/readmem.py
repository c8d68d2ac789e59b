"""Move initial contents of memories to files, because Yosys takes a minute for ten thousand assignments."""

import re

__all__ = ["split_memories"]

_VALUE = r"\d+'(?:h[0-9a-fx]+|d\d+)"
_INITIAL = re.compile(rf"^  initial begin\n((?:    (\S+)\[\d+\] = {_VALUE};\n)+)  end\n", re.MULTILINE)
_WORD = re.compile(r"\[(\d+)\] = \d+'([hd])(\w+);")


def split_memories(verilog: str) -> tuple[str, dict[str, str]]:
    """Replace assignments of initial words by ``$readmemh``.

    Parameters
    ----------
    verilog : str
        Text of `lmu_hw.export.emit`: one ``initial`` block for each memory, with every word in order.

    Returns
    -------
    verilog : str
        The same design.
    files : dict of str to str
        Text of each file that it reads, by name: words in hexadecimal, one a line.
    """
    files: dict[str, str] = {}

    def replace(match: re.Match[str]) -> str:
        words = _WORD.findall(match[1])
        if [int(address) for address, _, _ in words] != list(range(len(words))):
            return match[0]
        name = f"memory{len(files)}.hex"
        files[name] = "".join(f"{value if base == 'h' else f'{int(value):x}'}\n" for _, base, value in words)
        return f'  initial $readmemh("{name}", {match[2]} );\n'

    return _INITIAL.sub(replace, verilog), files
