"""The benchmark against other projects: what it says of those it cannot compare with. No network, no peer."""

import json
from pathlib import Path

import pytest

from benchmarks import peers
from benchmarks.lib import peer_venvs
from benchmarks.lib.common import WORKS, BenchmarkError
from benchmarks.lib.measured import Measured

NAMES = [peer.name for peer in peer_venvs.PEERS]


class Standing:
    """In place of a process: what a contest asks of one."""

    closed = False

    def close(self) -> None:
        self.closed = True


def measured(seconds: list[float], accuracy: float = 0.5) -> Measured:
    return Measured(
        Standing(), first_round_seconds=1.0, accuracy=accuracy, memory_mb=1.0, seconds=seconds
    )  # type: ignore[arg-type]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    assert peers.main(["--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_nothing_asked_for(capsys):
    result = run(capsys, "--only", "none", "--work", "A,C")
    assert result["skipped"] == dict.fromkeys(NAMES, "not asked for (--only)")
    for work in ("A", "C"):
        assert result[work]["seconds"] == dict.fromkeys(["fedpipe", *NAMES])
        assert result[work]["first"] is result[work]["ratio_to_best_peer"] is None
    assert "B" not in result
    assert result["versions"] == {}
    assert result["machine"]["cores"] >= 1


def test_a_place_where_no_venv_can_be_made(capsys, tmp_path: Path):
    (tmp_path / "file").write_text("")
    result = run(capsys, "--venvs", str(tmp_path / "file"))
    assert set(result["skipped"]) == set(NAMES)
    assert all("no venv can be made" in reason for reason in result["skipped"].values())


def test_an_install_that_fails_or_hangs_is_a_reason(tmp_path: Path, monkeypatch):
    with pytest.raises(peer_venvs.NotInstalled, match="failed: no such package"):
        peer_venvs._run(["sh", "-c", "echo no such package; exit 3"], tmp_path / "log")
    with pytest.raises(peer_venvs.NotInstalled, match="not-a-program"):
        peer_venvs._run(["not-a-program"], tmp_path / "log")
    monkeypatch.setattr(peer_venvs, "INSTALL_TIMEOUT_SECONDS", 0.2)
    with pytest.raises(peer_venvs.NotInstalled, match=r"within 0\.2 s"):
        peer_venvs._run(["sleep", "60"], tmp_path / "log")


def test_a_peer_counts_with_its_best_variant():
    found = {
        peers.OURS: measured([2.0]),
        ("pfl", "1 thread"): measured([6.0]),
        ("pfl", "2 threads"): measured([3.0, 4.0, 9.0]),
    }
    result = peers.result_of(found)
    assert result["seconds"] == {
        "fedpipe": 2.0,
        "flower": None,
        "fedjax": None,
        "pfl": 4.0,
    }  # 4 is the median of 3, 4, 9
    assert result["first"] == "fedpipe"
    assert result["ratio_to_best_peer"] == 2.0  # 4 / 2
    assert set(result["variants"]) == {"fedpipe", "pfl 1 thread", "pfl 2 threads"}


def test_a_failing_variant_is_left_out_and_ended():
    contest = peers.Contest(WORKS["A"])
    contest.found = {peers.OURS: measured([1.0]), ("fedjax", "jit"): measured([1.0])}
    jit = contest.found["fedjax", "jit"]

    def fail(one: Measured) -> None:
        if one is jit:
            raise BenchmarkError("it ended")

    contest.each(fail)
    assert list(contest.found) == [peers.OURS]
    assert contest.failed == {"A: fedjax jit": "it ended"}
    assert jit.system.closed  # type: ignore[attr-defined]


def test_other_work_is_an_error():
    contest = peers.Contest(WORKS["A"])
    contest.found = {
        peers.OURS: measured([1.0], 0.60),
        ("flower", "messages"): measured([1.0], 0.609),
    }
    contest.refuse_other_results()
    contest.found["pfl", "1 thread"] = measured([1.0], 0.62)
    with pytest.raises(
        BenchmarkError, match=r"fedpipe's 0\.6000 after 3 rounds, found 0\.6200 by pfl 1 thread"
    ):
        contest.refuse_other_results()
