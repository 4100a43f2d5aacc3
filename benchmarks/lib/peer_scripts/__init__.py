"""Other projects' simulators on the same work, one program each, run by the interpreter of that project's own venv."""
