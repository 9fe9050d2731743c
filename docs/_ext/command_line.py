"""The directive `command-line`: the help of each command, as the package's own parser prints it."""

from __future__ import annotations

import argparse
import os
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from futures_cluster.cli.parser import make_parser


def help_texts() -> dict[str, str]:
    """Return the help of each command by its name, 90 columns wide and without colours."""
    os.environ["COLUMNS"], os.environ["NO_COLOR"] = "90", "1"
    parser = make_parser()
    texts = {parser.prog: parser.format_help()}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            texts |= {each.prog: each.format_help() for each in action.choices.values()}
    return texts


class CommandLine(Directive):
    """One section for each command."""

    def run(self) -> list[nodes.Node]:
        sections: list[nodes.Node] = []
        for name, text in help_texts().items():
            section = nodes.section(ids=[nodes.make_id(name)])
            section += nodes.title(text=name)
            block = nodes.literal_block(text, text)
            block["language"] = "text"
            section += block
            self.state.document.note_explicit_target(section)
            sections.append(section)
        return sections


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("command-line", CommandLine)
    return {"parallel_read_safe": True}
