"""A recorded run as a Python object: its settings, figures, weights and model."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fedpipe.errors import ConfigError, FedpipeError, TrackingError
from fedpipe.project.paths import Project
from fedpipe.runs.files import RunFiles, folder_of_run
from fedpipe.status import MlflowStatus

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run as MlflowRun

    from fedpipe.api.report_file import ReportFile
    from fedpipe.inference.trained_model import TrainedModel
    from fedpipe.lineage.reproduce import Reproduction
    from fedpipe.runs.kept_weights import KeptWeights
    from fedpipe.runs.state import RunState
    from fedpipe.tracking.run_list import ListedRun
    from fedpipe.tracking.store import Store
    from fedpipe.types import Weights

Value = TypeVar("Value")


class Run:
    """A recorded run of a project: what `fedpipe.run` and `fedpipe.load_run` return.

    What is read from the store is read once; after `resume` it is read again.
    """

    def __init__(self, project: Project, run_id: str, state: "RunState | None" = None) -> None:
        """Name a run by its MLflow id; nothing is read yet.

        `state`: of a run of this machine that was interrupted before it had an id, which is then
        empty; it can be resumed, and nothing else.
        """
        self._project = project
        self._known_id = run_id
        self._without_id = state

    @property
    def id(self) -> str:
        """Return the MLflow run id. Raises ConfigError if the run was interrupted before it had
        one.
        """
        if not self._known_id and self._without_id is not None:
            raise ConfigError(
                f"run {self._without_id.name}: it was interrupted before it was recorded. Finish "
                "it with resume()."
            )
        return self._known_id

    @property
    def name(self) -> str:
        """Return the run's name; other runs may have the same."""
        return self._listed.name

    @property
    def status(self) -> str:
        """Return `finished`, `running`, `failed` or `killed`."""
        return self._listed.status

    @property
    def folder(self) -> Path | None:
        """Return the folder of the run's files on this machine, None if it ran elsewhere."""
        return folder_of_run(self._project, self.id)

    @property
    def url(self) -> str:
        """Return the address of the run's page in MLflow."""
        from fedpipe.tracking.store import run_url

        return run_url(self._store, self._entity.info.experiment_id, self.id)

    @cached_property
    def params(self) -> dict[str, Any]:
        """Return the settings that the run used, by dotted key."""
        from fedpipe.config.load import parse_recorded, read_params
        from fedpipe.config.schema import expand_options, flatten
        from fedpipe.runs.lineage import LINEAGE, PARAMS_NAME

        def read(path: Path) -> dict[str, Any]:
            return expand_options(flatten(parse_recorded(read_params(path), str(path))))

        return self._read(f"{LINEAGE}/{PARAMS_NAME}", read, "its settings")

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Return the summary that `fedpipe run --json` prints; of a run of another machine what the
        store has of it.

        Raises:
            ConfigError: the run is not finished.
        """
        if self.status != MlflowStatus.FINISHED.lower():
            raise ConfigError(
                f"run {self.name}: expected a run that finished, found it {self.status}. Finish "
                "it with resume()."
            )
        state = self._state
        if state is not None and state.values.get("summary"):
            return dict(state.values["summary"])
        from fedpipe.tracking.stored_summary import stored_summary

        return stored_summary(self._store, self._entity)

    @cached_property
    def metrics(self) -> "pd.DataFrame":
        """Return the metrics of each round: a row per round from 0 (the index `round`), a column
        per metric such as `test/accuracy`; NaN where a round has none.
        """
        import pandas as pd

        from fedpipe.tracking.rounds import rounds_of

        frame = pd.DataFrame(rounds_of(self._store, self._entity))
        if frame.empty:
            return pd.DataFrame(index=pd.Index([], name="round", dtype="int64"))
        frame["round"] = frame["round"].astype("int64")
        frame = frame.set_index("round").sort_index()
        return frame[sorted(frame.columns)]

    @cached_property
    def clients(self) -> "pd.DataFrame":
        """Return the evaluated clients: a row per client (the index `client_id`), with `held_out`
        and the figures on its own test examples.
        """
        import pandas as pd

        def read(path: Path) -> pd.DataFrame:
            return pd.read_parquet(path).set_index("client_id")

        return self._read("tables/clients.parquet", read, "figures of clients (eval.federated)")

    @cached_property
    def cohorts(self) -> dict[int, tuple[str, ...]]:
        """Return the clients of each round from 1 on, sorted: those that worked, also those whose
        report was lost. A round that was skipped has none.
        """
        from fedpipe.runs.lineage import LINEAGE
        from fedpipe.tracking.participation import CLIENTS_NAME, FAILED, REPORTED, read_clients

        rows = self._read(f"{LINEAGE}/{CLIENTS_NAME}", read_clients, "its clients")
        cohorts: dict[int, list[str]] = {number: [] for number in self.metrics.index if number}
        for row in rows:
            if row.status in (REPORTED, FAILED):
                cohorts.setdefault(row.round_num, []).append(row.client_id)
        return {number: tuple(sorted(clients)) for number, clients in sorted(cohorts.items())}

    @property
    def best_round(self) -> int:
        """Return the best round: of the metric that chooses on the validation examples or, as a
        record only, on the test set.
        """
        with self._kept_weights() as weights:
            return weights.round_of("best")

    @property
    def kept_rounds(self) -> list[int]:
        """Return the rounds whose weights are kept."""
        with self._kept_weights() as weights:
            return weights.rounds

    def weights(self, which: str | int = "final") -> "Weights":
        """Return weights as float32 arrays by tensor name.

        Args:
            which: `final`, `best`, `initial`, or the number of a round whose weights are kept.

        Raises:
            ModelError: they are not kept; the message says which are.
        """
        with self._kept_weights() as weights:
            return weights.load(which)

    def model(self) -> "TrainedModel":
        """Return the run's model, to be called on arrays and frames.

        Raises:
            TrackingError: the run has no model.
        """
        from fedpipe.inference.trained_model import TrainedModel

        return TrainedModel.load(self._project, self.id)

    def report(self, *others: "Run | str", out: Path | str | None = None) -> "ReportFile":
        """Write the HTML report of the run, or of several side by side, and return the file; a
        notebook shows it.

        Args:
            others: more runs, or their ids or names.
            out: the file. None: `outputs/reports/report-ID.html` in the project.
        """
        from fedpipe.api.report_file import ReportFile
        from fedpipe.report.write import report

        names = [self.id]
        for run in others:
            names.append(run.id if isinstance(run, Run) else run)
        place = None
        if out is not None:
            place = Path(out).resolve()
        return ReportFile(report(self._project, names, place).path)

    def resume(self, quiet: bool = False) -> "Run":
        """Continue the run if it was interrupted, or make the parts that it lacks; return it.

        Raises:
            ConfigError: it is not on this machine, still running, or its settings have changed.
            FedpipeError: a step failed.
        """
        from fedpipe.api.in_process import call_to_the_end, resume
        from fedpipe.pipeline.find_run import find_interrupted
        from fedpipe.pipeline.record_again import record_again

        pending = self._without_id
        state = find_interrupted(self._project, pending.folder.name if pending else self.id)
        if state is not None and state.finished and state.incomplete:
            call_to_the_end(self._project, lambda *_: record_again(self._project, state), quiet)
        elif state is not None and not state.finished:
            self._known_id = resume(self._project, state, quiet)
        self._forget()
        return self

    def reproduce(self, say: Callable[[str], None] = print) -> "Reproduction":
        """Train the run again from its commit, data and settings, and compare the weights of every
        round; nothing of the new run is kept.

        Args:
            say: takes a line when a part begins.

        Raises:
            ConfigError: the run did not finish, or has no commit.
            DataError: its data cannot be had again.
            RoundError: the new run failed.
        """
        from fedpipe.lineage.reproduce import reproduce

        return reproduce(self._project, self.id, say)

    def __repr__(self) -> str:
        """Return name, status, rounds and the metric that chooses."""
        try:
            listed = self._listed
        except FedpipeError as err:
            return f"Run({err})"
        return f"Run({', '.join(_facts(listed))})"

    def _repr_html_(self) -> str:
        """Return the run's key figures and curves for a notebook."""
        from fedpipe.api.run_html import run_html

        return run_html(self._listed, self.url, self.metrics)

    @cached_property
    def _store(self) -> "Store":
        from fedpipe.tracking.store import read_store

        return read_store(self._project.root)

    @cached_property
    def _entity(self) -> "MlflowRun":
        from fedpipe.tracking.lookup import find_run

        return find_run(self._store, self.id)

    @cached_property
    def _listed(self) -> "ListedRun":
        from fedpipe.tracking.run_list import listed

        return listed(self._entity)

    @property
    def _state(self) -> "RunState | None":
        from fedpipe.runs.state import read_state

        if self.folder is None:
            return None
        return read_state(self.folder)

    def _forget(self) -> None:
        """Read all again when it is asked for."""
        for name in ("_entity", "_listed", "params", "summary", "metrics", "clients", "cohorts"):
            self.__dict__.pop(name, None)

    @contextmanager
    def _files(self) -> Iterator[RunFiles]:
        with tempfile.TemporaryDirectory(prefix="fedpipe-run-") as scratch:
            yield RunFiles(self._store, self._entity, self.folder, Path(scratch))

    @contextmanager
    def _kept_weights(self) -> "Iterator[KeptWeights]":
        from fedpipe.runs.kept_weights import KeptWeights

        with self._files() as files:
            yield KeptWeights(f"run {self.name}", files)

    def _read(self, artifact: str, reader: Callable[[Path], Value], what: str) -> Value:
        """Return the content of a file of the run. Raises TrackingError if the run has none."""
        with self._files() as files:
            path = files.find(artifact)
            if path is None:
                raise TrackingError(
                    f"run {self.name}: expected {what} among its files, found no {artifact}; the "
                    f"run is {self.status}."
                )
            return reader(path)


def find_recorded(project: Project, name: str) -> Run:
    """Return a run by its id or name, see `fedpipe.api.python.load_run`; also one of this machine
    that was interrupted before it was recorded, which can be resumed.
    """
    from fedpipe.runs.state import all_states
    from fedpipe.tracking.lookup import find_run
    from fedpipe.tracking.store import read_store

    try:
        return Run(project, find_run(read_store(project.root), name).info.run_id)
    except TrackingError:
        for state in all_states(project):
            if state.is_called(name) and "mlflow_run_id" not in state.values:
                return Run(project, "", state)
        raise


def _facts(run: "ListedRun") -> list[str]:
    facts = [run.name, run.status]
    if run.rounds is not None:
        facts.append(f"{run.rounds} rounds")
    if run.chosen is not None:
        facts.append("{} {:.4f}".format(*run.chosen))
    return facts
