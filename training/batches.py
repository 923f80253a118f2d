"""Training batches: scenes, conversations about them, and the numbers that the renderer draws them from.

Every batch has the same make-up (`ROWS`), so that its tensors always have the same shapes. A row is a prefix (the
pictures) and as many independent conversations about it as fit; `network.py` keeps those from seeing each other.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import IterableDataset

from training import conversations, language, phrases
from training.camera import Camera, Shot, is_clear, random_camera, seen_through
from training.canvas import LENGTH, Canvas, Rows
from training.language import TRAINING, Exchange
from training.shape import CELLS, LARGE_GRIDS, LAYOUT_INDEX, PICTURE_GRIDS, SMALL_GRIDS
from training.tokenizer import FastEncoder
from vedette.scene.layout import Bounds, random_scene, random_thing, visible_colours
from vedette.scene.world import KINDS, Scene, Thing

THINKING = 0.2  # share of conversations that are thought about first


class RowWriter:
    """Writes tokens of one row: the prefix once, then conversations until it is full."""

    def __init__(self, canvas: Canvas, encode: FastEncoder, tokens: dict[str, int]) -> None:
        self.canvas, self.encode, self.tokens = canvas, encode, tokens
        self.row = canvas.row
        canvas.row += 1
        self.at = 0  # next column
        self.next_position = 0
        self.segment = 0
        self.user = [tokens["<|im_start|>"], *encode("user\n")]
        self.assistant = [tokens["<|im_end|>"], *encode("\n"), tokens["<|im_start|>"], *encode("assistant\n")]

    def words(self, ids: list[int]) -> None:
        """Prefix tokens that are words."""
        end = self.at + len(ids)
        self.canvas.ids[self.row, self.at : end] = ids
        self.canvas.positions[self.row, :, self.at : end] = np.arange(self.next_position, self.next_position + len(ids))
        self.canvas.segment[self.row, self.at : end] = 0
        self.next_position += len(ids)
        self.at = end

    def system(self, text: str) -> None:
        tokens = self.tokens
        self.words([tokens["<|im_start|>"], *self.encode("system\n" + text), tokens["<|im_end|>"], *self.encode("\n")])

    def picture(self, sequence: int, part: int, grid: tuple[int, int], pad: str) -> None:
        """Prefix tokens that are part `part` of a vision sequence."""
        rows, columns = grid
        count = rows * columns
        self.words([self.tokens["<|vision_start|>"]])
        end = self.at + count
        row, canvas = self.row, self.canvas
        canvas.ids[row, self.at : end] = self.tokens[pad]
        canvas.segment[row, self.at : end] = 0
        first = sequence * CELLS + part * count + 1
        canvas.visual[row, self.at : end] = np.arange(first, first + count)
        canvas.positions[row, 0, self.at : end] = self.next_position
        canvas.positions[row, 1, self.at : end] = self.next_position + np.arange(count) // columns
        canvas.positions[row, 2, self.at : end] = self.next_position + np.arange(count) % columns
        self.next_position += max(rows, columns)
        self.at = end
        self.words([self.tokens["<|vision_end|>"]])

    def converse(self, exchange: Exchange, think: bool, rng: random.Random) -> bool:
        """Adds a conversation as a segment of its own; False if it does not fit."""
        tokens, ids, wanted = self.tokens, [], []
        for number, (question, answer) in enumerate(exchange.turns):
            if number:
                ids += [tokens["<|im_end|>"], *self.encode("\n"), *self.user]
            ids += self.encode(language.as_typed(question, rng))
            ids += self.assistant
            said = self.encode(answer)
            if think and number == len(exchange.turns) - 1:
                ids += [tokens["<think>"], *self.encode("\n")]
                said = [*self.encode(exchange.thoughts), tokens["</think>"], *self.encode("\n\n"), *said]
            wanted.append((len(ids) - 1, [*said, tokens["<|im_end|>"]]))
            ids += said
        end = self.at + len(ids)
        if end >= LENGTH:
            return False
        self.segment += 1
        row, canvas = self.row, self.canvas
        canvas.ids[row, self.at : end] = ids
        canvas.positions[row, :, self.at : end] = np.arange(self.next_position, self.next_position + len(ids))
        canvas.segment[row, self.at : end] = self.segment
        for start, answer_ids in wanted:
            canvas.targets[row, self.at + start : self.at + start + len(answer_ids)] = answer_ids
        self.at = end
        return True


class BatchMaker:
    """Makes endless batches from a seed."""

    def __init__(self, tokenizer: Tokenizer, rows: Rows, seed: int) -> None:
        self.rng = random.Random(seed)
        self.rows = rows
        self.encode = FastEncoder(tokenizer)
        self.tokens = {token.content: number for number, token in tokenizer.get_added_tokens_decoder().items()}
        self.canvas = Canvas(rows)

    def make(self) -> dict[str, Tensor]:
        self.canvas = canvas = Canvas(self.rows)
        for make, count in (
            (self.one_picture, self.rows.one_picture),
            (self.two_pictures, self.rows.two_pictures),
            (self.eight_frames, self.rows.clips),
            (self.six_frames, self.rows.six_frame_clips),
            (self.no_picture, self.rows.no_picture),
        ):
            for _ in range(count):
                make()
        names = ("frames", "things", "frame_of", "layout", "labels", "ids", "positions", "segment", "visual", "targets")
        return {name: torch.from_numpy(getattr(canvas, name)) for name in names}

    def writer(self, share: float = 0.25) -> RowWriter:
        writer = RowWriter(self.canvas, self.encode, self.tokens)
        if self.rng.random() < share:
            count = self.rng.choice((1, 1, 1, 2))
            if self.rng.random() < 0.7:
                text = " ".join(self.rng.choice(TRAINING.system_prompts) for _ in range(count))
            else:
                text = " ".join(language.chatter(self.rng, TRAINING) for _ in range(count))
            writer.system(text[:300])
        writer.words(writer.user)
        return writer

    def fill(self, writer: RowWriter, ask: Callable[[], Exchange | None]) -> None:
        """Adds conversations until two in a row do not fit."""
        misses = 0
        while misses < 2:
            exchange = ask()
            if exchange is None:
                continue
            think = bool(exchange.thoughts) and self.rng.random() < THINKING
            if not writer.converse(exchange, think, self.rng):
                misses += 1

    def random_view(self, grid: tuple[int, int], most: int = 6) -> tuple[Scene, Camera, Scene]:
        """A scene for the grid, a camera, and the scene as that camera sees it."""
        rng = self.rng
        close = rng.random()
        bounds = Bounds(
            aspect=grid[1] / grid[0] * rng.uniform(0.95, 1.05),
            least_size=0.15 if rng.random() < 0.5 else 0.2,
            largest_size=rng.choice((0.3, 0.5, 0.7)),
            least_distance=1.0 if close < 0.55 else 0.8 if close < 0.85 else 0.68,
            edge=1.0 if rng.random() < 0.85 else 0.7,
        )
        scene = random_scene(rng, bounds, None if most == 6 else rng.randint(0, most))
        return scene, *random_camera(rng, scene)

    def place(self, shot: Shot, seen: Scene, grid: tuple[int, int]) -> int:
        """Puts one still picture into a vision sequence of its own; returns the sequence."""
        canvas = self.canvas
        sequence = canvas.sequence
        canvas.sequence += 1
        canvas.layout[sequence] = LAYOUT_INDEX[(*grid, 1)]
        canvas.frame_of[sequence] = canvas.shoot(shot, shot.scene, grid)
        canvas.label(sequence, 0, grid, seen)
        return sequence

    def one_picture(self) -> None:
        rng = self.rng
        grid = rng.choice(PICTURE_GRIDS[:3] if rng.random() < 0.4 else PICTURE_GRIDS)
        scene, camera, seen = self.random_view(grid)
        sequence = self.place(Shot.of(rng, scene, camera), seen, grid)
        writer = self.writer()
        writer.picture(sequence, 0, grid, "<|image_pad|>")
        thought = language.thoughts(seen)

        def ask() -> Exchange | None:
            skill = conversations.follow_up if rng.random() < 0.16 else rng.choice(language.ONE_PICTURE_SKILLS)
            exchange = skill(seen, rng, TRAINING)
            return exchange and replace(exchange, thoughts=thought)

        self.fill(writer, ask)

    def second_scene(self, first: Scene) -> tuple[Scene, Thing | None, Thing | None]:
        """The first scene, shifted a little, with perhaps one thing more or less: (scene, new, missing)."""
        rng = self.rng
        shift_x, shift_y = rng.gauss(0, 0.012), rng.gauss(0, 0.012)
        things = [replace(t, x=t.x + shift_x, y=t.y + shift_y) for t in first.things]
        roll = rng.random()
        if roll < 0.5 and len(things) < 6:
            present = {thing.name for thing in things}
            for _ in range(20):
                place = rng.uniform(0.12, 0.88), rng.uniform(0.14, 0.86), rng.uniform(0.18, 0.34)
                thing = random_thing(rng, rng.choice(KINDS), visible_colours(first.background), place)
                apart = all(
                    abs(t.x - thing.x) > 0.05
                    and math.hypot((t.x - thing.x) * first.aspect, t.y - thing.y) > (t.size + thing.size) * 0.45
                    for t in things
                )
                if apart and thing.name not in present:
                    things.insert(rng.randint(0, len(things)), thing)
                    return replace(first, things=tuple(things)), thing, None
        elif roll < 0.75 and things:
            names = [thing.name for thing in things]
            missing = rng.choice(things)
            if names.count(missing.name) == 1:
                things.remove(missing)
                return replace(first, things=tuple(things)), None, missing
        return replace(first, things=tuple(things)), None, None

    def two_pictures(self) -> None:
        rng = self.rng
        grid = rng.choice(PICTURE_GRIDS[:3] if rng.random() < 0.5 else PICTURE_GRIDS)
        first, camera, seen = self.random_view(grid, 5)
        shot = Shot.of(rng, first, camera)
        related = rng.random() < 0.8
        if related:
            second, new, missing = self.second_scene(first)
            again, seen_again = (
                random_camera(rng, second) if rng.random() < 0.5 else (camera, seen_through(second, camera))
            )
            if not is_clear(seen_again):
                again, seen_again = Camera.straight(), second
            other = replace(shot, scene=second, camera=again) if rng.random() < 0.6 else Shot.of(rng, second, again)
        else:
            new = missing = None
            second, again, seen_again = self.random_view(grid, 5)
            other = Shot.of(rng, second, again)
        pair = conversations.Pair(seen, seen_again, new, missing, related)
        writer = self.writer(0.15)
        for one, view in ((shot, seen), (other, seen_again)):
            writer.picture(self.place(one, view, grid), 0, grid, "<|image_pad|>")
        self.fill(writer, lambda: conversations.two_pictures(pair, rng, TRAINING))

    def motion(self, grid: tuple[int, int]) -> tuple[conversations.Clip, Scene, Scene]:
        """A clip and its first and last scene."""
        rng = self.rng
        while True:
            scene, _, _ = self.random_view(grid, 4)
            things = [replace(thing, size=max(thing.size, 0.2)) for thing in scene.things]
            scene = replace(scene, things=tuple(things))
            if len({thing.name for thing in things}) < len(things):
                continue
            if not things or rng.random() < 0.2:
                return conversations.Clip(scene), scene, scene
            number = rng.randrange(len(things))
            way = rng.choice(tuple(phrases.WAYS))
            far, low, high = rng.uniform(0.22, 0.6), 0.1, 0.9
            start = rng.uniform(low, high - far)
            ends = (start, start + far) if way in ("right", "down") else (start + far, start)
            side = rng.gauss(0, 0.015)
            thing = things[number]
            if way in ("left", "right"):
                at, to = replace(thing, x=ends[0]), replace(thing, x=ends[1], y=thing.y + side)
            else:
                at, to = replace(thing, y=ends[0]), replace(thing, y=ends[1], x=thing.x + side)
            first, last = (replace(scene, things=(*things[:number], t, *things[number + 1 :])) for t in (at, to))
            if is_clear(first, 0.06):
                return conversations.Clip(first, at, way), first, last

    def clip(self, grid: tuple[int, int], count: int, per_sequence: int, sequences: int) -> None:
        """`count` frames of a clip, `per_sequence` frame pairs to a vision sequence, of which it owns `sequences`."""
        rng, canvas = self.rng, self.canvas
        moving, first, last = self.motion(grid)
        camera = Camera.straight()
        if rng.random() < 0.4:
            held = Camera.held(rng, first.aspect, rng.uniform(0.85, 1.0), 0.05)
            seen = seen_through(first, held)
            if is_clear(seen):
                camera = held
                mover = moving.mover and seen.things[first.things.index(moving.mover)]
                moving = conversations.Clip(seen, mover, moving.way)
        shot = Shot.of(rng, first, camera)
        shots = []
        for number in range(count):
            part = number / (count - 1)
            things = tuple(
                replace(a, x=a.x + (b.x - a.x) * part, y=a.y + (b.y - a.y) * part)
                for a, b in zip(first.things, last.things, strict=True)
            )
            shots.append(canvas.shoot(shot, replace(first, things=things), grid))
        canvas.frame += per_sequence * sequences * 2 - count  # frames that this clip leaves unused
        if count % 2:
            shots.append(shots[-1])
        fps = rng.choice((2, 2, 2, 2, 1, 3, 4, 5, 8, 10, 24, 30))
        writer = self.writer(0.1)
        wrapped = rng.random() < 0.85  # newer processors keep the markers around a clip
        if wrapped:
            writer.words([self.tokens["<|vision_start|>"]])
        for pair in range(len(shots) // 2):
            sequence, part = canvas.sequence + pair // per_sequence, pair % per_sequence
            canvas.layout[sequence] = LAYOUT_INDEX[(*grid, per_sequence)]
            canvas.frame_of[sequence, part] = shots[2 * pair : 2 * pair + 2]
            writer.words(self.encode(f"<{(2 * pair + 0.5) / fps:.1f} seconds>"))
            writer.picture(sequence, part, grid, "<|video_pad|>")
        canvas.sequence += sequences
        if wrapped:
            writer.words([self.tokens["<|vision_end|>"]])
        self.fill(writer, lambda: conversations.clip(moving, rng, TRAINING))

    def eight_frames(self) -> None:
        rng = self.rng
        if rng.random() < 0.3:
            self.clip(rng.choice(LARGE_GRIDS), rng.choice((4, 4, 4, 3)), 1, 2)
            self.canvas.frame += 4
        else:
            self.clip(rng.choice(SMALL_GRIDS), rng.choice((8, 8, 8, 7)), 2, 2)

    def six_frames(self) -> None:
        self.clip(self.rng.choice(LARGE_GRIDS), self.rng.choice((5, 6)), 1, 3)

    def no_picture(self) -> None:
        self.fill(self.writer(0.4), lambda: conversations.no_picture(self.rng, TRAINING))


class Batches(IterableDataset):  # type: ignore[type-arg]
    """Endless batches; every data worker draws from seeds of its own."""

    def __init__(self, tokenizer_json: str, rows: Rows, seed: int) -> None:
        self.tokenizer_json, self.rows, self.seed = tokenizer_json, rows, seed

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        torch.set_num_threads(1)
        worker = torch.utils.data.get_worker_info()
        maker = BatchMaker(
            Tokenizer.from_str(self.tokenizer_json), self.rows, self.seed * 1000 + (worker.id if worker else 0)
        )
        while True:
            yield maker.make()
