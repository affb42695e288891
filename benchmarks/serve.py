"""Load on ``errata serve``: many clients, half hits, edits and reloads meanwhile.

    python benchmarks/serve.py --clients 200 --seconds 120 --out results/serve.json

Two phases in one run, with the same clients: the bare stub, then errata in front of it. The stub is
an upstream that answers after a delay, by a text that depends on every byte it got, so that each
miss shows both ways byte for byte. Each answer of a hit is one version of a patch, whole: a torn
one would mix two. Everything is on the loopback address. With ``--model``, a local model in place
of the stub, and no first phase.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FACTS = 50
WORDS = "river stone cloud lamp music orbit paper winter tiger copper bridge window garden".split()
ADMIN = "sk-benchmark"


# -- the stub --------------------------------------------------------------------------------


def stub_answer(body: bytes) -> bytes:
    """Return what the stub answers to a body: a pure function of its bytes."""
    digest = hashlib.sha256(body).hexdigest()
    return (
        f'{{"id":"{digest[:8]}" , "object":"chat.completion","model":"stub","choices":[{{"index":0,'
        f'"message":{{"role":"assistant","content":"{digest}"}},"finish_reason":"stop"}}]}}'
    ).encode()


def run_stub(port: int, delay: float) -> None:
    """Serve the stub."""
    import uvicorn

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if scope["path"].endswith("/models"):
            answer = b'{"object":"list","data":[{"id":"stub","object":"model"}]}'
        else:
            await asyncio.sleep(delay)
            answer = stub_answer(body)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(answer)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    uvicorn.run(app, port=port, log_level="error", access_log=False, lifespan="off")


# -- clients ---------------------------------------------------------------------------------


@dataclass
class Seen:
    """What the clients saw.

    :param seconds: of each request.
    :param errors: of each that failed, why.
    :param torn: answers that were no version of a patch.
    :param hits: how many were hits.
    """

    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    torn: int = 0
    hits: int = 0


class Connection:
    """One client's connection, kept alive.

    :param port: of the server.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, body: bytes) -> tuple[int, bytes]:
        """Return status and body of the response."""
        if self.streams is None:
            self.streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self.streams
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        head_bytes = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head_bytes)
        if length is None:
            raise ConnectionError("a response without a length")
        found = await reader.readexactly(int(length[1]))
        return int(head_bytes.split(b" ", 2)[1]), found

    def close(self) -> None:
        """Close it."""
        if self.streams is not None:
            self.streams[1].close()
            self.streams = None


def question(number: int) -> str:
    """Return the question of a fact."""
    return f"What is the capital of the {WORDS[number % len(WORDS)]} kingdom number {number}?"


def answer(number: int, version: int) -> str:
    """Return one version of a fact's answer: the same word over and over."""
    return " ".join([f"v{version}f{number}"] * 20)


async def client(
    port: int, end: float, seed: int, texts: list[str], seen: Seen, *, local: bool
) -> None:
    """Ask one question after another: half of them of facts, in errata's phase."""
    draw, connection = random.Random(seed), Connection(port)
    while time.monotonic() < end:
        fact = draw.randrange(FACTS) if draw.random() < 0.5 else None
        text = draw.choice(texts) if fact is None else question(fact)
        fields = {"max_tokens": 8, "temperature": 0} if local else {"x": draw.random()}
        messages = [{"role": "user", "content": text}]
        body = json.dumps({"messages": messages, **fields}).encode()
        start = time.perf_counter()
        try:
            status, found = await connection.post(body)
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            seen.errors.append(type(error).__name__)
            connection.close()
            continue
        seen.seconds.append(time.perf_counter() - start)
        if status != 200:
            seen.errors.append(f"status {status}")
        elif found != stub_answer(body):
            judge(found, fact, seen, local=local)
    connection.close()


def judge(found: bytes, fact: int | None, seen: Seen, *, local: bool) -> None:
    """Count an answer that is not the stub's: a hit, or an error."""
    said = str(json.loads(found)["choices"][0]["message"]["content"]).strip()
    words = set(said.split())
    if fact is None:
        if not local:
            seen.errors.append("a miss was not the stub's bytes")
    elif len(words) == 1 and re.fullmatch(rf"v\d+f{fact}", said.split()[0]):
        seen.hits += 1
    else:
        seen.torn += 1


async def load(
    port: int, clients: int, seconds: float, texts: list[str], *, local: bool = False
) -> tuple[Seen, float]:
    """Return what all clients saw, and the seconds it took."""
    seen, start = Seen(), time.monotonic()
    end = start + seconds
    asking = (client(port, end, seed, texts, seen, local=local) for seed in range(clients))
    await asyncio.wait_for(asyncio.gather(*asking), seconds + 120)
    return seen, time.monotonic() - start


# -- edits and reloads -----------------------------------------------------------------------


def write_facts(folder: Path, version: int) -> None:
    """Write one version of every fact, as a checkout would."""
    lines = [
        json.dumps({"question": question(n), "answer": answer(n, version), "id": f"fact-{n}"})
        for n in range(FACTS)
    ]
    new = folder / "_new.jsonl"
    new.write_text("\n".join(lines) + "\n")
    new.rename(folder / "facts.jsonl")


def change(port: int, folder: Path, end: float, every: float) -> dict[str, int]:
    """Reload the facts and make and retract edits until the end; return how many."""
    import httpx

    made = {"reloads": 0, "edits": 0}
    headers = {"Authorization": f"Bearer {ADMIN}"}
    base = f"http://127.0.0.1:{port}/admin/api"
    with httpx.Client(base_url=base, headers=headers, timeout=60) as admin:
        while time.monotonic() < end:
            made["reloads"] += 1
            write_facts(folder, made["reloads"])
            entry = {"question": f"Who is number {made['edits']}?", "answer": "Nobody"}
            response = admin.post("/edits", json={"entry": entry})
            response.raise_for_status()
            admin.delete(f"/edits/{response.json()['edit']['id']}").raise_for_status()
            made["edits"] += 1
            time.sleep(max(0.0, min(every, end - time.monotonic())))
    return made


def watch_memory(pid: int, end: float) -> list[float]:
    """Return the resident memory of a process, in MiB, once a second."""
    found = []
    while time.monotonic() < end:
        text = Path(f"/proc/{pid}/status").read_text()
        match = re.search(r"VmRSS:\s+(\d+)", text)
        found.append(int(match[1]) / 1024 if match else 0.0)
        time.sleep(1)
    return found


# -- the run ---------------------------------------------------------------------------------


def free_port() -> int:
    """Return a port that is free."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_for(port: int, path: str, process: subprocess.Popen[bytes], seconds: float = 300) -> None:
    """Wait until a server answers."""
    import httpx

    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}{path}", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise RuntimeError(f"nothing answers on port {port}")


def summary(seen: Seen, seconds: float) -> dict[str, Any]:
    """Return the figures of one phase."""
    ordered = sorted(seen.seconds)
    count = len(ordered)
    return {
        "requests": count,
        "per_second": round(count / seconds, 2),
        "p50_ms": round(1000 * ordered[count // 2], 1) if count else None,
        "p95_ms": round(1000 * ordered[int(count * 0.95)], 1) if count else None,
        "hits": seen.hits,
        "errors": len(seen.errors),
        "error_kinds": sorted(set(seen.errors)),
        "torn": seen.torn,
    }


async def measured(args: argparse.Namespace, port: int, folder: Path, pid: int) -> dict[str, Any]:
    """Return the figures of errata's phase."""
    end = time.monotonic() + args.seconds
    texts = questions(args.questions)
    (seen, seconds), changes, memory = await asyncio.gather(
        load(port, args.clients, args.seconds, texts, local=bool(args.model)),
        asyncio.to_thread(change, port, folder, end, args.every),
        asyncio.to_thread(watch_memory, pid, end),
    )
    quarter = max(1, len(memory) // 4)
    first, last = memory[quarter : 2 * quarter] or memory, memory[-quarter:]
    return {
        **summary(seen, seconds),
        **changes,
        "memory_mib_second_quarter": round(sum(first) / len(first), 1),
        "memory_mib_last_quarter": round(sum(last) / len(last), 1),
    }


def questions(count: int) -> list[str]:
    """Return so many questions that no fact governs."""
    draw = random.Random(1)
    return [f"Tell me about the {' '.join(draw.choices(WORDS, k=5))}." for _ in range(count)]


def command(args: argparse.Namespace, port: int, stub: int, folder: Path) -> list[str]:
    """Return the command line of errata."""
    keys = folder.parent / "admin"
    keys.write_text(f"bench: {hashlib.sha256(ADMIN.encode()).hexdigest()}\n")
    base = ["--model", args.model] if args.model else ["--upstream", f"http://127.0.0.1:{stub}/v1"]
    gate = ["--gate", args.gate] if args.gate else []
    return [
        sys.executable, "-m", "errata", "serve", *base, *gate, "--patches", str(folder),
        "--port", str(port), "--admin-keys", str(keys), "--audit",
        str(folder.parent / "audit.sqlite3"), "--cache", str(folder.parent / "cache"),
    ]  # fmt: skip


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of both phases."""
    stub_port, port = free_port(), free_port()
    result: dict[str, Any] = {
        "clients": args.clients, "seconds": args.seconds, "delay": args.delay, "every": args.every,
        "distinct_questions": args.questions, "gate": args.gate or "clear",
        "model": args.model or "stub", "cores": os.cpu_count(), "load": os.getloadavg()[0],
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "patches"
        folder.mkdir()
        write_facts(folder, 0)
        stub = subprocess.Popen(
            [sys.executable, __file__, "--stub", str(stub_port), "--delay", str(args.delay)]
        )
        server = subprocess.Popen(command(args, port, stub_port, folder), stdout=subprocess.DEVNULL)
        try:
            wait_for(stub_port, "/v1/models", stub)
            wait_for(port, "/readyz", server)
            if not args.model:
                bare = load(stub_port, args.clients, args.seconds, questions(args.questions))
                result["bare"] = summary(*asyncio.run(bare))
            result["errata"] = asyncio.run(measured(args, port, folder, server.pid))
            server.send_signal(signal.SIGTERM)
            result["exit_code"] = server.wait(60)
        finally:
            for process in (server, stub):
                process.kill()
                process.wait()
    if not args.model:
        ratio = result["errata"]["per_second"] / result["bare"]["per_second"]
        result["ratio"] = round(ratio, 3)
    return result


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=120.0, help="of each phase")
    parser.add_argument("--delay", type=float, default=0.2, help="seconds the stub takes")
    parser.add_argument("--questions", type=int, default=500, help="distinct misses")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two changes")
    parser.add_argument("--gate", default="")
    parser.add_argument("--model", default="", help="a local model in place of the stub")
    parser.add_argument("--out", type=Path)
    parser.add_argument(
        "--check", action="store_true", help="exit 1 after an error or a torn answer"
    )
    parser.add_argument("--stub", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.stub:
        run_stub(args.stub, args.delay)
        return
    result = run(args)
    text = json.dumps(result, indent=2) + "\n"
    print(text)
    if args.out:
        args.out.write_text(text)
    phase = result["errata"]
    if args.check and (phase["errors"] or phase["torn"] or not phase["hits"]):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
