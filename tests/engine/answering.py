"""A server that answers as its paths say, for load tests: `python answering.py PORT`.

`/ok`, `/fail`, `/near` (a redirect to `/ok`), `/away` (a redirect to another name of this machine),
`/seen` (count of requests by that name), `/stream`, `/cut` (without its end), `/broken` (the
connection ends within the body).
"""

import asyncio
import json
import sys

TOKENS, GAP = 5, 0.02
SEEN = {"localhost": 0}


def whole(status: str, body: str = "ok", *headers: str) -> bytes:
    """Return a complete response."""
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", body)
    return "\r\n".join(lines).encode()


def piece(text: str) -> bytes:
    """Return one chunk of a chunked body."""
    return f"{len(text):x}\r\n{text}\r\n".encode()


async def next_token() -> None:
    """Wait as long as a model takes for a token."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    loop.call_later(GAP, done.set_result, None)
    await done


async def stream(writer: asyncio.StreamWriter, path: str) -> None:
    """Send tokens one after the other."""
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    writer.write(head.encode())
    for number in range(TOKENS):
        await next_token()
        chunk = {"choices": [{"delta": {"content": f" {number}"}}]}
        writer.write(piece(f"data: {json.dumps(chunk)}\n\n"))
        await writer.drain()
    if path == "/broken":
        writer.close()
        return
    last = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
    done = "data: [DONE]\n\n" if path == "/stream" else ""
    writer.write(piece(f"data: {json.dumps(last)}\n\n{done}") + piece(""))


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of a connection."""
    port = writer.get_extra_info("sockname")[1]
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        lines = head.decode().lower().split("\r\n")
        path = lines[0].split()[1]
        host, *_ = (line.removeprefix("host: ") for line in lines if line.startswith("host: "))
        SEEN[host.partition(":")[0]] = SEEN.get(host.partition(":")[0], 0) + 1
        for line in lines:
            if line.startswith("content-length: "):
                await reader.readexactly(int(line.partition(": ")[2]))
        if path in ("/stream", "/cut", "/broken"):
            await stream(writer, path)
        elif path == "/near":
            writer.write(whole("302 Found", "", "Location: /ok"))
        elif path == "/away":
            writer.write(whole("302 Found", "", f"Location: http://localhost:{port}/ok"))
        elif path == "/seen":
            writer.write(whole("200 OK", str(SEEN["localhost"])))
        else:
            writer.write(whole("500 Oh" if path == "/fail" else "200 OK"))
        if writer.is_closing():
            return


async def serve(port: int) -> None:
    """Serve until the process ends."""
    server = await asyncio.start_server(answer, "127.0.0.1", port, backlog=1000)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
