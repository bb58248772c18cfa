"""Opening what shows a run live: the page, the terminal, or both."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from sender.errors import SenderError, UsageError
from sender.runtime.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sender.runtime.live.live_view import LiveOptions, LiveView

log = structlog.get_logger()


@asynccontextmanager
async def open_live(command: str, options: LiveOptions) -> AsyncIterator[LiveView | None]:
    """The view of this run while the context lasts, None where nobody asked for one; UsageError when it cannot be."""
    if not options.live and not options.watch:
        yield None
        return
    from sender.runtime.live.live_address import LiveAddress  # not before: most runs are not looked at
    from sender.runtime.live.live_token import LiveToken
    from sender.runtime.live.live_view import LiveView
    from sender.runtime.live.watch import Watch

    token = LiveToken.read(options.live_token_file) if options.live_token_file else None
    view = LiveView(command, watch=Watch.open() if options.watch else None)
    async with AsyncExitStack() as stack:
        if options.live:
            address = LiveAddress.parse(options.live)
            if token is None and not address.is_loopback:
                raise UsageError(
                    f"--live {address.host}: others could look at this run: give them a token with --live-token-file, "
                    "or name no host and come by ssh -L or kubectl port-forward"
                )
            from sender.runtime.live.live_server import LiveServer  # not before: aiohttp.web is for those who ask

            server = await LiveServer.open(view, address, token, personal=options.live_personal)
            stack.push_async_callback(server.aclose)
            log.info("live page", url=server.url)
        supervisor = await stack.enter_async_context(Supervisor())
        supervisor.start(view.run(), "live view", ends=True)
        try:
            yield view
        except SenderError as error:
            view.end(str(error))
            raise
        finally:
            view.end("it has ended")
