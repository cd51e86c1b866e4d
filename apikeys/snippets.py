"""Ready-to-paste text that puts a key where it is used (O4). Pure."""

from dataclasses import dataclass, field

VARIABLE = "KEYPORTAL_KEY"
PLACEHOLDER = f"${VARIABLE}"
# What static/js/keyportal-client.js takes for the beginning of publishable keys, unless it is told.
CLIENT_PREFIX = "kp_pk_"


@dataclass(frozen=True, slots=True)
class Snippet:
    """One way to hand a key over. `filename` is there if the text is worth a file."""

    slug: str
    title: str
    text: str = field(repr=False)
    filename: str = ""


def snippets(key: str, *, url: str) -> list[Snippet]:
    """Return the snippets that hold a key; the response that reveals it is their only reader."""
    return [
        Snippet("shell", "Shell", f"export {VARIABLE}='{key}'"),
        Snippet("curl", "curl", f"curl -H 'Authorization: Bearer {key}' \\\n  {url}/v1/projects"),
        Snippet("env", ".env file", f"{VARIABLE}={key}\n", filename="keyportal.env"),
        Snippet("github", "GitHub Actions", f"gh secret set {VARIABLE} <<'KEY'\n{key}\nKEY"),
        Snippet(
            "gitlab",
            "GitLab CI",
            f"glab variable set {VARIABLE} --masked --protected <<'KEY'\n{key}\nKEY",
        ),
        Snippet("python", "Python", _python(f'"{key}"', url)),
    ]


def browser_snippets(key: str, *, url: str, prefix: str = CLIENT_PREFIX) -> list[Snippet]:
    """Return the snippets that put a publishable key into a web page, with the client that keyportal serves.

    :param prefix: how publishable keys of this installation begin, which the client has to be told.
    """
    options = "" if prefix == CLIENT_PREFIX else f', prefix: "{prefix}"'
    return [
        Snippet(
            "javascript",
            "JavaScript",
            f'import {{ KeyportalClient }} from "{url}/static/js/keyportal-client.js";\n\n'
            f'const client = new KeyportalClient({{ url: "{url}", key: "{key}"{options} }});\n'
            "console.log(await client.whoami());\n",
        ),
        Snippet("env", ".env file", f"{VARIABLE}={key}\n", filename="keyportal.env"),
    ]


def examples(*, url: str) -> list[Snippet]:
    """Return the snippets of a key whose secret nobody knows any more: they read it from the environment."""
    return [
        Snippet("curl", "curl", f'curl -H "Authorization: Bearer {PLACEHOLDER}" \\\n  {url}/v1/projects'),
        Snippet("python", "Python", "import os\n" + _python(f'os.environ["{VARIABLE}"]', url)),
        Snippet(
            "github",
            "GitHub Actions",
            f"env:\n  {VARIABLE}: ${{{{ secrets.{VARIABLE} }}}}",
        ),
        Snippet(
            "gitlab",
            "GitLab CI",
            f'script:\n  - curl -H "Authorization: Bearer {PLACEHOLDER}" {url}/v1/projects',
        ),
    ]


def _python(key: str, url: str) -> str:
    return (
        "import urllib.request\n\n"
        f"key = {key}\n"
        f'request = urllib.request.Request("{url}/v1/projects")\n'
        'request.add_header("Authorization", f"Bearer {key}")\n'
        "print(urllib.request.urlopen(request).read().decode())\n"
    )
