"""Fits the steps of `data.preprocess` on training examples of participating clients alone.

    rows sorted by client and split --> training rows on disk --one or more passes a step--> figures

Each step sees the examples as the steps before it leave them. Rows and owners are on disk, examples
come some thousand at a time, and a statistic has the size of the columns: memory does not grow with
the examples.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from pathlib import Path
from typing import Literal

import numpy as np

from fedpipe.config.preprocess import (
    ChooseSettings,
    ClipSettings,
    CropSettings,
    DatesSettings,
    DropSettings,
    GreySettings,
    MinMaxSettings,
    MissingSettings,
    NormalizeSettings,
    OneHotSettings,
    OrdinalSettings,
    OwnStepSettings,
    PreprocessStep,
    ResizeSettings,
    RobustSettings,
    ScaleSettings,
    StandardizeSettings,
    TokenizeSettings,
)
from fedpipe.data.array_types import Array, Bools, Floats, Int32s, Int64s
from fedpipe.data.disk_columns import DiskColumn, Scratch
from fedpipe.data.preprocess.examples import Examples, matching_columns
from fedpipe.data.preprocess.fitted import (
    AnyFitted,
    Categories,
    Chosen,
    Clipped,
    Days,
    Filled,
    OwnArray,
    OwnFitted,
    Scaled,
    build_own_step,
)
from fedpipe.data.preprocess.image_settings import image_step, refuse_no_images
from fedpipe.data.preprocess.image_steps import Normalized, channels
from fedpipe.data.preprocess.statistics import Extremes, Moments, quantiles
from fedpipe.data.preprocess.steps import FittedSteps, refuse_gaps
from fedpipe.data.preprocess.token_steps import Tokenized, texts_of, units_of
from fedpipe.data.stored_rows import StoredRows
from fedpipe.errors import DataError, shorten
from fedpipe.system.user_code import own_code

_DTYPES: dict[str, Literal["uint8", "int32", "float32"]] = {
    "uint8": "uint8",
    "int32": "int32",
    "float32": "float32",
}
_TEXTS = 1000
"""Texts that are measured at once."""
_PASS_SHARE = 32
"""Examples that are taken at once may take the memory limit divided by this."""


class TrainingRows:
    """Rows that train, client by client, on disk."""

    def __init__(self, scratch: Scratch, clients: int) -> None:
        """Make an empty list for so many clients."""
        self._rows = DiskColumn(scratch, np.int64)
        self._fits = DiskColumn(scratch, np.bool_)
        self.counts: Int64s = np.zeros(clients, np.int64)

    def add(self, owner: Int32s, rows: Int64s, fits: Bools) -> None:
        """Take the rows of the clients that come next.

        Args:
            owner: int32 [n], ascending.
            rows: int64 [n], numbers of the examples in the source.
            fits: bool [n], whether the figures of all clients are computed from them.
        """
        self._rows.append(rows)
        self._fits.append(fits)
        self.counts += np.bincount(owner, minlength=len(self.counts))

    def batches(self, most: int) -> Iterator[Int64s]:
        """Yield the rows of participating clients, at most so many at a time."""
        for start in range(0, len(self._rows), most):
            end = min(start + most, len(self._rows))
            rows = self._rows.read(start, end)[self._fits.read(start, end)]
            if len(rows):
                yield rows

    def by_client(self) -> Iterator[tuple[int, Int64s]]:
        """Yield each client's number and rows, of those that have some."""
        ends = np.cumsum(self.counts)
        for client in np.flatnonzero(self.counts).tolist():
            yield (
                client,
                self._rows.read(int(ends[client] - self.counts[client]), int(ends[client])),
            )


@dataclass
class Preprocessor:
    """The steps of one preparation, those that are fitted so far.

    Attributes:
        raw: the features [n, ...] of rows of the source, before the steps.
        dtype, shape: of these.
        columns: names of the table's columns; empty where features are no table.
        texts: the distinct texts of each column of texts.
        count: number of rows of the source.
        images: steps that the source itself applied to each image as it read it.
        owners: int32, the client of each row of the source, on disk; None where no step asks.
        steps: the fitted steps.
        own_scales: by the place of a step that scales within clients, float32 [clients, 2 *
            values] on disk: shift and scale of each.
        notes: what of the fit may not be meant.
        first_row: int64 [1], an example of a client that trains, which shows shape and dtype.
    """

    raw: Callable[[Int64s], Array]
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    columns: tuple[str, ...]
    texts: Mapping[str, Sequence[str]]
    count: int
    images: tuple[AnyFitted, ...] = ()
    owners: DiskColumn | None = None
    steps: list[AnyFitted] = field(default_factory=list)
    own_scales: dict[int, StoredRows] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    first_row: Int64s = field(default_factory=lambda: np.zeros(1, np.int64))

    def examples(self, rows: Int64s) -> Examples:
        """Return the examples of these rows after the steps so far."""
        examples = Examples(self.raw(rows), self.columns, self.texts)
        for place, step in enumerate(self.steps):
            scales = self.own_scales.get(place)
            if isinstance(step, Scaled) and scales is not None and self.owners is not None:
                owner = self.owners.take(rows).astype(np.int64)
                shift, scale = np.split(scales.take(owner), 2, axis=1)
                examples = step.scaled(examples, shift, scale)
            else:
                examples = step.apply(examples)
        return examples

    def features(self, rows: Int64s) -> Array:
        """Return the features of these rows after all steps. Raises DataError for a gap."""
        examples = self.examples(rows)
        refuse_gaps(examples.x, examples.columns)
        return examples.x

    def fitted(self) -> FittedSteps:
        """Return the steps as manifest and model keep them."""
        result = self.examples(self.first_row)
        if left := [name for name in result.columns if name in result.texts]:
            raise DataError(
                f"data.preprocess: expected numbers after the steps, found texts in "
                f"{shorten(left)}. Add {{name: one_hot}} or {{name: ordinal}}, or leave them out: "
                f"{{name: drop, columns: [{', '.join(left[:5])}]}}."
            )
        return FittedSteps(
            dtype=_DTYPES[self.dtype.name],
            shape=self.shape,
            columns=self.columns,
            texts=tuple(name for name in self.columns if name in self.texts),
            skipped=tuple(name for name in self.columns if self.texts.get(name) == [""]),
            images=self.images,
            steps=tuple(self.steps),
            result=result.columns,
        )


def fit_steps(
    settings: Sequence[PreprocessStep],
    preprocessor: Preprocessor,
    training: TrainingRows,
    scratch: Scratch,
    memory_limit_mb: int,
    project: Path,
) -> None:
    """Fit the steps one after the other, and add them to `preprocessor`.

    Args:
        settings: `data.preprocess`.
        preprocessor: has no steps yet.
        training: the rows.
        scratch: for figures of each client.
        memory_limit_mb: `data.memory_limit_mb`.
        project: folder of the user's own steps.

    Raises:
        DataError: a step does not fit the features.
    """
    preprocessor.first_row = next(training.batches(1 << 16))[:1]
    for step in settings[len(preprocessor.images) :]:
        fit = _Fit(preprocessor, training, scratch, memory_limit_mb * 1_000_000, project)
        preprocessor.steps.append(fit.step(step))


@dataclass(frozen=True)
class _Fit:
    """The fit of one step."""

    before: Preprocessor
    training: TrainingRows
    scratch: Scratch
    max_bytes: int
    project: Path

    def sample(self) -> Examples:
        """Return one example, as this step gets it."""
        return self.before.examples(next(self.training.batches(1 << 16))[:1])

    def batches(self) -> Iterator[Examples]:
        """Yield all training examples of participating clients, as this step gets them."""
        sample = self.sample()
        size = max(sample.x.nbytes, int(np.prod(self.before.shape)) * 4) + 64
        for rows in self.training.batches(max(16, self.max_bytes // _PASS_SHARE // size)):
            yield self.before.examples(rows)

    def step(self, step: PreprocessStep) -> AnyFitted:
        """Return the fitted step."""
        sample = self.sample()
        if isinstance(step, TokenizeSettings):
            return self._tokenized(step, sample)
        if sample.x.dtype == np.int32 and not isinstance(step, OwnStepSettings):
            raise DataError(
                f"data.preprocess, step {step.name}: expected numbers or pixels, found int32 "
                "tokens. Remove the step."
            )
        if isinstance(step, NormalizeSettings):
            return self._normalized(step, sample)
        if isinstance(step, ScaleSettings):
            return self._scaled(step, self._numbers(step.columns, sample, step.name))
        if isinstance(step, ClipSettings):
            columns = self._numbers(step.columns, sample, "clip")
            return Clipped(name="clip", low=step.low, high=step.high, columns=columns)
        if isinstance(step, OwnStepSettings):
            return self._own(step)
        if isinstance(step, ResizeSettings | CropSettings | GreySettings):
            return image_step(step, sample.x)
        if not sample.columns:
            raise DataError(
                f"data.preprocess, step {step.name}: expected columns of a table (csv or parquet), "
                f"found {sample.x.dtype} features of shape {list(sample.x.shape[1:])}. Remove the "
                "step."
            )
        if isinstance(step, MissingSettings):
            return self._filled(step, sample)
        if isinstance(step, OneHotSettings | OrdinalSettings):
            return self._categories(step, sample)
        columns = matching_columns(step.columns, sample.columns, step.name)
        if isinstance(step, DatesSettings):
            return Days(name="dates", columns=columns, since=step.since, format=step.format)
        return self._chosen(step, columns, sample)

    def _numbers(
        self, patterns: Sequence[str] | None, sample: Examples, step: str
    ) -> tuple[str, ...]:
        """Return the columns of numbers that a step names; none where features are no table."""
        if not sample.columns and patterns is None:
            return ()
        columns = matching_columns(patterns, sample.columns, step)
        texts = [name for name in columns if name in sample.texts]
        if patterns is None:
            columns = tuple(name for name in columns if name not in sample.texts)
        elif texts:
            raise DataError(
                f"data.preprocess, step {step}: expected columns of numbers, found texts in "
                f"{shorten(texts)}. Put {{name: one_hot}} or {{name: ordinal}} before it."
            )
        if not columns:
            raise DataError(
                f"data.preprocess, step {step}: expected columns of numbers, found texts alone in "
                f"{shorten(sample.columns)}. Put {{name: one_hot}} or {{name: ordinal}} before it."
            )
        return columns

    def _scaled(self, settings: ScaleSettings, columns: tuple[str, ...]) -> Scaled:
        name = settings.name  # type: ignore[attr-defined]
        step = Scaled(name=name, per=settings.per, columns=columns)
        if settings.per == "client":
            self._scale_within_clients(step)
            return step
        shift, scale, constant = self._scale(settings, step)
        names = columns or tuple(f"value {place}" for place in range(len(shift)))
        if still := [names[place] for place in np.flatnonzero(constant)]:
            self.before.notes.append(
                f"data.preprocess, step {name}: constant in the training examples, divided by 1: "
                f"{shorten(still, 5)}"
            )
        return step.model_copy(
            update={"shift": tuple(shift.tolist()), "scale": tuple(scale.tolist())}
        )

    def _scale(self, settings: ScaleSettings, step: Scaled) -> tuple[Floats, Floats, Bools]:
        """Return shift and scale of each value, and which values are constant."""
        width = step.selected(self.sample()).shape[1]
        given = _constants_of(settings)
        if given is not None:
            shift, scale = (np.array(values, np.float64) for values in given)
            if len(shift) != width:
                raise DataError(
                    f"data.preprocess, step {step.name}: expected {width} numbers, one for each "
                    f"column or value, found {len(shift)}. Correct its constants."
                )
            return shift, scale, np.zeros(width, np.bool_)

        def values() -> Iterator[Array]:
            return map(step.selected, self.batches())

        shift, scale = _figures(step.name, values)
        constant = scale == 0
        return shift, np.where(constant, 1, scale), constant

    def _scale_within_clients(self, step: Scaled) -> None:
        """Write shift and scale of each client to the disk."""
        clients = len(self.training.counts)
        width = step.selected(self.sample()).shape[1]
        file = self.scratch.file()
        zeros = np.concatenate([np.zeros(width, "<f4"), np.ones(width, "<f4")]).tobytes()
        next_client = 0
        for client, rows in self.training.by_client():
            numbers = step.selected(self.before.examples(rows))
            shift, scale = _figures(step.name, partial(list, [numbers]))
            file.write(zeros * (client - next_client))
            file.write(shift.astype("<f4").tobytes())
            file.write(np.where(scale == 0, 1, scale).astype("<f4").tobytes())
            next_client = client + 1
        file.write(zeros * (clients - next_client))
        file.flush()
        self.before.own_scales[len(self.before.steps)] = StoredRows(
            file, np.dtype("<f4"), (2 * width,), clients
        )

    def _filled(self, settings: MissingSettings, sample: Examples) -> Filled:
        columns = matching_columns(settings.columns, sample.columns, "missing")
        if settings.by == "drop":
            return Filled(name="missing", by="drop", columns=columns, values=())
        texts = [name for name in columns if name in sample.texts]
        value = settings.value
        if value is not None:
            if settings.columns is None:  # a text for the columns of texts, a number for the others
                columns = tuple(
                    name for name in columns if (name in texts) == isinstance(value, str)
                )
            elif texts and not isinstance(value, str):
                raise _text_in("missing", texts, "a number", "value: unknown")
            elif isinstance(value, str) and len(texts) < len(columns):
                raise DataError(
                    "data.preprocess, step missing: expected value to be a number, as of "
                    f"{shorten(set(columns) - set(texts))}, found {value!r}. Correct it."
                )
            fill: tuple[float | str, ...] = (value,) * len(columns)
            return Filled(name="missing", by="constant", columns=columns, values=fill)
        if settings.columns is None:
            columns = tuple(name for name in columns if name not in texts)
        elif texts:
            raise _text_in("missing", texts, "a mean", "by: constant, value: unknown")
        places = sample.places(columns)
        rows = 0
        moments = None
        for examples in self.batches():
            batch = Moments.of(examples.numbers()[:, places])
            moments = batch if moments is None else moments.merged(batch)
            rows += len(examples.x)
        if moments is None:
            raise AssertionError("a fit without training examples")
        if empty := [columns[place] for place in np.flatnonzero(moments.count == 0)]:
            raise DataError(
                f"data.preprocess, step missing: expected a value in the training examples, found "
                f"only empty cells in {shorten(empty)}. Leave them out: {{name: drop, columns: "
                f"[{', '.join(empty[:5])}]}}."
            )
        gaps = np.flatnonzero(moments.count < rows)
        flagged = tuple(columns[place] for place in gaps) if settings.by == "indicator" else ()
        means = tuple(moments.mean.tolist())
        return Filled(
            name="missing", by=settings.by, columns=columns, values=means, flagged=flagged
        )

    def _categories(
        self, settings: OneHotSettings | OrdinalSettings, sample: Examples
    ) -> Categories:
        columns = matching_columns(settings.columns, sample.columns, settings.name)
        if settings.columns is None:
            columns = tuple(name for name in columns if name in sample.texts)
        if not columns or not set(columns) <= set(sample.texts):
            raise DataError(
                f"data.preprocess, step {settings.name}: expected columns of texts, found "
                f"{shorten(sample.columns, 5)}. Remove the step, or name columns of texts."
            )
        given = settings.categories
        if given is not None:
            if set(given) != set(columns):
                raise DataError(
                    f"data.preprocess, step {settings.name}: expected categories of "
                    f"{shorten(columns)}, found those of {shorten(given)}. Correct them."
                )
            chosen = {name: tuple(given[name]) for name in columns}
            return Categories(name=settings.name, categories=chosen)
        used: dict[str, set[str]] = {name: set() for name in columns}
        for examples in self.batches():
            for name in columns:
                codes = examples.x[:, examples.places([name])[0]]
                numbers = np.unique(codes[~np.isnan(codes)]).astype(np.int64)
                used[name] |= {examples.texts[name][number] for number in numbers.tolist()}
        for name, texts in used.items():
            if len(texts) > settings.max_categories:
                raise DataError(
                    f"data.preprocess, step {settings.name}: expected at most "
                    f"{settings.max_categories:,} categories in the column {name}, found "
                    f"{len(texts):,}. Raise its max_categories, or leave the column out."
                )
        categories = {name: tuple(sorted(texts)) for name, texts in used.items()}
        return Categories(name=settings.name, categories=categories)

    def _chosen(
        self,
        settings: ChooseSettings | DropSettings,
        columns: tuple[str, ...],
        sample: Examples,
    ) -> Chosen:
        if isinstance(settings, DropSettings):
            columns = tuple(name for name in sample.columns if name not in columns)
        if not columns:
            raise DataError(
                "data.preprocess, step drop: expected a column that stays, found none. Correct its "
                "columns."
            )
        return Chosen(name=settings.name, columns=columns)

    def _normalized(self, settings: NormalizeSettings, sample: Examples) -> Normalized:
        refuse_no_images("normalize", sample.x)
        width = channels(sample.x).shape[-1]
        if settings.mean is not None and settings.std is not None:
            if len(settings.mean) != width:
                raise DataError(
                    f"data.preprocess, step normalize: expected {width} numbers, one for each "
                    f"channel, found {len(settings.mean)}. Correct its constants."
                )
            return Normalized(name="normalize", mean=tuple(settings.mean), std=tuple(settings.std))

        def values() -> Iterator[Array]:
            for examples in self.batches():
                yield channels(examples.numbers()).reshape(-1, width)

        mean, std = _figures("standardize", values)
        if constant := [str(number) for number in np.flatnonzero(std == 0)]:
            self.before.notes.append(
                "data.preprocess, step normalize: constant in the training examples, divided by "
                f"1: channel {shorten(constant)}"
            )
        return Normalized(
            name="normalize",
            mean=tuple(mean.tolist()),
            std=tuple(np.where(std == 0, 1, std).tolist()),
        )

    def _tokenized(self, settings: TokenizeSettings, sample: Examples) -> Tokenized:
        if sample.x.dtype != np.int32 or self.before.steps:
            raise DataError(
                "data.preprocess, step tokenize: expected texts as the one feature and no step "
                f"before it, found {sample.x.dtype} features of shape {list(sample.x.shape[1:])}. "
                "Remove the step; columns of texts are for {name: one_hot}."
            )
        unit = settings.unit
        vocabulary = tuple(settings.vocabulary or ())
        if settings.fits_vocabulary:
            counts: Counter[str] = Counter()
            for examples in self.batches():
                for text in texts_of(examples.x):
                    counts.update(units_of(text, unit, settings.lower))
            frequent = sorted(counts, key=lambda entry: (-counts[entry], entry))
            vocabulary = tuple(frequent[: settings.size])
        length = settings.length or self._longest(unit, settings.lower)
        return Tokenized(
            name="tokenize",
            unit=unit,
            lower=settings.lower,
            length=length,
            vocabulary=vocabulary,
        )

    def _longest(self, unit: str, lower: bool) -> int:
        """Return the tokens of the longest training text of a participating client."""
        longest = 1
        for rows in self.training.batches(_TEXTS):
            for text in texts_of(self.before.raw(rows)):
                size = len(text.encode()) if unit == "bytes" else len(units_of(text, unit, lower))
                longest = max(longest, size)
        return longest

    def _own(self, settings: OwnStepSettings) -> OwnFitted:
        step = build_own_step(settings.name, settings.options, self.project)
        where = f"data.preprocess, step {settings.name}"
        batches = []
        size = 0
        for examples in self.batches():
            if examples.texts:
                raise _text_in(settings.name, list(examples.texts), "numbers", "")
            size += examples.x.nbytes
            if size > self.max_bytes // 4:
                raise DataError(
                    f"{where}: expected training examples of at most {self.max_bytes // 4_000_000} "
                    "MB, as its fit takes all of them at once, found more. Raise "
                    "data.memory_limit_mb."
                )
            batches.append(examples.x)
        with own_code(where, DataError, "calling fit"):
            arrays = step.fit(np.concatenate(batches))
        if not isinstance(arrays, Mapping):
            raise DataError(
                f"{where}: expected fit to return a dict of arrays, found "
                f"{type(arrays).__name__}. Correct it."
            )
        try:
            stored = {str(name): OwnArray.of(np.asarray(array)) for name, array in arrays.items()}
        except ValueError as err:
            raise DataError(
                f"{where}: expected fit to return arrays of float32, float64, int32, int64 or "
                f"bool, found others in {shorten(arrays)}. Convert them."
            ) from err
        return OwnFitted(name=settings.name, options=settings.options, arrays=stored)


def _constants_of(settings: ScaleSettings) -> tuple[list[float], list[float]] | None:
    """Return shift and scale that the user gave."""
    if isinstance(settings, StandardizeSettings) and settings.mean and settings.std:
        return settings.mean, settings.std
    if isinstance(settings, RobustSettings) and settings.median and settings.range:
        return settings.median, settings.range
    if isinstance(settings, MinMaxSettings) and settings.min and settings.max:
        pairs = zip(settings.min, settings.max, strict=True)
        return settings.min, [high - low for low, high in pairs]
    return None


def _figures(step: str, batches: Callable[[], Iterable[Array]]) -> tuple[Floats, Floats]:
    """Return shift and scale, float64 [values] each; the scale of a constant value is 0.

    Args:
        step: `standardize`, `min_max` or `robust`.
        batches: gives all examples anew at each call, float32 [n, values].
    """
    if step == "min_max":
        extremes = reduce(Extremes.merged, map(Extremes.of, batches()))
        known = extremes.low <= extremes.high
        low = np.where(known, extremes.low, 0)
        return low, np.where(known, extremes.high, 0) - low
    moments = reduce(Moments.merged, map(Moments.of, batches()))
    if step == "standardize":
        return moments.mean, moments.std()
    lower, median, upper = quantiles(batches, (0.25, 0.5, 0.75), moments.count)
    return median, upper - lower


def _text_in(step: str, columns: Sequence[str], expected: str, remedy: str) -> DataError:
    fix = f"Name the columns of texts in a step of their own: {{name: {step}, {remedy}}}."
    if not remedy:
        fix = "Put {name: one_hot} or {name: ordinal} before it."
    return DataError(
        f"data.preprocess, step {step}: expected columns that have {expected}, found texts in "
        f"{shorten(columns)}. {fix}"
    )
