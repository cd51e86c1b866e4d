"""The rules, run by the engines they are for, on files with planted keys: every key found, and nothing else.

An expression cannot compute a checksum, so what differs from a key by that alone is found by all but the hook.
git-secrets and the hook run as they are. gitleaks is a program of Go, whose regular expressions are RE2's: its rule is
read from its TOML and applied as gitleaks does, keywords first, then the expression, then the entropy of the secret.
"""

import json
import math
import os
import re
import stat
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from types import ModuleType

import pytest
import re2

from apikeys import scanner_rules
from apikeys.keyformat import DEFAULT, Shape, mint
from tests.apikeys.reference_shapes import REFERENCE
from tests.services import require

pytestmark = pytest.mark.pure

URL = "https://keys.example.com"
Place = tuple[str, int]

# What a line of the corpus holds: a key, what only its checksum tells from one, the same of one character, or neither.
KEY, DAMAGED, PLACEHOLDER, NOTHING = "key", "damaged", "placeholder", "nothing"


@dataclass(frozen=True)
class Line:
    text: str
    holds: str


def planted(key: str) -> Iterator[tuple[str, str]]:
    """Yield the ways in which keys leak: the name of a file, and a line of it."""
    yield "client.py", f'client = Client("{key}")'
    yield "client.js", f"const key = '{key}';  // do not commit"
    yield ".env", f"KEYPORTAL_KEY={key}"
    yield "deploy.yaml", f"  key: {key}"
    yield "windows.ini", f"key={key}\r"
    yield "config.json", json.dumps({"env": f"first\nsecond\n{key}\nlast", "tab": 1})
    yield "config.json", json.dumps({"tabbed": f"x\t{key}\tx"})
    yield "go.json", f'{{"url":"https://x.example/?a=1\\u0026key\\u003d{key}\\u0026b"}}'
    yield "urls.txt", f"https://x.example/?next=%2Fa%3Fkey%3D{key}%26b"
    yield "urls.txt", f"https://user:{key}@x.example/{key}?{key}={key}"
    yield "notes.md", f"`{key}`,**{key}**, ({key}) é{key}é"
    yield "paths.txt", f"/tmp/backup_{key}_old.txt"
    yield "history.sh", f"curl -H 'Authorization: Bearer {key}' x.example"


def corpus(shapes: Sequence[Shape]) -> dict[str, list[Line]]:
    files: dict[str, list[Line]] = {}
    for shape in shapes:
        secret, publishable, organization = shape.kinds
        for kind in (secret, organization):
            for environment in shape.environments:
                key = mint(shape, kind_label=kind, environment=environment).reveal()
                for name, text in planted(key):
                    files.setdefault(name, []).append(Line(text, KEY))
        shown = mint(shape, kind_label=publishable, environment="live").reveal()
        files["client.js"].append(Line(f"init('{shown}')", NOTHING if shape.writes_kind else KEY))
        files.setdefault("near.txt", []).extend(near_misses(shape))
    rules = [scanner_rules.gitleaks(shapes, url=URL), scanner_rules.git_secrets(shapes)]
    rules += [scanner_rules.hook(shapes, url=URL), scanner_rules.regex(shapes)]
    files["rules.txt"] = [Line(text, NOTHING) for rule in rules for text in rule.splitlines()]
    return files


def near_misses(shape: Shape) -> Iterator[Line]:
    key = mint(shape, kind_label=shape.kinds[0], environment="live")
    text = key.reveal()
    damaged = text[:-1] + ("0" if text[-1] != "0" else "1")
    head = key.label.removesuffix(key.prefix)
    yield Line(damaged, DAMAGED)
    yield Line(f"{damaged} {text}", KEY)
    yield Line(f"{head}{'x' * 8}{shape.separator}{'x' * 32}", PLACEHOLDER)
    digest = sha1(text.encode(), usedforsecurity=False).hexdigest()
    for other in (
        key.label,
        f"{key.label}…",
        f"the key {key.label} was revoked",
        text[:-1],
        f"{damaged}0",
        f"x{damaged}",
        text.upper(),
        text.replace("_", "-"),
        f"{head}{text[-20:]}",
        f"{head}frontend_ci",
        digest,
        f"tests_{digest}{digest}",
        scanner_rules.written(shape),
    ):
        yield Line(other, NOTHING)


@pytest.fixture(params=[*REFERENCE, "all"])
def shapes(request: pytest.FixtureRequest) -> list[Shape]:
    return [*REFERENCE.values()] if request.param == "all" else [REFERENCE[request.param]]


@pytest.fixture
def files(shapes: list[Shape]) -> dict[str, list[Line]]:
    return corpus(shapes)


def places(files: dict[str, list[Line]], *wanted: str) -> set[Place]:
    return {
        (name, number)
        for name, lines in files.items()
        for number, line in enumerate(lines, start=1)
        if line.holds in wanted
    }


def content_of(lines: list[Line]) -> str:
    return "".join(f"{line.text}\n" for line in lines)


def search(files: dict[str, list[Line]], find: Callable[[str], Iterator[int]]) -> set[Place]:
    """Return the lines of what is found at these places of whole files."""
    texts = {name: content_of(lines) for name, lines in files.items()}
    return {(name, text.count("\n", 0, place) + 1) for name, text in texts.items() for place in find(text)}


# The engines


@pytest.mark.parametrize("engine", [re, re2])
def test_expression_finds_what_looks_like_a_key(
    shapes: list[Shape], files: dict[str, list[Line]], engine: ModuleType
) -> None:
    expression = engine.compile(scanner_rules.regex(shapes))

    def find(text: str) -> Iterator[int]:
        return (match.start(1) for match in expression.finditer(text))

    assert search(files, find) == places(files, KEY, DAMAGED, PLACEHOLDER)


def entropy(text: str) -> float:
    return -sum(count / len(text) * math.log2(count / len(text)) for count in Counter(text).values())


def test_gitleaks_rule_finds_what_looks_like_a_random_key(shapes: list[Shape], files: dict[str, list[Line]]) -> None:
    config = tomllib.loads(scanner_rules.gitleaks(shapes, url=URL))
    [rule] = config["rules"]
    expression = re2.compile(rule["regex"])

    def find(text: str) -> Iterator[int]:
        if any(keyword in text.lower() for keyword in rule["keywords"]):
            for match in expression.finditer(text):
                if entropy(match.group(rule["secretGroup"])) > rule["entropy"]:
                    yield match.start(rule["secretGroup"])

    assert config["extend"] == {"useDefault": True}
    assert {keyword.lower() for keyword in rule["keywords"]} == set(rule["keywords"])
    assert search(files, find) == places(files, KEY, DAMAGED)
    # A file may hold one key alone, whose keyword has to be among the rule's.
    lines = [line for lines in files.values() for line in lines]
    assert [line for line in lines if bool([*find(line.text)]) is not (line.holds in {KEY, DAMAGED})] == []


def test_random_keys_are_far_from_the_least_entropy(shapes: list[Shape]) -> None:
    keys = [mint(shape, kind_label=shape.kinds[0], environment="live") for shape in shapes for _ in range(200)]
    assert min(entropy(key.reveal()) for key in keys) > scanner_rules.ENTROPY + 0.4


def test_github_pattern_finds_what_looks_like_a_key(shapes: list[Shape], files: dict[str, list[Line]]) -> None:
    pattern = scanner_rules.github(shapes)
    expression = re2.compile(f"(?:{pattern.before_secret})({pattern.secret_format})(?:{pattern.after_secret})")

    def find(text: str) -> Iterator[int]:
        position = 0
        # What follows one key may be what precedes the next.
        while match := expression.search(text, position):
            yield match.start(1)
            position = match.end(1)

    assert search(files, find) == places(files, KEY, DAMAGED, PLACEHOLDER)
    assert expression.search(pattern.test_string)


@pytest.fixture
def repository(tmp_path: Path, files: dict[str, list[Line]], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose corpus is staged."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    directory = tmp_path / "repository"
    git(tmp_path, "init", "--quiet", str(directory))
    for name, text in {"user.name": "Dana", "user.email": "dana@example.com", "core.autocrlf": "false"}.items():
        git(directory, "config", name, text)
    for name, lines in files.items():
        (directory / name).write_bytes(content_of(lines).encode())
    git(directory, "add", "--all")
    return directory


def git(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], check=False, cwd=directory, capture_output=True, text=True)


def reported(text: str) -> set[Place]:
    return {(name, int(number)) for name, number in re.findall(r"^([^\s:]+):(\d+):", text, re.MULTILINE)}


def test_git_secrets_finds_what_looks_like_a_key(
    shapes: list[Shape], files: dict[str, list[Line]], repository: Path
) -> None:
    require("git-secrets")
    commands = scanner_rules.git_secrets(shapes)
    subprocess.run(["sh", "-e"], check=True, cwd=repository, input=commands, capture_output=True, text=True)
    for scan in (["secrets", "--scan"], ["secrets", "--scan", "--recursive", "."], ["commit", "--message", "x"]):
        result = git(repository, *scan)
        assert result.returncode == 1
        found = {(name.removeprefix("./"), number) for name, number in reported(result.stderr)}
        assert found == places(files, KEY, DAMAGED, PLACEHOLDER)


@pytest.fixture
def hook(shapes: list[Shape], repository: Path) -> Path:
    path = repository / ".git" / "hooks" / "pre-commit"
    path.parent.mkdir(exist_ok=True)
    path.write_text(scanner_rules.hook(shapes, url=URL), encoding="ascii")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_hook_of_git_finds_keys_alone_and_prints_none(
    files: dict[str, list[Line]], repository: Path, hook: Path
) -> None:
    result = git(repository, "commit", "--message", "x")
    assert result.returncode == 1
    assert reported(result.stderr) == places(files, KEY)
    keys = re.findall(r"[0-9A-Za-z]{32}", content_of(files[".env"]))
    assert keys
    assert not [key for key in keys if key[-20:] in result.stderr]


def test_hook_lets_a_commit_without_keys_pass(files: dict[str, list[Line]], repository: Path, hook: Path) -> None:
    for name, lines in files.items():
        kept = [line for line in lines if line.holds != KEY]
        (repository / name).write_bytes(content_of(kept).encode())
    git(repository, "add", "--all")
    result = git(repository, "commit", "--message", "x")
    assert (result.returncode, result.stderr) == (0, "")


def test_hook_sees_what_a_commit_adds_and_not_what_it_removes(
    files: dict[str, list[Line]], repository: Path, hook: Path
) -> None:
    git(repository, "commit", "--no-verify", "--message", "x")
    env = repository / ".env"
    key = files[".env"][0].text.partition("=")[2]
    env.write_text("# nothing\n" * 3, encoding="ascii")
    git(repository, "commit", "--all", "--message", "taken out")
    env.write_text(f"# nothing\n# nothing\n++ {key}\n# nothing\n{key}\n", encoding="ascii")
    (repository / "wide.txt").write_bytes(f"key\n{key}\n".encode("utf-16"))
    git(repository, "add", "--all")
    result = git(repository, "commit", "--message", "put in")
    assert git(repository, "log", "--format=%s").stdout == "taken out\nx\n"
    assert result.returncode == 1
    assert result.stderr.count(" is an API key") == 3


def test_hook_reads_files_that_pre_commit_names(files: dict[str, list[Line]], repository: Path, hook: Path) -> None:
    command = [sys.executable, str(hook), *files]
    result = subprocess.run(command, check=False, cwd=repository, capture_output=True, text=True)
    assert result.returncode == 1
    assert reported(result.stderr) == places(files, KEY)
    assert scanner_rules.HOOK_FILE in scanner_rules.PRE_COMMIT_CONFIG


# What they say


def test_shapes_are_written_for_people() -> None:
    assert [scanner_rules.written(shape) for shape in REFERENCE.values()] == [
        "kp_(sk|pk|org)_(live|test)_<8>_<32>",
        "ospr_<40>",
        "onv_sk_(live|test)_<40>",
        "ss_(secret|pub|org)_<40>",
        "tos_<8>_<32>",
    ]


def test_rules_leave_out_publishable_keys_where_the_kind_is_written() -> None:
    assert scanner_rules.key_regex([DEFAULT]) == "kp_(?:sk|org)_(?:live|test)_[0-9A-Za-z]{8}_[0-9A-Za-z]{32}"
    assert "kp_pk" not in scanner_rules.gitleaks([DEFAULT], url=URL)
