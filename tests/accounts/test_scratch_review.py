import json, re
from typing import Any
import pytest
from django.test import Client
from allauth.mfa.models import Authenticator
from accounts.models import *
from tests.accounts.factored import *
from tests.accounts.passkeys import SoftPasskey, ORIGIN
from tests.accounts.providers import be, through, connected, begin, consent
from tests.accounts.scenes import invited
from tests.cast import *


def test_uv(dana, dana_client, bob, settings):
    settings.KEYPORTAL_URL = ORIGIN
    passkey = SoftPasskey(verifies_user=False)
    add_passkey(dana_client, passkey)
    # mallory = bob with own account and second factor
    bob.user.set_password(PASSWORD); bob.user.save()
    with_app(bob)
    client = Client()
    add = SoftPasskey(); 
    r = give_password(client, bob)
    page = client.get(SECOND_STEP)
    r = client.post(PASSKEY_SIGN_IN, {"credential": passkey.get(options_of(page))})
    print(r.status_code, client.session.get("_auth_user_id"), dana.user.pk)
    assert not is_signed_in(client)


@pytest.mark.parametrize("flow", ["\x00", "a\x00b", "x" * 64, "ß" * 40])
def test_flow(db, flow):
    c = Client(raise_request_exception=False)
    r = c.post("/v1/auth/token/second-factor", json.dumps({"flow": flow, "code": "123456"}), content_type="application/json")
    print(r.status_code, r.content)
    assert r.status_code < 500


@pytest.mark.parametrize("body", [{"email": "a\x00@x.de", "password": "x"}, {"email": "a@x.de", "password": "x\x00"}, {"email": "ß@x.de", "password": "p" * 128}])
def test_cred(db, body):
    c = Client(raise_request_exception=False)
    r = c.post("/v1/auth/token", json.dumps(body), content_type="application/json")
    print(r.status_code, r.content)
    assert r.status_code < 500

@pytest.mark.parametrize("path", ["/account/password/reset/key/zzzz-abc/", "/account/password/reset/key/" + "z"*300 + "-abc/", "/account/password/reset/key/a-%00/", "/unsubscribe/%00/", "/unsubscribe/a:b:c/", "/setup/%C3%9F%00/", "/invitations/%00%C3%9F/", "/account/email/confirm/%00/", "/oidc/x/login/callback/?state=%00", "/account/sign-in/?next=%00", "/demo/outbox/?page=%00"])
def test_paths(alice_client, path):
    for c in (Client(raise_request_exception=False), alice_client):
        c.raise_request_exception = False
        for q in (c.get(path), c.post(path, {"email": "\x00", "login": "a\x00"})):
            print(path, q.status_code)
            assert q.status_code < 500

@pytest.mark.parametrize("way", ["acme", "google", "github"])
def test_long_uid(alice, alice_client, world, way):
    alice_client.raise_request_exception = False
    be(world, way, "9" * 300)
    r = through(alice_client, way, process="connect")
    print(r.status_code)
    c = Client(raise_request_exception=False)
    r2 = through(c, way)
    print(r2.status_code)
    assert r.status_code < 500 or r.status_code == 503
    assert r2.status_code < 500 or r2.status_code == 503
