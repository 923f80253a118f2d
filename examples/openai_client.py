"""Ask a running vedette about a picture with OpenAI's client, and print the answer word by word.

    pip install openai
    python examples/openai_client.py [ADDRESS [PICTURE.jpg]]

Without a picture it takes the drawn scene of this moment.
"""

import base64
import sys
import urllib.request
from pathlib import Path

from openai import OpenAI


def main() -> None:
    address = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8090"
    jpeg = Path(sys.argv[2]).read_bytes() if len(sys.argv) > 2 else drawn_scene(address)
    client = OpenAI(base_url=f"{address}/v1", api_key="unused")
    model = client.models.list().data[0].id
    chunks = client.chat.completions.create(
        model=model,
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": data_url(jpeg)}},
                    {"type": "text", "text": "What do you see?"},
                ],
            }
        ],
        max_tokens=100,
        temperature=0,
        stream=True,
    )
    for chunk in chunks:
        if chunk.choices:
            print(chunk.choices[0].delta.content or "", end="", flush=True)
    print()


def drawn_scene(address: str) -> bytes:
    with urllib.request.urlopen(f"{address}/api/scene.jpg") as answer:
        jpeg: bytes = answer.read()
        return jpeg


def data_url(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


if __name__ == "__main__":
    main()
