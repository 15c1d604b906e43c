"""The formats by their names. To add one: its module, a line here and in FORMATS."""

from liveheap_client.export.base import Exporter
from liveheap_client.export.dot import DotExporter
from liveheap_client.export.heapsnapshot import HeapsnapshotExporter
from liveheap_client.export.parquet import ParquetExporter
from liveheap_client.export.pprof import PprofExporter


def exporter(name: str, *, type_name: str | None = None) -> Exporter:
    """Return what writes a format; `type_name` is for the one that has a use for it."""
    if name == "heapsnapshot":
        return HeapsnapshotExporter()
    if name == "pprof":
        return PprofExporter()
    if name == "parquet":
        return ParquetExporter()
    return DotExporter(type_name)
