"""Mail to people: written in the transaction of what it is about (`outbox`), sent by a job (`sending`)."""
