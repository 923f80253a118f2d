"""Swaps to directories whose files hang, never end or lie: refused at once, with no thread left behind."""

import asyncio
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import psutil
import pytest

from tests.rig.stand_ins.app_stand_in import OWNER, Serve, access_of
from vedette.deploy.fleet import Fleet
from vedette.models.store.model_lookup import packaged_path
from vedette.serve.app import create_app
from vedette.settings.home import read_home
from vedette.settings.load import read_settings
from vedette.units import MIB

AT_ONCE_S = 20
"""A limit against hanging, on a busy machine."""


@pytest.fixture
async def real_url(serve: Serve, tmp_path: Path) -> str:
    """An app over the real deployments, none of which has been started."""
    home = read_home({"VEDETTE_HOME": str(tmp_path / "home")})
    fleet = Fleet(read_settings({"model": "vedette-tiny"}, {"HOME": "/nowhere"}), home, "http://127.0.0.1:1", print)
    address, _ = await serve(create_app(fleet, wait_s=0.2, access=access_of(tmp_path / "access")))
    return address


def fifo(path: Path) -> None:
    os.mkfifo(path)


def zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


@pytest.mark.parametrize("make", [fifo, zeros, sparse])
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
async def test_a_swap_to_hostile_files_is_refused_at_once(
    http: aiohttp.ClientSession, real_url: str, tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    model = tmp_path / "model"
    shutil.copytree(packaged_path("vedette-tiny"), model, ignore=shutil.ignore_patterns("*.safetensors"))
    (model / "model.safetensors").symlink_to(packaged_path("vedette-tiny") / "model.safetensors")
    (model / name).unlink()
    make(model / name)
    memory = psutil.Process().memory_info().rss
    limit = aiohttp.ClientTimeout(total=AT_ONCE_S)
    swap = {"model": str(model)}
    async with http.post(f"{real_url}/api/swap", json=swap, headers=OWNER, timeout=limit) as answer:
        refused = await answer.json()
    assert answer.status == 422
    assert name in refused["error"]["sentence"]
    assert psutil.Process().memory_info().rss - memory < 200 * MIB
    deadline = time.monotonic() + AT_ONCE_S
    while any(thread.daemon for thread in threading.enumerate()):
        assert time.monotonic() < deadline, threading.enumerate()
        await asyncio.sleep(0.01)
