"""Any name is refused when settings are read, or is the same in paths, wildcards and CSV files."""

from __future__ import annotations

import re
import shlex
from io import StringIO

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from snakemake.io import regex_from_filepattern

from made_up.faults import ODD_WORDS, few, many
from memdt import paths
from memdt.settings.names import fault, twice

names = st.one_of(
    st.sampled_from(ODD_WORDS),
    st.text(max_size=12),
    st.text(st.characters(codec="ascii"), max_size=90),
    st.from_regex(r"[A-Za-z][\w.-]{0,10}", fullmatch=True),
)


def carried(name: str) -> None:
    if fault(name):
        assert "\n" not in fault(name)
        return
    path = paths.run("tiny", "walk", name, 0)
    assert path.parent.name == name
    assert len(name.encode()) < 128
    pattern = "data/runs/{scale}/{experiment}/{variant}/seed_{seed}"
    match = re.fullmatch(regex_from_filepattern(pattern), path.as_posix())
    assert match is not None
    assert match["variant"] == name
    table = pd.read_csv(StringIO(f"variant,value\n{name},1\n"))
    assert table["variant"].tolist() == [name]
    assert shlex.split(name) == [name] == shlex.split(shlex.quote(name))
    assert name[0] not in "-=+@"


@few
@given(name=names)
def test_a_name(name):
    carried(name)


@few
@given(some=st.lists(names, max_size=4))
def test_names_side_by_side(some):
    """Two names that are one where capitals do not count would share a folder."""
    assert bool(twice(some)) == (len({name.casefold() for name in some}) < len(some))


@pytest.mark.slow
@many
@given(name=names)
def test_many_names(name):
    carried(name)
