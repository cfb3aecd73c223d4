"""The peer Celery: a no-op task, and the producer of its backlog (`celery_tasks.py fill <count> <payload>`)."""
import json
import os
import sys

from celery import Celery

app = Celery("celery_tasks", broker=os.environ["BROKER_URL"])
# https://docs.celeryq.dev/en/stable/userguide/optimizing.html: no results, many prefetched for short tasks.
app.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=128,
    task_default_queue="celery_bench",
    broker_pool_limit=4,
    worker_hijack_root_logger=False,
)


@app.task(name="celery_tasks.work")
def work(payload):
    return None


if __name__ == "__main__" and sys.argv[1] == "fill":
    payload = json.loads(sys.argv[3])
    with app.pool.acquire() as connection, app.amqp.Producer(connection) as producer:
        for _ in range(int(sys.argv[2])):
            work.apply_async((payload,), producer=producer)
