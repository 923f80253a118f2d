"""Watch a source through the live socket of a running vedette: print each answer as it is complete.

    pip install aiohttp
    python examples/watch_socket.py [ADDRESS] [--source scene] [--prompt TEXT] [--answers N]

docs/api.md describes the messages. The source `scene` is vedette's drawn scene and needs no frames. A program with a
camera of its own starts with the source `page` and answers each `ask` with a frame.
"""

import argparse
import asyncio
import json

import aiohttp


async def watch(address: str, source: str, prompt: str, answers: int) -> None:
    start = {"type": "start", "source": source, "prompt": prompt, "max_tokens": 100}
    texts: dict[int, str] = {}
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{address}/api/live") as socket:
        await socket.send_str(json.dumps(start))
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue  # a frame of the source, as a picture
            event = json.loads(message.data)
            if event["type"] == "words":
                texts[event["id"]] = texts.get(event["id"], "") + event.get("content", "")
            elif event["type"] == "error":
                raise SystemExit(event["sentence"])
            elif event["type"] == "done":
                print(f"{event['total_ms']:6.0f} ms  {texts.pop(event['id']).strip()}", flush=True)
                answers -= 1
                if answers == 0:
                    return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", nargs="?", default="http://127.0.0.1:8090")
    parser.add_argument("--source", default="scene", choices=["scene"])
    parser.add_argument("--prompt", default="What do you see?")
    parser.add_argument("--answers", type=int, default=0, help="stop after so many answers; 0 for no end")
    options = parser.parse_args()
    asyncio.run(watch(options.address, options.source, options.prompt, options.answers))


if __name__ == "__main__":
    main()
