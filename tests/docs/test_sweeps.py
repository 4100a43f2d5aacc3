"""The sweep in docs/sweeps.md is one; its table names every key and its default."""

import re
from pathlib import Path

from fedpipe.config.sweep import PruningConfig, SweepConfig, load_sweep
from fedpipe.config.sweep_trials import check_space, read_base

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "sweeps.md").read_text(encoding="utf-8")


def test_the_example_is_a_sweep(tmp_path: Path) -> None:
    example = re.search(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    assert example is not None
    (tmp_path / "rates.yaml").write_text(example[1])
    sweep = load_sweep(tmp_path / "rates.yaml")
    assert (sweep.name, sweep.trials, len(sweep.space)) == ("rates", 20, 3)
    check_space(sweep, read_base(sweep, ROOT / sweep.params, "rates.yaml"))


def test_the_example_of_conditions_is_a_sweep_for_every_search(tmp_path: Path) -> None:
    examples = re.findall(r"```yaml\n(space:\n.*?)```", TEXT, re.DOTALL)
    assert len(examples) == 1
    for head in ("search: tpe\ntrials: 9\n", "search: random\ntrials: 9\n"):
        (tmp_path / "some.yaml").write_text(
            f"{head}overrides: [data.validation_fraction=0.2]\n{examples[0]}"
        )
        sweep = load_sweep(tmp_path / "some.yaml")
        check_space(sweep, read_base(sweep, ROOT / sweep.params, "some.yaml"))


def test_the_table_has_every_key_with_its_default() -> None:
    rows = dict(re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (.*?) \|", TEXT, re.MULTILINE))
    named = [name for names in rows for name in re.findall(r"\w+", names)]
    assert set(SweepConfig.model_fields) <= set(named)
    assert rows["`cores_per_child`"] == f"`{SweepConfig.model_fields['cores_per_child'].default}`"
    assert (
        rows["`memory_per_child_mb`"]
        == f"`{SweepConfig.model_fields['memory_per_child_mb'].default}`"
    )
    for name, field in PruningConfig.model_fields.items():
        assert re.search(rf"`{name}`[^()]*\({field.default}\)", TEXT), name
