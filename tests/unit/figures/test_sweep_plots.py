import io

from fedpipe.figures.sweep_plots import parallel_coordinates
from fedpipe.tables.sweep import trials_csv

KEYS = ["client.learning_rate", "client.optimizer"]


def row(value, rate, optimizer, state="finished"):
    return {
        "state": state,
        "value": value,
        "params": dict(zip(KEYS, (rate, optimizer), strict=True)),
    }


ROWS = [
    row(0.4, 0.01, "adam"),
    row(0.8, 1.0, "sgd"),
    row(0.6, 0.1, "sgd"),
    row(None, 0.1, "adam", "pruned"),
]


def lines(figure):
    return [
        (line, list(line.get_ydata()))
        for line in figure.axes[0].get_lines()
        if line.get_label() in ("finished", "pruned")
    ]


def test_a_line_crosses_each_axis_at_the_childs_value():
    figure = parallel_coordinates(ROWS, KEYS, "validation/accuracy", "maximize")
    # Rates span a factor of 100, so 0.1 is half-way; adam before sgd; 0.4 to 0.8 is the metric's axis.
    assert [[round(y, 9) for y in ys] for _, ys in lines(figure)] == [
        [0.5, 0.0],
        [0.0, 0.0, 0.0],
        [0.5, 1.0, 0.5],
        [1.0, 1.0, 1.0],
    ]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == [
        *KEYS,
        "validation/accuracy",
    ]
    assert (
        figure.axes[0].get_title(loc="left")
        == "4 children, 1 without a metric (dashed), the best in red"
    )


def test_the_best_line_is_the_thick_one_on_top():
    for direction, height in (("maximize", 1.0), ("minimize", 0.0)):
        thick = lines(parallel_coordinates(ROWS, KEYS, "validation/loss", direction))[-1]
        assert thick[1][-1] == height
        assert thick[0].get_linewidth() > 2


def test_few_children_and_none_finished_can_be_drawn_and_written():
    for rows in ([], ROWS[:1], ROWS[3:], [row(0.5, None, None), row(0.5, 0.1, True)]):
        for kind, start in (("png", b"\x89PNG"), ("svg", b"<?xml")):
            file = io.BytesIO()
            parallel_coordinates(rows, KEYS, "validation/accuracy", "maximize").savefig(
                file, format=kind
            )
            assert file.getvalue().startswith(start)


def test_a_setting_that_does_not_apply_is_at_the_foot_of_its_axis():
    rows = [row(0.4, 0.2, "sgd"), row(0.8, 0.1, "momentum")]
    del rows[0]["params"]["client.learning_rate"]
    figure = parallel_coordinates(rows, KEYS, "validation/accuracy", "maximize")
    # One number alone stands in the middle of what is left above the foot: 0.15 + 0.85 / 2. Choices: momentum before sgd.
    assert [[round(y, 9) for y in ys] for _, ys in lines(figure)] == [
        [0.0, 1.0, 0.0],
        [0.575, 0.0, 1.0],
    ]
    assert "-" in [text.get_text() for text in figure.axes[0].texts]
    assert (
        trials_csv(
            [{"number": 0, "run_id": "", "name": "", "reason": "", **rows[0]}], KEYS, "m"
        ).splitlines()[1]
        == "0,finished,0.4,-,sgd,,,"
    )
