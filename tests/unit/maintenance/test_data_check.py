"""`fedpipe doctor DATA`: what a file is, and the settings that read it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from fedpipe.cli.main import app
from fedpipe.config import DataConfig, load_config
from fedpipe.data.prepare import prepare_shards
from fedpipe.maintenance.data_check import check_data
from fedpipe.maintenance.data_report import report_lines


def checked(path: Path, **settings: Any) -> Any:
    return check_data(path, DataConfig(**settings), path.parent)


def prepared(report: Any, folder: Path) -> Any:
    """Return the manifest of the shards that the proposed command makes."""
    (folder / "params.yaml").write_text("{}\n")
    config = load_config(folder / "params.yaml", report.settings).data
    return prepare_shards(config, folder / "shards", folder)


def test_a_table_of_the_users_is_described_and_the_settings_read_it(tmp_path: Path) -> None:
    rows = "".join(
        f"{i};p{i % 4};{('no', 'yes')[i % 2]};Anna;{i % 7},5;{i % 3}\n" for i in range(60)
    )
    (tmp_path / "beats.csv").write_text(";Patient_ID;diagnosis;name;pulse;age\n" + rows)
    report = checked(tmp_path / "beats.csv")
    assert [(column.name, column.kind, column.distinct) for column in report.columns] == [
        ("", "whole numbers", 60),
        ("Patient_ID", "texts", 4),
        ("diagnosis", "texts", 2),
        ("name", "texts", 1),
        ("pulse", "texts", 7),
        ("age", "whole numbers", 3),
    ]
    assert report.readable
    assert {
        "data.label_column=diagnosis",
        "data.client_column=Patient_ID",
        "data.ignore_columns=[name]",
        "data.decimal=,",
    } <= set(report.settings)
    manifest = prepared(report, tmp_path)
    assert (manifest.clients, manifest.vocabulary, sum(manifest.examples.values())) == (
        4,
        ("no", "yes"),
        60,
    )
    lines = report_lines(report)
    assert lines[0].endswith("beats.csv: data.source=csv")
    assert any(
        line.startswith("with the project's settings prepare would refuse it: ") for line in lines
    )
    assert lines[-1].startswith(
        "read it with: fedpipe prepare -S data.source=csv -S data.path=beats.csv"
    )


def test_a_table_without_clients(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": np.arange(40) / 3, "b": 1.5, "species": ["x", "y"] * 20})
    frame.to_parquet(tmp_path / "flowers.parquet")
    report = checked(tmp_path / "flowers.parquet")
    assert {
        "data.source=parquet",
        "data.client_column=null",
        "data.clients=10",
        "data.label_column=species",
    } <= set(report.settings)
    assert prepared(report, tmp_path).num_classes == 2


@pytest.mark.parametrize(
    ("name", "body", "refused"),
    [
        (
            "gap.csv",
            b"client,label,a\nc0,0,1\nc0,1,\n",
            "row 2 (line 3), column a: expected a number, found an empty cell",
        ),
        ("nohead.csv", b"1,2,3\n4,5,6\n", "Line 1 looks like a row and no header"),
        ("nothing.csv", b"", "found something else"),
        ("a.bin", bytes(range(256)), "found something else"),
    ],
)
def test_what_no_setting_mends_is_said(
    tmp_path: Path, name: str, body: bytes, refused: str
) -> None:
    (tmp_path / name).write_bytes(body)
    report = checked(tmp_path / name)
    assert refused in (report.refused or "")
    assert not report.readable


def test_other_kinds_of_files_are_known(tmp_path: Path) -> None:
    from PIL import Image

    for label in "ab":
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for number in range(3):
            Image.fromarray(np.full((4, 5), number, np.uint8)).save(
                tmp_path / "pictures" / label / f"{number}.png"
            )
    report = checked(tmp_path / "pictures")
    assert (report.source, report.readable) == ("images", True)
    assert "data.client_column=null" in report.settings
    np.savez(
        tmp_path / "a.npz", x=np.zeros((4, 2)), label=[0, 1, 0, 1], client=["a", "a", "b", "b"]
    )
    assert checked(tmp_path / "a.npz").readable


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "params.yaml").write_text("{}\n")
    (tmp_path / "t.csv").write_text(
        "client,label,a\n" + "".join(f"c{i % 2},{i % 2},{i * i}\n" for i in range(8))
    )
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["doctor", "t.csv", "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout.splitlines()[-1])
    assert (
        report["command"]
        == "fedpipe prepare -S data.source=csv -S data.path=t.csv -S data.clients=null"
    )
    assert report["refused"] is None
    assert CliRunner().invoke(app, ["doctor", "no.csv"]).exit_code == 1


def test_labels_with_fractions_are_taken_to_be_a_quantity(tmp_path: Path) -> None:
    rows = "".join(f"p{i % 4},{i % 7},{i / 8}\n" for i in range(40))
    (tmp_path / "beats.csv").write_text("patient,pulse,target\n" + rows)
    report = checked(tmp_path / "beats.csv")
    assert report.readable
    assert report.settings[0] == "task.kind=regression"
    assert any("a quantity to predict (task.kind=regression)" in doubt for doubt in report.doubts)
    assert "40 examples, 4 clients, 40 values of the first target" in " ".join(report.lines)
    (tmp_path / "params.yaml").write_text("{}\n")
    config = load_config(tmp_path / "params.yaml", report.settings)
    manifest = prepare_shards(config.data, tmp_path / "shards", tmp_path, (), config.task.kind)
    assert manifest.kind == "regression"


def test_labels_are_read_by_the_kind_of_the_project(tmp_path: Path) -> None:
    rows = "".join(f"p{i % 4},{i % 7},{i % 3}\n" for i in range(40))
    (tmp_path / "beats.csv").write_text("patient,pulse,target\n" + rows)
    settings = DataConfig(client_column="patient", label_column="target")
    report = check_data(tmp_path / "beats.csv", settings, tmp_path, "binary")
    assert not report.readable
    assert report.refused is not None
    assert "two different labels for task.kind=binary, found 3: 0, 1, 2" in report.refused
