"""customerio, the vendor's own client: blocking, so ten threads with a client each."""

from __future__ import annotations

import threading

from common import EMAIL, KEY
from customerio import APIClient, SendEmailRequest

THREADS = 10


async def full(url: str) -> None:
    threads = [threading.Thread(target=_for_ever, args=(url,)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _for_ever(url: str) -> None:
    client = APIClient(KEY, url=url)
    while True:
        client.send_email(SendEmailRequest(**EMAIL))
