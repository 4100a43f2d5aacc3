"""YAML as DVC reads it, and the place of what is wrong in a file."""

import os
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from fedpipe.config import load_config
from fedpipe.config.yaml_file import parse_yaml, read_yaml
from fedpipe.errors import ConfigError

CONFLICT = "seed: 1\n<<<<<<< HEAD\nrounds: 3\n=======\nrounds: 4\n>>>>>>> other\n"
DIFF3 = "seed: 1\r\n<<<<<<< ours\r\nrounds: 3\r\n||||||| 1f0c\r\nrounds: 2\r\n=======\r\nrounds: 4\r\n>>>>>>> theirs\r\n"


SCALARS = """
1e-3 1E5 1.e-4 .5 +2 010 0o17 0x1F 1_000 1_000.5 0.01 -0 007 1:30 12e 1e 1.2.3 .inf -.INF .nan
on no yes off y true True FALSE ~ null Null x abc_1 '1' "on"
"""


@pytest.mark.parametrize("scalar", SCALARS.split())
def test_a_value_is_what_dvc_reads(scalar: str) -> None:
    mine, dvcs = (
        parse_yaml(f"a: {scalar}\n", "x"),
        YAML(typ="safe", pure=True).load(f"a: {scalar}\n"),
    )
    assert (repr(mine), type(mine["a"])) == (repr(dvcs), type(dvcs["a"]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "client:\n  batch_size: 1\nrounds: 2\nclient:\n  batch_size: 5\n",
            "p.yaml:4:1: the key 'client' stands here and in line 1.",
        ),
        (
            "client:\n  batch_size: 1\n  learning_rate: 2\n  batch_size: 5\n",
            "p.yaml:4:3: the key 'batch_size' stands here and in line 2.",
        ),
        (
            "client: {batch_size: 1, batch_size: 2}\n",
            "p.yaml:1:25: the key 'batch_size' stands here and in line 1.",
        ),
        ("a: [{b: 1}, {c: 1,\n  c: 2}]\n", "p.yaml:2:3: the key 'c' stands here and in line 1."),
        ("'a': 1\n\"a\": 2\n", "p.yaml:2:1: the key 'a' stands here and in line 1."),
        (
            "x: &x {a: 1}\ny:\n  <<: *x\n  <<: *x\n",
            "p.yaml:4:3: the key '<<' stands here and in line 3.",
        ),
        (
            "x: &x {a: 1, a: 2}\ny:\n  <<: *x\n",
            "p.yaml:1:14: the key 'a' stands here and in line 1.",
        ),
        (
            "rounds: 3\n\tseed: 1\n",
            "p.yaml:2:1: not valid YAML: found character '\\t' that cannot start any token (a tab",
        ),
        ("a: !mine 3\n", "p.yaml:1:4: not valid YAML: unknown tag '!mine'. Remove it."),
        (
            "a: !!python/object/apply:os.getcwd []\n",
            "p.yaml:1:4: not valid YAML: unknown tag 'tag:yaml.org,2002:python/object/apply:os",
        ),
        ("a: 1\nb: *c\n", "p.yaml:2:4: not valid YAML: found undefined alias 'c'"),
        ("a: 1\n---\na: 2\n", "p.yaml:2:1: not valid YAML: but found another document"),
        ("rounds: [1\n", "p.yaml:2:1: not valid YAML"),
        ("a: 1\nb: c: 2\n", "p.yaml:2:5: not valid YAML: mapping values are not allowed here"),
        ("a: 1\n? [b]\n: 2\n", "p.yaml:2:3: not valid YAML: a list or a mapping cannot be a key"),
        ("a: !!int ten\n", "p.yaml: not valid YAML: invalid literal for int()"),
        ("[" * 5000, "p.yaml: not valid YAML: nested too deeply"),
    ],
)
def test_what_is_refused_has_its_place(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "p.yaml")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            CONFLICT.encode(),
            "p.yaml:2:1: a merge is not resolved: the line is `<<<<<<< HEAD`. Keep the lines of one side",
        ),
        (DIFF3.encode(), "p.yaml:2:1: a merge is not resolved: the line is `<<<<<<< ours`."),
        (b"a: 1\n=======\nb: 2\n", "p.yaml:2:1: a merge is not resolved: the line is `=======`."),
        (
            "a: 1\nb: größe\n".encode("latin-1"),
            "p.yaml:2:6: the byte 0xf6 is not UTF-8. Save the file as UTF-8.",
        ),
        ("a: ü\nb: ü ".encode() + b"\xff\n", "p.yaml:2:6: the byte 0xff is not UTF-8."),
        (b"\xef\xbb\xbfa: 1\nb: \xff\n", "p.yaml:2:4: the byte 0xff is not UTF-8."),
        ("a: 1\n".encode("utf-16"), "p.yaml: the file is UTF-16, not UTF-8."),
        (
            b"a: 1\r\nb: \x00\r\n",
            "p.yaml:2:4: not valid YAML: the character U+0000 is not allowed.",
        ),
    ],
)
def test_bytes_that_are_refused_have_their_place(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "p.yaml").write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        read_yaml(tmp_path / "p.yaml", "p.yaml")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbfa: 1\nb: x\n",
        b"a: 1\r\nb: x\r\n",
        b"a: 1\rb: x\r",
        b"%YAML 1.2\n---\na: 1\nb: x\n...\n",
    ],
)
def test_files_of_other_editors_are_read(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "p.yaml").write_bytes(data)
    assert read_yaml(tmp_path / "p.yaml") == {"a": 1, "b": "x"}


def test_anchors_are_read_and_a_merged_key_may_be_replaced() -> None:
    text = "x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\nz:\n  <<: [*x, {c: 4}]\n"
    assert parse_yaml(text, "p") == {
        "x": {"a": 1, "b": 2},
        "y": {"a": 1, "b": 3},
        "z": {"a": 1, "b": 2, "c": 4},
    }


def test_dates_are_texts_and_a_mapping_that_merges_may_be_merged() -> None:
    text = "x: &x {<<: {a: 1}, a: 3, d: 2024-01-01}\ny: &y\n  <<: *x\n  b: 2\nz:\n  <<: [*y, *x]\n"
    x = {"a": 3, "d": "2024-01-01"}
    assert parse_yaml(text, "p") == {"x": x, "y": {**x, "b": 2}, "z": {**x, "b": 2}}


def test_a_comment_or_a_text_that_looks_like_a_mark_is_none(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("# <<<<<<< HEAD\na: |\n  <<<<<<< x\n  =======\nb: '======='\n")
    assert read_yaml(tmp_path / "p.yaml") == {"a": "<<<<<<< x\n=======\n", "b": "======="}


@pytest.mark.skipif(os.getuid() == 0, reason="root reads everything")
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").touch(mode=0)
    with pytest.raises(ConfigError, match=r"p\.yaml: cannot be read: Permission denied"):
        read_yaml(tmp_path / "p.yaml")


def test_the_same_setting_twice_on_the_command_line_is_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("rounds: 3\n")
    with pytest.raises(
        ConfigError,
        match=r"-S rounds=4 and -S rounds=5: the same setting twice\. Leave one of them out",
    ):
        load_config(tmp_path / "params.yaml", ["rounds=4", "seed=2", "rounds=5"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "tracking: {register: yes}",
            r"'tracking.register': input should be a valid boolean, found 'yes'. Write true or false",
        ),
        (
            "data: {source: csv, ignore_columns: note}",
            r"'data.ignore_columns': input should be a valid list, found 'note'. Write \[note\]",
        ),
        (
            "data: {feature_shape: 28}",
            r"'data.feature_shape': input should be a valid list, found 28. Write \[28\]",
        ),
        (
            "client: {learning_rate: '1e-3'}",
            r"'client.learning_rate': .* found '1e-3'. Write the number without quotes",
        ),
    ],
)
def test_a_text_in_the_place_of_another_value_is_explained(
    tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_config(tmp_path / "params.yaml")


def test_values_that_a_caller_changes_stay_its_own() -> None:
    parse_yaml("data: {seed: 1}", "params.yaml")["data"]["seed"] = 2
    assert parse_yaml("data: {seed: 1}", "params.yaml") == {"data": {"seed": 1}}
