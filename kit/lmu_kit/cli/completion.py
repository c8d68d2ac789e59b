"""Print the script for shell completion of commands, options, networks, choices and files.

One line turns it on:

  bash  eval "$(lmu-hw completion bash)"      in ~/.bashrc
  zsh   eval "$(lmu-hw completion zsh)"       in ~/.zshrc, after compinit
  fish  lmu-hw completion fish | source       in ~/.config/fish/config.fish
"""

import argparse
import sys
from typing import Any

EXAMPLE = "lmu-hw completion bash"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the command's arguments."""
    command.add_argument("shell", choices=("bash", "zsh", "fish"), help="shell to print the script for")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Print the script."""
    import argcomplete

    script = argcomplete.shellcode(["lmu-hw"], shell=args.shell)
    sys.stdout.write(script)
    return {"shell": args.shell, "script": script}
