"""One WSGI application in a process without a server, called as often as it is told to on stdin.

`python -m bench.inprocess MODULE CREDENTIALS` answers each number with the CPU time of so many calls, in µs a call:
that of the whole process, so that what its other threads do for a request, then or a second later, counts too.
"""

import io
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any
from wsgiref.types import WSGIApplication

# In which the uses that the calls left are written; to sleep costs no CPU time.
SETTLED_SECONDS = 1.3


def _environ(credential: str) -> dict[str, Any]:
    # What gunicorn gives for wrk's request.
    return {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/v1/whoami",
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "RAW_URI": "/v1/whoami",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "50000",
        "HTTP_HOST": "127.0.0.1:8000",
        "HTTP_AUTHORIZATION": credential,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }


def _call(application: WSGIApplication, environ: dict[str, Any]) -> str:
    statuses: list[str] = []

    def start_response(status: str, *_: object) -> Any:
        statuses.append(status)

    answer = application(environ, start_response)
    for _ in answer:
        pass
    if hasattr(answer, "close"):
        answer.close()
    return statuses[0]


def main() -> None:
    """Answer until stdin ends."""
    application: WSGIApplication = import_module(sys.argv[1]).application
    credential = Path(sys.argv[2]).read_text(encoding="utf-8").splitlines()[0]
    for line in sys.stdin:
        count = int(line)
        started = time.process_time()
        for _ in range(count):
            if (status := _call(application, _environ(credential))) != "200 OK":
                raise SystemExit(f"{sys.argv[1]} answered {status}")
        time.sleep(SETTLED_SECONDS)
        print((time.process_time() - started) / count * 1e6, flush=True)


if __name__ == "__main__":
    main()
