import time
from datetime import timedelta
from django.db import connection, transaction
from uuid_utils.compat import uuid7
from apikeys.actions import BulkAction, end_keys, preview_bulk
from apikeys.filters import KeyFilter
from apikeys.models import ApiKey
from apikeys.selecting import examples
from audit.context import audit_context
from tests.cast import NOON
import pytest
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("action", ["disable", "revoke"])
def test_measure(transactional_db, issue, bob, dana, project, action):
    first = issue(dana, project).row
    rows=[]
    for n in range(9999):
        row = ApiKey.objects.get(pk=first.pk) if n == 0 else row
        new = ApiKey(**{f.attname: getattr(row, f.attname) for f in ApiKey._meta.fields if f.attname not in {"id","prefix","label"}})
        new.id=uuid7(); new.prefix=f"{n:08d}"; new.label=f"kp_sk_live_{n:08d}"
        rows.append(new)
    ApiKey.objects.bulk_create(rows, batch_size=200)
    asked = KeyFilter(issuer_email="dana@example.com")
    for run in range(1):
        t=time.perf_counter(); sel=preview_bulk(principal=bob.principal, asked=asked, at=NOON); p=time.perf_counter()-t
        t=time.perf_counter(); examples(bob.principal, asked, at=NOON); e=time.perf_counter()-t
        c=time.process_time(); t=time.perf_counter()
        n=end_keys(principal=bob.principal, asked=asked, action=BulkAction(action), expected=sel.digest, reason="x", at=NOON)
        print("\nMEASURE", connection.vendor, action, n, f"preview {p:.2f}s examples {e:.2f}s end {time.perf_counter()-t:.2f}s cpu {time.process_time()-c:.2f}s")
