"""Hits over HTTP: server and load on a core each, by wrk with 32 connections."""

import os
import re
import shutil
import time
import urllib.request
from pathlib import Path

from containers import REDIS, Container
from cores import LOAD, SERVER, pinned
from processes import PROGRAMS, ROOT, WORK, Failure, Server, free_port, output
from record import Part

CONNECTIONS = 32
SIZES = ["1k", "4k", "64k"]
RUST = ["bare", "floor", "larder", "axum-response-cache", "tower-http-cache", "hitbox"]
OTHERS = ["nginx", "varnish"]
OF_4K = ["fastapi-cache", "floor-redis", "larder-redis", "larder-redis-near"]
# Servers without a cache: their second answer need not be that of the first.
UNCACHED = ["bare", "floor", "floor-redis"]
SHARED_MEMORY = Path("/dev/shm")
LATENCIES = ["50", "75", "90", "99"]


def nginx(port, origin):
    folder = WORK / "nginx"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # In memory where there is such a file system.
    kept = SHARED_MEMORY / f"bench-nginx-{port}" if os.access(SHARED_MEMORY, os.W_OK) else folder / "cache"
    (folder / "nginx.conf").write_text(f"""
daemon off;
{"user root;" if os.getuid() == 0 else ""}
worker_processes 1;
pid {folder}/pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nodelay on;
    keepalive_timeout 600s;
    keepalive_requests 1000000000;
    open_file_cache max=1000 inactive=1h;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    proxy_cache_path {kept} levels=1:2 keys_zone=hits:10m max_size=256m inactive=1h use_temp_path=off;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{origin};
            proxy_http_version 1.1;
            proxy_cache hits;
            proxy_cache_valid 200 1h;
            add_header X-Cache $upstream_cache_status;
        }}
    }}
}}
""")
    return ["nginx", "-p", folder, "-c", folder / "nginx.conf"]


def varnish(port, origin):
    folder = WORK / "varnish"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "default.vcl").write_text(
        f'vcl 4.1;\nbackend default {{ .host = "127.0.0.1"; .port = "{origin}"; }}\n'
    )
    return ["varnishd", "-F", "-n", folder / "work", "-f", folder / "default.vcl", "-a", f"127.0.0.1:{port}",
            "-s", "malloc,256m", "-p", "default_ttl=3600", "-p", "timeout_idle=600"]


def start(name, origin, redis):
    port = free_port()
    if name == "nginx":
        command = nginx(port, origin)
    elif name == "varnish":
        command = varnish(port, origin)
    elif name == "fastapi-cache":
        command = [WORK / "venv" / "bin" / "python", "-m", "uvicorn", "fastapi_app:app", "--app-dir",
                   ROOT / "benchmarks" / "suite", "--port", port, "--loop", "uvloop", "--http", "httptools",
                   "--no-access-log", "--log-level", "warning"]
    else:
        command = [PROGRAMS / "peer-hitbox", port] if name == "hitbox" else [PROGRAMS / "http", name, port]
        if "redis" in name:
            command.append(f"redis://{redis()}")
    server = Server(name, SERVER, command, port)
    try:
        check(name, server)
    except Failure:
        server.stop()
        raise
    return server


def get(server, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=10) as answer:
            return answer.read()
    except OSError as error:
        raise Failure(f"{path}: {error}") from None


def check(name, server):
    """Checks that the server answers what it should, and caches: /check counts how often the handler ran."""
    lengths = {"1k": 1024, "4k": len(get_objects()), "64k": 64 * 1024}
    for size in sizes(name):
        for _ in range(2):
            length = len(get(server, f"/{size}"))
            if length != lengths[size]:
                raise Failure(f"/{size} has {length} bytes instead of {lengths[size]}")
    if name not in UNCACHED and get(server, "/check") != get(server, "/check"):
        raise Failure("it does not cache: the handler ran for the second request too")


def get_objects():
    objects = [f'{{"id":{number},"name":"product {number:03}","ok":true}}' for number in range(100)]
    return f"[{','.join(objects)}]"


def sizes(name):
    return ["4k"] if name in OF_4K else SIZES


def load(server, size, seconds):
    """Returns requests a second, and latencies in microseconds by percentile."""
    url = f"http://127.0.0.1:{server.port}/{size}"
    text = output(pinned(LOAD, ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", url]))
    if "Non-2xx" in text or "Socket errors" in text:
        raise Failure(next(line.strip() for line in text.splitlines() if "Non-2xx" in line or "Socket" in line))
    rate = float(re.search(r"Requests/sec:\s*([\d.]+)", text).group(1))
    units = {"us": 1, "ms": 1e3, "s": 1e6}
    percentiles = {}
    for percentile in LATENCIES:
        number, unit = re.search(rf"{percentile}%\s+([\d.]+)(us|ms|s)", text).groups()
        percentiles[percentile] = float(number) * units[unit]
    return rate, percentiles


def run(quick):
    rounds, seconds = (1, 1) if quick else (7, 1)
    part = Part({"rounds": rounds, "seconds": seconds})
    servers, containers = {}, []

    def redis():
        if not containers:
            # Beside the load, which needs its core least: what is measured is the service.
            containers.append(Container(REDIS, LOAD))
        return containers[0].address

    try:
        for name in RUST + OTHERS + OF_4K:
            try:
                origin = servers["bare"].port if "bare" in servers else 0
                servers[name] = start(name, origin, redis)
            except Failure as failure:
                for size in sizes(name):
                    part.fail(f"{name}/{size}", failure)
        for number in range(-1, rounds):
            print(f"http: {'warm-up' if number < 0 else f'round {number + 1} of {rounds}'}", flush=True)
            for size in SIZES:
                for name, server in servers.items():
                    subject = f"{name}/{size}"
                    if size not in sizes(name) or part.has_failed(subject):
                        continue
                    try:
                        before, begun = server.cpu_seconds(), time.monotonic()
                        rate, percentiles = load(server, size, seconds)
                        busy = (server.cpu_seconds() - before) / (time.monotonic() - begun)
                    except Failure as failure:
                        part.fail(subject, failure)
                        continue
                    if number >= 0:
                        part.note(subject, rate)
                        part.note(f"{subject}/busy", busy)
                        for percentile, time_ in percentiles.items():
                            part.note(f"{subject}/p{percentile}", time_)
    finally:
        for server in servers.values():
            server.stop()
        for container in containers:
            container.stop()
        for folder in SHARED_MEMORY.glob("bench-nginx-*"):
            shutil.rmtree(folder, ignore_errors=True)
    return part
