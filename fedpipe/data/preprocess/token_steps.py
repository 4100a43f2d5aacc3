"""The fitted step that makes tokens of texts: bytes, characters or words."""

import re
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from fedpipe.data.array_types import Array
from fedpipe.data.preprocess.base import FittedStep
from fedpipe.data.preprocess.examples import Examples
from fedpipe.errors import DataError, shorten

UNKNOWN = 1
"""Token of what is not in the vocabulary; 0 pads."""
FIRST = 2
"""Token of the first entry of the vocabulary."""

_WORD = re.compile(r"\w+|[^\w\s]")


class Tokenized(FittedStep):
    """Texts as tokens.

    Attributes:
        unit: what a token is.
        lower: whether texts are put into lower case first.
        length: tokens of an example, those behind are cut off, shorter ones are padded with 0.
        vocabulary: characters or words by their tokens, from 2 on; empty of bytes, whose tokens are
            their values plus 1.
    """

    name: Literal["tokenize"]
    unit: Literal["bytes", "characters", "words"]
    lower: bool
    length: Annotated[int, Field(ge=1)]
    vocabulary: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        """Return the number of different tokens, padding and unknown ones included."""
        if self.unit == "bytes":
            return 257
        return FIRST + len(self.vocabulary)

    def apply(self, examples: Examples) -> Examples:
        """Return int32 [n, length]."""
        number_of = {entry: number for number, entry in enumerate(self.vocabulary, FIRST)}
        result = np.zeros((len(examples.x), self.length), np.int32)
        for row, text in enumerate(texts_of(examples.x)):
            if self.unit == "bytes":
                numbers = [byte + 1 for byte in (text.lower() if self.lower else text).encode()]
            else:
                entries = units_of(text, self.unit, self.lower)
                numbers = [number_of.get(entry, UNKNOWN) for entry in entries]
            numbers = (numbers or [UNKNOWN])[: self.length]
            result[row, : len(numbers)] = numbers
        return examples.with_x(result)

    def lines(self) -> list[str]:
        """Return the vocabulary's size and its first entries."""
        line = f"tokenize: {self.unit}, at most {self.length:,} of a text, {self.tokens:,} tokens"
        if self.vocabulary:
            line += f": {shorten(map(repr, self.vocabulary), 5)}"
        return [line]


def texts_of(x: Array) -> list[str]:
    """Return the texts of byte tokens, int32 [n, length], each a byte plus 1, padded with 0.

    Raises:
        DataError: they are no texts.
    """
    texts = []
    for row in x:
        numbers = row[: np.flatnonzero(row)[-1] + 1] if row.any() else row[:0]
        try:
            if numbers.size and (numbers.min() < 1 or numbers.max() > 256):
                raise ValueError("numbers beyond those of bytes")
            texts.append((numbers - 1).astype(np.uint8).tobytes().decode())
        except ValueError as err:
            raise DataError(
                "data.preprocess, step tokenize: expected texts as the one feature, found other "
                "tokens. Remove the step."
            ) from err
    return texts


def units_of(text: str, unit: str, lower: bool) -> list[str]:
    """Return the characters or words of a text; a sign that is no letter or digit is a word.

    >>> units_of("Hello, you!", "words", lower=True)
    ['hello', ',', 'you', '!']
    """
    if lower:
        text = text.lower()
    if unit == "words":
        return _WORD.findall(text)
    return list(text)
