"""The settings of the data: where the examples come from, and how they become clients."""

import codecs
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from fedpipe.config.base import OWN_FUNCTION, Name, PositiveInt, Section
from fedpipe.config.preprocess import PreprocessStep

SOURCE_NAMES = (
    *(
        "mnist5k",
        "synthetic",
        "emnist",
        "emnist62",
        "cifar100",
        "shakespeare",
    ),  # what ships, and what TFF downloads
    *("parquet", "csv", "npz", "images", "sqlite", "leaf"),  # the user's own, read from data.path
)


class DataConfig(Section):
    """Where the examples come from and how they become clients."""

    source: Name = Field(
        "mnist5k",
        description="Source of the examples; `fedpipe sources` lists them with what each needs. "
        "Or `mypackage.module:function`, a source of your own (docs/sources.md).",
    )
    path: Name | None = Field(
        None,
        description="File or folder of the sources that read the user's own (`parquet`, `csv`, "
        "...), relative to the project.",
    )
    client_column: Name | None = Field(
        "client",
        description="Column (`parquet`, `csv`) or array (`npz`) that names each example's client; "
        "`null`: there are no clients, `partition` makes them; a folder of `images` "
        "is then `label/image` instead of `client/label/image`.",
    )
    label_column: Name | Annotated[list[Name], Field(min_length=1)] | None = Field(
        "label",
        description="Column (`parquet`, `csv`) or array (`npz`) with each example's label; a list "
        "of them for `task.kind=regression` with several targets, or for `multilabel`; `null` for "
        "`tokens`, which have none.",
    )
    feature_dtype: Literal["auto", "uint8", "int32", "float32"] = Field(
        "auto",
        description="What the features of your own files are. `uint8`: 0..255, divided by 255 "
        "before a model sees them; `int32`: tokens; `float32`: numbers as they are; "
        "`auto`: uint8 as uint8, whole numbers in lists and arrays as int32, else "
        "float32.",
    )
    feature_shape: Annotated[list[PositiveInt], Field(min_length=1, max_length=4)] | None = Field(
        None,
        description="Shape of one example, such as `[28, 28]` or `[32, 32, 3]`, for features that "
        "the source holds as one flat row: a `cnn` takes pixels from columns. Values "
        "fill it row by row, the last axis fastest; `null`: as the source has them.",
    )
    separator: str | None = Field(
        None,
        min_length=1,
        max_length=3,
        description="Character between the cells of a `csv`: `,`, `;`, `|`, or `tab`. `null`: "
        "detected in the first lines, and reported.",
    )
    encoding: Annotated[str, Field(min_length=1, max_length=40)] | None = Field(
        None,
        description="Encoding of a `csv`, such as `utf-8`, `latin-1`, `cp1252` or `utf-16`. "
        "`null`: what its byte order mark says, else UTF-8.",
    )
    decimal: Literal[".", ","] = Field(
        ".", description="Sign before the fraction of a number in a `csv`."
    )
    column_names: list[Name] | None = Field(
        None,
        min_length=1,
        description="Names of a `csv`'s columns where the file has no header; `null`: its first "
        "line names them.",
    )
    feature_columns: list[Name] | None = Field(
        None,
        min_length=1,
        description="Columns (`parquet`, `csv`) that are features; names or patterns such as "
        "`pixel*`. `null`: all that are not client, label or split.",
    )
    ignore_columns: list[Name] | None = Field(
        None,
        min_length=1,
        description="Columns (`parquet`, `csv`) that are left out; names or patterns such as "
        "`name_*`.",
    )
    preprocess: list[PreprocessStep] = Field(
        [],
        description="Steps that are fitted on the training examples of participating clients and "
        "applied to all, "
        "such as `[{name: standardize}]`; docs/preprocess.md lists them.",
    )
    options: dict[str, Any] = Field(
        {},
        description="Settings of your own for a source of your own, by the names of its function's "
        "arguments.",
    )
    partition: Literal["auto", "natural", "iid", "dirichlet", "pathological", "quantity"] = Field(
        "auto",
        description="How examples are given to clients. `natural`: the source's own clients; "
        "`iid`: at random, equal sizes; `dirichlet`: label skew; `pathological`: few "
        "labels a client; `quantity`: log-normal sizes; `auto`: natural where the "
        "source has clients, else dirichlet.",
    )
    clients: PositiveInt | None = Field(
        100,
        description="Number of clients. A partition makes as many; `natural` takes at most this "
        "many training clients, and as many with test examples only, the first in the order of "
        "their ids, or all with `null`.",
    )
    alpha: float = Field(
        1.0,
        ge=1e-4,
        le=1e9,
        description="Concentration of the Dirichlet that gives each label's examples to the "
        "clients: small is skewed, large is even. Hsu et al. 2019 multiply theirs by "
        "each label's share: with ten even labels their 1.0 is 0.1 here.",
    )
    labels_per_client: PositiveInt = Field(2, description="Labels that each client has.")
    sigma: float = Field(
        1.0,
        ge=0,
        le=5,
        description="Standard deviation of the logarithm of clients' sizes; 0 is equal sizes.",
    )
    seed: int = Field(
        1, ge=0, description="Seed of partition and splits. Another value makes other shards."
    )
    invert: bool = Field(
        False,
        description="Turn ink = 1.0 into background = 1.0, or the reverse. Off: each source keeps "
        "its own convention.",
    )
    test_fraction: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="Fraction of each client's examples that becomes its test split, rounded up. "
        "A source that brings its own test split (`emnist`) ignores it.",
    )
    validation_fraction: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Fraction of each client's training examples that becomes its validation "
        "split, rounded up; 0 makes none.",
    )
    held_out_fraction: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Fraction of the clients, rounded down, that never train: how good a model is "
        "for clients that it has not seen.",
    )
    central_test_examples: PositiveInt = Field(
        1000,
        description="Examples of the central test set, drawn from all clients' test splits "
        "pooled; all of them if fewer.",
    )
    shard_rows: Annotated[int, Field(ge=100, le=10_000_000)] = Field(
        65_536, description="Examples per file of the shards, about; a file holds whole clients."
    )
    memory_limit_mb: Annotated[int, Field(ge=64)] = Field(
        1024,
        description="Memory that preparing the shards may add, in MB. A source that cannot keep "
        "within it is refused.",
    )
    cache_dir: str | None = Field(
        None,
        description="Folder for downloaded sources (`emnist`), relative to the project; `null` is "
        "the user's cache.",
    )

    @field_validator("label_column", mode="before")
    @classmethod
    def _names_of_columns(cls, column: object) -> object:
        names = column if isinstance(column, list) else [column]
        is_names = bool(names) and all(isinstance(name, str) and name for name in names)
        if column is not None and not is_names:
            raise ValueError(
                "data.label_column: expected the name of a column, a list of names, or null, found "
                f"{column!r:.60}"
            )
        return column

    @property
    def label_columns(self) -> tuple[str, ...]:
        """Return the names in `label_column`, none where it is null."""
        if self.label_column is None:
            return ()
        if isinstance(self.label_column, str):
            return (self.label_column,)
        return tuple(self.label_column)

    @field_validator("separator")
    @classmethod
    def _one_character(cls, separator: str | None) -> str | None:
        if separator in (None, "tab", "\\t"):
            if separator is None:
                return None
            return "\t"
        if (
            len(separator) != 1
            or separator.isalnum()
            or separator in '"\r\n\0'
            or not separator.isascii()
        ):
            raise ValueError(
                "data.separator: expected one ASCII character such as ; or the word tab, found "
                f"{separator!r}"
            )
        return separator

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, encoding: str | None) -> str | None:
        if encoding is not None and not _is_text_encoding(encoding):
            raise ValueError(
                "data.encoding: expected an encoding that Python knows, such as utf-8, latin-1 "
                f"or utf-16, found {encoding!r}"
            )
        return encoding

    @model_validator(mode="after")
    def _refuse_one_sign_for_both(self) -> "DataConfig":
        if self.separator is not None and self.separator == self.decimal:
            raise ValueError(
                f"data.separator and data.decimal are both {self.decimal!r}. Correct one of them."
            )
        return self

    @field_validator("source")
    @classmethod
    def _known_source(cls, source: str) -> str:
        if source not in SOURCE_NAMES and not OWN_FUNCTION.fullmatch(source):
            raise ValueError(
                f"data.source: expected one of {', '.join(SOURCE_NAMES)}, or "
                f"mypackage.module:function, found {source!r}"
            )
        return source


def _is_text_encoding(name: str) -> bool:
    try:
        return bool(
            codecs.lookup(name)._is_text_encoding
        )  # base64, rot13 and others are codecs, but no encodings of texts
    except (LookupError, ValueError):
        return False
