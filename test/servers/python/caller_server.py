"""A server that lets nobody in who is not from Seed: caller_server.py PORT.

The module caller is the example of docs/mounts.md.
"""

import sys

import jwt
from caller import caller_of
from fastmcp import FastMCP
from fastmcp.server.dependencies import get_http_request
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse


class VerifyCaller:
    """Keeps who calls for the tools of the request. Answers 401, with the reason, if that cannot be verified."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        try:
            scope["caller"] = caller_of(Headers(scope=scope).get("authorization", ""))
        except jwt.PyJWTError as err:
            return await PlainTextResponse(str(err), status_code=401)(scope, receive, send)
        await self.app(scope, receive, send)


mcp = FastMCP("callers")


@mcp.tool()
def who_calls() -> dict:
    """Says who calls."""
    return get_http_request().scope["caller"]


mcp.run(
    "http",
    host="127.0.0.1",
    port=int(sys.argv[1]),
    middleware=[Middleware(VerifyCaller)],
    show_banner=False,
)
