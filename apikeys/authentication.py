"""From a request to the one credential it carries: step 1 of the table in the architecture."""

from django.core.exceptions import SuspiciousOperation
from django.db import Error
from django.http import HttpRequest, QueryDict
from django.utils.encoding import escape_uri_path
from django.utils.http import escape_leading_slashes

from apikeys import foreign, keyformat, shapes
from keyportal.http import Problem


def presented_key(request: HttpRequest) -> str:
    """Return the text after `Bearer` (RFC 6750 §2.1): the scheme in any case, white space around the value cut off.

    Keys that were imported come under the scheme of the package that they are from, too.

    :raises Problem: `missing_credentials` if there is none, `invalid_request` if there are several;
        `verification_unavailable` if nobody can tell what was imported.
    """
    header = str(request.META.get("HTTP_AUTHORIZATION", "")).strip(" \t")
    # Two headers arrive joined by a comma, which occurs in no key, but between the parameters of other schemes.
    schemes = [part.split()[0].lower() for part in header.split(",") if part.strip()]
    if "bearer" not in schemes and not _is_imported_scheme(schemes):
        raise Problem("missing_credentials")
    if "," in header:
        raise Problem("invalid_request", "More than one credential was sent. Send exactly one Authorization header.")
    _, _, value = header.replace("\t", " ").partition(" ")
    return value.strip(" ")


def _is_imported_scheme(schemes: list[str]) -> bool:
    try:
        return foreign.may_come_under(schemes)
    except Error as error:
        raise Problem("verification_unavailable") from error


def path_without_keys(request: HttpRequest) -> str:
    """Return the request's address with each key in its query cut down to its label."""
    query = QueryDict(mutable=True)
    for name, values in request.GET.lists():
        query.setlist(_label_of(name), [_label_of(value) for value in values])
    # A path that begins with two slashes would be another host's address.
    return f"{escape_leading_slashes(escape_uri_path(request.path))}?{query.urlencode()}"


def _label_of(text: str) -> str:
    return shapes.mask(text).removesuffix("…")


def keys_in_query(request: HttpRequest) -> list[str]:
    """Return the whole keys in the query string, where they must never be: URLs are logged along the way.

    :raises SuspiciousOperation: if the query cannot be taken apart, and no key was seen in it.
    """
    query = request.META.get("QUERY_STRING", "")
    if not query:
        return []
    try:
        values = [value for values in request.GET.lists() for value in (values[0], *values[1])]
    except SuspiciousOperation:
        # It has too many fields to be taken apart; a key among them is to be found all the same.
        values = []
        if not _keys_in([query]):
            raise
    return _keys_in([query, *values])


def _keys_in(texts: list[str]) -> list[str]:
    found = (key.reveal() for text in texts for key in keyformat.find_keys(text, shapes.accepted()))
    return list(dict.fromkeys(found))
