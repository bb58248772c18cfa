"""What the API's lists say of a job in doubt; each missing proof keeps it in doubt."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from sender.doubts.doubted_attempts import DoubtedAttempts
from sender.doubts.known_deliveries import KnownDeliveries
from sender.doubts.reconciler import Reconciler
from sender.engine.api_clock import ApiClock
from sender.engine.api_reader import ApiReader, ReadingFailedError, ReadingRefusedError
from sender.ledger import FinalRecord
from sender.ledger.memory_ledger import MemoryLedger
from sender.pacing.pacer import Pacer
from sender.transport import Reply, Request, TransportFault
from tests.doubts.test_matching import NOW, doubtful
from tests.pacing.test_pacer import run_virtual

if TYPE_CHECKING:
    from sender.doubts.resolution import Resolution

PERSON = "/v1/customers/7/messages"
WITNESS = "/v1/customers/8/messages"


def item(name: str, **more: Any) -> dict[str, Any]:
    people = {"id": "8", "email": None, "cio_id": "c8"}
    known = {"id": name, "type": "email", "recipient": "ada@example.com", "created": int(NOW),
             "transactional_message_id": 3, "customer_identifiers": people}
    return known | more


class Api:
    """Documents by path; a number is a status, a list is answered in turn."""

    def __init__(self, **more: Any) -> None:
        self.asked: list[str] = []
        self.documents: dict[str, Any] = {
            PERSON: {"messages": None, "next": ""},
            WITNESS: {"messages": [item("w")], "next": ""},
            "/v1/messages/w": {"message": item("w")},
            "/v1/transactional/3/messages": {"messages": [], "next": ""},
        }
        self.documents.update(more)
        self.clock = time.time

    async def send(self, request: Request, wire: Any = None) -> Reply:
        import orjson

        wire.on_written()
        url = urlsplit(request.path)
        self.asked.append(request.path)
        found = self.documents.get(url.path, 404)
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        if callable(found):
            found = found(dict(parse_qsl(url.query)))
        if isinstance(found, Exception):
            raise found
        if isinstance(found, int):
            return Reply(found, "application/json", b'{"errors":[{"detail":"no"}]}')
        date = formatdate(self.clock(), usegmt=True)
        return Reply(200, "application/json", orjson.dumps(found), date=date)

    async def warm(self, connections: int) -> int:
        return 0

    async def aclose(self) -> None: ...


def resolve(
    api: Api,
    *doubtful_jobs: Any,
    at: float = NOW + 100,
    known: tuple[str, ...] = (),
    witness: bool = True,
    earlier: tuple[Any, ...] = (),
    ours: float = 0.0,
) -> Any:
    """Resolve at the time `at` of the API's clock; our own is so many seconds behind it."""
    resolutions: list[Resolution] = []

    async def body(loop: Any) -> None:
        ledger = MemoryLedger()
        await ledger.settle([FinalRecord(f"k{one}", "c", "sent", b"{}\n", result=one) for one in known])
        deliveries = KnownDeliveries()
        if witness:
            deliveries.sent("email", 3, "w", NOW + 5)
        api.clock = lambda: at + loop.time() - 1000
        clock = ApiClock(lambda: api.clock() - ours)
        clock.observe(formatdate(api.clock(), usegmt=True))
        doubted = DoubtedAttempts(ledger, clock, 60)
        await doubted.take_up([*doubtful_jobs, *earlier])
        reader = ApiReader(api, Pacer(10), clock)
        reconciler = Reconciler(reader, ledger, deliveries, doubted, lag=60)
        resolutions.extend(await reconciler.resolve(doubtful_jobs))

    run_virtual(body)
    return resolutions[0] if len(resolutions) == 1 else resolutions


def test_the_one_delivery_is_adopted() -> None:
    resolution = resolve(Api(**{PERSON: {"messages": [item("mine")], "next": ""}}), doubtful())
    assert (resolution.fate, resolution.result) == ("sent", (("delivery_id", "mine"), ("queued_at", int(NOW))))
    outcome = resolution.outcome(NOW)
    assert (outcome.status, outcome.source, outcome.line, outcome.attempts) == ("sent", "f", 1, 1)


def test_a_delivery_of_another_job_is_not_adopted() -> None:
    resolution = resolve(Api(**{PERSON: {"messages": [item("other")], "next": ""}}), doubtful(), known=("other",))
    assert resolution.fate == "absent"


def test_all_pages_are_read() -> None:
    pages = {"": {"messages": [], "next": "c1"}, "c1": {"messages": [item("mine")], "next": 0}}
    api = Api(**{PERSON: lambda query: pages[query.get("start", "")]})
    assert resolve(api, doubtful()).fate == "sent"
    assert "start_ts=" in api.asked[0]
    assert "end_ts=" in api.asked[0]


def test_none_is_absent_where_a_later_one_shows() -> None:
    resolution = resolve(Api(), doubtful())
    assert resolution.fate == "absent"
    assert resolution.outcome(NOW).problems[0].code == "absent"


@pytest.mark.parametrize(
    ("detail", "why"),
    [
        ({"send_at": NOW + 3600}, "later"),
        ({"queue_draft": True}, "later"),
        ({"identifiers": {}}, "no single person"),
        ({"until": NOW + 90}, "trusted"),
    ],
)
def test_what_may_show_later_is_not_absent(detail: dict[str, Any], why: str) -> None:
    api = Api(**{"/v1/messages": {"messages": [], "next": ""}})
    resolution = resolve(api, doubtful(**detail))
    assert resolution.fate == "open"
    assert why in resolution.why


@pytest.mark.parametrize(
    "documents",
    [
        {"/v1/messages/w": 404},
        {WITNESS: {"messages": [], "next": ""}},
        {"/v1/messages/w": {"message": item("w", customer_identifiers=None)}},
    ],
)
def test_without_a_visible_witness_nothing_is_absent(documents: dict[str, Any]) -> None:
    assert resolve(Api(**documents), doubtful()).fate == "open"


def test_without_any_witness_nothing_is_absent() -> None:
    assert resolve(Api(), doubtful(), witness=False).fate == "open"
    assert resolve(Api(), doubtful(transactional_message_id=5)).fate == "open", "a witness of another template"
    assert resolve(Api(), doubtful(until=NOW + 6)).fate == "open", "a witness from before the attempt's end"


def test_an_accepted_job_is_never_absent() -> None:
    assert resolve(Api(), doubtful(resendable=False)).fate == "open"


@pytest.mark.parametrize(
    "answer",
    [
        404, 500, 400, {"messages": "?"}, {"next": "", "messages": {}}, [{"messages": [], "next": "x"}, 404],
        TransportFault("timeout", "written", "no answer"),
    ],
)
def test_what_cannot_be_read_stays_open(answer: Any) -> None:
    resolution = resolve(Api(**{PERSON: answer}), doubtful())
    assert resolution.fate == "open"
    assert "could not be read" in resolution.why


def test_a_passing_fault_is_read_over() -> None:
    assert resolve(Api(**{PERSON: [500, 429, {"messages": [item("mine")]}]}), doubtful()).fate == "sent"


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_may_not_read_leaves_all_open(status: int) -> None:
    api = Api(**{PERSON: status})
    resolutions = resolve(api, doubtful("a"), doubtful("b", identifiers={"id": "9"}))
    assert [resolution.fate for resolution in resolutions] == ["open", "open"]
    assert len(api.asked) == 1 or all("9" in path for path in api.asked[1:])


def test_hidden_templates_are_asked_for() -> None:
    hidden = item("mine", transactional_message_id=None)
    api = Api(**{PERSON: {"messages": [hidden]}, "/v1/transactional/3/messages": {"messages": [hidden]}})
    assert resolve(api, doubtful()).fate == "sent"
    api = Api(**{PERSON: {"messages": [hidden]}, "/v1/transactional/3/messages": {"messages": []}})
    assert resolve(api, doubtful()).fate == "open"


def test_a_trigger_name_is_resolved() -> None:
    named = doubtful(transactional_message_id="Receipt")
    seen = {PERSON: {"messages": [item("mine")]}}
    assert resolve(Api(**seen), named).fate == "open"
    templates = {"messages": [{"id": 3, "name": "receipt"}, {"id": 4, "name": "other"}]}
    assert resolve(Api(**seen, **{"/v1/transactional": templates}), named).fate == "sent"
    twins = {"messages": [{"id": 3, "name": "receipt"}, {"id": 4, "name": "Receipt"}]}
    assert resolve(Api(**seen, **{"/v1/transactional": twins}), named).fate == "open"


def broadcast(key: str = "b", **detail: Any) -> Any:
    return doubtful(key, kind="broadcast", path="/v1/campaigns/12/triggers", **detail)


TRIGGERS = "/v1/broadcasts/12/triggers"


def test_a_trigger_is_adopted() -> None:
    listed = {"triggers": [{"id": 4, "created_at": int(NOW) - 500}, {"id": 5, "created_at": int(NOW)}]}
    assert resolve(Api(**{TRIGGERS: listed}), broadcast()).result == (("trigger_id", 5),)
    assert resolve(Api(**{TRIGGERS: listed}), broadcast(), known=("13/5", "5")).fate == "sent", "each counts its own"
    assert resolve(Api(**{TRIGGERS: listed}), broadcast(), known=("12/5",)).fate == "open"


def test_a_broadcast_is_never_called_absent() -> None:
    assert resolve(Api(**{TRIGGERS: {"triggers": []}}), broadcast(), at=NOW + 10**6).fate == "open"


def test_two_triggers_or_two_claimants_stay_open() -> None:
    listed = {"triggers": [{"id": 4, "created_at": int(NOW)}, {"id": 5, "created_at": int(NOW)}]}
    assert resolve(Api(**{TRIGGERS: listed}), broadcast()).fate == "open"
    one = {"triggers": listed["triggers"][:1]}
    assert [r.fate for r in resolve(Api(**{TRIGGERS: one}), broadcast("a"), broadcast("b"))] == ["open", "open"]


@pytest.mark.parametrize(
    ("sent_at", "fate"),
    [(NOW + 1, "sent"), (None, "absent"), (0, "absent"), (NOW - 5000, "rejected"), (NOW - 60, "open"), ("?", "open")],
)
def test_newsletters_by_sent_at(sent_at: Any, fate: str) -> None:
    api = Api(**{"/v1/newsletters/9": {"newsletter": {"id": 9, "sent_at": sent_at}}})
    one = doubtful(kind="newsletter_send", path="/v1/newsletters/9/send")
    assert resolve(api, one).fate == fate
    if fate == "absent":
        assert resolve(api, one, at=NOW + 30).fate == "open"


def test_own_reading_keeps_to_half_of_the_lane() -> None:
    async def body(loop: Any) -> None:
        reader = ApiReader(Api(), Pacer(10))
        for _ in range(50):
            await reader.read(PERSON)
        assert loop.time() - 1000 > 9

    run_virtual(body)


def test_reading_ends_for_good_when_it_is_refused() -> None:
    async def body(_: Any) -> None:
        api = Api(**{PERSON: 403})
        reader = ApiReader(api, Pacer(10))
        for _ in range(2):
            with pytest.raises(ReadingRefusedError):
                await reader.read(PERSON)
        assert len(api.asked) == 1
        assert not reader.readable
        with pytest.raises(ReadingRefusedError):
            await reader.read("/v1/other")

    run_virtual(body)


def test_too_long_a_retry_after_is_not_waited_for() -> None:
    async def body(loop: Any) -> None:
        class Slow(Api):
            async def send(self, request: Request, wire: Any = None) -> Reply:
                return Reply(429, "application/json", b"{}", "3600")

        with pytest.raises(ReadingFailedError, match="asks to wait"):
            await ApiReader(Slow(), Pacer(10)).read(PERSON)
        assert loop.time() < 1060

    run_virtual(body)
