"""An RQ worker (fork per job) on the Redis socket of the first argument, and its job.

The job says its pid, holds until a line comes in, and fails at the word `fail`.
"""

import logging
import os
import sys

import stage

JOB = "labelled_jobs.import_order"


def import_order(number: int, secret: str) -> None:
    stage.ready(os.getpid())
    if b"fail" in sys.stdin.buffer.readline():
        raise ValueError(number)


def main(path: str) -> None:
    stage.start_agent()
    logging.disable(logging.CRITICAL)
    import redis
    import rq

    queue = rq.Queue(connection=redis.Redis(unix_socket_path=path))
    for number in range(2):
        queue.enqueue(JOB, number, "hunter2", job_id=f"job-{number}")
    rq.Worker([queue], connection=queue.connection).work(burst=True)


if __name__ == "__main__":
    main(sys.argv[1])
