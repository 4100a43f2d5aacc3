"""Starts flows in this process: training, sweep, served deployment, and the check of Prefect.

Importing this package imports fedpipe's own package `flows`. The project's folder may stand first
on `sys.path`, under `python -m` and in the processes of Prefect, and may have a folder `flows` too.
"""

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path

from fedpipe.errors import ConfigError

_INSTALLED = Path(__file__).parents[2]


def _import_flows() -> None:
    """Import the package `flows` that is installed beside this package.

    Raises:
        ConfigError: a module of the user's is already imported under this name.
    """
    imported = sys.modules.get("flows")
    if imported is not None:
        file = getattr(imported, "__file__", None)
        if file is None or not Path(file).is_relative_to(_INSTALLED):
            raise ConfigError(
                f"the name flows is taken by fedpipe's own package, but {file or 'another module'} "
                "is imported under it. Rename your folder, for example to my_flows."
            )
        return
    spec = PathFinder.find_spec("flows", [str(_INSTALLED)])
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"no package flows in {_INSTALLED}", name="flows")
    module = module_from_spec(spec)
    sys.modules["flows"] = module
    spec.loader.exec_module(module)


_import_flows()
