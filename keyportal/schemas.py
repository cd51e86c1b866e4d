"""What every operation of the API has in common: the problems it may answer with."""

from typing import Any
from uuid import UUID

from ninja import Field, Schema


class FieldProblem(Schema):
    """One field that is not valid."""

    field: str = Field(description="Where it is: a member of the body, a query parameter or a header.")
    message: str


class ProblemBody(Schema):
    """A refusal, as RFC 9457 problem details."""

    type: str = Field(description="A link to what is documented about this code.")
    title: str
    status: int
    detail: str
    instance: str = Field(description="The request's id as a URN.")
    code: str = Field(description="Stable; the list is at the end of the reference.")
    request_id: UUID
    errors: list[FieldProblem] | None = Field(None, description="Only with `invalid_field` and `widening_refused`.")


def answers(success: int, schema: Any, *refusals: int) -> dict[int, Any]:
    """Return the documented answers of an operation: its own, and the refusals that any call may meet."""
    return {success: schema} | dict.fromkeys(sorted({400, 401, 403, 422, 429, 503, *refusals}), ProblemBody)
