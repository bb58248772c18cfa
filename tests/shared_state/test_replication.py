"""What INFO replication tells of a failover."""

from __future__ import annotations

from sender.shared_state.redis.replication import Replication

NONE = "0" * 40
MASTER = Replication("a", 1000, NONE, -1)


def test_a_restart_is_no_failover() -> None:
    assert not MASTER.follows(None)
    assert not Replication("b", 0, NONE, -1).follows(MASTER)
    assert not Replication("b", 0, NONE, -1).lost(MASTER)


def test_a_promoted_replica_tells_where_it_left_the_master() -> None:
    assert Replication("b", 1500, "a", 1001).follows(MASTER)
    assert not Replication("b", 1500, "a", 1001).lost(MASTER)
    assert Replication("b", 1500, "a", 1000).lost(MASTER)
    assert Replication("b", 1500, "a", 900).follows(None)
    assert not Replication("b", 1500, "a", 900).lost(None), "nobody knows how far the master was"
    assert not Replication("c", 1500, "b", 900).lost(MASTER), "another history"


def test_what_a_server_says_is_read() -> None:
    info = {"master_replid": "a", "master_repl_offset": 7, "master_replid2": NONE, "second_repl_offset": -1}
    assert Replication.of(info) == Replication("a", 7, NONE, -1)
