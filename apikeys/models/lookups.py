"""One lookup: a foreign key among rows that a query finds, so that PostgreSQL uses its index also beside an "or"."""

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import ForeignKey
from django.db.models.fields.related_lookups import RelatedIn


@ForeignKey.register_lookup
class Among(RelatedIn):
    """Like `in` with a query, which PostgreSQL runs first: as a subquery beside an "or" it would look at every row."""

    lookup_name = "among"

    def get_rhs_op(self, connection: BaseDatabaseWrapper, rhs: str) -> Any:
        if connection.vendor == "postgresql":
            return f"= ANY(ARRAY{rhs})"
        return super().get_rhs_op(connection, rhs)
