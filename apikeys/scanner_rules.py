"""Rules by which secret scanners find the keys of an installation, made from its shapes (O2). Pure.

They find secret and organization keys. Publishable keys are meant to be seen, so they raise no alarm wherever the
shape writes the kind; where it does not, nobody can tell them apart without asking, and they are found too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from apikeys.keyformat import ALPHABET, CHECKSUM_LENGTH, Shape, scanner_regex

NAME = "keyportal-api-key"
HOOK_FILE = "keyportal_keys.py"
# A random key has about 4.9 bits a character; a placeholder of one repeated character has less than 3.
ENTROPY = 3.5

# What looks like letters and digits in front of a key, and is none: the end of `\n`, of `\u003d` and of `%3D`.
_ESCAPE = r"\\[nrt]|\\x[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|%[0-9A-Fa-f]{2}"


@dataclass(frozen=True, slots=True)
class GitHubPattern:
    """The fields of GitHub's form for a custom pattern, under its own names for them."""

    pattern_name: str
    secret_format: str
    before_secret: str
    after_secret: str
    test_string: str


def written(shape: Shape) -> str:
    """Return a shape as people read it: `kp_(sk|pk|org)_(live|test)_<8>_<32>`."""
    kinds, environments = f"({'|'.join(shape.kinds)})", f"({'|'.join(shape.environments)})"
    head = shape.head.format(brand=shape.brand, kind=kinds, env=environments)
    if not shape.separator:
        return f"{head}<{shape.prefix_length + shape.secret_length}>"
    return f"{head}<{shape.prefix_length}>{shape.separator}<{shape.secret_length}>"


def key_regex(shapes: Sequence[Shape]) -> str:
    """Return the expression of a key that must not be seen, without anything around it."""
    return "|".join(scanner_regex(shape, shape.secret_kinds) for shape in shapes)


def regex(shapes: Sequence[Shape]) -> str:
    """Return an expression for Python, PCRE and RE2, whose one group is the key, also behind an escape."""
    return rf"(?:\b|_|{_ESCAPE})({key_regex(shapes)})(?:\b|_)"


def gitleaks(shapes: Sequence[Shape], *, url: str) -> str:
    """Return a configuration that adds one rule to those of gitleaks."""
    heads = [head.lower() for shape in shapes for head in shape.heads(shape.secret_kinds)]
    keywords = ", ".join(f'"{head}"' for head in dict.fromkeys(heads))
    return (
        f"# Keys of {url}\n"
        "[extend]\n"
        "useDefault = true\n\n"
        "[[rules]]\n"
        f'id = "{NAME}"\n'
        'description = "An API key of keyportal"\n'
        f"regex = '''{regex(shapes)}'''\n"
        "secretGroup = 1\n"
        f"entropy = {ENTROPY}\n"
        f"keywords = [{keywords}]\n"
    )


def git_secrets(shapes: Sequence[Shape]) -> str:
    """Return the commands that teach a repository's git-secrets, which wants whole words of POSIX expressions."""
    before, after = f"([0-9A-Za-z_]*(_|{_ESCAPE}))?", "(_[0-9A-Za-z_]*)?"
    patterns = [before + key_regex([shape]).replace("(?:", "(") + after for shape in shapes]
    return "\n".join(["git secrets --install", *(f"git secrets --add '{pattern}'" for pattern in patterns)]) + "\n"


def github(shapes: Sequence[Shape]) -> GitHubPattern:
    """Return a custom pattern for GitHub's secret scanning."""
    return GitHubPattern(
        pattern_name="keyportal API key",
        secret_format=f"(?:{key_regex(shapes)})",
        before_secret=rf"\A|[^0-9A-Za-z]|{_ESCAPE}",
        after_secret=r"\z|[^0-9A-Za-z]",  # noqa: S106 - the form calls it so; what follows a secret is none
        test_string=_sample(shapes[0]),
    )


def _sample(shape: Shape) -> str:
    """Return what has the shape of a key and can be none: its checksum is wrong."""
    return shape.heads()[0] + "0" * shape.prefix_length + shape.separator + "0" * shape.secret_length


PRE_COMMIT_CONFIG = f"""\
repos:
  - repo: local
    hooks:
      - id: {NAME}
        name: API keys of keyportal
        entry: python3 {HOOK_FILE}
        language: system
"""


def hook(shapes: Sequence[Shape], *, url: str) -> str:
    """Return a hook for git and for pre-commit, in Python's own library, which checks the checksum as well."""
    values = {
        "URL": url,
        "REGEX": key_regex(shapes),
        "ALPHABET": ALPHABET,
        "CHECKSUM": str(CHECKSUM_LENGTH),
        "SECRET": str(max(shape.secret_length for shape in shapes)),
    }
    text = _HOOK
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


_HOOK = """\
#!/usr/bin/env python3
# Refuses a commit that holds a key of @URL@
# It reads what is staged, or the files that are named to it. Keys are found by their checksum, so that what only
# looks like one passes, and no key is printed whole.
import re
import subprocess
import sys
import zlib

KEY = re.compile(rb"@REGEX@")
ALPHABET = b"@ALPHABET@"
STAGED = "git diff --cached --unified=0 --text --no-color --no-ext-diff --no-textconv".split()


def is_key(text):
    rest, digits = zlib.crc32(text[:-@CHECKSUM@]), []
    for _ in range(@CHECKSUM@):
        rest, digit = divmod(rest, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return bytes(reversed(digits)) == text[-@CHECKSUM@:]


def labels(line):
    position = 0
    while True:
        match = KEY.search(line, position)
        if not match:
            return
        if is_key(match.group()):
            yield match.group()[:-@SECRET@].rstrip(b"_-").decode()
        position = match.start() + 1


def staged():
    name, number = "", 0
    for line in subprocess.run(STAGED, check=True, stdout=subprocess.PIPE).stdout.split(b"\\n"):
        hunk = re.match(rb"@@ -\\S+ \\+(\\d+)", line)
        if line.startswith(b"+++ "):
            name = line[6:].decode(errors="replace")
        if hunk:
            number = int(hunk.group(1))
        elif line.startswith(b"+"):
            yield name, number, line
            number += not line.startswith(b"+++ ")


def named(names):
    for name in names:
        with open(name, "rb") as file:
            for number, line in enumerate(file, start=1):
                yield name, number, line


found = 0
for name, number, line in named(sys.argv[1:]) if sys.argv[1:] else staged():
    # Without zero bytes, UTF-16 reads like ASCII.
    for label in labels(line.replace(b"\\0", b"")):
        found += 1
        print("{}:{}: {}... is an API key".format(name, number, label), file=sys.stderr)
if found:
    print("Take it out, revoke it if it has left this machine, and read it from the environment.", file=sys.stderr)
sys.exit(1 if found else 0)
"""
