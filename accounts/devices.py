"""What a browser or a program calls itself, in a few words that its owner knows again."""

from ua_parser import parse

from keyportal.names import with_unseen_marked

UNKNOWN = "Unknown program"
_LONGEST = 40


def device_of(user_agent: str) -> str:
    """Return browser and system, such as "Firefox on Linux"; for other programs their own first word.

    What is told is the sender's word: it helps to know a session again, and proves nothing.
    """
    known = parse(user_agent)
    program = known.user_agent.family if known.user_agent else ""
    system = known.os.family if known.os else ""
    if not program:
        program = with_unseen_marked(user_agent).partition("/")[0].strip()[:_LONGEST] or UNKNOWN
    return f"{program} on {system}" if system else program


def is_command_line(user_agent: str) -> bool:
    """Say whether a program other than a browser sends this: what browsers send begins alike in all of them."""
    return not user_agent.startswith("Mozilla/")
