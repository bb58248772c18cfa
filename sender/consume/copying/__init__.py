"""Copying jobs between files, queues and outboxes, paced by neither.

    CopySource --read--> copies --> CopyTarget: durable --done--> CopySource: out of the queue, or noted beside the file

Whatever is killed between two of these steps is done again by the next run, and known again.
"""
