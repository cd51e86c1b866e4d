"""People, and what is kept about their ways in."""

from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models, transaction
from django.db.models import Q
from django.db.models.functions import Lower
from uuid_utils.compat import uuid7

# A password of fewer characters is good only beside a second factor (NIST SP 800-63B-4 §3.1.1.2).
LEAST_AS_ONLY_FACTOR = 15


class UserManager(BaseUserManager["User"]):
    """Makes people; email addresses are kept in lower case, so that no two differ only in case."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Save and return a new person; without a password they can only sign in through a provider."""
        user = self.model(email=email.strip().lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user


class User(AbstractBaseUser):
    """A person. The email address is the login."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(max_length=254, unique=True)
    name = models.CharField(max_length=100, blank=True)
    company = models.CharField(max_length=100, blank=True)
    job_title = models.CharField("role", max_length=100, blank=True)
    # A name of the IANA time zone database; empty for UTC.
    time_zone = models.CharField(max_length=64, blank=True)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField()
    # When its owner deleted the account: what names a person is gone from the row, which stays for what refers to it.
    deleted_at = models.DateTimeField(null=True, blank=True)
    # Whether the password is too short to be the only factor (NIST SP 800-63B-4 §3.1.1.2).
    has_short_password = models.BooleanField(default=False)
    # What they want mail about. Notices about their account's security are not asked for.
    wants_product_updates = models.BooleanField(default=False)
    wants_security_advisories = models.BooleanField(default=True)
    wants_tips = models.BooleanField(default=False)

    objects: ClassVar[UserManager] = UserManager()

    EMAIL_FIELD = "email"
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(email=Lower("email")), name="user_email_is_lower_case")
        ]

    def __str__(self) -> str:
        return self.email

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save in a transaction: Django and allauth save people wherever they like, and an audit row goes along."""
        with transaction.atomic():
            super().save(*args, **kwargs)

    def set_password(self, raw_password: str | None) -> None:
        """Set a password, and note whether it could be the only factor: its hash does not tell."""
        super().set_password(raw_password)
        self.has_short_password = raw_password is not None and len(raw_password) < LEAST_AS_ONLY_FACTOR

    @property
    def display_name(self) -> str:
        return "Deleted account" if self.deleted_at else self.name or self.email

    @property
    def initials(self) -> str:
        """Two letters for where a picture would be: of the first and the last word of the name, or of the address."""
        words = [word for word in self.name.split() if word[0].isalnum()] or [self.email]
        return "".join(word[0] for word in dict.fromkeys([words[0], words[-1]])).upper()[:2]


class Installation(models.Model):
    """The one row that says this installation has been set up; its key makes a second set-up impossible."""

    id = models.SmallIntegerField(primary_key=True, default=1, editable=False)
    set_up_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(condition=Q(id=1), name="installation_is_one")]

    def __str__(self) -> str:
        return f"set up at {self.set_up_at:%Y-%m-%d}"


class Device(models.Model):
    """A browser from which someone has signed in, known again by a cookie. Its token is stored as a hash."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="devices")
    token_digest = models.CharField(max_length=64)
    created_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "token_digest"], name="device_unique"),
        ]

    def __str__(self) -> str:
        return f"a device of {self.user}"


class EmailChange(models.Model):
    """A new address that someone wants, until it was confirmed from both. The links' tokens are stored as hashes."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.OneToOneField(User, models.CASCADE, related_name="email_change")
    new_email = models.EmailField(max_length=254)
    old_token_digest = models.CharField(max_length=64, unique=True)
    new_token_digest = models.CharField(max_length=64, unique=True)
    old_confirmed_at = models.DateTimeField(null=True, blank=True)
    new_confirmed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(expires_at__gt=models.F("created_at")), name="email_change_expires_later"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} to {self.new_email}"
