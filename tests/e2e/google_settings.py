"""The portal's own settings, but for where Google is: on loopback, as an environment variable says."""

import os

from keyportal.settings import *  # noqa: F403 - every one of them
from keyportal.settings import CONTENT_SECURITY_POLICY, SOCIALACCOUNT_PROVIDERS
from tests.fake_providers import GOOGLE_AUTHORIZE, GOOGLE_TOKEN, GOOGLE_USER

_google = os.environ["TEST_GOOGLE_URL"]
SOCIALACCOUNT_PROVIDERS["google"] |= {
    "AUTHORIZE_URL": _google + GOOGLE_AUTHORIZE,
    "ACCESS_TOKEN_URL": _google + GOOGLE_TOKEN,
    "IDENTITY_URL": _google + GOOGLE_USER,
}
CONTENT_SECURITY_POLICY["DIRECTIVES"]["form-action"].append(_google)
