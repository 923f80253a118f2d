"""Text that comes from elsewhere: from a model, a server, a client, a file name or another program's log. Pure.

It is shown as text. Characters that move a terminal's cursor, write to its clipboard, reorder what stands beside them
or begin another line are shown as escapes. serve/static/shared/sentence.js has the same list; a test compares the two.
"""

import json
import re

MOST_REASON_CHARACTERS = 300
"""Of a reason that another program gives: more is a page or a document, not a reason."""

_CONTROLS = "\x00-\x08\x0a-\x1f\x7f-\x9f"  # C0 without the tab, and C1, whose codes many terminals obey
_LINE_ENDS = "\u2028\u2029"
_REORDERING = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"
_SURROGATES = "\ud800-\udfff"  # file names that are no UTF-8; no output can encode them
_UNSAFE = re.compile(f"[{_CONTROLS}{_LINE_ENDS}{_REORDERING}{_SURROGATES}]")
_OWN = re.compile(r"(\n|\x1b\[[0-9;]*m)")
_SHORT = {"\n": "\\n", "\r": "\\r"}


def plain(text: str) -> str:
    r"""The text on one line, with `\x1b` in the place of a control character, `\u202e` of one that reorders."""
    return _UNSAFE.sub(_escaped, text)


def plain_page(text: str) -> str:
    """Lines with colours of our own; all else that a terminal would obey is shown as an escape."""
    return "".join(piece if _OWN.fullmatch(piece) else plain(piece) for piece in _OWN.split(text))


def plain_json(document: object) -> str:
    """The document as JSON on one line, which a terminal shows and does not obey."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(document, ensure_ascii=False))


def reason_in(text: str, most_characters: int = MOST_REASON_CHARACTERS) -> str:
    """The text as a reason on one line; a longer one ends after a word, with `…`."""
    read = text[: 4 * most_characters]  # the whole may be a large document
    words = " ".join(read.split())
    if len(words) <= most_characters and len(read) == len(text):
        return words
    head = words[: most_characters - 1]
    whole_words = head.rpartition(" ")[0]
    return f"{whole_words if 2 * len(whole_words) > len(head) else head[:-1]} …"


def _escaped(found: "re.Match[str]") -> str:
    character = found[0]
    code = ord(character)
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
