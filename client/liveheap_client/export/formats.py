"""The formats by their names. To add one: its module, a line here and in FORMATS."""

from collections.abc import Callable

from liveheap_client.export.base import Exporter
from liveheap_client.export.heapsnapshot import HeapsnapshotExporter
from liveheap_client.export.pprof import PprofExporter

_EXPORTERS: dict[str, Callable[[], Exporter]] = {
    "heapsnapshot": HeapsnapshotExporter,
    "pprof": PprofExporter,
}


def exporter(name: str) -> Exporter:
    """Return what writes a format."""
    return _EXPORTERS[name]()
