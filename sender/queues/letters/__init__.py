"""Letters: what lies in a dead letter queue, read one after another and taken out one by one; a file for each broker.

    LetterBox --read--> Letter --remove--> gone from the dead letter queue
                          |
                          +--leave--> it stays, as if nobody had looked
"""

from sender.queues.letters.letter_box import Letter, LetterBox

__all__ = ["Letter", "LetterBox"]
