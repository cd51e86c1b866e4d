import pytest

from bench.statements import counted

pytestmark = pytest.mark.pure

READ = 'SELECT "apikeys_apikey"."id" FROM "apikeys_apikey" WHERE "apikeys_apikey"."prefix" = $1'


def test_statements_are_told_apart_by_their_connection() -> None:
    found = counted(
        [
            f"@11 portal_1 LOG:  execute _pg3_0: {READ}",
            "@11 portal_1 DETAIL:  parameters: $1 = 'a1B2c3D4'",
            f"@11 portal_1 LOG:  statement: {READ}",
            "@12 portal_1 LOG:  statement: BEGIN",
            "@12 portal_1 LOG:  execute <unnamed>: INSERT INTO audit_keyuse",
            "\tVALUES (1)",
            "@12 portal_1 LOG:  statement: COMMIT",
        ]
    )
    assert found.of_requests == {"SELECT": 2}
    assert found.of_others == {"BEGIN": 1, "INSERT": 1, "COMMIT": 1}


def test_whatever_a_serving_connection_does_besides_counts_as_a_query() -> None:
    found = counted([f"@11 portal_1 LOG:  statement: {READ}", "@11 portal_1 LOG:  statement: SELECT 1"])
    assert found.of_requests == {"SELECT": 2}


def test_what_the_benchmark_itself_asks_for_does_not_count() -> None:
    found = counted(["@13 postgres LOG:  statement: ALTER SYSTEM RESET log_statement"])
    assert found.of_requests == found.of_others == {}
