"""Predictions beside the data that they are about: label, prediction, score and slice of each row.

Only the columns that a gate asks for are held, as numbers: labels and values of slices by their
place in a list. Predictions are matched by the declared `key` if the file has its columns, else by
the order of rows. Labels and values of slices are one if they are after normalising: numbers that
are written differently are one number. What is missing, unreadable or does not match is one
message; of the data it says where that is, and of no row what is in it. Raises DataError,
SpecError, ProgramError for what the program wrote.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mllock.errors import DataError, ProgramError, SpecError
from mllock.gates.columns import column
from mllock.gates.labels import in_order, text_of
from mllock.gates.matching import Blame, key_frame, rows_by_key
from mllock.gates.numbers import Numbers, Scores
from mllock.gates.tables import Batch, Table
from mllock.spec.types import DataSource, Scalar

__all__ = ["Coded", "Scored", "blamed"]

PREDICTION, SCORE = "prediction", "score"
# More labels, or slices of one column, than a person looks at.
MAX_LABELS = 1000
# So many are named: more may be numbers, which say something of rows.
FEW_LABELS = 5
_MISSING = -1

Codes = NDArray[np.int32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Coded:
    """A column as places in `values`; -1 where it is missing."""

    codes: Codes
    values: tuple[str, ...]


@contextlib.contextmanager
def blamed() -> Iterator[None]:
    """What is wrong with a table that a program wrote is the program's fault."""
    try:
        yield
    except DataError as error:
        raise ProgramError(
            error.message,
            file=error.file,
            line=error.line,
            key=error.key,
            expected=error.expected,
            found=error.found,
            hint=error.hint,
        ) from error


class Scored:
    """The rows of one test source with their predictions. Columns are read when they are asked for.

    `place` is what messages call the predictions.
    """

    def __init__(
        self,
        data: Table,
        predictions: Table,
        source: DataSource,
        *,
        place: str,
        positive: Scalar | None = None,
    ) -> None:
        self._data = data
        self._predictions = predictions
        self._source = source
        self._place = place
        self._positive = positive
        if PREDICTION not in predictions.columns:
            raise ProgramError(
                "the predictions have no column of that name",
                file=place,
                expected=f'a column "{PREDICTION}", and "{SCORE}" for metrics of scores',
                found=", ".join(predictions.columns[:8]) or "no columns",
            )

    @functools.cached_property
    def rows(self) -> int:
        return len(self._order)

    @functools.cached_property
    def labels(self) -> tuple[Codes, Codes, tuple[str, ...]]:
        """True and predicted labels, and what they are; of two, the positive one is the second."""
        truth = self._coded(self._data, self._label(), self._bad_data)
        found = self._coded(self._predictions, PREDICTION, self._bad_prediction)
        self._refuse_missing(truth.codes == _MISSING, self._data, self._label(), self._bad_data)
        self._refuse_missing(
            found.codes == _MISSING, self._predictions, PREDICTION, self._bad_prediction
        )
        for coded, blame in ((truth, self._bad_data), (found, self._bad_prediction)):
            if len(coded.values) > MAX_LABELS:
                raise blame(
                    f"more than {MAX_LABELS} labels: not a classification",
                    found=f"{len(coded.values)} labels",
                    hint="metrics of numbers are mean_absolute_error, r2 and others beside them",
                )
        labels = in_order({*truth.values, *found.values})
        if set(found.values).isdisjoint(truth.values) and not self._are_both(labels):
            known = in_order(set(truth.values))
            raise self._bad_prediction(
                "no prediction is a label of the data",
                expected=", ".join(known)
                if len(known) <= FEW_LABELS
                else f"one of {len(known)} labels",
                found=", ".join(in_order(set(found.values))[:FEW_LABELS]),
            )
        if len(labels) <= 2:
            labels = self._two(labels)
        places = {label: place for place, label in enumerate(labels)}

        def placed(coded: Coded) -> Codes:
            new = np.array([places[value] for value in coded.values], dtype=np.int32)
            return new[coded.codes]

        return placed(truth), placed(found)[self._order], labels

    @functools.cached_property
    def numbers(self) -> tuple[Numbers, Numbers]:
        """True and predicted values."""
        truth = self._numbers(self._data, self._label(), self._bad_data)
        found = self._numbers(self._predictions, PREDICTION, self._bad_prediction)
        return truth, found[self._order]

    @functools.cached_property
    def scores(self) -> Scores:
        """The score of the positive label, in the precision in which it was written."""
        if SCORE not in self._predictions.columns:
            raise ProgramError(
                "the predictions have no column of that name",
                file=self._place,
                expected=f'a column "{SCORE}" with the score of the positive label',
                found=", ".join(self._predictions.columns[:8]),
            )
        return self._floats(self._predictions, SCORE, self._bad_prediction)[self._order]

    @property
    def has_scores(self) -> bool:
        return SCORE in self._predictions.columns

    def refuse_no_probabilities(self) -> None:
        """Log loss is of probabilities."""
        scores = self.scores
        if scores.min() < 0 or scores.max() > 1:
            raise self._bad_prediction(
                f'"{SCORE}" is no probability',
                expected="0 to 1",
                found=f"{scores.min():g} to {scores.max():g}",
            )

    def slices(self, name: str, *, key: str) -> Coded:
        """The values of a column of the data. `key` is where the spec names it."""
        column(self._data, name, key=key)
        found = self._coded(self._data, name, self._bad_data)
        if len(found.values) > MAX_LABELS:
            raise self._bad_data(
                f'"{name}" has too many values to be slices',
                expected=f"at most {MAX_LABELS}",
                found=str(len(found.values)),
                hint="slice by a column of groups: bins of a number, not the number",
            )
        order = in_order(set(found.values))
        places = {value: place for place, value in enumerate(order)}
        new = np.array([*(places[value] for value in found.values), _MISSING], dtype=np.int32)
        self._refuse_length(len(found.codes))
        return Coded(codes=new[found.codes], values=order)

    @functools.cached_property
    def _order(self) -> NDArray[np.int64]:
        """For each row of the data its row of the predictions."""
        key = self._source.key
        if not key or not set(key) <= set(self._predictions.columns):
            found, rows = self._length(self._predictions), self._length(self._data)
            if found != rows:
                known = " or with the columns of its key" if key else ""
                raise self._bad_prediction(
                    "predictions of another length than the data",
                    expected=f"{rows} rows, in the order of {self._data.name}{known}",
                    found=f"{found} rows",
                )
            return np.arange(rows)
        return self._by_key(key)

    def _by_key(self, key: Sequence[str]) -> NDArray[np.int64]:
        for name in key:
            column(self._data, name, key=f"data.{self._data.name}.key")
        return rows_by_key(
            key_frame(self._batches(self._data, key), key),
            key_frame(self._batches(self._predictions, key), key),
            key,
            name=self._data.name,
            bad_data=self._bad_data,
            bad_prediction=self._bad_prediction,
        )

    def _label(self) -> str:
        name = self._data.name
        if self._source.label is None:
            raise SpecError(
                "no label is declared",
                file="mlproject.toml",
                key=f"data.{name}",
                hint=f'add label = "COLUMN" to [data.{name}]: what predictions are compared with',
            )
        return column(self._data, self._source.label, key=f"data.{name}.label")

    def _are_both(self, labels: tuple[str, ...]) -> bool:
        """Whether these are the positive and the negative label: every prediction may be wrong."""
        return len(labels) <= 2 and text_of(self._asked) in labels

    @property
    def _asked(self) -> Scalar:
        return 1 if self._positive is None else self._positive

    def _two(self, labels: tuple[str, ...]) -> tuple[str, ...]:
        """Negative and positive, also if one of them is not there."""
        positive = text_of(self._asked)
        assert positive is not None
        others = [label for label in labels if label != positive]
        # Without a word of it, 1 is positive: of 0 and 1, and where there is a 1.
        known = self._positive is not None or positive in labels or others == ["0"]
        if len(others) < 2 and known:
            return (others[0] if others else f"not {positive}", positive)
        named = " or ".join(f'"{label}"' for label in labels)
        raise SpecError(
            "which label is positive is not known",
            file="mlproject.toml",
            key="evaluate.positive",
            expected=f"{named}, the labels of {self._data.name}"
            if len(labels) > 1
            else f"{named}, the only label of {self._data.name}, or another one",
            found=f'"{positive}"' + (", the default" if self._positive is None else ""),
        )

    def _coded(self, table: Table, name: str, blame: Blame) -> Coded:
        import polars as pl

        places: dict[str, int] = {}
        parts = []
        for batch in self._batches(table, [name]):
            series = batch.frame[name]
            if series.dtype.is_float():
                series = series.fill_nan(None)
            known = series.drop_nulls().unique()
            codes = []
            for value in known.to_list():
                text = text_of(value)
                codes.append(_MISSING if text is None else places.setdefault(text, len(places)))
            parts.append(
                series.replace_strict(
                    known, pl.Series(codes, dtype=pl.Int32), default=_MISSING, return_dtype=pl.Int32
                )
                .to_numpy()
                .astype(np.int32)
            )
        return Coded(
            codes=np.concatenate(parts) if parts else np.empty(0, np.int32), values=tuple(places)
        )

    def _numbers(self, table: Table, name: str, blame: Blame) -> Numbers:
        return np.asarray(self._floats(table, name, blame), dtype=np.float64)

    def _floats(self, table: Table, name: str, blame: Blame) -> Scores:
        """Numbers of 32 bits stay what they are, everything else is read as one of 64."""
        import polars as pl

        parts = []
        for batch in self._batches(table, [name]):
            values = batch.frame[name]
            single = values.dtype == pl.Float32
            found = values if single else values.cast(pl.Float64, strict=False)
            bad = ~found.is_finite().fill_null(value=False).to_numpy()
            if bad.any():
                row = int(bad.argmax())
                value = values[row]
                if isinstance(value, str) and not value.strip():
                    value = None
                what = "is missing" if value is None else "is not a finite number"
                shown = value is not None and table is self._predictions
                raise blame(
                    f'"{name}" {what}',
                    found=f"row {batch.first + row}"
                    + (f" of {batch.file}" if batch.file else "")
                    + (f": {str(value)[:40]}" if shown else ""),
                )
            parts.append(found.to_numpy())
        return np.concatenate(parts) if parts else np.empty(0)

    def _batches(self, table: Table, columns: Sequence[str]) -> Iterator[Batch]:
        with blamed() if table is self._predictions else contextlib.nullcontext():
            yield from table.batches(columns)

    def _length(self, table: Table) -> int:
        return sum(len(batch.frame) for batch in self._batches(table, table.columns[:1]))

    def _refuse_missing(
        self, missing: NDArray[np.bool_], table: Table, name: str, blame: Blame
    ) -> None:
        if missing.any():
            row = int(missing.argmax()) + 1
            raise blame(
                f'"{name}" is missing',
                found=f"row {row}"
                + (f" and {missing.sum() - 1} more" if missing.sum() > 1 else ""),
            )

    def _refuse_length(self, rows: int) -> None:
        if rows != self.rows:
            raise self._bad_data(
                "the data changed while it was read", expected=f"{self.rows} rows", found=str(rows)
            )

    def _bad_data(
        self,
        message: str,
        expected: str | None = None,
        found: str | None = None,
        hint: str | None = None,
    ) -> DataError:
        file = f"data.{self._data.name}"
        return DataError(message, file=file, expected=expected, found=found, hint=hint)

    def _bad_prediction(
        self,
        message: str,
        expected: str | None = None,
        found: str | None = None,
        hint: str | None = None,
    ) -> ProgramError:
        return ProgramError(message, file=self._place, expected=expected, found=found, hint=hint)
