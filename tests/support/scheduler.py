"""Which worker runs which tests: each server is started once, and what takes long begins first."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from xdist.scheduler import LoadFileScheduling

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

BROKER = re.compile(r"^tests/queues/.*\[(?:.*-)?(postgres|redis|rabbit|jetstream|sqs|kafka|real)(?:-.*)?\]$")
"""A test of a queue on its server; `real` is Apache Kafka, among the tests of Kafka alone."""
ONE_BY_ONE = (
    "tests/consume/test_shell.py", "tests/send/test_doubts.py", "tests/send/test_shared_state.py",
    "tests/shared_state/test_shared_pacer.py",
)
"""Files of tests that wait for most of their time, each by itself."""
FIRST = ("tests/consume/test_the_stories.py", "sqs", "kafka", "rabbit", "tests/send/test_backfill.py", *ONE_BY_ONE)


class Scheduler(LoadFileScheduling):
    """The tests of a file go to one worker, but those of a broker, of whichever files, to one that has it running."""

    def _split_scope(self, nodeid: str) -> str:
        if found := BROKER.match(nodeid):
            return found[1].replace("real", "kafka")
        file = super()._split_scope(nodeid)
        return nodeid if file in ONE_BY_ONE else file

    def _assign_work_unit(self, node: WorkerController) -> None:
        first = min(self.workqueue, key=_rank)
        self.workqueue.move_to_end(first, last=False)
        super()._assign_work_unit(node)


def _rank(scope: str) -> int:
    """Where it stands in `FIRST`, whatever the number of its tests."""
    name = scope.partition("::")[0]
    return FIRST.index(name) if name in FIRST else len(FIRST)
