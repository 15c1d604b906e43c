"""A task for MRQ."""

import parcels
from mrq.context import get_current_job
from mrq.task import Task


class Pack(Task):
    def run(self, params: dict[str, str]) -> int:
        job = get_current_job()
        return parcels.pack("mrq", "freight.Pack", str(job.id), params["gate"])
