"""A real MCP client in Python, led by JSON lines: the MCP SDK's, or FastMCP's.

Prints {"authorize": URL} when a person is to sign in, and reads the URL that the browser came back to. Then answers
each line read: "list", "whoami", "request {method, params}", "spoil" (the access token has expired) and "close" (with
the status of the DELETE).
"""

import asyncio
import json
import sys
from urllib.parse import parse_qs, urlsplit

import httpx2
from fastmcp import Client as FastMCPClient
from fastmcp.client.auth import OAuth as FastMCPOAuth
from fastmcp.client.transports import StreamableHttpTransport
from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata
from mcp.types import PromptReference, ResourceTemplateReference

KIND, URL, REDIRECT_URI = sys.argv[1:]
deleted: list[int] = []


def say(message: object) -> None:
    print(json.dumps(message), flush=True)


async def read() -> str:
    return (await asyncio.to_thread(sys.stdin.readline)).strip()


async def redirect(url: str) -> None:
    say({"authorize": url})


async def callback() -> AuthorizationCodeResult:
    query = {name: values[0] for name, values in parse_qs(urlsplit(await read()).query).items()}
    if "code" not in query:
        raise RuntimeError(f"the browser came back with {query}")
    return AuthorizationCodeResult(code=query["code"], state=query.get("state"), iss=query.get("iss"))


async def note(response: httpx2.Response) -> None:
    if response.request.method == "DELETE":
        deleted.append(response.status_code)


def http_client(**options: object) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(**options, event_hooks={"response": [note]})


class Storage:
    def __init__(self) -> None:
        self.tokens = None
        self.client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens) -> None:
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client) -> None:
        self.client = client


class HeadlessOAuth(FastMCPOAuth):
    """Leaves the browser and the listening socket to who leads this client."""

    async def redirect_handler(self, authorization_url: str) -> None:
        await redirect(authorization_url)

    async def callback_handler(self) -> AuthorizationCodeResult:
        return await callback()


async def request(client, method: str, params: dict):
    """Sends a request by the method that a program would use; FastMCP's own names end with _mcp."""

    def named(name: str):
        return getattr(client, f"{name}_mcp", None) or getattr(client, name)

    if method == "tools/call":
        return await named("call_tool")(params["name"], params["arguments"])
    if method == "prompts/get":
        return await named("get_prompt")(params["name"], params["arguments"])
    if method == "resources/read":
        return await named("read_resource")(params["uri"])
    if method == "completion/complete":
        kind = PromptReference if params["ref"]["type"] == "ref/prompt" else ResourceTemplateReference
        return await named("complete")(kind(**params["ref"]), params["argument"])
    lists = {
        "tools/list": "list_tools",
        "prompts/list": "list_prompts",
        "resources/list": "list_resources",
        "resources/templates/list": "list_resource_templates",
    }
    return await named(lists[method])()


async def answer(client, message: dict) -> dict:
    try:
        result = await request(client, message["method"], message["params"])
        return {"result": result.model_dump(mode="json", by_alias=True, exclude_none=True)}
    except Exception as err:
        return {"error": f"{type(err).__name__}: {err}"}


async def lead(client, auth) -> None:
    say({"ready": True})
    while (command := await read()) not in ("close", ""):
        if command == "list":
            listed = await client.list_tools()
            say([tool.name for tool in getattr(listed, "tools", listed)])
        elif command == "whoami":
            say((await client.call_tool("whoami", {})).structured_content)
        elif command.startswith("request "):
            say(await answer(client, json.loads(command.removeprefix("request "))))
        elif command == "spoil":
            # Both refresh when their clock says so, and sign in again when the server refuses a token.
            auth.context.token_expiry_time = 1
            say(True)


async def main() -> None:
    if KIND == "fastmcp":
        host, _, port = urlsplit(REDIRECT_URI).netloc.partition(":")
        auth = HeadlessOAuth(URL, callback_host=host, callback_port=int(port))
        transport = StreamableHttpTransport(URL, auth=auth, httpx_client_factory=http_client)
        async with FastMCPClient(transport, mode="legacy") as client:
            await lead(client, auth)
    else:
        metadata = OAuthClientMetadata(client_name="Python SDK", redirect_uris=[REDIRECT_URI])
        auth = OAuthClientProvider(URL, metadata, Storage(), redirect, callback)
        async with http_client(auth=auth) as http:
            async with Client(streamable_http_client(URL, http_client=http), mode=KIND) as client:
                await lead(client, auth)
    say({"deleted": deleted})


asyncio.run(main())
