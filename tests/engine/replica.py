"""One replica in a process of its own, run as `python -m tests.engine.replica URL LOG SETTINGS`.

It carries out orders by writing to LOG and waiting as the job's name says, and answers questions on standard input.
`quick…` ends at once, `short…` after a while, `hold…` never, `wait…` never and may be left behind by a drain.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from typing import Any

from windlass.adapters.storage import make_engine
from windlass.adapters.storage.replicas import SqlReplicas
from windlass.engine.bell import Bell
from windlass.engine.durable import QUEUE_NAMES, Durable, DurableSettings, Enqueuer
from windlass.engine.loop import Place

FOREVER_S = 3600.0
PAUSES_S = {"quick": 0.0, "short": 0.5, "brief": 0.02, "hold": FOREVER_S, "wait": FOREVER_S}


class Log:
    """Lines of JSON, each written in one piece by whoever shares the file."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, what: str, job: str, seq: int) -> None:
        line = json.dumps({"pid": os.getpid(), "what": what, "job": job, "seq": seq})
        os.write(self._file, line.encode() + b"\n")


class SlowReplicas(SqlReplicas):
    """Heartbeats over a database that takes longer to answer than a replica may be silent."""

    slowness_s = 0.0

    def live(self) -> frozenset[str]:
        time.sleep(self.slowness_s)
        return super().live()


async def main(url: str, log_path: str, settings: str) -> None:
    given = json.loads(settings)
    SlowReplicas.slowness_s = given.pop("slowness_s", 0.0)
    engine, bell, log = make_engine(url), Bell(*QUEUE_NAMES), Log(log_path)
    waiting: set[str] = set()
    durable = Durable(
        engine, SlowReplicas(engine), DurableSettings(**given), bell, is_alone=engine.dialect.name == "sqlite"
    )
    enqueue = Enqueuer(engine, bell)

    async def carry_out(job: str, seq: int) -> None:
        log.write("begin", job, seq)
        kind = job.split("-", maxsplit=1)[0]
        key = f"{job}:{seq}"
        if kind == "fails":
            raise ValueError("a fault")
        if kind == "wait":
            waiting.add(key)
        try:
            await asyncio.sleep(PAUSES_S[kind])
        finally:
            waiting.discard(key)
        log.write("end", job, seq)

    def answer(question: dict[str, Any]) -> object:
        match question["do"]:
            case "is_lost":
                return durable.is_lost(question["job"], question["seq"])
            case "forget":
                return durable.forget_finished(question["before_ms"])
            case "again":
                place = Place(queue="light", partition="acme/a", priority=50)
                return enqueue.again(question["job"], question["seq"], place)
        raise AssertionError(question)

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await durable.start(carry_out)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print(json.dumps(durable.executor_id), flush=True)

    async def talk() -> None:
        while line := await reader.readline():
            print(json.dumps(await asyncio.to_thread(answer, json.loads(line))), flush=True)

    talking = asyncio.create_task(talk())
    await stop.wait()
    talking.cancel()
    await durable.drain(5.0, lambda: frozenset(waiting))
    engine.dispose()
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
