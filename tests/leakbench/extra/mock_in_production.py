"""A mock stands in for a metrics client, and records every call."""

from unittest.mock import MagicMock

from load import serve

metrics = MagicMock()
serve(lambda number: metrics.timing("request", number, tags=[f"user {number}"]))
