"""Reads vLLM's own sources, version by version, and writes src/vedette/engine/vllm/versions.toml.

    PIP_INDEX_URL=… python -m bench.lab.flags.read_flags SOURCES

PIP_INDEX_URL is the package index, as pip has it. SOURCES is a directory for the few files that are read of each
version. They come out of the index's wheels by range requests (a dozen files of 300 MB each), and are kept there, so
that a second run needs no network. Nothing of vLLM is imported: the sources are parsed. Run it when a new vLLM is out;
`git diff` then shows what was added, removed and changed.
"""

import ast
import io
import json
import os
import re
import sys
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

OLDEST_MINOR = 11
TABLE = Path(__file__).parents[3] / "src" / "vedette" / "engine" / "vllm" / "versions.toml"

# Files to read of every version, under all paths they have had: options, the server's options, allowed values.
SOURCES = re.compile(
    r"vllm/(envs|engine/arg_utils|entrypoints/[a-z]+/cli_args|config/(cache|compilation|model)"
    r"|platforms/interface|(v1/)?attention/backends/registry|v1/worker/cpu_worker|multimodal/processing(/context)?"
    r"|model_executor/layers/(rotary_embedding/__init__|quantization/(__init__|gptq))|model_executor/models/registry"
    r"|utils/torch_utils)\.py"
)

# Everything that vedette may pass to an engine: an option, `option value`, `option.key` of an option that takes JSON,
# or an environment variable.
WANTED = frozenset(
    """
--served-model-name --host --port --uds --dtype --max-model-len --max-num-seqs --max-num-batched-tokens
--gpu-memory-utilization --kv-cache-memory-bytes --num-gpu-blocks-override --block-size
--enforce-eager --compilation-config --compilation-config.mode --compilation-config.level
--compilation-config.cudagraph_mode --compilation-config.cudagraph_capture_sizes
--cudagraph-capture-sizes --optimization-level
--enable-prefix-caching --no-enable-prefix-caching --enable-chunked-prefill --no-enable-chunked-prefill
--kv-cache-dtype --attention-backend VLLM_ATTENTION_BACKEND
--limit-mm-per-prompt --mm-processor-kwargs --mm-processor-cache-gb --media-io-kwargs --skip-mm-profiling
--language-model-only --allowed-media-domains
--hf-overrides --trust-remote-code --reasoning-parser --default-chat-template-kwargs --max-num-queued-reqs
--disable-uvicorn-access-log --enable-sleep-mode --quantization
VLLM_USE_RUST_FRONTEND VLLM_WORKER_MULTIPROC_METHOD VLLM_CPU_KVCACHE_SPACE VLLM_ENABLE_STARTUP_PLAN
VLLM_ENABLE_V1_MULTIPROCESSING VLLM_NO_USAGE_STATS VLLM_HOST_IP VLLM_CACHE_ROOT VLLM_SERVER_DEV_MODE
""".split()  # noqa: SIM905 - a list to read and to add to
)
KV_CACHE_DTYPES = ("bfloat16", "float16", "fp8", "fp8_e4m3", "fp8_e5m2")
ATTENTION_BACKENDS = ("FLASH_ATTN", "FLASHINFER", "TRITON_ATTN", "FLEX_ATTENTION")
# Options that exist in versions where they do not do all that vedette needs: the missing feature, and the word in the
# source that implements it.
LATER = {
    "--kv-cache-memory-bytes cpu": ("v1/worker/cpu_worker.py", "kv_cache_memory_bytes"),
    "--mm-processor-kwargs scoped": ("multimodal/processing/context.py", '"images_kwargs"'),
    "get_rope mrope_positions_factor": (
        "model_executor/layers/rotary_embedding/__init__.py",
        "mrope_positions_factor",
    ),
    # `auto` is what the checkpoint orders for keys and values, no longer the model's own type.
    "--kv-cache-dtype auto ordered": ("utils/torch_utils.py", "resolve_kv_cache_dtype_string"),
    # Kernels for GPTQ of 2, 3 and 8 bits, and for asymmetric weights.
    "--quantization gptq exllama": ("model_executor/layers/quantization/gptq.py", "exllama"),
    "--hf-overrides nested": ("config/model.py", "_apply_dict_overrides"),
}


class RemoteFile(io.RawIOBase):
    """A file at a URL, read by HTTP ranges."""

    def __init__(self, url: str, size: int) -> None:
        self.url, self.size, self.position = url, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        return self.position

    def tell(self) -> int:
        return self.position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        end = min(self.position + len(buffer), self.size)
        if end <= self.position:
            return 0
        wanted = {"Range": f"bytes={self.position}-{end - 1}"}
        with urllib.request.urlopen(urllib.request.Request(self.url, headers=wanted), timeout=120) as answer:
            data = answer.read()
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)


def released() -> dict[str, tuple[str, int]]:
    """Address and size of one wheel of every release since OLDEST_MINOR."""
    index = os.environ.get("PIP_INDEX_URL")
    if not index:
        sys.exit("Set PIP_INDEX_URL to the package index to read from (`pip config list` may name one).")
    asked = urllib.request.Request(
        f"{index.rstrip('/')}/vllm/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}
    )
    with urllib.request.urlopen(asked, timeout=120) as answer:
        files = json.load(answer)["files"]
    found = {}
    for file in files:
        name = re.fullmatch(r"vllm-(0\.(\d+)\.\d+)-.*aarch64\.whl", file["filename"])
        if name and int(name[2]) >= OLDEST_MINOR and not file.get("yanked"):
            found[name[1]] = (file["url"], file["size"])
    return found


def fetch_sources(directory: Path) -> None:
    """Puts the sources of every release since OLDEST_MINOR under `directory/VERSION/`."""
    for version, (url, size) in released().items():
        if (directory / version).exists():
            continue
        with zipfile.ZipFile(io.BufferedReader(RemoteFile(url, size), 1 << 20)) as wheel:
            texts = {name: wheel.read(name) for name in wheel.namelist() if SOURCES.fullmatch(name)}
        for name, text in texts.items():
            path = directory / version / name.removeprefix("vllm/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
        print(version, len(texts), "files")


def read_version(root: Path) -> set[str]:
    """The entries of WANTED that the version under `root` knows."""
    engine, server = _parse(root, "engine/arg_utils.py"), _parse(root, "*/cli_args.py")
    compilation = _fields(_parse(root, "config/compilation.py"), "CompilationConfig")
    found = _options(engine) | _server_options(server) | _environment(_parse(root, "envs.py"))
    found |= {f"--compilation-config.{name}" for name in compilation}
    dtypes = _literal(_parse(root, "config/cache.py"), "CacheDType")
    found |= {f"--kv-cache-dtype {name}" for name in KV_CACHE_DTYPES if name in dtypes}
    backends = _attention_backends(root)
    for way in ("--attention-backend", "VLLM_ATTENTION_BACKEND"):
        if way in found:
            found |= {f"{way} {name}" for name in ATTENTION_BACKENDS if name in backends}
    methods = _literal(_parse(root, "quantization/__init__.py"), "QuantizationMethods")
    found |= {f"--quantization {name}" for name in methods}
    for name, (path, word) in LATER.items():
        source = root / path
        if source.exists() and word in source.read_text(encoding="utf-8"):
            found.add(name)
    return {name for name in found if name in WANTED or " " in name}


def _parse(root: Path, pattern: str) -> ast.Module:
    path = next(root.rglob(pattern), None)
    if path is None:
        raise FileNotFoundError(f"{root.name} has no {pattern} at the paths in SOURCES")
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _options(tree: ast.Module) -> set[str]:
    """Options of `add_argument("--name", …)`; an option that is switched has a `--no-` too."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names: set[str] = set()
    for call in calls:
        if isinstance(call.func, ast.Attribute) and call.func.attr == "add_argument":
            flags = [word.value for word in call.args if isinstance(word, ast.Constant)]
            names |= {flag for flag in flags if isinstance(flag, str) and flag.startswith("--")}
    switched = {f"--{name.replace('_', '-')}" for name, kind in _fields(tree, "EngineArgs").items() if "bool" in kind}
    return names | {f"--no-{name.removeprefix('--')}" for name in names & switched}


def _server_options(tree: ast.Module) -> set[str]:
    classes = ("BaseFrontendArgs", "FrontendArgs")
    return {f"--{name.replace('_', '-')}" for owner in classes for name in _fields(tree, owner)}


def _fields(tree: ast.Module, owner: str) -> dict[str, str]:
    """The annotated fields of a class: name to type."""
    return {
        item.target.id: ast.unparse(item.annotation)
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == owner
        for item in node.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    }


def _environment(tree: ast.Module) -> set[str]:
    """The keys of `environment_variables`, the table that vLLM reads its environment by."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "environment_variables":
            assert isinstance(node.value, ast.Dict)
            return {str(key.value) for key in node.value.keys if isinstance(key, ast.Constant)}
    raise ValueError("envs.py has no table of environment variables any more")


def _literal(tree: ast.Module, name: str) -> set[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return {str(word.value) for word in ast.walk(node.value) if isinstance(word, ast.Constant)}
    raise ValueError(f"{name} is not a literal type any more")


def _attention_backends(root: Path) -> set[str]:
    trees = [_parse(root, name) for name in ("backends/registry.py", "platforms/interface.py") if any(root.rglob(name))]
    return {
        ast.unparse(item.targets[0])
        for tree in trees
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name in ("AttentionBackendEnum", "_Backend")
        for item in node.body
        if isinstance(item, ast.Assign)
    }


def read_architectures(root: Path) -> set[str]:
    """The architectures that generate text for which the version under `root` has a class of its own."""
    tables = {"_TEXT_GENERATION_MODELS", "_MULTIMODAL_MODELS"}
    return {
        str(key.value)
        for node in _parse(root, "models/registry.py").body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in tables and isinstance(node.value, ast.Dict)
        for key in node.value.keys
        if isinstance(key, ast.Constant)
    }


def spans(present: list[bool], versions: list[str]) -> Iterator[str]:
    """Ranges of versions that know an entry: `>=FIRST`, or `>=FIRST,<REMOVED`."""
    for index, here in enumerate(present):
        if here and (index == 0 or not present[index - 1]):
            removed = next((later for later in range(index, len(present)) if not present[later]), None)
            yield f">={versions[index]}" + (f",<{versions[removed]}" if removed is not None else "")


def main() -> None:
    directory = Path(sys.argv[1])
    fetch_sources(directory)
    versions = sorted(
        (path.name for path in directory.iterdir()), key=lambda name: [int(part) for part in name.split(".")]
    )
    known = {version: read_version(directory / version) for version in versions}
    classes = {version: read_architectures(directory / version) for version in versions}
    lines = [
        "# Which versions of `vllm serve` know each option, value and variable that vedette may pass, and each model.",
        "# Written by bench/lab/flags/read_flags.py from the sources in vLLM's wheels; do not edit.",
        f'oldest = "{versions[0]}"',
        f'newest = "{versions[-1]}"',
        "",
        "[known]",
    ]
    for name in sorted(set().union(*known.values())):
        ranges = list(spans([name in known[version] for version in versions], versions))
        lines.append(f"{json.dumps(name)} = {json.dumps(ranges)}")
    lines += ["", "[architectures]"]
    for name in sorted(set().union(*classes.values())):
        ranges = list(spans([name in classes[version] for version in versions], versions))
        lines.append(f"{json.dumps(name)} = {json.dumps(ranges)}")
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(versions)} versions; unknown to all: {sorted(set(WANTED).difference(*known.values()))}")


if __name__ == "__main__":
    main()
