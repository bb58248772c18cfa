"""What a run or a benchmark was like: one page that needs no network, or the same figures as text.

    file --reading--> outcomes or bench result --sections--> figures, charts, tables --page--> HTML
                                                                                     --text--> terminal

Files are not trusted: lines are read one by one in bounded memory, and every text of theirs is shortened and escaped.
"""
