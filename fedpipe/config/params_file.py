"""Settings as the text of a params file, each section under its purpose."""

from pathlib import Path

import yaml

from fedpipe.config.ignored_settings import ignored_settings, without_ignored
from fedpipe.config.load import read_params
from fedpipe.config.schema import Config
from fedpipe.system.atomic_files import write_atomic


def as_params(config: Config, head: str) -> str:
    """Return the params file that parses to `config`, in the order of the schema.

    Args:
        config: the settings.
        head: what stands first, as comment lines.
    """
    parts = ["".join(f"# {line}\n" for line in head.splitlines())]
    for name, field in Config.model_fields.items():
        value = config.model_dump(mode="json")[name]
        if isinstance(value, dict):
            parts.append(f"\n# {field.description}\n")
        parts.append(
            yaml.dump({name: value}, Dumper=_EmptyNone, sort_keys=False, allow_unicode=True)
        )
    return "".join(parts)


def leave_out_ignored(path: Path) -> None:
    """Rewrite a params file of a run or a commit of before, if it has settings that its choices do
    not read: this version of fedpipe refuses them, and those of before do without them.
    """
    values = read_params(path)
    if any(ignored_settings(values)):
        write_atomic(path, yaml.safe_dump(without_ignored(values), sort_keys=False))


class _EmptyNone(yaml.SafeDumper):
    """Writes None as nothing, as DVC does when it sets a value in a params file; else it would
    change all those lines.
    """


_EmptyNone.add_representer(
    type(None), lambda dumper, _: dumper.represent_scalar("tag:yaml.org,2002:null", "")
)
