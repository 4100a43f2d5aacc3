"""Who is champion: the rule, case by case."""

import math

import pytest

from fedpipe.registry.promotion import Holder, decide


@pytest.mark.parametrize(
    ("score", "forgotten", "holder", "least", "alias", "words"),
    [
        (0.5, (), None, 0.0, "champion", "there was no champion"),
        (0.5, (), Holder("m/1", (), 0.25), 0.0, "champion", "0.2500 more than the 0.2500 of m/1"),
        (0.5, (), Holder("m/1", (), 0.5), 0.0, "challenger", "no more than"),
        (0.5, (), Holder("m/1", (), 0.75), 0.0, "challenger", "no more than"),
        # 1/8 is a binary fraction: the gain is exactly what is asked for.
        (0.625, (), Holder("m/1", (), 0.5), 0.125, "champion", "0.1250 more than"),
        (
            0.625,
            (),
            Holder("m/1", (), 0.5),
            0.126,
            "challenger",
            "0.1250 more than the 0.5000 of m/1 (at least 0.126 is asked for)",
        ),
        (
            0.25,
            (),
            Holder("m/1", ("c003",), None),
            0.0,
            "champion",
            "m/1 trained on clients that are forgotten: c003",
        ),
        (
            0.75,
            ("c003",),
            Holder("m/1", (), 0.25),
            0.0,
            "challenger",
            "it trained on clients that are forgotten: c003",
        ),
        (
            0.75,
            ("c003",),
            None,
            0.0,
            "challenger",
            "it trained on clients that are forgotten: c003",
        ),
        (math.nan, (), None, 0.0, "challenger", "it has no validation/accuracy"),
        (
            math.nan,
            (),
            Holder("m/1", ("c003",), None),
            0.0,
            "challenger",
            "it has no validation/accuracy",
        ),
        (
            0.75,
            (),
            Holder("m/1", (), None, "its files are gone"),
            0.0,
            "challenger",
            "m/1 cannot be compared",
        ),
    ],
)
def test_the_rule(score, forgotten, holder, least, alias, words):
    found, reason = decide(score, forgotten, holder, least)
    assert found == alias
    assert words in reason
