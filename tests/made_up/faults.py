"""Damage of every kind for the fuzz tests, and what must come of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from memdt.errors import UserError

Answer = TypeVar("Answer")
REFUSED = object()  # in place of an answer

few = settings(
    max_examples=25, deadline=None, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
many = settings(few, max_examples=350)


def answer_or_line(function: Callable[[], Answer]) -> Answer | object:
    """What a function answers, or REFUSED where it says in one line why not.

    Whatever else it raises is a traceback for its user, and fails the test.
    """
    try:
        return function()
    except UserError as error:
        line = error.line()
        assert line
        assert "\n" not in line
        assert len(line) < 4000
        return REFUSED


def forget() -> None:
    """Empty every memory of files that settings have: each example has files of its own."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("memdt.settings", "memdt.workflow")):
            for value in vars(module).values():
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """The content of a file after one to three accidents."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        upto = draw(st.integers(at, min(len(content), at + 400)))
        junk = draw(st.binary(max_size=20))
        content = draw(
            st.sampled_from(
                [
                    content[:at],  # cut short
                    content[:at] + junk + content[at:],
                    content[:at] + junk + content[upto:],
                    content[:at] + bytes(upto - at) + content[upto:],  # a hole, as on a lost page
                    content[:at] + content[at:upto] * 2 + content[upto:],
                    content[:at] + bytes(b ^ 0x20 for b in content[at:upto]) + content[upto:],
                    content.replace(b"0", b"1", 1 + at % 5),
                    content.decode("latin-1").encode("utf-16") if len(content) < 10_000 else junk,
                    junk,
                ]
            )
        )
    return content


ODD_WORDS = (
    "..", "-rf", "{x}", "a/b", "=1+1", "a(b", "a b", "nan", "no", "1e5", "", "~", "010", "1:30",
    "$(x)",
    "é", "\u202e", "a\nb", "'", '"', "#", "&a", "*a", "%d", "x" * 300,
)  # fmt: skip
odd_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(ODD_WORDS),
    st.text(max_size=12), st.integers(10**12, 10**30), st.just(-1), st.just(0),
)  # fmt: skip
odd_values = st.one_of(
    odd_scalars,
    st.lists(odd_scalars, max_size=4),
    st.dictionaries(st.sampled_from(ODD_WORDS) | st.text(max_size=5), odd_scalars, max_size=3),
)  # fmt: skip
