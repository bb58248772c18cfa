"""Following by webhooks: what is opened for it, and when it ends."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Final

import structlog

from sender.errors import UsageError
from sender.follow.webhooks.intake import Intake
from sender.follow.webhooks.signature import SignatureCheck

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from sender.config.settings import Settings
    from sender.follow.follow_plan import FollowPlan
    from sender.follow.following import Following
    from sender.follow.until import Until
    from sender.follow.webhooks.listener import Listener
    from sender.runtime.supervisor import Supervisor

LOOK_EVERY: Final = 1.0
"""Seconds between two looks at what the runs have sent since."""

log = structlog.get_logger()


async def listen(plan: FollowPlan, following: Following, supervisor: Supervisor, stack: AsyncExitStack) -> Listener:
    """Take webhooks from now on, until the stack is closed; UsageError if that cannot be."""
    if plan.listen is None:
        raise ValueError("there is nowhere to listen")
    from sender.follow.webhooks.listener import Listener  # not before: aiohttp.web is for those who ask

    intake = Intake(following.take_or_keep)
    check = SignatureCheck(plan.signing_key, plan.settings.replay_window)
    host, port = plan.listen
    listener = await Listener.open(intake, check, host, port, tls_of(plan.settings))
    stack.push_async_callback(listener.aclose)
    supervisor.start(intake.run(), "webhooks")
    log.info("listening for webhooks", addresses=[f"{name}:{number}" for name, number in listener.addresses])
    return listener


async def follow_webhooks(following: Following, until: Until, seconds: float) -> bool:
    """Until the condition holds, or the time is up; False if it does not hold then."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while True:
        grows = await following.read_on() > 0 or following.grows
        if not grows and until.holds(following.books):
            return True
        if loop.time() >= end or not (grows or until.may_hold(following.books)):
            return not until.terms
        await asyncio.sleep(max(0.0, min(LOOK_EVERY, end - loop.time())))


def tls_of(settings: Settings) -> ssl.SSLContext | None:
    """For https; None without a certificate. UsageError when its files cannot be used."""
    if not settings.tls_cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key or None)
    except (OSError, ssl.SSLError) as error:
        why = getattr(error, "reason", None) or error.strerror or "it holds no such thing"
        raise UsageError(f"--tls-cert {settings.tls_cert}, --tls-key {settings.tls_key}: {why}") from None
    return context
