"""Ask a running vedette about a picture with LangChain, then ask a second question about the answer.

pip install langchain-openai
python examples/langchain_chat.py [ADDRESS]
"""

import base64
import json
import sys
import urllib.request

from langchain_core.messages import BaseMessage, HumanMessage
from langchain_openai import ChatOpenAI


def main() -> None:
    address = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8090"
    with urllib.request.urlopen(f"{address}/api/scene.jpg") as scene:
        picture = base64.b64encode(scene.read()).decode()
    chat = ChatOpenAI(
        base_url=f"{address}/v1", api_key="unused", model=first_model(address), temperature=0, max_tokens=100
    )
    content = [
        {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{picture}"}},
        {"type": "text", "text": "What do you see?"},
    ]
    messages: list[BaseMessage] = [HumanMessage(content)]
    answer = chat.invoke(messages)
    print(answer.content)
    for piece in chat.stream([*messages, answer, HumanMessage("How many things are there?")]):
        print(piece.content, end="", flush=True)
    print()


def first_model(address: str) -> str:
    with urllib.request.urlopen(f"{address}/v1/models") as models:
        name: str = json.load(models)["data"][0]["id"]
        return name


if __name__ == "__main__":
    main()
