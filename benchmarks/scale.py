"""Writes `docs/scale.md` from measured constants: `python -m benchmarks.scale FOLDER` (FOLDER holds `hosts.json` and `scaling.json`).

The model of a round, for cohort n, model of m bytes, M machines, G groups, c cores in all:

    bytes out    = M m + G r         the state once to each machine, the refs of each group
    bytes back   = G m               the sum of each group's updates
    seconds      = fixed + n client / c + (bytes out + bytes back) / link

Two points take no part in finding the constants, and are predicted: the bytes of a round of the other model over three machines, and the
seconds of a cohort between those that were fitted.
"""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.lib.hosts_runner import GROUPS

DOCS = Path(__file__).parents[1] / "docs" / "scale.md"
BEGIN, END = "<!-- scale -->", "<!-- /scale -->"
MODEL_BYTES = {"softmax": 4 * 7_850, "cnn": 4 * 1_663_370}
HELD_OUT_COHORT = "300"
LINK_BYTES = 125_000_000
"""Bytes a second of a link of one gigabit, for what is computed on paper."""


def constants(hosts: Mapping[str, Any], scaling: Mapping[str, Any]) -> dict[str, float]:
    """Return `out`, `back` (bytes on the wire for each of the model), `ref` (bytes for each group), `fixed` and `client` (seconds)."""
    softmax, size = hosts["rounds"]["softmax"], MODEL_BYTES["softmax"]
    counts = (1, 2, 3)
    sent = [softmax[str(count)]["sent_bytes"] for count in counts]
    (each, rest), *_ = np.linalg.lstsq(
        np.array([[count, 1.0] for count in counts]), np.array(sent), rcond=None
    )
    back = float(np.mean([softmax[str(count)]["received_bytes"] for count in counts]))
    fitted = {
        int(cohort): seconds
        for cohort, seconds in scaling["seconds"].items()
        if cohort != HELD_OUT_COHORT
    }
    cohorts, seconds = np.array(list(fitted), float), np.array(list(fitted.values()))
    design = np.stack([np.ones_like(cohorts), cohorts], axis=1) / seconds[:, None]
    (fixed, client), *_ = np.linalg.lstsq(design, np.ones_like(seconds), rcond=None)
    return {
        "out": float(each) / size,
        "ref": float(rest) / GROUPS,
        "back": back / GROUPS / size,
        "fixed": float(fixed),
        "client": float(client),
    }


def round_bytes(
    known: Mapping[str, float], model_bytes: float, machines: int, groups: int
) -> tuple[float, float]:
    """Return the bytes that a round sends to machines and gets back."""
    return machines * known["out"] * model_bytes + groups * known["ref"], groups * known[
        "back"
    ] * model_bytes


def held_out(
    known: Mapping[str, float], hosts: Mapping[str, Any], scaling: Mapping[str, Any]
) -> list[tuple[str, float, float]]:
    """Return what was predicted and what was measured of the two points: name, prediction, measurement."""
    other = hosts["rounds"]["cnn"]["3"]
    predicted = known["fixed"] + int(HELD_OUT_COHORT) * known["client"]
    return [
        ("MB of a CNN round over 3 machines", sum(round_bytes(known, MODEL_BYTES["cnn"], 3, GROUPS)) / 1e6,
         (other["sent_bytes"] + other["received_bytes"]) / 1e6),
        (f"seconds of a round of {HELD_OUT_COHORT} clients, softmax, one machine", predicted, scaling["seconds"][HELD_OUT_COHORT]),
    ]  # fmt: skip


def section(hosts: Mapping[str, Any], scaling: Mapping[str, Any]) -> str:
    """Return the generated part of the page."""
    known = constants(hosts, scaling)
    machine = hosts["machine"]
    cores = scaling["machine"]["cores"]
    lines = [
        f"Measured on {machine['cores']} cores of {machine['cpu']} (hosts are network namespaces there). Load averages at the start: "
        f"{machine['load_before']:.1f} for bytes, {scaling['machine']['load_before']:.1f} for seconds; above a few tenths, seconds are "
        "those of a slower machine.",
        "",
        "| constant | value |",
        "| --- | ---: |",
        f"| bytes to a machine for each byte of the server's state | {known['out']:.3f} |",
        f"| bytes back for each byte of the model and group | {known['back']:.3f} |",
        f"| bytes for a group's refs and calls | {known['ref']:.0f} |",
        f"| fixed seconds of a round, softmax, one machine | {known['fixed']:.4f} |",
        f"| core-seconds of a client of 100 examples, softmax | {cores * known['client']:.6f} |",
        "",
        "Two points that took no part in finding these:",
        "",
        "| | predicted | measured | off by |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, predicted, measured in held_out(known, hosts, scaling):
        lines.append(
            f"| {name} | {predicted:.4g} | {measured:.4g} | {100 * (predicted / measured - 1):+.0f} % |"
        )
    lines += [
        "",
        "On paper, 12 groups, a link of one gigabit at the run's machine:",
        "",
        "| | machines | MB out | MB back | seconds on the link | memory there, reckoned (MB) |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, size in {**MODEL_BYTES, "a model of 100 MB": 100_000_000}.items():
        for machines in (1, 3, 10):
            out, back = round_bytes(known, size, machines, 12)
            memory = 3 * size / 1e6 + 12 * size / 1e6
            lines.append(
                f"| {name} | {machines} | {out / 1e6:.3g} | {back / 1e6:.3g} | {(out + back) / LINK_BYTES:.3g} | {memory:.3g} |"
            )
    seconds = known["fixed"] + 10_000 * known["client"]
    lines += [
        "",
        f"A cohort of 10,000 with softmax takes {seconds:.2f} s on {cores} cores, {seconds / 10:.2f} s of arithmetic on ten such machines. "
        f"Its refs, 129 bytes of path, count, seed and rate for each client, are {10_000 * 160 / 1e6:.1f} MB.",
        "",
        "Made by `python -m benchmarks.hosts --json`, `python -m benchmarks.scaling --json` and `python -m benchmarks.scale`.",
    ]
    return "\n".join(lines)


def with_section(page: str, text: str) -> str:
    """Return the page with `text` between its markers."""
    return re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n{text}\n{END}", page, flags=re.DOTALL)


def main(folder: Path) -> None:
    """Write the page's generated part."""
    hosts, scaling = (
        json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("hosts", "scaling")
    )
    DOCS.write_text(
        with_section(DOCS.read_text(encoding="utf-8"), section(hosts, scaling)), encoding="utf-8"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
