"""FuseSoC core file: adds an emitted accelerator to a project by name."""

import json
from typing import Any

from lmu_hw.export.names import check_module_name

__all__ = ["core_file"]

CORE = """\
CAPI=2:
# Generated; never edited.
name: lmu-hw:accelerators:{top}:{version}
description: {description}

filesets:
  rtl:
    files:
{sources}
    file_type: verilogSource
{weights_fileset}
targets:
  default:
    filesets: [{filesets}]
  lint:
    filesets: [rtl]
    flow: lint
    flow_options:
      tool: verilator
      verilator_options: [-Wall]
    toplevel: {toplevel}
"""

WEIGHTS = """\
  weights:
    files:
{files}
    file_type: user
"""


def core_file(manifest: dict[str, Any]) -> str:
    """Text of ``NAME.core``, for the folder that an accelerator was emitted to.

    Parameters
    ----------
    manifest : dict
        The accelerator's, from `lmu_hw.export.emit.manifest`.

    Returns
    -------
    str
        A CAPI2 core with the targets ``default`` (the files) and ``lint``. Its name is
        ``lmu-hw:accelerators:NAME:VERSION``, its version that of lmu-hw.

    Raises
    ------
    ValueError
        If Verilog does not take the name of the top module.
    """
    top, config = check_module_name(manifest["top"]), manifest["config"]
    sources = [name for name in manifest["files"] if name.endswith(".v")]
    description = (
        f"Keyword spotter {manifest['model']['name']}, {config['lanes']} lanes, "
        f"weights in {config['weights'].upper()}, state policy {config['state']}"
    )
    weights = [name for name in manifest["files"] if name.endswith(".weights")]

    def listed(names: list[str]) -> str:
        return "\n".join(f"      - {name}" for name in names)

    return CORE.format(
        top=top,
        version=manifest["tools"]["lmu-hw"],
        description=json.dumps(description),
        sources=listed(sources),
        weights_fileset=WEIGHTS.format(files=listed(weights)) if weights else "",
        filesets="rtl, weights" if weights else "rtl",
        toplevel=top if "interface" not in config else f"{top}_{config['interface']}",
    )
