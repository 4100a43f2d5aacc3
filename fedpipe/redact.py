"""Keeps passwords and tokens out of texts that leave the process: errors, logs, params, tags.

Two ways to know a secret: by its place in a text (`user:PASSWORD@host`, `token=SECRET`), and by its
value, where a variable of the environment holds it. `redact` and `secrets_of` are pure; `hide`
joins them for this process. Imports nothing of fedpipe.
"""

import os
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from urllib.parse import quote, unquote

MASK = "***"
SHORTEST = 6
"""Characters from which a value of the environment is looked for by itself; a shorter one is in
texts that mean other things.
"""

_WORDS = r"password|passwd|passphrase|pwd|secret|token(?!s|iz)|api_?key|access_?key|private_?key|signature|credential|auth(?!or)"
# A password ends at the last @ of the same URI; `host:5000/...` is a port and no password. One
# slash: a URI that was taken for a path.
_PASSWORD = re.compile(r"(:/{1,2}[^:/@\s\"<>]*):(?!\d{1,5}[/?#])((?:(?!:/)[^\s\"<>])*)@")
_LONE_TOKEN = re.compile(r"(https?:/{1,2})[^\s:/@\"<>]+@", re.IGNORECASE)
_NAMED = re.compile(
    rf"((?:^|(?<=[\s?&;,'\"(\[{{]))[\w.\-]*(?:{_WORDS})[\w.\-]*=)[^\s&;,'\"<>)\]}}]+", re.IGNORECASE
)
_HEADER = re.compile(
    r"(authorization['\"]?\s*[:=]\s*['\"]?(?:bearer|basic)\s+)[^\s'\"]+", re.IGNORECASE
)
_SECRET_NAME = re.compile(
    r"PASSWORD|PASSWD|PASSPHRASE|(?<=.)PWD$|SECRET|TOKEN(?!S|IZ)|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|AUTH_STRING",
    re.IGNORECASE,
)
_PLACE_NAME = re.compile(r"(_FILE|_PATH|_DIR|_URL|_URI|^OLDPWD)$", re.IGNORECASE)
_USER_AND_PASSWORD = re.compile(r"://[^:/@\s]*:(.*)@")
_QUERY_SECRET = re.compile(rf"[?&;][^=&;]*(?:{_WORDS})[^=&;]*=([^&;#]+)", re.IGNORECASE)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return `text` with `***` in place of the given secrets, of passwords in URIs, and of values
    that are named as secrets.

    >>> redact("postgresql://ann:s3cret@db.example.org/runs")
    'postgresql://ann:***@db.example.org/runs'
    >>> redact("https://host/x?user=ann&access_token=abc", ["ann"])
    'https://host/x?user=***&access_token=***'
    """
    listed = sorted(filter(None, secrets), key=len, reverse=True)
    if listed:
        text = re.sub("|".join(map(re.escape, listed)), MASK, text)
    if ":/" in text:
        text = _LONE_TOKEN.sub(rf"\1{MASK}@", _PASSWORD.sub(rf"\1:{MASK}@", text))
    return _HEADER.sub(rf"\1{MASK}", _NAMED.sub(rf"\1{MASK}", text))


def secrets_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the secrets in an environment: values of variables with a secret's name, and passwords
    and tokens in URIs of any variable.

    Each also as it stands in an address (percent-encoded) and without that encoding. Values below
    `SHORTEST` characters are left out.
    """
    secrets: set[str] = set()
    for name, value in environment.items():
        if _SECRET_NAME.search(name) and not _PLACE_NAME.search(name):
            secrets.add(
                value.partition(":")[2]
                if name.upper().endswith("AUTH_STRING") and ":" in value
                else value
            )
        if "://" in value:
            secrets |= {
                match[1]
                for pattern in (_USER_AND_PASSWORD, _QUERY_SECRET)
                for match in pattern.finditer(value)
            }
    spelled = {
        spelling
        for secret in secrets
        for spelling in (
            secret,
            unquote(secret),
            quote(secret, safe=""),
            quote(unquote(secret), safe=""),
        )
    }
    return tuple(sorted(secret for secret in spelled if len(secret) >= SHORTEST))


def hide(text: str) -> str:
    """Return `text` without the secrets that this process knows of."""
    return redact(text, _known(tuple(os.environ.items())))


@lru_cache(maxsize=4)
def _known(items: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    return secrets_of(dict(items))
