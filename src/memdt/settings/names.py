"""Names that paths, Snakemake's wildcards, CSV files, pandas and a command line all carry."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator

MOST_LETTERS = 80  # a file name has 255 bytes, and several names stand in a path of a record
RULE = f"a letter, then letters, digits, _ or -, at most {MOST_LETTERS} in all, dots between them"
_NAME = re.compile(rf"[A-Za-z](?:[\w-]|\.(?=[\w-])){{0,{MOST_LETTERS - 1}}}", re.ASCII)
# What pandas takes for a missing value or a truth value in a CSV file.
_VALUES = {"na", "nan", "null", "none", "true", "false", "inf", "infinity"}


def fault(name: str, dots: bool = True) -> str:
    """Why this can be no name; empty where it can. Stages of DVC and settings have no ``dots``."""
    if not dots and "." in name:
        return f"{name!r} can be no name here: it has a dot"
    if not _NAME.fullmatch(name):
        return f"{name[:MOST_LETTERS]!r} can be no name: {RULE}"
    if name.lower() in _VALUES:
        return f"{name!r} can be no name: in a CSV file it would be read as a value"
    return ""


def _checked(name: str) -> str:
    if why := fault(name):
        raise ValueError(why)
    return name


def _checked_word(name: str) -> str:
    if why := fault(name, dots=False):
        raise ValueError(why)
    return name


def twice(names: Iterable[str]) -> str:
    """Two names that are one where a file system does not tell capitals apart; empty if none."""
    seen: dict[str, str] = {}
    for name in names:
        if name.casefold() in seen:
            return f"{seen[name.casefold()]!r} and {name!r} are one name on some file systems"
        seen[name.casefold()] = name
    return ""


Name = Annotated[str, AfterValidator(_checked)]
Word = Annotated[str, AfterValidator(_checked_word)]  # a name that stands in dotted settings
