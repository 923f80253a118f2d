"""The code that a model brings with it, which vLLM runs only with its option to trust it.

vLLM needs it where config.json names a class in `auto_map` and neither transformers nor vLLM has one for the model's
type (`HFConfigParser.parse` of vllm/transformers_utils/config.py, 0.32).
"""

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from vedette.models.forms.type_defaults import is_known
from vedette.models.model import OwnFile
from vedette.models.model_files import read_model_file

MAX_CODE_BYTES = 4_000_000
MAX_CODE_FILES = 64


def read_own_code(directory: Path, config: Mapping[str, Any], names: Collection[str]) -> tuple[OwnFile, ...]:
    """Every Python file of a model whose code vLLM would have to run; () if it needs none.

    names: of the files in the directory. Raises ModelCorruptError.
    """
    named = named_code(config)
    if not named:
        return ()
    here = sorted(name for name in names if name.endswith(".py"))[:MAX_CODE_FILES]
    found = [OwnFile(name, _digest(directory / name)) for name in here]
    return (*found, *(OwnFile(name, None) for name in named if name not in here))


def named_code(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The files that `auto_map` names; () if transformers or vLLM has a class of its own for this type."""
    classes = config.get("auto_map")
    model_type = config.get("model_type")
    if not isinstance(classes, dict) or "AutoConfig" not in classes:
        return ()
    if isinstance(model_type, str) and is_known(model_type):
        return ()
    modules = {name.rpartition("--")[2].partition(".")[0] for name in classes.values() if isinstance(name, str)}
    return tuple(sorted(f"{module[:100]}.py" for module in modules if module))


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(read_model_file(path, MAX_CODE_BYTES)).hexdigest()
    except FileNotFoundError:
        return None
