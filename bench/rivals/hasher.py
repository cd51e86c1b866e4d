"""Django's argon2 at the cost that keyportal spends once a key and process."""

from django.contrib.auth.hashers import Argon2PasswordHasher


class Hasher(Argon2PasswordHasher):
    """argon2id, m=19456 KiB, t=2, p=1."""

    time_cost = 2
    memory_cost = 19_456
    parallelism = 1
