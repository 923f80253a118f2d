"""What runs the app on its sockets."""

from aiohttp import web

from vedette.serve import http_errors
from vedette.serve.request_log import limit_lines


def make_runner(app: web.Application) -> web.AppRunner:
    """What runs the app: with bodies as they were sent (request_body.py), and handlers that end with their client."""
    limit_lines("aiohttp.server", http_errors.log.name, http_errors.mistakes.name)
    return web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handler_cancellation=True, auto_decompress=False)
