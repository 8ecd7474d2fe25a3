"""Messages for people: one line, the place first, the remedy last."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memdt.errors import UserError, closest


def test_a_message_is_place_what_and_remedy():
    error = UserError("unknown key", "scales/quick.yaml: layrs", "did you mean 'layers'?")
    assert error.line() == "scales/quick.yaml: layrs: unknown key -> did you mean 'layers'?"
    assert str(error) == error.line()


def test_place_and_remedy_may_be_left_out():
    assert UserError("nothing to do").line() == "nothing to do"


@given(st.text(), st.text(), st.text())
def test_a_message_is_always_one_line(what, where, remedy):
    assert len(UserError(what, where, remedy).line().splitlines()) <= 1


def test_the_closest_match_is_offered_and_everything_allowed_is_listed():
    assert closest("layrs", ["width", "layers"]) == "did you mean 'layers'? allowed: layers, width"


def test_nothing_is_offered_where_nothing_is_close():
    assert closest("zzz", ["width", "layers"]) == "allowed: layers, width"
