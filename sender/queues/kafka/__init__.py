"""Apache Kafka: a group's share of a topic, and what is published to one.

    loop    KafkaQueue -> GroupMember      reads, acknowledgements, what was given back
                              |
    thread              PolledConsumer     polls, serves reads
                         |          |
                  Rebalances     Commits   partitions come and go; who waits for which commit
                         |          |
                        Partitions         what waits, and what is in hand
                            |
                    PartitionProgress      what has no end yet, in the offset and its metadata
"""

from sender.queues.kafka.publisher import KafkaPublisher
from sender.queues.kafka.queue import KafkaQueue

__all__ = ["KafkaPublisher", "KafkaQueue"]
