# One target for each job; CONTRIBUTING.md says when each is needed.
.PHONY: run test coverage lint types hooks docs slow browser lock ci

run:  # the tutorial's training
	uv run fedpipe run

test:  # what CI runs of the tests
	uv run pytest

coverage:  # of unit tests and doctests, with the lines that no test executes
	uv run pytest tests/unit fedpipe --cov --cov-report=term-missing

lint:  # format, rules, layers, import circles, style counts
	uv run ruff check .
	uv run ruff format --check .
	uv run lint-imports --no-cache
	uv run python -m tools.import_circles
	uv run python -m tools.style

types:
	uv run mypy

hooks:  # the linters of CI, before each commit
	uvx pre-commit install

docs:  # the site, built into site/
	uv run mkdocs build --strict

slow:  # faults, retries, long trainings
	uv run pytest -m slow -n 0

browser:  # needs Debian's chromium
	uv run --group pictures pytest -m browser -n 0

lock:  # after a change of code that the stage prepare depends on
	uv run dvc repro prepare

ci:  # all that must pass before a change lands
	.ci/run
