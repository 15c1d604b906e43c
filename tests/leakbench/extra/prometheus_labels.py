"""A label of unbounded cardinality: a child metric per user."""

from load import serve
from prometheus_client import Counter

REQUESTS = Counter("requests", "Requests by user", ["user", "path"])


def handle(number: int) -> None:
    REQUESTS.labels(user=f"user-{number}", path="/basket").inc()


serve(handle)
