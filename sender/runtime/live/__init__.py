"""What a run shows of itself while it works: on a page (`--live`), in the terminal (`--watch`), or both.

    front-end --snapshot()--> Figures --every second--> LiveView --+--> LiveServer: events to the open pages
                                                                   +--> Watch: lines on the terminal
    operator, with the token --> LiveServer --> Controls of the front-end: pause, resume, rate, dead letters

The figures are read of the objects that the run itself goes by: its books, lanes and ledger (docs/live.md).
"""
