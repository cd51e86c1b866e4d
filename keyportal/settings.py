"""The settings of an installation, all of them from the environment; `docs/settings.md` lists them.

With nothing set, this is the embedded portal: SQLite and a generated secret in `var/`, on loopback.
"""

import ipaddress
import logging
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from redis.backoff import NoBackoff
from redis.retry import Retry

from keyportal import logs, secrets
from keyportal.environment import Environment

env = Environment()
BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(env.str("KEYPORTAL_DATA_DIR", default=str(BASE_DIR / "var"))).absolute()
DEBUG = env.bool("KEYPORTAL_DEBUG", default=False)

# Where the portal is reached. Links in mails are built from it, never from a request's Host.
_HOST = env.str("HOST", default="127.0.0.1")
PORT = env.whole("PORT", default=8000, least=1, most=65535)
WEB_CONCURRENCY = env.whole("WEB_CONCURRENCY", default=1, least=1)
WEB_THREADS = env.whole("WEB_THREADS", default=8, least=1)
_REACHED_AT = "127.0.0.1" if _HOST in {"0.0.0.0", "::", ""} else f"[{_HOST}]" if ":" in _HOST else _HOST  # noqa: S104 - compared, not bound
KEYPORTAL_URL = env.str("KEYPORTAL_URL", default=f"http://{_REACHED_AT}:{PORT}").rstrip("/")
_public = urlsplit(KEYPORTAL_URL)
if _public.scheme not in {"http", "https"} or not _public.hostname:
    raise ImproperlyConfigured("KEYPORTAL_URL must be a whole address such as https://keys.example.com")
IS_HTTPS = _public.scheme == "https"
# Django compares an IPv6 address with its brackets.
_public_host = f"[{_public.hostname}]" if ":" in _public.hostname else _public.hostname
ALLOWED_HOSTS = [_public_host, "127.0.0.1", "localhost", "[::1]", *env.list("ALLOWED_HOSTS", default=[])]
CSRF_TRUSTED_ORIGINS = [f"{_public.scheme}://{_public.netloc}"]
TRUSTED_PROXIES: list[str] = env.list("TRUSTED_PROXIES", default=[])
try:
    for _network in TRUSTED_PROXIES:
        ipaddress.ip_network("::" if _network == "unix" else _network)
except ValueError as error:
    raise ImproperlyConfigured(
        f"TRUSTED_PROXIES must list addresses, networks such as 10.0.0.0/8, or unix: {error}"
    ) from error

# Storage. Embedded, the secret is made once and kept beside the database; many hosts must share one.
DATABASE_URL = env.str("DATABASE_URL", default="")
SECRET_KEY = env.str("SECRET_KEY", default="")
if not SECRET_KEY:
    if DATABASE_URL:
        raise ImproperlyConfigured(
            "SECRET_KEY must be set together with DATABASE_URL: every host needs the same one. "
            "Make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(50))'"
        )
    SECRET_KEY = secrets.read_or_make(DATA_DIR / "secret_key")

_database: dict[str, Any] = env.database(DATABASE_URL or "sqlite://")
if not DATABASE_URL:
    _database["NAME"] = str(DATA_DIR / "keyportal.sqlite3")
if _database["ENGINE"] == "django.db.backends.sqlite3":
    _database["OPTIONS"] = {
        # A writer takes the lock when its transaction begins, so that no two can both have read.
        "transaction_mode": "IMMEDIATE",
        "timeout": 10,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
    }
else:
    # Nobody waits for ever: for a server that is away, for one that went away silently, for one statement, and,
    # which takes a backend of our own, for a server that takes a statement and does not answer.
    # What DATABASE_URL says of these itself counts instead.
    _database["ENGINE"] = "keyportal.postgresql"
    _database["OPTIONS"] = {
        "connect_timeout": 5,
        "tcp_user_timeout": 15_000,
        "options": "-c statement_timeout=10s",
        "prepare_threshold": 5 if env.bool("KEYPORTAL_PREPARED_STATEMENTS", default=True) else None,
    } | _database.get("OPTIONS", {})
# Kept by each thread, seconds. Pages probe a kept connection first; verification retries once instead.
_database |= {"CONN_MAX_AGE": 600, "CONN_HEALTH_CHECKS": _database["ENGINE"] != "django.db.backends.sqlite3"}
DATABASES = {"default": _database}
# What many processes have to agree on in a moment: that a one-time code was used, how often someone failed to sign in.
CACHES: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "cache",
        # So many that nobody who fails to sign in can push out what others' failures left.
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "keyportal",
    "accounts",
    "apikeys",
    "audit",
    "allauth",
    "allauth.account",
    "allauth.headless",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.usersessions",
    "csp",
    "django_htmx",
    "heroicons",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "keyportal.middleware.RequestContextMiddleware",
    # Answers every call with a key by itself: all that follows is for pages and for a browser's own calls.
    "apikeys.middleware.ApiKeyMiddleware",
    # Above all that answers by itself, so that a refusal is as well protected as a page.
    "csp.middleware.CSPMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "apikeys.middleware.KeyInQueryMiddleware",
    "keyportal.middleware.ApiMethodMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "keyportal.middleware.HtmxRedirectMiddleware",
    "accounts.answers.FormAnswerMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "accounts.known_devices.DeviceMiddleware",
    "accounts.middleware.MemberMiddleware",
    "accounts.timezones.TimeZoneMiddleware",
    "accounts.activity.ActivityMiddleware",
    "accounts.middleware.SignInRequiredMiddleware",
]
ROOT_URLCONF = "keyportal.urls"
WSGI_APPLICATION = "keyportal.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "accounts.context.frame",
            ],
        },
    }
]
FORM_RENDERER = "django.forms.renderers.DjangoTemplates"

LANGUAGE_CODE = "en-us"
USE_I18N = False
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

# People and their sessions.
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = ["accounts.password_hashing.BoundedArgon2PasswordHasher"]
# One run takes this much for a moment, and so many go on at once in a process: what may be asked of its memory.
KEYPORTAL_PASSWORD_MEMORY_KIB = env.whole("KEYPORTAL_PASSWORD_MEMORY_KIB", default=19456, least=8, most=1024 * 1024)
KEYPORTAL_PASSWORD_TIME = env.whole("KEYPORTAL_PASSWORD_TIME", default=2, least=1, most=100)
KEYPORTAL_PASSWORD_PERMITS = env.whole("KEYPORTAL_PASSWORD_PERMITS", default=2, least=1)
KEYPORTAL_PASSWORD_WAIT_MS = env.whole("KEYPORTAL_PASSWORD_WAIT_MS", default=2000, least=0)
# The link of a mail, in seconds.
PASSWORD_RESET_TIMEOUT = 3600
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ("email", "name")},
    },
    {"NAME": "accounts.passwords.MinimumLengthValidator"},
    {"NAME": "accounts.passwords.MaximumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "overview"
SESSION_COOKIE_AGE = 14 * 24 * 3600
SESSION_COOKIE_NAME = "keyportal_session"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = IS_HTTPS
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "keyportal.errors.csrf_failure"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

ACCOUNT_ADAPTER = "accounts.adapters.AccountAdapter"
ACCOUNT_FORMS = {
    "change_password": "accounts.forms.passwords.ChangePasswordForm",
    "reset_password": "accounts.forms.passwords.ResetPasswordForm",
    "reset_password_from_key": "accounts.forms.passwords.ResetPasswordKeyForm",
}
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_REAUTHENTICATION_TIMEOUT = 15 * 60
# Its own would also read the table of addresses, which differs between those who have an account and those who do not.
ACCOUNT_PASSWORD_RESET_TOKEN_GENERATOR = "django.contrib.auth.tokens.PasswordResetTokenGenerator"  # noqa: S105 - a class
# docs/security.md tells these; none is closed for longer than five minutes.
ACCOUNT_RATE_LIMITS = {
    "login": "30/m/ip",
    # Wrong passwords: of an address, of an account from one address, and of an account from addresses unknown to it.
    "login_failed": "10/m/ip,5/5m/key",
    "login_failed_anywhere": "15/5m/key",
    "reauthenticate": "10/m/user",
    "change_password": "5/m/user",
    "reset_password": "10/m/ip,3/5m/key",
    "reset_password_from_key": "10/m/ip",
    "signup": "10/m/ip",
    # Mails to addresses that a signed-in person types: of the person, and to one address.
    "manage_email": "3/5m/user,3/5m/key",
    "invite": "30/5m/user,5/5m/key",
}
ACCOUNT_SESSION_REMEMBER = True
# Second factors, sessions, and bearer tokens of people.
MFA_ADAPTER = "accounts.adapters.FactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
# Where no mail is sent, nobody's address is verified; a second factor does not wait for that.
MFA_ALLOW_UNVERIFIED_EMAIL = True
MFA_TOTP_ISSUER = "keyportal"
# A clock may be half a minute off (RFC 6238 §5.2). Each code is good once all the same.
MFA_TOTP_TOLERANCE = 1
MFA_FORMS = {
    "authenticate_webauthn": "accounts.forms.factors.UsePasskeyForm",
    "login_webauthn": "accounts.forms.factors.PasskeySignInForm",
    "reauthenticate_webauthn": "accounts.forms.factors.ConfirmByPasskeyForm",
}
HEADLESS_CLIENTS = ["app"]
HEADLESS_TOKEN_STRATEGY = "allauth.headless.tokens.strategies.jwt.JWTTokenStrategy"  # noqa: S105 - a class
HEADLESS_JWT_ALGORITHM = "HS256"
# A token falls with its session: on the next call after signing out, or after a new password.
HEADLESS_JWT_STATEFUL_VALIDATION_ENABLED = True
SOCIALACCOUNT_ADAPTER = "accounts.adapters.SocialAccountAdapter"
SOCIALACCOUNT_AUTO_SIGNUP = True
# Identity is (provider, subject). An address that a provider reports never opens an account.
SOCIALACCOUNT_EMAIL_AUTHENTICATION = False
SOCIALACCOUNT_QUERY_EMAIL = True
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_LOGIN_ON_GET = False
SOCIALACCOUNT_PROVIDERS: dict[str, Any] = {}
# Chromium applies form-action to where a posted form is redirected, so each provider is named.
_provider_urls: list[str] = []
_github_url = env.web_address("KEYPORTAL_GITHUB_URL", default="https://github.com")
for _name, _server in {"github": _github_url, "google": "https://accounts.google.com"}.items():
    if _client_id := env.str(f"KEYPORTAL_{_name.upper()}_CLIENT_ID", default=""):
        INSTALLED_APPS.append(f"allauth.socialaccount.providers.{_name}")
        SOCIALACCOUNT_PROVIDERS[_name] = {
            "APPS": [{"client_id": _client_id, "secret": env.str(f"KEYPORTAL_{_name.upper()}_CLIENT_SECRET")}],
            "OAUTH_PKCE_ENABLED": True,
        }
        _provider_urls.append(_server)
if "github" in SOCIALACCOUNT_PROVIDERS and _github_url != "https://github.com":
    # A GitHub Enterprise Server of one's own.
    SOCIALACCOUNT_PROVIDERS["github"]["GITHUB_URL"] = _github_url
if _oidc := env.list("KEYPORTAL_OIDC", default=[]):
    INSTALLED_APPS.append("allauth.socialaccount.providers.openid_connect")
    SOCIALACCOUNT_PROVIDERS["openid_connect"] = {"APPS": [], "OAUTH_PKCE_ENABLED": True}
    for _name in _oidc:
        if not re.fullmatch(r"[a-z0-9-]+", _name) or _name in {"github", "google"} or _oidc.count(_name) > 1:
            raise ImproperlyConfigured(
                "KEYPORTAL_OIDC must list ids of a-z, 0-9 and -, each once, and neither github nor google"
            )
        _prefix = f"KEYPORTAL_OIDC_{_name.upper().replace('-', '_')}"
        _server = env.web_address(f"{_prefix}_URL")
        SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"].append(
            {
                "provider_id": _name,
                "name": env.str(f"{_prefix}_NAME", default=_name),
                "client_id": env.str(f"{_prefix}_CLIENT_ID"),
                "secret": env.str(f"{_prefix}_CLIENT_SECRET"),
                "settings": {
                    "server_url": _server,
                    # Which claim lists a person's groups, and what has to be asked for to get it.
                    "groups_claim": env.str(f"{_prefix}_GROUPS_CLAIM", default="groups"),
                    "scope": ["openid", "profile", "email", *env.list(f"{_prefix}_SCOPES", default=[])],
                },
            }
        )
        _provider_urls += [_server, *env.web_addresses(f"{_prefix}_ORIGINS")]
_provider_origins = dict.fromkeys("{0.scheme}://{0.netloc}".format(urlsplit(_url)) for _url in _provider_urls)

EMAIL_URL = env.str("EMAIL_URL", default="")
KEYPORTAL_ANYMAIL = env.str("KEYPORTAL_ANYMAIL", default="").lower()
if EMAIL_URL and KEYPORTAL_ANYMAIL:
    raise ImproperlyConfigured("Set EMAIL_URL or KEYPORTAL_ANYMAIL, not both: mail goes one way")
globals().update(env.anymail(KEYPORTAL_ANYMAIL) if KEYPORTAL_ANYMAIL else env.mail(EMAIL_URL or "consolemail://"))
# Seconds; a mail server that is away must not hold up the mails after it for longer.
EMAIL_TIMEOUT = 10
# Whether the serving processes send what is due; otherwise something has to call `manage.py send_mail`.
KEYPORTAL_MAIL_JOB = env.bool("KEYPORTAL_MAIL_JOB", default=True)
# An example to look around in: its mails are for nobody, and a page shows them.
KEYPORTAL_DEMO = env.str("KEYPORTAL_DEMO", default="") not in {"", "0"}
if KEYPORTAL_DEMO:
    EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
DEFAULT_FROM_EMAIL = env.str("KEYPORTAL_FROM_EMAIL", default=f"keyportal <keyportal@{_public.hostname}>")

# What a browser may do with our pages.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "form-action": [SELF, *_provider_origins],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_SSL_REDIRECT = IS_HTTPS
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if IS_HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = IS_HTTPS
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024

# Keys. The shape that new keys get; keys of an earlier shape stay good while it is listed here.
KEYPORTAL_KEY_BRAND = env.str("KEYPORTAL_KEY_BRAND", default="kp")
KEYPORTAL_KEY_TEMPLATE = env.str("KEYPORTAL_KEY_TEMPLATE", default="{brand}_{kind}_{env}_{prefix}_{secret}")
KEYPORTAL_KEY_KINDS = [kind.strip() for kind in env.list("KEYPORTAL_KEY_KINDS", default=["sk", "pk", "org"])]
KEYPORTAL_EARLIER_KEY_BRANDS: list[str] = env.list("KEYPORTAL_EARLIER_KEY_BRANDS", default=[])
KEYPORTAL_EARLIER_KEY_SHAPES = [
    text.strip() for text in env.str("KEYPORTAL_EARLIER_KEY_SHAPES", default="").split(";") if text.strip()
]
# Schemes of the Authorization header under which keys come beside Bearer, for those that were imported from elsewhere.
KEYPORTAL_KEY_SCHEMES = [scheme.strip() for scheme in env.list("KEYPORTAL_KEY_SCHEMES", default=[])]
_parallelism = env.whole("KEYPORTAL_ARGON2_PARALLELISM", default=1, least=1, most=255)
KEYPORTAL_ARGON2 = {
    # RFC 9106 §3.1: eight blocks of 1 KiB for each lane are the least.
    "memory_kib": env.whole("KEYPORTAL_ARGON2_MEMORY_KIB", default=19456, least=8 * _parallelism, most=2**32 - 1),
    "time": env.whole("KEYPORTAL_ARGON2_TIME", default=2, least=1, most=2**32 - 1),
    "parallelism": _parallelism,
}
KEYPORTAL_ARGON2_PERMITS = env.whole("KEYPORTAL_ARGON2_PERMITS", default=2, least=1)
KEYPORTAL_ARGON2_QUEUE = env.whole("KEYPORTAL_ARGON2_QUEUE", default=8, least=0)
KEYPORTAL_ARGON2_WAIT_MS = env.whole("KEYPORTAL_ARGON2_WAIT_MS", default=50, least=0)

# How many failures are borne within a minute before a request is refused unread.
KEYPORTAL_FAILURES_PER_SOURCE = env.whole("KEYPORTAL_FAILURES_PER_SOURCE", default=60, least=1)
KEYPORTAL_FAILURES_PER_SOURCE_AND_PREFIX = env.whole("KEYPORTAL_FAILURES_PER_SOURCE_AND_PREFIX", default=10, least=1)
KEYPORTAL_FAILURES_PER_PREFIX = env.whole("KEYPORTAL_FAILURES_PER_PREFIX", default=20, least=1)
REDIS_URL = env.str("REDIS_URL", default="")
if REDIS_URL and not re.match(r"(rediss?|unix)://", REDIS_URL):
    raise ImproperlyConfigured("REDIS_URL must be an address such as redis://127.0.0.1:6379/0")
if REDIS_URL:
    CACHES["default"] = {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "keyportal",
        # Pickles, its default, would let whoever writes to Redis run what they like here.
        "OPTIONS": {
            "serializer": "keyportal.caching.JsonSerializer",
            "socket_timeout": 1,
            "socket_connect_timeout": 1,
            "retry": Retry(NoBackoff(), 0),
        },
    }
KEYPORTAL_USE_RECORDING = env.str("KEYPORTAL_USE_RECORDING", default="buffered")
if KEYPORTAL_USE_RECORDING not in {"buffered", "synchronous"}:
    raise ImproperlyConfigured("KEYPORTAL_USE_RECORDING must be buffered or synchronous")
# How long `manage.py prune_uses` keeps uses of keys.
KEYPORTAL_USES_DAYS = env.whole("KEYPORTAL_USES_DAYS", default=90, least=1, most=36_500)

# Who knows it may read /metrics. It is compared with a header, so it is made of what a header may hold (RFC 6750 §2.1).
KEYPORTAL_METRICS_TOKEN = env.str("KEYPORTAL_METRICS_TOKEN", default="")
if KEYPORTAL_METRICS_TOKEN and not re.fullmatch(r"[A-Za-z0-9._~+/=-]{16,}", KEYPORTAL_METRICS_TOKEN):
    raise ImproperlyConfigured(
        "KEYPORTAL_METRICS_TOKEN must have 16 characters or more, of letters, digits and -._~+/=. "
        "Make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
    )

_level = env.str("LOG_LEVEL", default="").upper() or "INFO"
if _level not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
    raise ImproperlyConfigured("LOG_LEVEL must be DEBUG, INFO, WARNING or ERROR")
LOGGING = logs.logging_config(level=_level)
# A line that cannot be written would be printed as it is, keys and all.
logging.raiseExceptions = False
# No line names them, so they are not asked for each.
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
structlog.configure(**logs.structlog_config())
