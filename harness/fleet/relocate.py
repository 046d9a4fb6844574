"""A plan in another folder: hosts write where they have room, the head where reports lie."""

from pathlib import Path
from typing import TypeVar, cast

from harness.plan.plan import Plan
from harness.study.plan import StudyPlan

PlanT = TypeVar("PlanT", bound=Plan | StudyPlan)


def relocate(plan: PlanT, folder: Path) -> PlanT:
    """Return a plan whose run is in another folder: the same servers, asked the same, that write elsewhere.

    What the plan names outside its run's folder (model, data, interpreter, plugin) stays where it is.
    """
    old, new = Path(plan.folder), folder.absolute()

    def moved(text: str) -> str:
        return str(new / Path(text).relative_to(old)) if Path(text).is_relative_to(old) else text

    arms = [
        arm.model_copy(
            update={
                "engagement": moved(arm.engagement),
                "env": {name: moved(value) for name, value in arm.env.items()},
            }
        )
        for arm in plan.arms
    ]
    return cast("PlanT", plan.model_copy(update={"folder": str(new), "arms": arms}))
