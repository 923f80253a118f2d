"""The files of the pages."""

import re
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from tests.rig.node import STATIC

SHEETS = sorted(STATIC.rglob("*.css"))
REFERENCE = re.compile(r'(?:from |import\(|href=|src=)"(/static/[^"#]+|\.{1,2}/[^"#]+)|"(/static/[^"#]+)"')


async def test_every_file_is_served_under_its_folder(http: aiohttp.ClientSession, url: str) -> None:
    paths = [path for path in STATIC.rglob("*") if path.is_file()]
    assert len(paths) > 20
    for path in paths:
        async with http.get(f"{url}/static/{path.relative_to(STATIC).as_posix()}") as answer:
            assert answer.status == 200
            assert await answer.read() == path.read_bytes()


async def test_what_a_file_refers_to_is_served(http: aiohttp.ClientSession, url: str) -> None:
    referred = set()
    for path in STATIC.rglob("*"):
        if path.suffix in (".html", ".js"):
            for first, second in REFERENCE.findall(path.read_text(encoding="utf-8")):
                name = first or second
                target = STATIC / name.removeprefix("/static/") if name.startswith("/") else path.parent / name
                referred.add(target.resolve().relative_to(STATIC.resolve()).as_posix())
    assert len(referred) > 20
    for name in referred:
        async with http.get(f"{url}/static/{name}") as answer:
            assert answer.status == 200, name


@pytest.mark.parametrize(
    "path",
    [
        "/static/",
        "/static/shared",
        "/static/shared/",
        "/static/live.js",
        "/static/shared/../../app.py",
        "/static/shared/%2e%2e/%2e%2e/assets.py",
        "/static/shared/..%2f..%2fassets.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/live/./live.js",
    ],
)
async def test_nothing_else_is_served(http: aiohttp.ClientSession, url: str, path: str) -> None:
    async with http.get(URL(url + path, encoded=True)) as answer:
        assert answer.status == 404


async def test_browsers_find_an_icon(http: aiohttp.ClientSession, url: str) -> None:
    async with http.get(f"{url}/favicon.ico") as answer:
        assert answer.status == 200
        assert answer.content_type == "image/svg+xml"
        assert await answer.read() == (STATIC / "shared" / "icon.svg").read_bytes()


def declarations(sheet: str) -> list[tuple[str, str]]:
    """Properties and values, without the variables of :root and without comments."""
    text = re.sub(r"/\*.*?\*/", "", sheet, flags=re.DOTALL)
    return [(name, value) for name, value in re.findall(r"([\w-]+):\s*([^;{}]+);", text) if not name.startswith("--")]


@pytest.mark.parametrize("path", SHEETS, ids=lambda path: path.name)
def test_sizes_colours_and_durations_are_variables(path: Path) -> None:
    literal_colour = re.compile(r"#[0-9a-f]{3,8}\b|\b(?:rgb|hsl)a?\(", re.IGNORECASE)
    literal_size = re.compile(r"(?<![\w.-])[\d.]*[1-9][\d.]*(?:px|rem)\b")
    literal_time = re.compile(r"(?<![\w-])[\d.]+m?s\b")
    in_scale = re.compile(r"font-size|border-radius|gap|padding.*|margin.*")
    wrong = [
        f"{name}: {value}"
        for name, value in declarations(path.read_text(encoding="utf-8"))
        if literal_colour.search(value)
        or literal_time.search(value)
        or (in_scale.fullmatch(name) and literal_size.search(value))
    ]
    assert wrong == []


def test_every_variable_is_defined_and_used() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in SHEETS)
    assert set(re.findall(r"(--[\w-]+):", text)) == set(re.findall(r"var\((--[\w-]+)\)", text))


def test_no_script_makes_markup_of_a_text() -> None:
    """What a model answers is text. A page that needs markup makes elements (shared/dom.js)."""
    makers = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|setHTML|parseFromString|createContextualFragment"
    makers += r"|srcdoc|\beval\(|new Function|javascript:"
    scripts = [path for path in STATIC.rglob("*") if path.suffix in {".js", ".html"}]
    assert len(scripts) > 10
    assert [path.name for path in scripts if re.search(makers, path.read_text(encoding="utf-8"))] == []
