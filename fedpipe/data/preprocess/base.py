"""Base of the fitted steps."""

from pydantic import BaseModel, ConfigDict

from fedpipe.data.preprocess.examples import Examples


class FittedStep(BaseModel):
    """A step with its figures."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    def apply(self, examples: Examples) -> Examples:
        """Return the examples after this step. Raises DataError where they do not fit it."""
        raise NotImplementedError

    def lines(self) -> list[str]:
        """Return what was fitted, in words, a line for each subject."""
        raise NotImplementedError
