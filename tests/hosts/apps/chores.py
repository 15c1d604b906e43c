"""A huey task."""

import os

if os.environ.get("MATRIX_PATCH") == "gevent":
    from gevent import monkey

    monkey.patch_all()

import parcels
from huey import RedisHuey

huey = RedisHuey("chores", url=os.environ["MATRIX_REDIS"], results=False)


@huey.task(context=True)
def pack(gate: str, task: object = None) -> int:
    return parcels.pack("huey", "pack", task.id, gate)
