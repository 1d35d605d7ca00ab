from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException
from fastapi_cache import FastAPICache
from fastapi_cache.backends.inmemory import InMemoryBackend
from fastapi_cache.decorator import cache
from pydantic import BaseModel


class Item(BaseModel):
    id: int
    name: str
    tag: str


class NewName(BaseModel):
    name: str


ITEMS = {
    1: Item(id=1, name="lamp", tag="light"),
    2: Item(id=2, name="chair", tag="wood"),
}


@asynccontextmanager
async def lifespan(_: FastAPI):
    FastAPICache.init(InMemoryBackend(), prefix="shop", expire=60)
    yield


app = FastAPI(lifespan=lifespan)


@cache(expire=300, namespace="prices")
async def price(item_id: int) -> int:
    return item_id * 999


@app.get("/items")
@cache(namespace="lists")
async def items(tag: str | None = None) -> list[Item]:
    return [item for item in ITEMS.values() if tag in (None, item.tag)]


@app.get("/items/{item_id}")
@cache(namespace="items")
async def item(item_id: int) -> Item:
    if item_id not in ITEMS:
        raise HTTPException(404)
    return ITEMS[item_id]


@app.get("/items/{item_id}/price")
async def item_price(item_id: int) -> int:
    return await price(item_id)


@app.put("/items/{item_id}")
async def rename(item_id: int, new: NewName) -> Item:
    ITEMS[item_id] = ITEMS[item_id].model_copy(update={"name": new.name})
    await FastAPICache.clear(namespace="lists")
    await FastAPICache.clear(namespace="items")
    return ITEMS[item_id]
