"""Heap graphs in the formats of other tools, one module a format.

An exporter writes one graph into one place (base.py says what it promises). None writes
a value of the worker's heap: names of types, attributes and code, sizes, lengths.
"""

FORMATS = ("heapsnapshot", "pprof", "parquet", "dot")
