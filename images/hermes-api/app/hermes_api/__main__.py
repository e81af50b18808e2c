"""`python3 -m hermes_api`: serves until SIGTERM, then answers what was asked and ends.

`python3 -m hermes_api --check` asks the running server for its health: 0 if it is well.
"""

from __future__ import annotations

import http.client
import logging
import os
import sys

from . import log
from .settings import Settings, SettingsError


def serve() -> int:
    log.configure("info")
    logger = logging.getLogger("hermes")
    try:
        settings = Settings.from_env(os.environ)
    except SettingsError as error:
        for line in str(error).splitlines():
            logger.error("wrong setting", extra={"problem": line})
        return 2
    log.configure(settings.log_level)

    # Not at the top: the check needs neither, and is run every few seconds.
    import uvicorn

    from .application import create

    config = uvicorn.Config(
        create(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        # Whom the ingress speaks for is not asked here, so nobody's word is taken for it.
        proxy_headers=False,
        lifespan="on",
        loop="asyncio",
        http="h11",
        ws="none",
        limit_concurrency=512,
        timeout_keep_alive=75,
    )
    server = uvicorn.Server(config)
    server.run()
    return 0 if server.started else 1


def check() -> int:
    port = int(os.environ.get("HERMES_PORT") or 8000)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=4)
    try:
        connection.request("GET", "/health")
        response = connection.getresponse()
        print(response.read(1024).decode("utf-8", "replace"))
        return 0 if response.status == 200 else 1
    except (OSError, http.client.HTTPException) as error:
        print(f"{error.__class__.__name__}: {error}", file=sys.stderr)
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(check() if sys.argv[1:] == ["--check"] else serve())
