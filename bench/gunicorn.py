"""How every subject but keyportal itself is served: what decides about speed is as in `keyportal/gunicorn.py`.

It imports nothing of keyportal, because the rivals live in a virtual environment of their own;
`tests/bench/test_gunicorn.py` holds the two together.
"""

import os
from pathlib import Path

bind = f"127.0.0.1:{os.environ['PORT']}"
reuse_port = True

worker_class = "gthread"
workers = int(os.environ["WEB_CONCURRENCY"])
threads = int(os.environ["WEB_THREADS"])
preload_app = True
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None
control_socket_disable = True
graceful_timeout = 25
keepalive = 75
accesslog = None
