"""The example of docs/sources.md is run as it stands there."""

import re
from pathlib import Path

from fedpipe.config import load_config
from fedpipe.data.population import Population
from fedpipe.data.prepare import prepare_shards

ROOT = Path(__file__).parents[2]


def test_the_worked_source_makes_shards(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")
    blocks = [
        block
        for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        if block.startswith("# sensors.py")
    ]
    assert len(blocks) == 1
    (tmp_path / "sensors.py").write_text(blocks[0])
    (command,) = re.findall(r"uv run fedpipe run (-S data\.source=sensors:readings.*)", text)
    config = load_config(ROOT / "params.yaml", command.replace("-S ", "").split())
    manifest = prepare_shards(config.data, tmp_path / "shards", tmp_path)
    population = Population.open(tmp_path / "shards")
    assert population.client_ids() == tuple(f"sensor{number}" for number in range(10))
    assert (manifest.feature_shape, manifest.feature_dtype, manifest.num_classes) == (
        (3,),
        "float32",
        2,
    )
    x = population.examples("sensor3")
    assert (x.y == (x.x.sum(axis=1) > 0)).all()
