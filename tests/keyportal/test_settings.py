import os
import re
import runpy
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import structlog
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import get_connection
from pytest_django import Settings

from keyportal.environment import MAIL_PROVIDERS
from tests.services import ROOT

pytestmark = pytest.mark.pure

POSTGRESQL = "postgresql://keyportal:swordfish@db.example:5433/portal"


class Installation:
    """The settings as an installation with these variables, and no others, has them."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory, self.monkeypatch = directory, monkeypatch

    def __call__(self, **variables: str) -> dict[str, Any]:
        for name in [*os.environ]:
            if name.startswith("KEYPORTAL_") or name in {
                "DATABASE_URL",
                "SECRET_KEY",
                "HOST",
                "PORT",
                "TRUSTED_PROXIES",
                "LOG_LEVEL",
                "EMAIL_URL",
                "WEB_CONCURRENCY",
                "WEB_THREADS",
            }:
                self.monkeypatch.delenv(name)
        self.monkeypatch.setenv("KEYPORTAL_DATA_DIR", str(self.directory))
        for name, value in variables.items():
            self.monkeypatch.setenv(name, value)
        return runpy.run_path(str(ROOT / "keyportal" / "settings.py"))


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    monkeypatch.setattr(structlog, "configure", lambda **_: None)
    return Installation(tmp_path / "data", monkeypatch)


def test_nothing_has_to_be_set(installation: Installation) -> None:
    found = installation()
    assert found["KEYPORTAL_URL"] == "http://127.0.0.1:8000"
    assert found["DATABASES"]["default"]["NAME"] == str(installation.directory / "keyportal.sqlite3")
    assert found["DATABASES"]["default"]["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert (found["DEBUG"], found["TRUSTED_PROXIES"]) == (False, [])
    secret = installation.directory / "secret_key"
    assert found["SECRET_KEY"] == secret.read_text(encoding="ascii")
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_secret_is_kept_between_starts(installation: Installation) -> None:
    assert installation()["SECRET_KEY"] == installation()["SECRET_KEY"]


def test_secret_that_is_set_is_written_nowhere(installation: Installation) -> None:
    assert installation(SECRET_KEY="chosen")["SECRET_KEY"] == "chosen"
    assert not (installation.directory / "secret_key").exists()


def test_database_of_many_hosts_needs_a_secret_of_many_hosts(installation: Installation) -> None:
    with pytest.raises(ImproperlyConfigured, match="SECRET_KEY must be set together with DATABASE_URL"):
        installation(DATABASE_URL=POSTGRESQL)
    assert not installation.directory.exists()


def test_database_is_the_one_that_is_set(installation: Installation) -> None:
    database = installation(DATABASE_URL=POSTGRESQL, SECRET_KEY="chosen")["DATABASES"]["default"]
    assert database["ENGINE"] == "keyportal.postgresql"
    assert (database["HOST"], database["PORT"], database["NAME"], database["PASSWORD"]) == (
        "db.example",
        5433,
        "portal",
        "swordfish",
    )
    assert (database["CONN_MAX_AGE"], database["CONN_HEALTH_CHECKS"]) == (600, True)


def test_start_stops_without_a_secret(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": POSTGRESQL, "KEYPORTAL_DATA_DIR": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "manage.py", "check"], check=False, cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert result.returncode != 0
    assert "SECRET_KEY must be set together with DATABASE_URL" in result.stderr
    assert "swordfish" not in result.stdout + result.stderr


@pytest.mark.parametrize(
    "url", ["keys.example.com", "ftp://keys.example.com", "https://", "//keys.example.com", "https:keys", "http:///x"]
)
def test_public_address_is_a_whole_one(installation: Installation, url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="KEYPORTAL_URL must be a whole address"):
        installation(KEYPORTAL_URL=url)


@pytest.mark.parametrize(
    ("variables", "url", "hosts"),
    [
        ({"HOST": "0.0.0.0", "PORT": "9000"}, "http://127.0.0.1:9000", {"127.0.0.1"}),
        ({"HOST": "::"}, "http://127.0.0.1:8000", {"127.0.0.1"}),
        ({"HOST": "::1"}, "http://[::1]:8000", {"[::1]"}),
        ({"HOST": "192.0.2.7"}, "http://192.0.2.7:8000", {"192.0.2.7"}),
        ({"KEYPORTAL_URL": "https://keys.example.com/"}, "https://keys.example.com", {"keys.example.com"}),
        ({"ALLOWED_HOSTS": "a.example,b.example"}, "http://127.0.0.1:8000", {"a.example", "b.example"}),
    ],
)
def test_public_address_and_hosts(
    installation: Installation, variables: dict[str, str], url: str, hosts: set[str]
) -> None:
    found = installation(**variables)
    assert found["KEYPORTAL_URL"] == url
    assert hosts | {"127.0.0.1", "localhost", "[::1]"} == set(found["ALLOWED_HOSTS"])


@pytest.mark.parametrize("is_https", [True, False])
def test_https_keeps_everything_on_https(installation: Installation, is_https: bool) -> None:
    found = installation(KEYPORTAL_URL=f"http{'s' if is_https else ''}://keys.example.com")
    names = [
        "SESSION_COOKIE_SECURE",
        "CSRF_COOKIE_SECURE",
        "SECURE_SSL_REDIRECT",
        "SECURE_HSTS_INCLUDE_SUBDOMAINS",
        "SECURE_HSTS_PRELOAD",
    ]
    assert [found[name] for name in names] == [is_https] * 5
    assert found["SECURE_HSTS_SECONDS"] == (31536000 if is_https else 0)


def test_cookies_are_kept_from_scripts_and_other_sites(installation: Installation) -> None:
    found = installation()
    assert (found["SESSION_COOKIE_SAMESITE"], found["CSRF_COOKIE_SAMESITE"]) == ("Lax", "Lax")
    assert found.get("SESSION_COOKIE_HTTPONLY", True)
    assert found["CSRF_COOKIE_HTTPONLY"]


@pytest.mark.parametrize("text", ["10.0.0.1/8", "proxy.example", "10.0.0.0/8,nonsense", "10.0.0.0/33"])
def test_trusted_proxy_that_is_no_network_stops_the_start(installation: Installation, text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="TRUSTED_PROXIES must list addresses"):
        installation(TRUSTED_PROXIES=text)


def test_trusted_proxies_are_addresses_networks_and_unix(installation: Installation) -> None:
    text = "10.0.0.0/8,192.0.2.1,2001:db8::/32,unix"
    assert installation(TRUSTED_PROXIES=text)["TRUSTED_PROXIES"] == text.split(",")


def test_port_that_is_no_number_stops_the_start(installation: Installation) -> None:
    with pytest.raises(ImproperlyConfigured, match="PORT must be a number"):
        installation(PORT="eighty")


# Providers


def test_no_provider_is_on_by_itself(installation: Installation) -> None:
    found = installation()
    assert found["SOCIALACCOUNT_PROVIDERS"] == {}
    assert not [app for app in found["INSTALLED_APPS"] if "providers" in app]
    assert found["CONTENT_SECURITY_POLICY"]["DIRECTIVES"]["form-action"] == ["'self'"]


@pytest.mark.parametrize(
    ("name", "origin"), [("github", "https://github.com"), ("google", "https://accounts.google.com")]
)
def test_provider_is_switched_on_by_its_client(installation: Installation, name: str, origin: str) -> None:
    variables = {f"KEYPORTAL_{name.upper()}_CLIENT_ID": "id", f"KEYPORTAL_{name.upper()}_CLIENT_SECRET": "shh"}
    found = installation(**variables)
    assert found["SOCIALACCOUNT_PROVIDERS"] == {
        name: {"APPS": [{"client_id": "id", "secret": "shh"}], "OAUTH_PKCE_ENABLED": True}
    }
    assert f"allauth.socialaccount.providers.{name}" in found["INSTALLED_APPS"]
    assert found["CONTENT_SECURITY_POLICY"]["DIRECTIVES"]["form-action"] == ["'self'", origin]


@pytest.mark.parametrize("name", ["GITHUB", "GOOGLE"])
def test_provider_without_its_secret_stops_the_start(installation: Installation, name: str) -> None:
    with pytest.raises(ImproperlyConfigured):
        installation(**{f"KEYPORTAL_{name}_CLIENT_ID": "id"})


def test_openid_providers_are_as_many_as_are_named(installation: Installation) -> None:
    found = installation(
        KEYPORTAL_OIDC="company,key-cloak",
        KEYPORTAL_OIDC_COMPANY_URL="https://sso.company.example/realm",
        KEYPORTAL_OIDC_COMPANY_NAME="Company",
        KEYPORTAL_OIDC_COMPANY_CLIENT_ID="one",
        KEYPORTAL_OIDC_COMPANY_CLIENT_SECRET="first",
        KEYPORTAL_OIDC_KEY_CLOAK_URL="http://localhost:9000/realms/x/",
        KEYPORTAL_OIDC_KEY_CLOAK_GROUPS_CLAIM="roles",
        KEYPORTAL_OIDC_KEY_CLOAK_ORIGINS="https://login.company.example/,https://sso.company.example",
        KEYPORTAL_OIDC_KEY_CLOAK_CLIENT_ID="two",
        KEYPORTAL_OIDC_KEY_CLOAK_CLIENT_SECRET="second",
    )
    apps = found["SOCIALACCOUNT_PROVIDERS"]["openid_connect"]["APPS"]
    scope = ["openid", "profile", "email"]
    assert [(app["provider_id"], app["name"], app["client_id"], app["secret"], app["settings"]) for app in apps] == [
        (
            "company",
            "Company",
            "one",
            "first",
            {"server_url": "https://sso.company.example/realm", "groups_claim": "groups", "scope": scope},
        ),
        (
            "key-cloak",
            "key-cloak",
            "two",
            "second",
            {"server_url": "http://localhost:9000/realms/x", "groups_claim": "roles", "scope": scope},
        ),
    ]
    policy = found["CONTENT_SECURITY_POLICY"]["DIRECTIVES"]["form-action"]
    assert policy == [
        "'self'",
        "https://sso.company.example",
        "http://localhost:9000",
        "https://login.company.example",
    ]


def test_github_may_be_a_server_of_ones_own(installation: Installation) -> None:
    client = {"KEYPORTAL_GITHUB_CLIENT_ID": "id", "KEYPORTAL_GITHUB_CLIENT_SECRET": "shh"}
    found = installation(KEYPORTAL_GITHUB_URL="https://git.company.example/", **client)
    assert found["SOCIALACCOUNT_PROVIDERS"]["github"]["GITHUB_URL"] == "https://git.company.example"
    policy = found["CONTENT_SECURITY_POLICY"]["DIRECTIVES"]["form-action"]
    assert policy == ["'self'", "https://git.company.example"]


@pytest.mark.parametrize(
    "text",
    ["", "sso.example", "ftp://sso.example", "https://", "https://a.example; script-src *", "https://u@a.example"],
)
@pytest.mark.parametrize("name", ["URL", "ORIGINS"])
def test_address_of_a_provider_is_one(installation: Installation, name: str, text: str) -> None:
    settings = {"URL": "https://sso.example", "CLIENT_ID": "id", "CLIENT_SECRET": "shh", name: text}
    asked = {f"KEYPORTAL_OIDC_A_{name}": text for name, text in settings.items()}
    if (name, text) == ("ORIGINS", ""):
        assert installation(KEYPORTAL_OIDC="a", **asked)
        return
    with pytest.raises(ImproperlyConfigured, match="must be a whole address"):
        installation(KEYPORTAL_OIDC="a", **asked)


@pytest.mark.parametrize(
    "name", ["SOCIALACCOUNT_EMAIL_AUTHENTICATION", "SOCIALACCOUNT_LOGIN_ON_GET", "SOCIALACCOUNT_STORE_TOKENS"]
)
def test_what_would_open_an_account_by_its_address_is_off(installation: Installation, name: str) -> None:
    assert installation()[name] is False


def test_mail_comes_from_the_public_host(installation: Installation) -> None:
    found = installation(KEYPORTAL_URL="https://keys.example.com")
    assert found["DEFAULT_FROM_EMAIL"] == "keyportal <keyportal@keys.example.com>"
    assert found["EMAIL_BACKEND"] == "django.core.mail.backends.console.EmailBackend"


# Values that make no sense


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("PORT", "eighty", "PORT must be a number, from 1 to 65535, such as 8000"),
        ("PORT", "70000", "PORT must be a number, from 1 to 65535, such as 8000"),
        ("WEB_THREADS", "0", "WEB_THREADS must be a number, 1 or more, such as 8"),
        ("WEB_CONCURRENCY", "x", "WEB_CONCURRENCY must be a number, 1 or more, such as 1"),
        ("KEYPORTAL_ARGON2_MEMORY_KIB", "19 MiB", "KEYPORTAL_ARGON2_MEMORY_KIB must be a number, from 8 to"),
        ("KEYPORTAL_ARGON2_MEMORY_KIB", "7", "KEYPORTAL_ARGON2_MEMORY_KIB must be a number, from 8 to"),
        ("KEYPORTAL_ARGON2_TIME", "0", "KEYPORTAL_ARGON2_TIME must be a number, from 1"),
        ("KEYPORTAL_ARGON2_PARALLELISM", "-1", "KEYPORTAL_ARGON2_PARALLELISM must be a number, from 1"),
        ("KEYPORTAL_ARGON2_PERMITS", "0", "KEYPORTAL_ARGON2_PERMITS must be a number, 1 or more"),
        ("KEYPORTAL_ARGON2_QUEUE", "\u00b2", "KEYPORTAL_ARGON2_QUEUE must be a number, 0 or more"),
        ("KEYPORTAL_ARGON2_WAIT_MS", "0.5", "KEYPORTAL_ARGON2_WAIT_MS must be a number, 0 or more"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL must be DEBUG, INFO, WARNING or ERROR"),
        ("EMAIL_URL", "nonsense", "EMAIL_URL must be like smtp"),
        ("EMAIL_URL", "smtp://u:swordfish@h:x", "EMAIL_URL must be like smtp"),
        ("KEYPORTAL_OIDC", "github", "KEYPORTAL_OIDC must list ids"),
        ("KEYPORTAL_OIDC", "google", "KEYPORTAL_OIDC must list ids"),
        ("KEYPORTAL_OIDC", "Company", "KEYPORTAL_OIDC must list ids"),
        ("KEYPORTAL_OIDC", "a/b", "KEYPORTAL_OIDC must list ids"),
    ],
)
def test_value_that_makes_no_sense_stops_the_start(
    installation: Installation, name: str, text: str, sentence: str
) -> None:
    with pytest.raises(ImproperlyConfigured) as refusal:
        installation(**{name: text})
    assert str(refusal.value).startswith(sentence)
    assert "swordfish" not in repr((refusal.value, refusal.value.__context__))


def test_id_of_a_provider_is_listed_once(installation: Installation) -> None:
    settings = {"URL": "https://sso.example", "CLIENT_ID": "id", "CLIENT_SECRET": "shh"}
    with pytest.raises(ImproperlyConfigured, match="each once"):
        installation(KEYPORTAL_OIDC="a,a", **{f"KEYPORTAL_OIDC_A_{name}": text for name, text in settings.items()})


def test_argon2_needs_memory_for_each_lane(installation: Installation) -> None:
    with pytest.raises(ImproperlyConfigured, match="MEMORY_KIB must be a number, from 32 to"):
        installation(KEYPORTAL_ARGON2_PARALLELISM="4", KEYPORTAL_ARGON2_MEMORY_KIB="31")
    assert installation(KEYPORTAL_ARGON2_MEMORY_KIB="32")["KEYPORTAL_ARGON2"]["memory_kib"] == 32


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "mysql://u:swordfish@h/x",
        "postgresql://u:swordfish@h:port/x",
        "postgresql://u:sword/fish@h/x",
        "postgresql://[u:swordfish",
    ],
)
def test_address_of_no_database_stops_the_start_and_is_not_repeated(installation: Installation, url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL must be like postgresql://") as refusal:
        installation(DATABASE_URL=url, SECRET_KEY="chosen")
    told = repr((refusal.value, refusal.value.__context__, refusal.value.__cause__))
    assert "fish" not in told


@pytest.mark.parametrize(
    ("program", "variables"),
    [
        ("manage.py check", {"KEYPORTAL_KEY_BRAND": "a b"}),
        ("manage.py check", {"KEYPORTAL_KEY_TEMPLATE": "{brand}"}),
        ("manage.py check", {"KEYPORTAL_KEY_KINDS": "sk,pk"}),
        ("manage.py check", {"KEYPORTAL_EARLIER_KEY_SHAPES": "tos_{prefix}_{secret}; nonsense"}),
        ("manage.py check", {"WEB_CONCURRENCY": "x"}),
        ("-m gunicorn -c keyportal/gunicorn.py --check-config keyportal.wsgi", {"WEB_THREADS": "0"}),
        ("-m gunicorn -c keyportal/gunicorn.py --check-config keyportal.wsgi", {"LOG_LEVEL": "loud"}),
    ],
)
def test_start_stops_with_a_sentence(tmp_path: Path, program: str, variables: dict[str, str]) -> None:
    environment = {"PATH": os.environ["PATH"], "KEYPORTAL_DATA_DIR": str(tmp_path)} | variables
    result = subprocess.run(
        [sys.executable, *program.split()], check=False, cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert result.returncode != 0
    assert next(iter(variables)) in result.stderr
    assert "Traceback" not in result.stderr


def test_shapes_of_keys_are_read_as_they_are_documented(installation: Installation) -> None:
    found = installation(
        KEYPORTAL_KEY_TEMPLATE="{brand}_{kind}_{prefix}{secret}",
        KEYPORTAL_KEY_KINDS="secret, pub, org",
        KEYPORTAL_EARLIER_KEY_SHAPES="kp_{kind}_{env}_{prefix}_{secret} sk,pk,org; tos_{prefix}_{secret};",
    )
    assert found["KEYPORTAL_KEY_TEMPLATE"] == "{brand}_{kind}_{prefix}{secret}"
    assert found["KEYPORTAL_KEY_KINDS"] == ["secret", "pub", "org"]
    assert found["KEYPORTAL_EARLIER_KEY_SHAPES"] == [
        "kp_{kind}_{env}_{prefix}_{secret} sk,pk,org",
        "tos_{prefix}_{secret}",
    ]


# How long anyone waits


def test_nobody_waits_long_for_postgresql_or_mail(installation: Installation) -> None:
    found = installation(DATABASE_URL=POSTGRESQL, SECRET_KEY="chosen")
    assert found["DATABASES"]["default"]["OPTIONS"] == {
        "connect_timeout": 5,
        "tcp_user_timeout": 15_000,
        "options": "-c statement_timeout=10s",
        "prepare_threshold": 5,
    }
    assert found["EMAIL_TIMEOUT"] == 10


def test_prepared_statements_can_be_left_out_for_a_pooler(installation: Installation) -> None:
    found = installation(DATABASE_URL=POSTGRESQL, SECRET_KEY="chosen", KEYPORTAL_PREPARED_STATEMENTS="false")
    assert found["DATABASES"]["default"]["OPTIONS"]["prepare_threshold"] is None


def test_what_the_database_url_says_counts(installation: Installation) -> None:
    url = f"{POSTGRESQL}?connect_timeout=9&options=-c%20statement_timeout%3D1min&sslmode=require"
    assert installation(DATABASE_URL=url, SECRET_KEY="chosen")["DATABASES"]["default"]["OPTIONS"] == {
        "connect_timeout": 9,
        "tcp_user_timeout": 15_000,
        "options": "-c statement_timeout=1min",
        "prepare_threshold": 5,
        "sslmode": "require",
    }


def test_mail_goes_to_a_provider_that_is_named(installation: Installation) -> None:
    found = installation(
        KEYPORTAL_ANYMAIL="Mailgun", KEYPORTAL_ANYMAIL_API_KEY="k", KEYPORTAL_ANYMAIL_SENDER_DOMAIN="mg.example"
    )
    assert found["EMAIL_BACKEND"] == "anymail.backends.mailgun.EmailBackend"
    told = {"MAILGUN_API_KEY": "k", "MAILGUN_SENDER_DOMAIN": "mg.example", "REQUESTS_TIMEOUT": (10, 10)}
    assert found["ANYMAIL"] == told


@pytest.mark.parametrize("provider", sorted(MAIL_PROVIDERS))
def test_provider_of_mail_takes_what_it_is_said_to_need(
    installation: Installation, settings: Settings, provider: str
) -> None:
    needed = {f"KEYPORTAL_ANYMAIL_{name}": "https://x.example" for name in MAIL_PROVIDERS[provider]}
    found = installation(KEYPORTAL_ANYMAIL=provider, **needed)
    settings.ANYMAIL = found["ANYMAIL"]
    # It refuses to be made without what it needs.
    assert get_connection(found["EMAIL_BACKEND"]) is not None
    settings.ANYMAIL = {}
    with pytest.raises(ImproperlyConfigured):
        get_connection(found["EMAIL_BACKEND"])


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"KEYPORTAL_ANYMAIL": "pigeon"}, "KEYPORTAL_ANYMAIL must be one of brevo, mailersend, mailgun"),
        ({"KEYPORTAL_ANYMAIL": "postmark"}, "KEYPORTAL_ANYMAIL=postmark needs KEYPORTAL_ANYMAIL_SERVER_TOKEN"),
        (
            {"KEYPORTAL_ANYMAIL": "mailjet"},
            "KEYPORTAL_ANYMAIL=mailjet needs KEYPORTAL_ANYMAIL_API_KEY and KEYPORTAL_ANYMAIL_SECRET_KEY",
        ),
        ({"KEYPORTAL_ANYMAIL": "resend", "EMAIL_URL": "consolemail://"}, "not both: mail goes one way"),
    ],
)
def test_provider_of_mail_that_cannot_work_stops_the_start(
    installation: Installation, variables: dict[str, str], sentence: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=re.escape(sentence)):
        installation(**variables)


@pytest.mark.parametrize(("value", "is_demo"), [("1", True), ("yes", True), ("0", False), ("", False)])
def test_no_mail_leaves_a_demo(installation: Installation, value: str, *, is_demo: bool) -> None:
    found = installation(KEYPORTAL_DEMO=value, EMAIL_URL="smtp://mail.example.com:25")
    assert found["KEYPORTAL_DEMO"] is is_demo
    assert found["EMAIL_BACKEND"] == f"django.core.mail.backends.{'dummy' if is_demo else 'smtp'}.EmailBackend"


def test_mail_is_sent_by_the_serving_processes_unless_something_else_does(installation: Installation) -> None:
    assert installation()["KEYPORTAL_MAIL_JOB"] is True
    assert installation(KEYPORTAL_MAIL_JOB="false")["KEYPORTAL_MAIL_JOB"] is False
