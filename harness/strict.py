"""The base of every typed record: frozen, without guesses, and without unknown keys."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]


Positive = Annotated[int, Field(gt=0)]


class Strict(BaseModel):
    """A frozen model that refuses unknown keys and does not guess types ("2" is not 2)."""

    # A log-probability may be -inf: as JSON's usual null it could not be read again.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, ser_json_inf_nan="constants")


class Counted(Strict):
    """A record of counts and sums alone, of which two are added field by field."""

    def __add__(self, other: Self) -> Self:
        """Return both together."""
        return self._each(other, 1)

    def __sub__(self, earlier: Self) -> Self:
        """Return what is not among the earlier ones."""
        return self._each(earlier, -1)

    def _each(self, other: Self, sign: int) -> Self:
        return type(self)(**{name: value + sign * getattr(other, name) for name, value in self})
