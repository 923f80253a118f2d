"""A process that imports vLLM once and forks a child for each case, which saves 15 to 20 s of imports a start.

    python -m bench.lab.zygote        prints whether children can use the GPU here

The parent never touches CUDA (a fork after that leaves children without a GPU). Where a fork cannot
use the GPU anyway, a child is a new interpreter: slower, same results.
"""

import contextlib
import gc
import importlib
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

MODULES = (
    "torch",
    "transformers.models.auto.processing_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.auto.image_processing_auto",
    "transformers.models.auto.video_processing_auto",
    "transformers.models.auto.modeling_auto",
    "vllm.entrypoints.cli.main",
    "vllm.entrypoints.cli.serve",
    "vllm.entrypoints.openai.api_server",
    "vllm.engine.arg_utils",
    "vllm.v1.engine.async_llm",
    "vllm.v1.engine.core",
    "vllm.v1.engine.llm_engine",
    "vllm.v1.executor.uniproc_executor",
    "vllm.v1.worker.gpu_worker",
    "vllm.v1.worker.gpu_model_runner",
    "vllm.v1.worker.gpu.model_runner",
    "vllm.model_executor.models.registry",
    "vllm.model_executor.model_loader.dummy_loader",
    "torch._inductor.compile_fx",
    "triton.compiler",
)


class Zygote:
    """Imports vLLM once. `fork` starts a child; `wait` ends it, at the latest after its time."""

    def __init__(self, architectures: tuple[str, ...] = ()) -> None:
        began = time.monotonic()
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # a call of CUDA here would make forks fail
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # a fork must not inherit a thread pool
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        restore_transformers_names()
        exact_figures()
        for name in MODULES:
            _import(name)
        registry = sys.modules.get("vllm.model_executor.models.registry")
        if registry is not None:
            registry._run_in_subprocess = run_forked  # type: ignore[attr-defined]
            for architecture in architectures:
                _inspect(registry, architecture)
        self.forks = _clean() and run_forked(_touches_gpu)
        gc.collect()
        gc.freeze()
        print(f"zygote: {time.monotonic() - began:.1f} s to import; children fork: {self.forks}", flush=True)

    def fork(self, work: Callable[[], None], log: Path, environment: Mapping[str, str], again: list[str]) -> int:
        """Runs `work` in a child of its own session, its output in `log`; returns its process id.

        again: the command that does the same in a new interpreter.
        """
        sys.stdout.flush()
        if not self.forks:
            with log.open("ab") as out:
                child = subprocess.Popen(
                    again, stdout=out, stderr=out, env=os.environ | environment, start_new_session=True
                )
            return child.pid
        pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            os.setsid()
            _quiet(log)
            os.environ.update(environment)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
                signal.signal(number, signal.SIG_DFL)
            work()
            status = 0
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)


def wait(pid: int, seconds: float) -> int | None:
    """The child's exit status; None if it had to be killed. Ends all processes of its session."""
    until = time.monotonic() + seconds
    status: int | None = None
    while time.monotonic() < until:
        ended, code = os.waitpid(pid, os.WNOHANG)
        if ended:
            status = os.waitstatus_to_exitcode(code)
            break
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    if status is None:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
    return status


def run_forked(work: Callable[[], Any]) -> Any:
    """The value of `work`, computed in a child, so that its use of CUDA does not affect this process."""
    with tempfile.NamedTemporaryFile() as file:
        pid = os.fork()
        if pid == 0:
            try:
                Path(file.name).write_bytes(pickle.dumps(work()))
                os._exit(0)
            except BaseException:
                import traceback

                traceback.print_exc()
                os._exit(1)
        _, code = os.waitpid(pid, 0)
        if code:
            raise RuntimeError("the forked work failed, see above")
        return pickle.loads(Path(file.name).read_bytes())  # noqa: S301 - written by the child just above


def restore_transformers_names() -> None:
    """Restores two Pixtral names that transformers 5.17 renamed: vLLM 0.26's LLaVA imports them without using them."""
    with contextlib.suppress(ImportError):
        from transformers.models.pixtral import modeling_pixtral as pixtral

        for name in ("PixtralRotaryEmbedding", "position_ids_in_meshgrid"):
            if not hasattr(pixtral, name):
                setattr(pixtral, name, type(name, (), {}))


def serve_like_vllm(arguments: tuple[str, ...]) -> None:
    """`vllm serve …` in this process, as its command runs it; forks its engine core."""
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"
    sys.argv = ["vllm", *arguments]
    from vllm.entrypoints.cli.main import main

    main()


def _touches_gpu() -> bool:
    try:
        import torch

        return bool(torch.zeros(1, device="cuda").is_cuda)
    except Exception as error:
        print(f"zygote: a forked child cannot use the GPU: {error}")
        return False


def _clean() -> bool:
    """Whether CUDA is still untouched here."""
    import torch

    return not torch.cuda.is_initialized() and not torch.cuda._is_in_bad_fork()


def exact_figures() -> None:
    """Makes vLLM log memory with six digits: hundredths of a GiB are too coarse for half a percent of a small model."""
    try:
        from vllm.utils import mem_utils

        mem_utils.format_gib = lambda size: f"{size / (1 << 30):.6f}"
    except ImportError as error:
        print(f"zygote: {error}")


def _import(name: str) -> None:
    try:
        importlib.import_module(name)
    except Exception as error:
        print(f"zygote: {name}: {type(error).__name__}: {error}"[:200])


def _inspect(registry: Any, architecture: str) -> None:
    """Reads vLLM's facts of an architecture, and imports its module if that does not initialise CUDA."""
    model = registry.ModelRegistry.models.get(architecture)
    if model is None:
        print(f"zygote: vLLM does not know {architecture}")
        return
    with contextlib.suppress(Exception):
        registry._try_inspect_model_cls(architecture, model)

    def imports_clean() -> bool:
        model.load_model_cls()
        return _clean()

    try:
        if run_forked(imports_clean):
            model.load_model_cls()
    except Exception as error:
        print(f"zygote: {architecture}: {error}"[:200])


def _quiet(log: Path) -> None:
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.close(out)


def architectures_of(directories: list[Path]) -> tuple[str, ...]:
    """The architecture names in these directories' configurations."""
    found: dict[str, None] = {}
    for directory in directories:
        for name in json.loads((directory / "config.json").read_text()).get("architectures", ()):
            found[name] = None
    return tuple(found)


if __name__ == "__main__":
    Zygote()
