"""The formats by their names. To add one: its module, a line here and in FORMATS."""

from liveheap_client.export.base import Exporter
from liveheap_client.export.heapsnapshot import HeapsnapshotExporter


def exporter(name: str) -> Exporter:
    """Return what writes a format."""
    return {"heapsnapshot": HeapsnapshotExporter}[name]()
