"""vedette-tiny's tokenizer: byte-level BPE learnt from its own language, so that any Unicode text has tokens."""

from __future__ import annotations

import random
import re

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from training import conversations, language, phrases, words
from vedette.scene.layout import random_scene
from vedette.scene.world import COLOURS, KINDS, plural

VOCABULARY = 1280
SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
    "<|video_pad|>",
)  # fmt: skip
PLAIN = ("<think>", "</think>", "<tool_call>", "</tool_call>")  # shown in text, as Qwen3's tokenizer does

#: Splits text into the pieces that BPE never joins. Means the same to `re` and to the tokenizers library.
PIECES = r" ?[A-Za-z]+| ?[0-9]| ?[^\sA-Za-z0-9]+|\s"


def _corpus() -> list[str]:
    """The language, weighted so that every word of the world becomes one token, and plain English in pieces."""
    rng = random.Random(20)
    plain = language.Lexicon(nouns=("thing",), chatter=("Go on.",), system_prompts=(), invent=False)
    lines = [
        "system\n",
        "user\n",
        "assistant\n",
        *(f"<{second}.{tenth} seconds>" for second in range(5) for tenth in range(10)),
    ]
    for name in (*COLOURS, *KINDS, *(plural(kind) for kind in KINDS)):
        lines += [f"{name} {name}", name.capitalize()] * 20
    for _ in range(6000):
        scene = random_scene(rng)
        skills = (*language.ONE_PICTURE_SKILLS, conversations.follow_up)
        exchanges = [rng.choice(skills)(scene, rng, plain), conversations.no_picture(rng, plain)]
        for exchange in exchanges:
            for question, answer in exchange.turns if exchange else ():
                lines += [language.as_typed(question, rng), answer]
    for bank in (phrases.NEW, phrases.GONE, phrases.CHANGED, phrases.DESCRIBE_NTH, phrases.MOVES):
        lines += [question for question in bank for _ in range(20)]
    lines += ["First picture: Second picture: is new. is gone. has changed."] * 100
    lines += ["moves to the left. moves up. moves down. does not move. Which way does the"] * 100
    lines += [noun.replace("_", " ") for noun in words.STRANGE_NOUNS] * 2
    lines += [*words.CHATTER, *words.SYSTEM_PROMPTS, *words.ABOUT, *words.QUALITIES, *words.DOINGS] * 4
    return lines


def build_tokenizer() -> Tokenizer:
    """Trains the tokenizer; the same on every machine."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(PLAIN),
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in PLAIN])
    return tokenizer


class FastEncoder:
    """Encodes plain text (no special tokens) like the tokenizer, from a cache of pieces: for the data workers."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._split = re.compile(PIECES).findall
        self._known: dict[str, list[int]] = {}

    def __call__(self, text: str) -> list[int]:
        ids: list[int] = []
        for piece in self._split(text):
            known = self._known.get(piece)
            if known is None:
                known = self._tokenizer.encode(piece, add_special_tokens=False).ids
                if len(self._known) < 50_000:
                    self._known[piece] = known
            ids += known
        return ids
