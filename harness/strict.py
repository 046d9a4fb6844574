"""The base of every typed record: frozen, without guesses, and without unknown keys."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]


Positive = Annotated[int, Field(gt=0)]


class Strict(BaseModel):
    """A frozen model that refuses unknown keys and does not guess types ("2" is not 2)."""

    # A log-probability may be -inf: as JSON's usual null it could not be read again.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, ser_json_inf_nan="constants")
