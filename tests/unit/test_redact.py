"""What is hidden, what is not, and the laws of hiding."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedpipe.errors import DataError, TrackingError
from fedpipe.redact import MASK, hide, redact, secrets_of

FAST = settings(max_examples=100, deadline=None, derandomize=True)
letters = st.characters(codec="utf-8", exclude_characters="*")
secrets = st.text(letters, min_size=6, max_size=20)
texts = st.text(letters, max_size=60)
# What a password may hold in an address as people write it: anything but spaces, quotes and another "://".
passwords = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters='"<>*/'),
    min_size=1,
    max_size=20,
)
words = st.text(st.sampled_from("abcdefgh .,;()/-_0123456789"), max_size=80)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://ann:p@ss@db:5432/runs", "postgresql://ann:***@db:5432/runs"),
        ("https://:pw@host/x", "https://:***@host/x"),
        ("https://ghp_token@github.com/a/b.git", "https://***@github.com/a/b.git"),
        ("https://host/x?user=ann&password=pw", "https://host/x?user=ann&password=***"),
        ("mysql+pymysql://a:b@h/x?ssl_token=t&c=d", "mysql+pymysql://a:***@h/x?ssl_token=***&c=d"),
        ("a://u:p@h, b://v:q@i", "a://u:***@h, b://v:***@i"),
        ("a://u:p@h,b://v:q@i", "a://u:***@h,b://v:***@i"),
        ("-S tracking.token=abc: unknown key", "-S tracking.token=*** unknown key"),
        ("Authorization: Bearer eyJhbGciOi.x.y", "Authorization: Bearer ***"),
        (
            "/home/ann/http:/ann:p@ss@host/params.yaml: no such file",
            "/home/ann/http:/ann:***@host/params.yaml: no such file",
        ),
        ("https:/token@host/x", "https:/***@host/x"),
        (
            "input_value='http://ann:pw@host', input_type=str]",
            "input_value='http://ann:***@host', input_type=str]",
        ),
        ("host=db password=pw dbname=x", "host=db password=*** dbname=x"),
    ],
)
def test_secrets_that_their_place_gives_away(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:////home/ann/mlflow.db",
        "http://127.0.0.1:5000/#/experiments/1/runs/f1b69b36 by ann@example.org",
        "http://host:5000/x?mail=ann@example.org",
        "ssh://git@host/a/b.git",
        "postgresql://ann@db/runs",
        "'rounds': input should be a valid integer, found 'ten'",
        "expected tokens=5 of author=ann, found the token 7",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


@given(secrets, texts, texts)
@FAST
def test_a_known_secret_is_nowhere(secret: str, before: str, after: str) -> None:
    assert secret not in redact(before + secret + after, [secret])


@given(passwords, words, words)
@FAST
def test_a_password_in_an_address_is_nowhere(password: str, before: str, after: str) -> None:
    mark = f"planted{password}"
    assert mark not in redact(f"{before} postgresql://ann:{mark}@db.example.org/runs {after}")


@given(st.lists(secrets, max_size=3), texts)
@FAST
def test_hiding_twice_is_hiding_once(known: list[str], text: str) -> None:
    once = redact(text, known)
    assert redact(once, known) == once


@given(words)
@FAST
def test_plain_text_is_left_alone(text: str) -> None:
    assert redact(text, ["s3cret"]) == text


def test_secrets_of_an_environment() -> None:
    found = secrets_of(
        {
            "MLFLOW_TRACKING_URI": "http://ann:p%40ssword@host",
            "MLFLOW_TRACKING_TOKEN": "tracking-token",
            "AWS_SECRET_ACCESS_KEY": "wJalr/XUtn",
            "PREFECT_API_AUTH_STRING": "admin:auth-word",
            "PGPASSWORD": "short",
            "PWD": "/home/ann/project",
            "GOOGLE_TOKEN_FILE": "/home/ann/token.json",
            "TOKENIZERS_PARALLELISM": "disabled",
            "HTTPS_PROXY": "http://proxy?token=query-token",
        }
    )
    assert {
        "p%40ssword",
        "p@ssword",
        "tracking-token",
        "wJalr/XUtn",
        "wJalr%2FXUtn",
        "auth-word",
        "query-token",
    } <= set(found)
    assert not {"short", "/home/ann/project", "/home/ann/token.json", "disabled", "admin"} & set(
        found
    )


def test_every_error_of_ours_is_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "planted-word")
    assert (
        str(TrackingError("https://ann:x@host: it says planted-word."))
        == f"https://ann:{MASK}@host: it says {MASK}."
    )
    assert "planted-word" not in repr(DataError("planted-word"))
    assert hide("planted-words") == f"{MASK}s"
