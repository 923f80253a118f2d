"""Which source speaks for an origin."""

from pathlib import Path

from vedette.models.store.fetching.hub_connection import hub_connection
from vedette.models.store.fetching.hub_source import HubSource
from vedette.models.store.fetching.model_source import ModelSource
from vedette.models.store.fetching.modelscope_source import modelscope_source
from vedette.models.store.fetching.ngc_source import ngc_source
from vedette.models.store.fetching.origin import Kind, Origin
from vedette.models.store.fetching.web_source import WebSource


def source_of(origin: Origin, keys: Path) -> ModelSource:
    """The source of a download. keys: the directory of vedette's own keys.

    Raises SourceError if a key's file is open to others.
    """
    if origin.kind is Kind.NGC:
        return ngc_source(origin.path, keys)
    if origin.kind is Kind.MODELSCOPE:
        return modelscope_source(origin.path)
    return WebSource(origin.path) if origin.kind is Kind.WEB else HubSource(origin.path)


def reading_source_of(origin: Origin, keys: Path) -> ModelSource:
    """The source of a plan's facts, in vedette's own process: no hub's client is loaded. Raises SourceError."""
    return hub_connection(origin.path) if origin.kind is Kind.HUGGING_FACE else source_of(origin, keys)
