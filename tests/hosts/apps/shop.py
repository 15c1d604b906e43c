"""A Celery application with one task."""

import os

import parcels
from celery import Celery

app = Celery("shop", broker=os.environ["MATRIX_CELERY"])
app.conf.worker_prefetch_multiplier = 1
app.conf.broker_connection_retry_on_startup = True
app.conf.task_ignore_result = True
app.conf.worker_hijack_root_logger = False


@app.task(bind=True, name="shop.pack", acks_late=True)
def pack(self, gate: str) -> int:
    return parcels.pack("celery", "shop.pack", self.request.id, gate)
