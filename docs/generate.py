"""Write the pages of docs/ that are made from the code; ``--check`` only says what is stale.

Run: ``make docs`` (writes), ``make check`` (checks).
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path

DOCS = Path(__file__).parent
HEAD = "<!-- Written by docs/generate.py from the code: do not edit. -->\n\n"


def main() -> int:
    """Write or check every generated page; the status is 1 where a checked page is stale."""
    os.environ["COLUMNS"] = "100"  # argparse wraps to the terminal: the page must not
    check = "--check" in sys.argv[1:]
    stale = []
    for name, render in (("cli.md", render_cli), ("map.md", render_map)):
        page, path = HEAD + render(), DOCS / name
        if path.exists() and path.read_text(encoding="utf-8") == page:
            continue
        stale.append(name)
        if not check:
            path.write_text(page, encoding="utf-8")
    if check and stale:
        print(f"stale: {', '.join(stale)} in docs/. Run `make docs` and commit.", file=sys.stderr)
        return 1
    return 0


def render_cli() -> str:
    """Every verb's ``--help``, as the command line prints it."""
    from koilo.cli import LINES, VERBS, _load

    parts = ["# The command line\n", _block("koilo --help", _help([]))]
    for name, verb in VERBS.items():
        parts.append(f"## koilo {name}\n")
        if isinstance(verb, str):
            parts.append(f"{LINES[name]}\n")
            parts += [
                _block(f"koilo {name} {inner} --help", _help([name, inner, "--help"]))
                for inner in _load(verb)
            ]
        else:
            parts.append(_block(f"koilo {name} --help", _help([*name.split(), "--help"])))
    return "\n".join(parts)


def render_map() -> str:
    """The first line of every module's docstring: the map of the code."""
    import ast

    root = DOCS.parent / "src" / "koilo"
    rows = ["# The map of the code\n", "| file | what it is for |", "|---|---|"]
    for path in sorted(root.rglob("*.py")):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        line = text.splitlines()[0] if text else ""
        rows.append(f"| `{path.relative_to(root.parent)}` | {line.replace('|', chr(92) + '|')} |")
    return "\n".join(rows) + "\n"


def _help(arguments: list[str]) -> str:
    from koilo.cli import main as koilo

    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        koilo(arguments)
    return text.getvalue()


def _block(command: str, text: str) -> str:
    return f"```\n$ {command}\n{text.rstrip()}\n```\n"


if __name__ == "__main__":
    sys.exit(main())
