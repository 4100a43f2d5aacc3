"""Writes "How fast" in docs/performance.md from the benchmarks' JSON: `python -m benchmarks.performance FOLDER`.

FOLDER holds `rounds.json`, `scaling.json`, `endtoend.json` and, if they were run, `peers.json` and `population.json`, as `--json`
printed them.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- performance -->", "<!-- /performance -->"
WORKS = {
    "A": "A: softmax, cohort 10",
    "B": "B: softmax, cohort 200",
    "C": "C: CNN (1.66 M parameters), cohort 10",
}


def section(results: dict[str, dict[str, Any]]) -> str:
    """Return the section as Markdown from the benchmarks' results by name; `peers` and `population` may be missing."""
    rounds, scaling, endtoend = results["rounds"], results["scaling"], results["endtoend"]
    machine = rounds["machine"]
    lines = [
        "## How fast",
        "",
        f"Seconds per round (median; clients of 100 examples, batch 20, one epoch), each row measured in one run, systems in turn, on "
        f"{machine['cores']} cores of {machine['cpu']}:",
        "",
        "| work | fedpipe | tutorial-style TFF | TFF's `build_weighted_fed_avg` | floor (NumPy; PyTorch) | tutorial / fedpipe |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for work, label in WORKS.items():
        seconds = rounds[work]["seconds"]
        cells = [
            seconds.get("fedpipe"),
            seconds.get("tutorial"),
            seconds.get("weighted_fed_avg"),
            seconds.get("numpy", seconds.get("torch")),
        ]
        lines.append(
            f"| {label} | {' | '.join(map(_seconds, cells))} | {rounds[work]['ratio_to_tutorial']:.1f} |"
        )
    if "peers" in results:
        lines += ["", *_peers(results["peers"])]
    if "population" in results:
        lines += ["", *_population(results["population"])]
    lines += [
        "",
        f"A client of a cohort of 1,000 takes {scaling['per_client_1000_over_100']:.2f} times what one of 100 does. `fedpipe run`, with "
        f"Prefect, DVC, MLflow and 15 rounds, takes {endtoend['fedpipe_seconds']:.1f} s; the tutorial as a bare script, nothing recorded, "
        f"{endtoend['tutorial_seconds']:.1f} s (median ratio of {len(endtoend['pairs'])} pairs: {endtoend['ratio']:.2f}).",
        "",
        "Made by `uv run python -m benchmarks.rounds --json`, `peers`, `population`, `scaling` and `endtoend`, and",
        "`python -m benchmarks.performance` from what they printed.",
    ]
    return "\n".join(lines)


def with_section(page: str, text: str) -> str:
    """Return the page with `text` between its markers."""
    return re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n{text}\n{END}", page, flags=re.DOTALL)


def _peers(peers: dict[str, Any]) -> list[str]:
    names = [name for name in peers["A"]["seconds"] if name != "fedpipe"]
    lines = [
        "Other frameworks, in one run of their own:",
        "",
        f"| work | fedpipe | {' | '.join(names)} |",
        "| --- |" + " ---: |" * (len(names) + 1),
    ]
    for work, label in WORKS.items():
        lines.append(
            f"| {label} | {' | '.join(_seconds(peers[work]['seconds'].get(name)) for name in ['fedpipe', *names])} |"
        )
    return lines


def _population(population: dict[str, Any]) -> list[str]:
    names = {
        "prepare_seconds": "prepare (s)",
        "prepare_peak_mb": "its memory (MB)",
        "open_seconds": "open (s)",
        "round_seconds": "round (s)",
        "train_peak_mb": "memory while training (MB)",
    }
    lines = [
        "Populations of 20 examples a client, rounds of 50 new clients each, memory of all processes together:",
        "",
        f"| clients | {' | '.join(names.values())} |",
        "| ---: |" + " ---: |" * len(names),
    ]
    sizes = sorted((key for key in population if key.isdecimal()), key=int)
    lines += [
        f"| {int(size):,} | {' | '.join(_seconds(population[size][name]) for name in names)} |"
        for size in sizes
    ]
    return lines


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    results = {
        path.stem: json.loads(path.read_text().splitlines()[-1])
        for path in sorted(folder.glob("*.json"))
    }
    PAGE.write_text(with_section(PAGE.read_text(), section(results)))
