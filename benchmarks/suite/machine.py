"""The machine, and the versions of what ran on it."""

import os
import platform
import re
import tomllib
from pathlib import Path

import traces
from cores import LOAD, SERVER
from processes import ROOT, WORK, Failure, output

CRATES = ["axum", "hyper", "tokio", "fred", "memcache-async", "quick_cache", "moka", "cached", "axum-response-cache",
          "tower-http-cache", "hitbox", "hitbox-tower"]


def first(pattern, text, otherwise="?"):
    found = re.search(pattern, text)
    return found.group(1) if found else otherwise


def said(*command):
    """Returns what a program says of its version, wherever it says it."""
    try:
        return output(["sh", "-c", '"$@" 2>&1 || true', "-", *command]).strip()
    except Failure:
        return ""


def describe():
    processor = first(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    memory = int(first(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(), "0")) / (1 << 20)
    system = first(r'PRETTY_NAME="(.+?)"', Path("/etc/os-release").read_text(), platform.system())
    return {
        "processor": f"{processor}, {os.cpu_count()} cores",
        "memory": f"{memory:.0f} GiB",
        "system": f"{system}, Linux {platform.release()}",
        "cores": f"server on core {SERVER}, load on core {LOAD}",
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def versions():
    found = {"rustc": first(r"rustc (\S+)", said("rustc", "--version"))}
    found["wrk"] = first(r"wrk (?:debian/)?(\S+)", said("wrk", "-v"))
    found["nginx"] = first(r"nginx/(\S+)", said("nginx", "-v"))
    found["Varnish"] = first(r"varnish-(\S+)", said("varnishd", "-V"))
    for name, image, program in [("Redis", "redis:8", "redis-server"), ("memcached", "memcached:1.6", "memcached")]:
        text = said("docker", "run", "--rm", image, program, "--version")
        found[name] = first(r"(?:v=|memcached )([\d.]+)", text)
    python = WORK / "venv" / "bin" / "python"
    found["Python"] = first(r"Python (\S+)", said(str(python), "--version"))
    for line in said(str(python), "-m", "pip", "freeze", "--disable-pip-version-check").splitlines():
        name, _, version = line.partition("==")
        if name.lower() in ("fastapi", "fastapi-cache2", "uvicorn", "uvloop", "httptools"):
            found[name] = version
    found[f"{traces.NAME}, for its traces"] = traces.VERSION
    lock = tomllib.loads((ROOT / "benchmarks" / "peers" / "Cargo.lock").read_text())
    locked = {}
    for package in lock["package"]:
        locked.setdefault(package["name"], []).append(package["version"])
    for crate in CRATES:
        if crate in locked:
            found[f"crate {crate}"] = locked[crate][-1]
    return found


def commit():
    return first(r"(\w+)", said("git", "-C", str(ROOT), "rev-parse", "--short=10", "HEAD"))
