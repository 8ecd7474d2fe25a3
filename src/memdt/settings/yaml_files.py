"""Read YAML as people mean it: no value is taken for another one, and no key is dropped.

PyYAML reads YAML 1.1, where ``1:30`` is 90, ``010`` is 8 and ``no`` is false, and of a key that
appears twice it keeps the last. Here scalars are those of YAML 1.2's core schema, and keys are
always text. What both versions read differently is refused, and so are keys that appear twice.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from memdt.errors import UserError

# No settings file comes near these limits; a few lines of nested aliases exceed any memory.
MOST_BYTES = 4 * 2**20
MOST_NODES = 200_000  # once every alias stands for all that it names
MOST_LEVELS = 40
_TAG = "tag:yaml.org,2002:"
_AMBIGUOUS = re.compile(
    r"yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF"  # truth in YAML 1.1
    r"|[-+]?0[0-9_]+|[-+]?0o[0-7]+|[-+]?0b[01_]+"  # octal and binary numbers
    r"|[-+]?[0-9][0-9_]*_[0-9_]*(\.[0-9_]*)?"  # underscores between digits
    r"|[-+]?[0-9]+(:[0-5]?[0-9])+(\.[0-9]*)?"  # to the base 60
)
_RESOLVED = (
    ("bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    ("int", re.compile(r"^[-+]?(?:[0-9]+|0x[0-9a-fA-F]+)$"), "-+0123456789"),
    (
        "float",
        re.compile(
            r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"
            r"|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
        ),
        "-+0123456789.",
    ),
    ("null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("merge", re.compile(r"^<<$"), "<"),
)


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars above, and with mappings that hold a key once."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012
    levels = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """One node and all below it."""
        self.levels += 1
        if self.levels > MOST_LEVELS:
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            self._refuse(event, f"more than {MOST_LEVELS} levels deep")
        node = super().compose_node(parent, index)
        self.levels -= 1
        return node

    def compose_scalar_node(self, anchor: Any) -> Any:
        """A scalar; one that versions of YAML read differently is refused."""
        node = super().compose_scalar_node(anchor)
        if node.style is None and _AMBIGUOUS.fullmatch(node.value):
            what = f"{node.value} means different things in YAML 1.1 and 1.2"
            self._refuse(node, f"{what}: write true or false, a decimal number, or quote it")
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        """A mapping, each of its keys text and there once."""
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._refuse(key, "a key must be a word")
            if key.tag == f"{_TAG}merge":
                continue
            key.tag = f"{_TAG}str"
            if key.value in seen:
                self._refuse(key, f"the key {key.value!r} appears twice, remove one")
            seen.add(key.value)
        return node

    @staticmethod
    def _refuse(at: Any, what: str) -> None:
        raise yaml.MarkedYAMLError(problem=what, problem_mark=at.start_mark)


for _name, _pattern, _first in _RESOLVED:
    _Loader.add_implicit_resolver(f"{_TAG}{_name}", _pattern, list(_first))


def read(path: Path) -> Any:
    """The content of a YAML file; FileNotFoundError where there is none.

    UserError with file and line where it is no UTF-8 text, no YAML, or says a thing twice.
    """
    text = _text(path)
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _size(node, {})  # before construction, which follows every alias
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        location = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None)
        raise UserError("not valid YAML", location, str(problem or error)) from None
    except ValueError as error:  # a number with thousands of digits, a date that is none
        raise UserError("not valid YAML", str(path), str(error)) from None


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", str(path)) from None
    if len(content) > MOST_BYTES:
        raise UserError(f"more than {MOST_BYTES:,} bytes", str(path), "is this the right file?")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        remedy = "save it as UTF-8"
        raise UserError("not UTF-8 text", f"{path}:{line}", remedy) from None


def _size(node: yaml.Node, known: dict[int, int | None]) -> int:
    """How many nodes a node stands for; a YAMLError where that is too many, or has no end."""
    if id(node) in known:
        size = known[id(node)]
        if size is None:
            _Loader._refuse(node, "an alias that names itself")
        return size or 0
    known[id(node)] = None
    below: list[Any] = []
    if isinstance(node, yaml.MappingNode):
        below = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        below = node.value
    size = 1 + sum(_size(part, known) for part in below)
    if size > MOST_NODES:
        _Loader._refuse(node, f"its aliases stand for more than {MOST_NODES:,} values")
    known[id(node)] = size
    return size
