"""Names of metrics: what fedpipe takes, MLflow takes, and the other way round."""

import numpy as np
import pytest

from fedpipe.metric_names import checked_metrics, why_refused

NAMES = [
    *(
        "train/loss",
        "a b",
        "größe",
        "x:y",
        "a.b-c_d",
        "1",
        "a/b/c",
        "round",
        "update norm (L2)",
        "acc%",
        "a\nb",
        "",
        "/a",
        "a//b",
        "a/",
    ),
    *(
        "../a",
        "a/../b",
        ".",
        "..",
        "...",
        "a" * 250,
        "a" * 251,
        "$x$",
        "[red]",
        "a|b",
        "\t",
        "a\\b",
        "π",
        "😀",
        "a,b",
        "a=b",
        "'a'",
    ),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_taken_as_mlflow_takes_it(name: str) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.utils.validation import _validate_metric

    try:
        _validate_metric(name, 1.0, 1, 0)
        taken = True
    except MlflowException:
        taken = False
    assert (why_refused(name) is None) == (taken and name != "")


def test_metrics_become_floats() -> None:
    values = checked_metrics(
        {"a": np.float32(0.5), "b": np.array(2), "c": True, "d": float("nan")}, "round 1"
    )
    assert {name: type(value) for name, value in values.items()} == dict.fromkeys("abcd", float)
    assert (values["a"], values["b"], values["c"]) == (0.5, 2.0, 1.0)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (
            {"update norm (L2)": 1.0},
            r"round 3: metric 'update norm \(L2\)': it has '\(' and '\)'\. A name may have letters, digits, spaces",
        ),
        ({"x" * 300: 1.0}, "it has 300 characters, more than 250"),
        ({("a", 1): 1.0}, "it is a tuple, not a text"),
        ({"round": 1.0}, "fedpipe's own"),
        ({"round/seconds": 1.0}, "fedpipe's own"),
        ({"a": "high"}, "metric 'a': expected a number, found str 'high'"),
        ({"a": None}, "expected a number, found NoneType"),
        ({"a": np.zeros(3)}, "expected a number, found ndarray"),
    ],
)
def test_other_metrics_are_refused_with_their_name(
    metrics: dict[object, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        checked_metrics(metrics, "round 3")
