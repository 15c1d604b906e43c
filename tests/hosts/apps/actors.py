"""A dramatiq actor."""

import os

import dramatiq
import parcels
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import CurrentMessage

broker = RedisBroker(url=os.environ["MATRIX_REDIS"])
broker.add_middleware(CurrentMessage())
dramatiq.set_broker(broker)


@dramatiq.actor(max_retries=0)
def pack(gate: str) -> None:
    message = CurrentMessage.get_current_message()
    parcels.pack("dramatiq", "pack", message.message_id, gate)
