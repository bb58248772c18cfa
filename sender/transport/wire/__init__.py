"""HTTP/1.1 on connections that somebody else opened: a request out in one write, its answer in by callbacks.

    ConnectionPool --idle--> WireConnection --bytes--> AnswerReader --> Reply, or AnswerFault

docs/wire.md says why this exists beside aiohttp, and what it does not do.
"""
