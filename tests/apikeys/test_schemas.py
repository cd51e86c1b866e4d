import pytest
from pydantic import ValidationError

from apikeys.schemas import IssuedKey, KeyRequest

pytestmark = pytest.mark.pure

KEY = "kp_sk_live_a1B2c3D4_0123456789abcdefghijKLMNOPqrstuv"  # a key's shape; nobody ever issued it


@pytest.mark.parametrize("schema", [KeyRequest, IssuedKey])
def test_error_does_not_repeat_what_may_be_a_key(schema: type[KeyRequest | IssuedKey]) -> None:
    with pytest.raises(ValidationError) as refusal:
        schema.model_validate({"key": [KEY], "name": [KEY], "scope": KEY})
    assert KEY not in str(refusal.value)
