"""Finds runs and registered model versions in a store by their names."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedpipe.errors import TrackingError, did_you_mean, shorten
from fedpipe.tracking.store import Store
from fedpipe.tracking.tags import (
    MODEL_ROUND,
    MODEL_WEIGHTS_SHA256,
    VERSION_MODEL_ID,
    VERSION_ROUND,
    VERSION_WEIGHTS_SHA256,
)

if TYPE_CHECKING:
    from mlflow.entities import Run

_PAGE = 1000
_SHORTEST_PREFIX = 4
"""Characters of a run id that may stand for the whole of it."""


@dataclass(frozen=True)
class ModelVersion:
    """A registered version of a model.

    Attributes:
        name: of the registered model.
        version: its number.
        run_id: the run that trained it; empty if that is not known.
        aliases: such as `champion`.
        tags: of the version.
    """

    name: str
    version: str
    run_id: str
    aliases: tuple[str, ...]
    tags: dict[str, str]

    @property
    def label(self) -> str:
        """Return `NAME/VERSION`, with its aliases."""
        return f"{self.name}/{self.version}" + "".join(f" @{alias}" for alias in self.aliases)


def find_run(store: Store, name: str) -> "Run":
    """Return a run.

    Args:
        store: an open store.
        name: a run id or its beginning, a run's name (the newest run of this name), `MODEL@ALIAS`
            or `MODEL/VERSION`.

    Raises:
        TrackingError: there is none, or the model's version does not name the run that trained it.
    """
    with store.guard(f"find {name}"):
        version = version_named(store, name)
        if version is not None:
            if not version.run_id:
                raise TrackingError(
                    f"{version.label}: expected a version that names its run, found none. Name "
                    "the run itself."
                )
            return store.client.get_run(version.run_id)
        run = _or_none(lambda: store.client.get_run(name))
        if run is not None:
            return run  # type: ignore[no-any-return]
        if "'" not in name:
            named = store.client.search_runs(
                experiment_ids(store),
                f"attributes.run_name = '{name}'",
                max_results=1,
                order_by=["attributes.start_time DESC"],
            )
            if named:
                return named[0]
        newest = store.client.search_runs(
            experiment_ids(store), max_results=_PAGE, order_by=["attributes.start_time DESC"]
        )
    return _run_with_prefix(store, name, newest)


def _run_with_prefix(store: Store, prefix: str, newest: "Sequence[Run]") -> "Run":
    """Return the run whose id begins with `prefix`.

    Raises:
        TrackingError: none does, or more than one; names similar ones.
    """
    matches = []
    if len(prefix) >= _SHORTEST_PREFIX:
        matches = [run for run in newest if run.info.run_id.startswith(prefix)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        runs = shorten([f"{run.info.run_id[:12]} ({run.info.run_name})" for run in matches], 5)
        raise TrackingError(
            f"{store.label}: more than one run id begins with '{prefix}': {runs}. Type more of "
            "it, or the name."
        )
    if "@" in prefix or "/" in prefix:
        kind = "The registered models are"
        names = []
        for version in model_versions(store):
            names.append(f"{version.name}/{version.version}")
            names += [f"{version.name}@{alias}" for alias in version.aliases]
    else:
        kind = "The newest runs are"
        names = [str(run.info.run_name) for run in newest]
    known = f"{kind}: {shorten(dict.fromkeys(names), 3)}." if names else "There is none yet."
    hint = did_you_mean(prefix, names)
    raise TrackingError(
        f"{store.label}: no run or model is called '{prefix}'. "
        f"{hint + ' ' if hint else ''}{known} Name a run by its id or name, or a model as "
        "MODEL@ALIAS or MODEL/VERSION; MLFLOW_TRACKING_URI names another store."
    )


def model_versions(store: Store) -> list[ModelVersion]:
    """Return all registered versions, by name and number."""
    with store.guard("list the registered models"):
        aliases: dict[tuple[str, str], list[str]] = {}
        for model in pages(
            lambda token: store.client.search_registered_models(max_results=_PAGE, page_token=token)
        ):
            for alias, number in model.aliases.items():
                aliases.setdefault((model.name, str(number)), []).append(alias)
        entities = pages(
            lambda token: store.client.search_model_versions(max_results=_PAGE, page_token=token)
        )
        versions = [
            _version(store, entity, aliases.get((entity.name, str(entity.version)), ()))
            for entity in entities
        ]
    return sorted(versions, key=lambda version: (version.name, int(version.version)))


def _version(store: Store, entity: Any, aliases: Iterable[str]) -> ModelVersion:
    """Return MLflow's entity of a version as one of ours."""
    return ModelVersion(
        name=entity.name,
        version=str(entity.version),
        run_id=_run_of(store, entity),
        aliases=tuple(sorted(aliases)),
        tags=dict(entity.tags),
    )


def experiment_ids(store: Store) -> list[str]:
    """Return the ids of all experiments, deleted ones too: their models may be in use."""
    from mlflow.entities import ViewType

    listed = pages(
        lambda token: store.client.search_experiments(
            ViewType.ALL, max_results=_PAGE, page_token=token
        )
    )
    return [experiment.experiment_id for experiment in listed]


def runs_of_population(store: Store, population: str) -> "list[Run]":
    """Return all runs on the clients of a population (tag `data.population`), deleted ones too.
    Raises TrackingError.
    """
    from mlflow.entities import ViewType

    with store.guard("find the runs of a population"):
        experiments = experiment_ids(store)
        where = f"tags.`data.population` = '{population}'"
        return list(
            pages(
                lambda token: store.client.search_runs(
                    experiments, where, ViewType.ALL, max_results=_PAGE, page_token=token
                )
            )
        )


def pages(ask: Callable[[str | None], Any]) -> Iterator[Any]:
    """Yield the items of all pages of an answer."""
    token: str | None = None
    while True:
        page = ask(token)
        yield from page
        token = page.token
        if not token:
            return


def version_named(store: Store, name: str) -> ModelVersion | None:
    """Return the version called `MODEL@ALIAS` or `MODEL/VERSION`; None if there is none, or `name`
    has another form.
    """
    model, at, alias = name.partition("@")
    if at:
        entity = _or_none(lambda: store.client.get_model_version_by_alias(model, alias))
        return entity and _version(store, entity, (alias,))
    model, slash, number = name.rpartition("/")
    if not (slash and number.isdigit()):
        return None
    entity = _or_none(lambda: store.client.get_model_version(model, number))
    return entity and _version(store, entity, ())


def weights_of(store: Store, version: ModelVersion) -> tuple[str | None, int | None]:
    """Return the SHA-256 of a version's weights and their round; None where neither the version nor
    its logged model has the tag.
    """
    sha256 = version.tags.get(VERSION_WEIGHTS_SHA256)
    round_num = version.tags.get(VERSION_ROUND)
    model_id = version.tags.get(VERSION_MODEL_ID)
    if sha256 is None and model_id:
        with store.guard(f"find the model of {version.label}"):
            logged = _or_none(lambda: store.client.get_logged_model(model_id))
        tags = {} if logged is None else logged.tags
        sha256 = tags.get(MODEL_WEIGHTS_SHA256)
        round_num = tags.get(MODEL_ROUND)
    return sha256, int(round_num) if round_num else None


def _run_of(store: Store, version: Any) -> str:
    """Return the run that a version names, itself or through its logged model; empty if none."""
    if version.run_id:
        return str(version.run_id)
    model_id = getattr(version, "model_id", None)
    logged = _or_none(lambda: store.client.get_logged_model(model_id)) if model_id else None
    if logged is not None:
        return str(logged.source_run_id or "")
    return ""


def _or_none(ask: Callable[[], Any]) -> Any:
    """Return the answer of the store; None if it does not exist there."""
    from mlflow.exceptions import MlflowException

    try:
        return ask()
    except MlflowException as err:
        if err.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
