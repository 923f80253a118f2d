"""Serves the app from a process of its own that may open few files: `… MOST_CONNECTIONS|fit`; prints its port."""

import asyncio
import resource
import sys

from tests.rig.stand_ins.app_stand_in import Deployment, Fleet
from vedette.engine.client import EngineClient
from vedette.instance.listener import listen
from vedette.serve.app import create_app
from vedette.serve.connections.acceptor import serving
from vedette.serve.connections.limits import ConnectionLimits, limits_for, raise_descriptor_limit

FILES = 64


async def main(most: str) -> None:
    limits = limits_for(raise_descriptor_limit()) if most == "fit" else ConnectionLimits(most=int(most))
    fleet = Fleet(Deployment(EngineClient("http://127.0.0.1:1", "vedette-tiny")))
    with listen("127.0.0.1", 0) as listener:
        async with serving(create_app(fleet, limits=limits), listener, limits):
            print(listener.getsockname()[1], flush=True)
            await asyncio.Event().wait()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES // 2, FILES))
    asyncio.run(main(sys.argv[1]))
