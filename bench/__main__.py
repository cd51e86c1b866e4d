"""`python -m bench`: how fast keyportal is, as ratios to what it could be and to what others are.

It starts everything it needs, prints Markdown, and never fails for being slow.
"""

import argparse

from bench import report
from bench.measuring import end_on_signals, say
from bench.parts import PARTS, Options
from bench.report import Target
from bench.subjects import Bench


def main() -> None:
    """Run the parts that are asked for and print what they found, then all targets."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure how fast keyportal is.")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS), help="parts to run; by default all")
    parser.add_argument("--rounds", type=int, default=5, help="how often each subject has its turn")
    parser.add_argument("--seconds", type=int, default=5, help="how long a turn is")
    parser.add_argument("--rivals-probe", action="store_true", help="give the rivals CONN_HEALTH_CHECKS")
    arguments = parser.parse_args()
    end_on_signals()
    print(report.machine())
    options = Options(arguments.rounds, arguments.seconds, arguments.rivals_probe)
    targets: list[Target] = []
    with Bench() as bench:
        for name in arguments.only:
            say(f"{name} …")
            print(f"\n## {name}: {PARTS[name].__doc__}\n", flush=True)
            targets += PARTS[name](bench, options)
    print(f"\n## Targets\n\n{report.targets_table(targets)}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
