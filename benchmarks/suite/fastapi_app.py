"""The peer from Python: fastapi-cache in memory, with the objects that the other servers answer at /4k."""

from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_cache import FastAPICache
from fastapi_cache.backends.inmemory import InMemoryBackend
from fastapi_cache.decorator import cache

calls = 0


@asynccontextmanager
async def lifespan(_app):
    FastAPICache.init(InMemoryBackend())
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/4k")
@cache(expire=3600)
async def objects():
    return [{"id": number, "name": f"product {number:03}", "ok": True} for number in range(100)]


@app.get("/check")
@cache(expire=3600)
async def check():
    global calls
    calls += 1
    return calls
