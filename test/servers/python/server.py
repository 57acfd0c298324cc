"""A server as people write it in Python, with the MCP SDK or with FastMCP: server.py KIND [PORT].

Without a port it speaks stdio.
"""

import asyncio
import sys
from typing import Annotated

from pydantic import BaseModel, Field

KIND, *PORT = sys.argv[1:]

if KIND == "fastmcp":
    from fastmcp import Context, FastMCP
    from fastmcp.utilities.types import Image

    mcp = FastMCP("python")
else:
    from mcp.server.mcpserver import Context, Image, MCPServer

    mcp = MCPServer("python")

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c63fccfc0f01f000505020017f1f297"
    "0000000049454e44ae426082"
)


class Weather(BaseModel):
    city: str
    degrees: float = Field(description="Celsius")
    days: list[str]


@mcp.tool()
def add(a: int, b: int = 1) -> int:
    """Adds two numbers."""
    return a + b


@mcp.tool()
def weather(city: Annotated[str, Field(description="A city", min_length=2)]) -> Weather:
    """Says what the weather is like."""
    return Weather(city=city, degrees=21.5, days=["Mon", "Tue"])


@mcp.tool()
def picture() -> Image:
    """Gives one pixel."""
    return Image(data=PIXEL, format="png")


@mcp.tool()
def fail(reason: str) -> str:
    """Fails."""
    raise ValueError(reason)


@mcp.tool()
async def slow(steps: int, ctx: Context) -> str:
    """Takes its time, and reports its progress."""
    for step in range(steps):
        await ctx.report_progress(step + 1, steps)
        await asyncio.sleep(0.01)
    return f"{steps} steps"


@mcp.resource("config://app")
def config() -> str:
    """The configuration."""
    return "debug = true"


@mcp.resource("people://{name}/profile")
def profile(name: str) -> str:
    """The profile of a person."""
    return f"Profile of {name}"


@mcp.prompt()
def review(code: str) -> str:
    """Asks for a review."""
    return f"Please review: {code}"


if not PORT:
    mcp.run("stdio")
elif KIND == "fastmcp":
    mcp.run("http", host="127.0.0.1", port=int(PORT[0]), show_banner=False)
else:
    mcp.run("streamable-http", host="127.0.0.1", port=int(PORT[0]))
