"""Writes what benchmarks measured into the documents, from their own JSON: `python -m benchmarks.tables FOLDER`.

FOLDER holds `cost.json`, for docs/algorithms.md, `lineage.json`, for docs/lineage.md, and
`accuracy.json`, for docs/performance.md, or some of them, as `--json` printed them. Accuracies of
several commands, `accuracy_1.json`, `accuracy_2.json` and so on, are joined.
"""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.accuracy import BAR, OWN
from fedpipe.config import Config, flatten

ROOT = Path(__file__).parents[1]
DEFAULTS = flatten(Config())
DATA = {"mnist5k": "5,000 digits", "emnist": "100 writers"}


def cost_section(result: Mapping[str, Any]) -> str:
    """Return the table of what a round costs over `fedavg`'s, as Markdown."""
    machine = result["machine"]
    lines = [
        f"What a round takes over one of `fedavg`; all measured in one run, in turns, on {machine['cores']} cores of {machine['cpu']}: "
        "ten clients of 100 examples, batch 20, one epoch. In brackets seconds.",
        "",
        "| | softmax | CNN |",
        "| --- | ---: | ---: |",
    ]
    for name in result["softmax"]:
        cells = [result[model][name] for model in ("softmax", "cnn")]
        lines.append(
            f"| `{name}` | "
            + " | ".join(f"{cell['relative']:.2f} ({cell['seconds']:.3g})" for cell in cells)
            + " |"
        )
    return "\n".join(
        [
            *lines,
            "",
            "Made by `uv run python -m benchmarks.cost --json` and `python -m benchmarks.tables`.",
        ]
    )


def lineage_section(result: Mapping[str, Any]) -> str:
    """Return what a client's question takes over 2,000 runs, as Markdown."""
    machine, asked, made = (
        result["machine"],
        result["lineage_seconds_2000_runs"],
        result["index_seconds_2000_runs"],
    )
    return (
        f"Over a store of 2,000 runs `fedpipe lineage --client ID` answers in {asked:.2g} s, the start of the program included, and in "
        f"{made:.2g} s when the index has to be made first, on {machine['cores']} cores of {machine['cpu']}. Made by `uv run python -m "
        "benchmarks.lineage --json` and `python -m benchmarks.tables`."
    )


def accuracy_section(result: Mapping[str, Any]) -> str:
    """Return the table of accuracies with the settings that made it, as Markdown."""
    columns = [(data, model) for data in DATA if data in result for model in result[data]]
    first = result[columns[0][0]][columns[0][1]]
    seeds = len(next(iter(first.values()))["accuracies"])
    common, own = common_and_own(
        {f"{DATA[d]}, {m}": {a: f["settings"] for a, f in result[d][m].items()} for d, m in columns}
    )
    lines = [
        "## How accurate",
        "",
        f"Accuracy on the central test set in percent, mean and standard deviation of {seeds} seeds, all with equally many epochs, but "
        "`fedsgd`, whose round is one:",
        "",
        f"| `algorithm.name` | {' | '.join(f'{DATA[data]}, {model}' for data, model in columns)} | its own settings |",
        f"| --- |{' ---: |' * len(columns)} --- |",
    ]
    for algorithm in first:
        figures = [result[data][model].get(algorithm) for data, model in columns]
        cells = [_percent(one) if one else "not measured" for one in figures]
        lines.append(f"| `{algorithm}` | {' | '.join(cells)} | {own[algorithm]} |")
    base = {
        f"{DATA[d]}, {m}": result[d][m]["fedavg"]["settings"]
        for d, m in columns
        if "fedavg" in result[d][m]
    }
    common_settings = first["fedavg"]["settings"]
    # What a column lacks of the first one's has its default there.
    whole = {
        name: {key: DEFAULTS[key] for key in common_settings if key in DEFAULTS} | values
        for name, values in base.items()
    }
    differs = {
        name: {k: v for k, v in values.items() if common_settings.get(k) != v}
        for name, values in whole.items()
    }
    of_columns = "".join(
        f" {name}: {_text(values)}." for name, values in differs.items() if _text(values)
    )
    lines += equal_epochs_lines(result.get("equal_epochs", {}))
    lines += [
        "",
        f"All others: {common}.{of_columns} `local_only`: all clients in each round, the mean of their models' accuracies.",
        "Made by `uv run python -m benchmarks.accuracy --json` and `python -m benchmarks.tables`.",
    ]
    return "\n".join(lines)


def equal_epochs_lines(found: Mapping[str, Any]) -> list[str]:
    """Return what `fedavg` and `centralized` reach on the CNN where every example is in equally many epochs; none if not measured."""
    if not found:
        return []
    texts = [
        f"{DATA[data]}: `fedavg` {_percent(of['fedavg'])}, `centralized` {_percent(of['centralized'])}"
        for data, of in sorted(found.items(), key=lambda item: list(DATA).index(item[0]))
    ]
    own = next(iter(found.values()))["fedavg"]["settings"]
    named = _text({key: own[key] for key in BAR})
    return [
        "",
        f"The table's `centralized` pools each round's cohort. Beside the pool of all clients in each round, the CNN, {named}, every "
        f"example in exactly as many epochs of both: {'; '.join(texts)}.",
    ]


def _percent(one: Mapping[str, Any]) -> str:
    return f"{100 * one['accuracy_mean']:.2f} ± {100 * one['accuracy_std']:.2f}"


def joined(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the accuracies of several commands as if one had found them, algorithms in the order of the benchmark. Raises ValueError.

    Each by data, model and algorithm; what two of them measured is refused.
    """
    whole: dict[str, Any] = {}
    for result in results:
        for data in [name for name in DATA if name in result]:
            for model, found in result[data].items():
                place = whole.setdefault(data, {}).setdefault(model, {})
                if twice := sorted(set(place) & set(found)):
                    raise ValueError(
                        f"expected each accuracy once, found {data}, {model}: {', '.join(twice)} in two files"
                    )
                place |= found
    order = list(OWN)
    equal = {
        data: found for result in results for data, found in result.get("equal_epochs", {}).items()
    }
    return {
        data: {
            model: dict(sorted(found.items(), key=lambda item: order.index(item[0])))
            for model, found in sorted(models.items(), reverse=True)
        }
        for data, models in whole.items()
    } | ({"equal_epochs": equal} if equal else {})


def common_and_own(
    settings: Mapping[Any, Mapping[str, Mapping[str, Any]]],
) -> tuple[str, dict[str, str]]:
    """Return the settings that `fedavg` has, and for each algorithm those that differ from them, as text; of later columns what is new."""
    own: dict[
        str, dict[str, dict[str, Any]]
    ] = {}  # algorithm -> column -> what it has that fedavg has not
    for column, found in settings.items():
        for name, values in found.items():
            base = found.get("fedavg", {})
            own.setdefault(name, {})[column] = {
                key: value for key, value in values.items() if base.get(key) != value
            }
    texts = {}
    for name, columns in own.items():
        (_, first), *others = columns.items()
        news = {
            column: _text({key: value for key, value in values.items() if first.get(key) != value})
            for column, values in others
        }
        texts[name] = "; ".join(
            filter(
                None,
                [_text(first), *(f"{column}: {text}" for column, text in news.items() if text)],
            )
        )
    return _text(next(iter(settings.values()))["fedavg"]), texts


def _text(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"`{key}={value}`"
        for key, value in values.items()
        if not key.startswith(("data.", "model.", "algorithm.name"))
    )


def with_section(document: str, name: str, text: str) -> str:
    """Return the document with `text` between the markers called `name`. Raises ValueError if it has none."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if begin not in document:
        raise ValueError(f"expected the marker {begin}, found none")
    return re.sub(f"{begin}.*{end}", lambda _: f"{begin}\n{text}\n{end}", document, flags=re.DOTALL)


def _read(path: Path) -> Any:
    return json.loads(path.read_text().splitlines()[-1])


def main(folder: Path) -> None:
    """Write the sections of what `folder` holds. Raises ValueError if it holds none."""
    accuracies = sorted(folder.glob("accuracy*.json"))
    found = {
        name: folder / f"{name}.json"
        for name in ("cost", "lineage")
        if (folder / f"{name}.json").exists()
    }
    if not accuracies and not found:
        raise ValueError(
            f"{folder}: expected cost.json, lineage.json or accuracy*.json, found none"
        )
    if "cost" in found:
        _write(ROOT / "docs" / "algorithms.md", "cost", cost_section(_read(found["cost"])))
    if "lineage" in found:
        _write(ROOT / "docs" / "lineage.md", "lineage", lineage_section(_read(found["lineage"])))
    if accuracies:
        _write(
            ROOT / "docs" / "performance.md",
            "accuracy",
            accuracy_section(joined([_read(path) for path in accuracies])),
        )


def _write(path: Path, name: str, text: str) -> None:
    path.write_text(with_section(path.read_text(), name, text))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
