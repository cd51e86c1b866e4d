"""The default shape and those of the reference systems."""

from apikeys.keyformat import DEFAULT, Shape

REFERENCE = {
    "keyportal": DEFAULT,
    "ossprey": Shape("ospr_{prefix}{secret}"),
    "onvera": Shape("onv_sk_{env}_{prefix}{secret}"),
    "sigsentry": Shape("{brand}_{kind}_{prefix}{secret}", "ss", ("secret", "pub", "org")),
    "trustedoss": Shape("tos_{prefix}_{secret}"),
}
