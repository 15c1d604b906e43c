"""MRQ's settings: Redis is real, MongoDB is a mock in the worker's own memory.

MRQ takes objects in place of addresses. Its jobs come through a raw queue, of which
only Redis knows: so whoever sends them needs no MongoDB. One function that MRQ asks of
gevent has had another name since MRQ's last release; it gets the old one back.
"""

import os

import gevent
import mongomock
import redis

gevent.signal = gevent.signal_handler

REDIS = redis.StrictRedis(
    unix_socket_path=os.environ["MATRIX_REDIS"].removeprefix("unix://")
)
MONGODB_JOBS = mongomock.MongoClient()["mrq"]
MONGODB_LOGS = "0"
GREENLETS = 12
MAX_LATENCY = 0.1
ENSURE_INDEXES = False
RAW_QUEUES = {
    "parcels_raw": {
        "job_factory": lambda gate: {
            "path": "freight.Pack",
            "params": {"gate": gate.decode()},
        }
    }
}
