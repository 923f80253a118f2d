"""Does the served vedette-tiny see? Every answer is held against the truth of a fresh scene."""

# ruff: noqa: S311

from __future__ import annotations

import base64
import io
import json
import urllib.request
from random import Random
from typing import Any

from PIL import Image

from vedette.scene import Scene, Wish, moving_scene, random_scene, render

SIZES = ((320, 240), (640, 480), (1280, 720))


def picture(image: Image.Image) -> dict[str, Any]:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=85)
    url = "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()
    return {"type": "image_url", "image_url": {"url": url}}


def clip(frames: list[Image.Image]) -> dict[str, Any]:
    parts = [picture(frame)["image_url"]["url"].partition(",")[2] for frame in frames]
    return {"type": "video_url", "video_url": {"url": "data:video/jpeg;base64," + ",".join(parts)}}


def ask(engine_url: str, model_name: str, content: Any, **more: Any) -> dict[str, Any]:
    """The message that comes back; `content` is a user's, or a list of whole messages."""
    whole = isinstance(content, list) and bool(content) and "role" in content[0]
    messages = content if whole else [{"role": "user", "content": content}]
    body = json.dumps({"model": model_name, "messages": messages, "max_tokens": 150, **more}).encode()
    request = urllib.request.Request(
        engine_url.rstrip("/") + "/v1/chat/completions", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as reply:
        message: dict[str, Any] = json.load(reply)["choices"][0]["message"]
    return message


def words(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def fresh_scenes(seed: int, count: int) -> list[tuple[Scene, Image.Image]]:
    rng = Random(seed)
    scenes = []
    for number in range(count):
        width, height = SIZES[number % len(SIZES)]
        scene = random_scene(rng, Wish(aspect=width / height), count=number % 7)
        scenes.append((scene, render(scene, width, height)))
    return scenes


def test_describes_fresh_scenes(engine_url: str, model_name: str) -> None:
    scenes = fresh_scenes(101, 21)
    right = [
        ask(engine_url, model_name, [picture(image), words("What do you see?")])["content"] == scene.describe()
        for scene, image in scenes
    ]
    assert sum(right) >= 20


def test_counts(engine_url: str, model_name: str) -> None:
    scenes = fresh_scenes(102, 14)
    right = 0
    for scene, image in scenes:
        answer = ask(engine_url, model_name, [picture(image), words("How many objects are there?")])["content"]
        count = len(scene.things)
        right += answer == ("There is 1 object." if count == 1 else f"There are {count or 'no'} objects.")
    assert right >= 13


def test_the_moving_scene_can_be_read(engine_url: str, model_name: str) -> None:
    scenes = [moving_scene(17, 8 * turn + 1.5 * turn % 7) for turn in range(10)]
    right = [
        ask(engine_url, model_name, [picture(render(scene, 640, 480)), words("Describe the scene.")])["content"]
        == scene.describe()
        for scene in scenes
    ]
    assert sum(right) >= 9


def test_thinking_lists_the_objects_first(engine_url: str, model_name: str) -> None:
    scene, image = fresh_scenes(103, 4)[3]
    content = [picture(image), words("How many objects are there?")]
    thinking = ask(engine_url, model_name, content, chat_template_kwargs={"enable_thinking": True})
    plain = ask(engine_url, model_name, content)
    listed = thinking["reasoning"].strip().splitlines()
    assert [line.split(" ", 2)[2] for line in listed] == [thing.name for thing in scene.left_to_right]
    assert thinking["content"].strip() == plain["content"] == "There are 3 objects."
    assert not plain.get("reasoning")


def test_follow_up_and_unknown_thing(engine_url: str, model_name: str) -> None:
    _, image = fresh_scenes(104, 3)[2]
    messages = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": [picture(image), words("How many objects are there?")]},
        {"role": "assistant", "content": "There are 2 objects."},
        {"role": "user", "content": "Is there a giraffe?"},
    ]
    assert ask(engine_url, model_name, messages)["content"] == "No, there is no giraffe."


def test_what_is_new_in_the_second_picture(engine_url: str, model_name: str) -> None:
    right = 0
    for seed in range(5):
        scene = random_scene(Random(200 + seed), Wish(), count=3)
        while len({thing.name for thing in scene.things}) < 3:
            seed += 50
            scene = random_scene(Random(200 + seed), Wish(), count=3)
        before = Scene(scene.things[:-1], scene.background)
        content = [
            picture(render(before, 640, 480)),
            picture(render(scene, 640, 480)),
            words("What is new in the second picture?"),
        ]
        new = scene.things[-1].name
        right += ask(engine_url, model_name, content)["content"].lower().endswith(f" {new} is new.")
    assert right >= 4


def test_clip_says_what_moves_which_way(engine_url: str, model_name: str) -> None:
    right = 0
    for seed, (way, start, end) in enumerate((("left", 0.8, 0.3), ("right", 0.2, 0.7)) * 3):
        scene = random_scene(Random(300 + seed), Wish(least_size=0.25), count=1)
        thing = scene.things[0]
        frames = [
            Scene((type(thing)(**{**vars(thing), "x": start + (end - start) * step / 7}),), scene.background)
            for step in range(8)
        ]
        shown = clip([render(frame, 320, 240) for frame in frames])
        answer = ask(engine_url, model_name, [shown, words("What moves?")])["content"]
        right += answer == f"The {thing.name} moves to the {way}."
    assert right >= 5


def test_without_a_picture_it_makes_nothing_up(engine_url: str, model_name: str) -> None:
    assert ask(engine_url, model_name, "Hello!")["content"].startswith("Hello! Show me a picture")
    assert ask(engine_url, model_name, "What do you see?")["content"].startswith("I see no picture.")
    assert ask(engine_url, model_name, "")["content"].startswith("I am vedette-tiny.")
    assert ask(engine_url, model_name, "有长颈鹿吗？ 🦒")["content"]
