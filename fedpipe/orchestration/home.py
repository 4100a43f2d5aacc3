"""Where Prefect keeps its own files when the home directory cannot be written: in the project.
Imported before Prefect.
"""

import os
from pathlib import Path

from fedpipe.project.paths import PREFECT_HOME, Project
from fedpipe.system.home import ensure_home


def use_writable_home(project: Project) -> None:
    """Point Prefect at `.fedpipe/prefect` if `~/.prefect` cannot be written and the user has named
    no other place.
    """
    ensure_home(project.private)
    home = Path.home() / ".prefect"
    if "PREFECT_HOME" not in os.environ and not os.access(
        home if home.exists() else home.parent, os.W_OK
    ):
        folder = project.private / PREFECT_HOME
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["PREFECT_HOME"] = str(folder)
