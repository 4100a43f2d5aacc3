"""Names of all tags in the MLflow store. Values are text.

Tags under `version.`, `host.` (see `tracking.environment`), `algorithm.`, `privacy.` (see the
algorithm's `info`) and `runtime.` are facts for people; the few of them that are read again are
named here.
"""

# Of a run: its lineage, the same in `lineage.json`.
GIT_COMMIT = "git.commit"
GIT_BRANCH = "git.branch"
GIT_DIRTY = "git.dirty"
GIT_NOTE = "git.note"
"""Why there is no commit."""
GIT_PATCH = "git.patch"
DVC_DATA_MD5 = "dvc.data_md5"
DVC_DATA_IN_LOCK = "dvc.data_in_lock"
DVC_EXPERIMENT = "dvc.experiment"
PREFECT_FLOW_RUN_ID = "prefect.flow_run_id"
PREFECT_FLOW_RUN_NAME = "prefect.flow_run_name"
PREFECT_URL = "prefect.url"
POPULATION = "data.population"
PLAN_SHA256 = "fedpipe.plan_sha256"
INITIAL_FROM = "initial.from"
"""Where the weights of `model.initial` were brought from."""
INITIAL_SHA256 = "initial.sha256"

# Of a run: what became of it.
RUN_KEY = "fedpipe.run_key"
BIT_EXACT = "fedpipe.bit_exact"
STATUS_REASON = "fedpipe.status_reason"
STOPPED_EARLY = "fedpipe.stopped_early"
INCOMPLETE = "fedpipe.incomplete"
"""Parts that the run lacks, one per line."""
WARNINGS = "fedpipe.warnings"
NOT_REGISTERED = "fedpipe.not_registered"
BEST_ROUND = "weights.best_round"
BEST_SHA256 = "weights.best_sha256"
LAST_ROUND = "weights.last_round"
LAST_SHA256 = "weights.last_sha256"
ALGORITHM_GROUPS = "algorithm.groups"
ALGORITHM_DRAWS = "algorithm.draws"
PRIVACY_MECHANISM = "privacy.mechanism"
PRIVACY_EPSILON = "privacy.epsilon"
PRIVACY_DELTA = "privacy.delta"
PRIVACY_RELEASED = "privacy.released"
"""JSON list of the mechanisms that were run."""

# Of a sweep's run, and of its trials.
PARENT = "mlflow.parentRunId"
SWEEP = "fedpipe.sweep"
SWEEP_SPACE = "fedpipe.sweep_space"
SWEEP_BEST = "fedpipe.sweep_best"
TRIAL_NUMBER = "fedpipe.sweep_child"
TRIAL_STATE = "fedpipe.sweep_state"
TRIAL_REASON = "fedpipe.sweep_reason"
TRIAL_ABSENT = "fedpipe.sweep_absent"
"""JSON list of the searched settings that do not apply to the trial."""

# Of a study's runs.
STUDY = "fedpipe.study"
STUDY_ARM = "fedpipe.study_arm"
STUDY_CONDITION = "fedpipe.study_condition"
STUDY_SEED = "fedpipe.study_seed"
STUDY_METRIC = "fedpipe.study_metric"
STUDY_SEEDS = "fedpipe.study_seeds"
STUDY_CONDITIONS = "fedpipe.study_conditions"

# Of a logged model.
MODEL_WEIGHTS_SHA256 = "weights_sha256"
MODEL_ROUND = "round"
MODEL_ARCHITECTURE = "architecture"

# Of a registered version, beside those of its run's lineage.
VERSION_WEIGHTS_SHA256 = "fedpipe.weights_sha256"
VERSION_ROUND = "fedpipe.round"
VERSION_MODEL_ID = "fedpipe.model_id"
VERSION_METRIC_PREFIX = "metric."
DECISION = "fedpipe.decision"
"""Alias that the version got when it was registered, and why."""
REPLACED_BY = "fedpipe.replaced_by"
RETRAIN_OF = "fedpipe.retrain_of"
FORGOTTEN_CLIENTS = "fedpipe.forgotten_clients"
"""JSON list of the clients that the version trained on and that were forgotten since."""
FORGOTTEN_REASON = "fedpipe.forgotten_reason"

# Of an experiment.
CHECKED = "fedpipe.checked"
"""When `fedpipe doctor` last wrote to the experiment, in seconds since 1970."""

VERSION_LINEAGE_PREFIXES = (
    "git.",
    "dvc.",
    "prefect.",
    POPULATION,
    PLAN_SHA256,
    BIT_EXACT,
    RETRAIN_OF,
    INITIAL_FROM,
    INITIAL_SHA256,
)
"""Beginnings of a run's tags that its registered version has, too."""
