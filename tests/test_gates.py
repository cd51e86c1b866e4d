"""The repository keeps its own rules: what is pinned, what is listed, and what is nowhere in it."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services import PREPARE, ROOT, SERVE

pytestmark = pytest.mark.pure

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PINNED = ("base.txt", "dev.txt")
PINNED_AND_HASHED = re.compile(r"[a-z0-9._-]+(\[[a-z,]+\])?==\S+( ; [^#]+?)?( +--hash=sha256:[0-9a-f]{64})+ *")
# Written apart, so that this file does not hold what it looks for.
PERSONAL_PATH = re.compile(r"(?<![\w.*])/(?:home|root|Users|work)/")
REGISTRY = re.compile(r"\b(?:pypi|npmjs|pythonhosted|deb\.debian)\.(?:org|com)\b")
DIRECTIVE = re.compile(r"#\s*(?:noqa|type:\s*ignore|pragma:)")
DIRECTIVE_WITH_REASON = re.compile(
    r"#\s*(?:noqa:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*|type:\s*ignore\[[\w\-, ]+\]|pragma:\s*no (?:cover|branch))"
    r"\W+\w+\W+\w+"
)


def make(*targets: str) -> str:
    # A make that started the tests would hand its own flags down.
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    result = subprocess.run(["make", *targets], check=True, cwd=ROOT, env=environment, capture_output=True, text=True)
    return result.stdout


def text_files() -> Iterator[tuple[str, str]]:
    """Yield the name and text of every file that git has, or would add."""
    listed = subprocess.run(
        # The clone may belong to someone else than who runs the tests, which git must be told is meant.
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    for name in sorted(set(listed.stdout.split("\0")) - {""}):
        path = ROOT / name
        if path.is_file() and b"\0" not in (content := path.read_bytes()):
            yield name, content.decode("utf-8")


def offences(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()}"
        for name, text in text_files()
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]


def test_help_lists_every_target() -> None:
    targets = re.findall(r"^([a-z][a-z-]*):(?!=)", MAKEFILE, re.MULTILINE)
    listed = re.findall(r"^  make (\S+) +\S", make("help"), re.MULTILINE)
    assert listed == targets
    assert set(re.findall(r"^\.PHONY: (.*)", MAKEFILE, re.MULTILINE)[0].split()) == set(targets)


def test_make_alone_is_help() -> None:
    assert make() == make("help")


def test_make_run_is_what_the_tests_start() -> None:
    for command in (PREPARE, SERVE):
        assert f"$(VENV_PYTHON) {' '.join(command)}\n" in MAKEFILE


def test_ci_runs_what_the_readme_names() -> None:
    path = ROOT / ".ci" / "run"
    assert os.access(path, os.X_OK)
    assert "for target in check test; do" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PINNED)
def test_requirements_are_pinned_and_hashed(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    requirements = text.replace("\\\n", " ").splitlines()
    assert requirements
    for requirement in requirements:
        assert PINNED_AND_HASHED.fullmatch(requirement)


@pytest.mark.parametrize("name", [*PINNED, "base.in", "dev.in"])
def test_requirements_name_no_address(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^\s*(-i|-f|--\S*index\S*|--find-links|--trusted-host)\b", text, re.MULTILINE)


def test_no_file_names_a_registry() -> None:
    assert offences(REGISTRY) == []


def test_no_file_names_a_personal_path() -> None:
    assert offences(PERSONAL_PATH) == []


def test_every_exception_to_a_rule_has_its_reason() -> None:
    unexplained = [
        line
        for line in offences(DIRECTIVE)
        if Path(line.split(":")[0]).suffix == ".py" and not DIRECTIVE_WITH_REASON.search(line)
    ]
    assert unexplained == []


@pytest.mark.parametrize("leftover", ["TODO", "FIXME", "XXX"])
def test_no_task_is_left_in_the_code(leftover: str) -> None:
    found = offences(re.compile(rf"\b{leftover}\b"))
    assert [line for line in found if not line.startswith("tests/test_gates.py:")] == []


def test_the_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
