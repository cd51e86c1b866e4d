"""The permissions of the organization as JSON."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from ninja import Field, Router, Schema, Status
from pydantic import AfterValidator, ConfigDict, StringConstraints

from accounts.recent import is_sign_in_recent
from accounts.rights import Right
from apikeys import actions
from apikeys.api.fields import found, invalid
from apikeys.permissions import Catalogue, NotACatalogueEntry, Permission, Role
from apikeys.rules import rules_of
from keyportal import names
from keyportal.http import ApiRequest, Problem
from keyportal.schemas import answers

router = Router(tags=["permissions"])
MOST_PUBLISHED = 100
SENTENCE_RULE = f"Write a sentence of at most {names.MAX_LENGTH} characters, and none that cannot be seen."


def _plain(sentence: str) -> str:
    if broken := names.broken_rule(sentence, SENTENCE_RULE):
        raise ValueError(broken)
    return sentence


Sentence = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=names.MAX_LENGTH), AfterValidator(_plain)
]
LeastRole = Literal["developer", "team_admin", "super_admin"]


class PermissionRequest(Schema):
    """A permission to add."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: Annotated[str, StringConstraints(max_length=100)] = Field(
        description="`resource:action`, in lower-case letters, digits, _ and -."
    )
    sentence: Sentence = Field(description="What it lets a key do.")
    least_role: LeastRole = Field("developer", description="The least role that may grant it.")
    is_published: bool = Field(False, strict=True, description="Whether new publishable keys get it.")


class PermissionChange(Schema):
    """What shall be different about a permission that was added; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    sentence: Sentence | None = None
    least_role: LeastRole | None = None


class PublishedRequest(Schema):
    """What publishable keys get."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    permissions: list[Annotated[str, StringConstraints(max_length=100)]] = Field(max_length=MOST_PUBLISHED)


class PermissionItem(Schema):
    """One permission of the organization."""

    name: str
    sentence: str
    least_role: str = Field(description="The least role that may grant it, and whose keys may do it.")
    is_built_in: bool
    is_published: bool = Field(description="Whether publishable keys get it.")


class PermissionPage(Schema):
    """All permissions of the organization, by what they are about."""

    items: list[PermissionItem]


@router.get(
    "/permissions",
    response=answers(200, PermissionPage, 404),
    operation_id="list_permissions",
    summary="List permissions",
)
def list_permissions(request: ApiRequest) -> dict[str, Any]:
    """Return the permissions that there are in the caller's organization. Any good key or person may ask."""
    return _page(rules_of(request.principal.organization_id).catalogue)


@router.post(
    "/permissions",
    response=answers(201, PermissionItem, 404),
    operation_id="add_permission",
    summary="Add a permission",
)
def add_permission(request: ApiRequest, body: PermissionRequest) -> Status[dict[str, Any]]:
    """Add a permission, which keys can be granted at once. Needs `org:write`, and a key of the organization."""
    _require_writer(request)
    entry = Permission(body.name, body.sentence, Role(body.least_role))
    with _saying("name"):
        catalogue = actions.add_permission(principal=request.principal, entry=entry, is_published=body.is_published)
    return Status(201, _item(catalogue, entry))


@router.put(
    "/permissions/publishable",
    response=answers(200, PermissionPage, 404),
    operation_id="publish_permissions",
    summary="Choose what publishable keys get",
)
def publish_permissions(request: ApiRequest, body: PublishedRequest) -> dict[str, Any]:
    """Choose the locked set of publishable keys: new ones get all of it, existing ones keep no more than it.

    Needs `org:write`, and a key of the organization.
    """
    _require_writer(request)
    with _saying("permissions"):
        return _page(actions.publish_permissions(principal=request.principal, names=body.permissions))


@router.patch(
    "/permissions/{name}",
    response=answers(200, PermissionItem, 404),
    operation_id="change_permission",
    summary="Change a permission",
)
def change_permission(request: ApiRequest, name: str, body: PermissionChange) -> dict[str, Any]:
    """Give a permission that was added another sentence or least role. Needs `org:write`, and an organization key."""
    _require_writer(request)
    actions.require_right(request.principal, Right.PERMISSIONS_CHANGE)
    found(rules_of(request.principal.organization_id).catalogue.by_name.get(name), "permission")
    least_role = Role(body.least_role) if body.least_role else None
    with _saying("name"):
        catalogue = actions.change_permission(
            principal=request.principal, name=name, sentence=body.sentence, least_role=least_role
        )
    return _item(catalogue, catalogue.by_name[name])


@router.delete(
    "/permissions/{name}",
    response=answers(204, None, 404),
    operation_id="remove_permission",
    summary="Remove a permission",
)
def remove_permission(request: ApiRequest, name: str) -> Status[None]:
    """Take away a permission that was added: no key can do it any more. Needs `org:write`, and an organization key."""
    _require_writer(request)
    actions.remove_permission(principal=request.principal, name=name)
    return Status(204, None)


@contextmanager
def _saying(field: str) -> Iterator[None]:
    """Say of a field what makes it no entry of the catalogue."""
    try:
        yield
    except NotACatalogueEntry as error:
        raise invalid(field, str(error)) from error


def _require_writer(request: ApiRequest) -> None:
    """Let in who may write; from a session, only after a recent sign-in, as the pages do."""
    request.principal.require("org:write")
    if not request.principal.is_key and not is_sign_in_recent(request):
        raise Problem("recent_sign_in_required")


def _page(catalogue: Catalogue) -> dict[str, Any]:
    return {"items": [_item(catalogue, entry) for entry in catalogue.entries]}


def _item(catalogue: Catalogue, entry: Permission) -> dict[str, Any]:
    return {
        "name": entry.name,
        "sentence": entry.sentence,
        "least_role": entry.least_role.value,
        "is_built_in": entry not in catalogue.added,
        "is_published": entry.name in catalogue.publishable,
    }
