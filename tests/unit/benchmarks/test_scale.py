"""The page on scale is what the script makes of the benchmarks' JSON, and its predictions hold where they were checked."""

import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT))

from benchmarks.lib.hosts_runner import GROUPS  # noqa: E402 - benchmarks are no installed package
from benchmarks.scale import BEGIN, END, MODEL_BYTES, constants, held_out, round_bytes, section  # noqa: E402

OUT, BACK, REF, FIXED, CLIENT = 1.02, 1.03, 500.0, 0.005, 0.0004


def measured() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the benchmarks would say of a world that is as the page's model has it."""
    rounds = {
        model: {
            str(machines): {
                "seconds": 1.0,
                "sent_bytes": machines * OUT * size + GROUPS * REF,
                "received_bytes": GROUPS * BACK * size,
            }
            for machines in (1, 2, 3)
        }
        for model, size in MODEL_BYTES.items()
    }
    about = {"cores": 2, "cpu": "a CPU", "load_before": 0.1}
    seconds = {str(cohort): FIXED + CLIENT * cohort for cohort in (10, 30, 100, 300, 1000)}
    return {"rounds": rounds, "machine": about}, {"seconds": seconds, "machine": about}


def test_the_constants_of_a_world_are_found_and_predict_what_was_held_out() -> None:
    hosts, scaling = measured()
    known = constants(hosts, scaling)
    assert known == pytest.approx(
        {"out": OUT, "back": BACK, "ref": REF, "fixed": FIXED, "client": CLIENT}
    )
    for _, predicted, found in held_out(known, hosts, scaling):
        assert predicted == pytest.approx(found)
    # 2 machines, 3 groups, a model of 1,000 bytes: 2 x 1,020 + 3 x 500 out, 3 x 1,030 back.
    assert round_bytes(known, 1000, 2, 3) == pytest.approx((3540, 3090))


def test_what_was_held_out_takes_no_part_in_finding_the_constants() -> None:
    hosts, scaling = measured()
    before = constants(hosts, scaling)
    scaling["seconds"]["300"] = 99.0
    hosts["rounds"]["cnn"]["3"]["sent_bytes"] = 1.0
    assert constants(hosts, scaling) == before


def test_the_page_shows_two_held_out_points_that_were_predicted_well() -> None:
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    rows = [
        line.strip("| ").split(" | ")
        for line in page.splitlines()
        if line.rstrip("| ").endswith("%")
    ]
    assert [row[0] for row in rows] == [
        name for name, _, _ in held_out(constants(*measured()), *measured())
    ]
    for _, predicted, found, off in rows:
        assert float(off.removesuffix(" %")) == pytest.approx(
            100 * (float(predicted) / float(found) - 1), abs=1
        )
        assert abs(float(off.removesuffix(" %"))) < 25
    assert len(page.splitlines()) == len(section(*measured()).splitlines()) + 1
