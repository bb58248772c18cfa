"""What the API's lists say of a job in doubt; each missing proof keeps it in doubt."""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest

from sender.doubts.doubted_attempts import DoubtedAttempts
from sender.doubts.known_deliveries import KnownDeliveries
from sender.doubts.other_ledgers import OtherLedgers
from sender.doubts.reconciler import Reconciler
from sender.engine.api_clock import ApiClock
from sender.engine.api_reader import ApiReader, ReadingFailedError, ReadingRefusedError
from sender.engine.pacing.pacer import Pacer
from sender.ledger import FinalRecord, HandOverRecord
from sender.transport import Reply, Request, TransportFault
from tests.support.doubtful_jobs import NOW, doubtful
from tests.support.listing_api import PERSON, WITNESS, Api, item
from tests.support.memory_ledger import MemoryLedger
from tests.support.virtual_time import run_virtual

if TYPE_CHECKING:
    from sender.doubts.resolution import Resolution

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
        await ledger.finish([FinalRecord(f"k{one}", "c", "sent", b"{}\n", result=one) for one in known])
        deliveries = KnownDeliveries()
        if witness:
            deliveries.sent("email", 3, "w", NOW + 5)
        api.clock = lambda: at + loop.time() - 1000
        clock = ApiClock(lambda: api.clock() - ours)
        clock.observe(formatdate(api.clock(), usegmt=True))
        doubted = DoubtedAttempts(ledger, clock, 60)
        await doubted.take_up([*doubtful_jobs, *earlier])
        reader = ApiReader(api, Pacer(10), clock)
        reconciler = Reconciler(reader, OtherLedgers(ledger, ()), deliveries, doubted, lag=60)
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


@pytest.mark.parametrize(("due", "listed"), [(600, 600), (600, 0), (-7200, -7200), (-7200, 0)])
def test_a_scheduled_send_is_looked_for_by_both_its_times(due: int, listed: int) -> None:
    """One that the API listed by its due time was called absent when that was over, and sent again."""

    def shown(query: dict[str, str]) -> Any:
        created = int(NOW) + listed
        seen = int(query["start_ts"]) <= created <= int(query["end_ts"])
        return {"messages": [item("mine", created=created)] if seen else [], "next": ""}

    api = Api(**{PERSON: shown})
    resolution = resolve(api, doubtful(send_at=int(NOW) + due), at=NOW + 3600)
    assert (resolution.fate, dict(resolution.result).get("delivery_id")) == ("sent", "mine")


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


@pytest.mark.parametrize(
    "shape",
    [
        {"type": "Email"}, {"type": "transactional"}, {"campaign_id": 3}, {"created": NOW * 1000},
        {"created": "2027-01-15T08:00:00Z"}, {"transactional_message_id": 33}, {"broadcast_id": "none"},
    ],
    ids=lambda shape: next(iter(shape)),
)
def test_what_the_matcher_would_not_know_is_not_absent(shape: dict[str, Any]) -> None:
    """The list showed the later delivery by its id, and the doubtful one, in the same odd shape, was called absent."""
    later = item("w", **shape)
    api = Api(**{PERSON: {"messages": [item("mine", **shape)]}, WITNESS: {"messages": [later]},
                 "/v1/messages/w": {"message": later}})
    assert resolve(api, doubtful()).fate == "open"


def test_entries_of_an_unknown_form_may_be_anything() -> None:
    for odd in ({"id": 5, "created": NOW}, "d17", {"id": "mine", "created": None}):
        assert resolve(Api(**{PERSON: {"messages": [odd]}}), doubtful()).fate == "open"
        assert resolve(Api(**{PERSON: {"messages": [item("mine"), odd]}}), doubtful()).fate == "open"


@pytest.mark.parametrize("step", [-600.0, 600.0])
def test_a_clock_that_was_set_voids_absence(step: float) -> None:
    """The doubtful attempt was looked for ten minutes away from where it was, and called absent."""
    since = NOW + step
    one = doubtful(since=since, until=since + 1, started_at=since, ahead=-step)
    assert resolve(Api(), one).fate == "open"
    assert "clock" in resolve(Api(), one).why
    assert resolve(Api(**{PERSON: {"messages": [item("mine")]}}), one).fate == "sent", "its own time is known"
    assert resolve(Api(), one, ours=-step).fate == "absent", "a clock that is wrong all the time does no harm"
    assert resolve(Api(), doubtful(ahead=None)).fate == "open", "a ledger of an earlier version"


def earlier(key: str, **detail: Any) -> Any:
    return doubtful(key, **detail).anonymous()


def test_an_attempt_that_was_in_doubt_stays_a_claimant() -> None:
    """X was closed by hand, and Y got its delivery."""
    api = Api(**{PERSON: {"messages": [item("mine", customer_identifiers={"id": "7"})]}})
    resolution = resolve(api, doubtful("y"), earlier=(earlier("x"),))
    assert (resolution.fate, resolution.shown, resolution.rivals) == ("open", ("mine",), ("x",))
    for other in (earlier("x", identifiers={"id": "9"}), earlier("x", transactional_message_id=4),
                  earlier("x", since=NOW - 5000, until=NOW - 4999)):
        assert resolve(api, doubtful("y"), earlier=(other,)).fate == "sent"
    by_email = earlier("x", identifiers={"email": "ada@example.com"})
    assert resolve(api, doubtful("y"), earlier=(by_email,)).fate == "open", "nobody knows that it is somebody else"


def test_a_foreign_sender_that_is_seen_keeps_the_doubt() -> None:
    mine, theirs = item("mine"), item("theirs", customer_identifiers={"id": "99"})
    both = {PERSON: {"messages": [mine]}, "/v1/transactional/3/messages": {"messages": [theirs, mine]}}
    resolution = resolve(Api(**both), doubtful())
    assert (resolution.fate, resolution.shown) == ("open", ("mine", "theirs"))
    assert "another sender" in resolution.why
    assert resolve(Api(**both), doubtful(), known=("theirs",)).fate == "sent"
    in_doubt = doubtful("other", identifiers={"id": "99"})
    api = Api(**both, **{"/v1/customers/99/messages": {"messages": [theirs]}})
    assert [r.fate for r in resolve(api, doubtful(), in_doubt)] == ["sent", "sent"]


def test_a_delivery_of_a_job_in_flight_is_not_adopted() -> None:
    async def body(loop: Any) -> None:
        api = Api(**{PERSON: {"messages": [item("mine", created=int(NOW) + 20)]}})
        api.clock = lambda: NOW + 100 + loop.time() - 1000
        ledger, clock = MemoryLedger(), ApiClock(api.clock)
        await ledger.hand_over([HandOverRecord("x", "c", b"{}")])
        doubted = DoubtedAttempts(ledger, clock, 60)
        reconciler = Reconciler(
            ApiReader(api, Pacer(10), clock), OtherLedgers(ledger, ()), KnownDeliveries(), doubted, lag=60
        )
        one = doubtful(until=NOW + 20)
        (resolution,) = await reconciler.resolve([one])
        assert resolution.fate == "open"
        await ledger.release(["x"])
        (resolution,) = await reconciler.resolve([one])
        assert resolution.fate == "sent"

    run_virtual(body)


def test_nothing_is_adopted_before_the_lists_are_trusted() -> None:
    assert resolve(Api(**{PERSON: {"messages": [item("mine")]}}), doubtful(), at=NOW + 30).fate == "open"


@pytest.mark.parametrize(
    ("kind", "path"),
    [("content", "/v1/transactional/1/content/2"), ("newsletter_schedule", "/v1/newsletters/9/schedule")],
)
def test_what_is_no_message_gets_no_delivery(kind: str, path: str) -> None:
    """A lost change of a template was taken for any email without a template that was sent at the time."""
    mail = item("mine", transactional_message_id=1)
    api = Api(**{"/v1/messages": {"messages": [mail]}, "/v1/transactional/1/messages": {"messages": [mail]}})
    job = doubtful(kind=kind, path=path, identifiers=None, transactional_message_id=1, to=None)
    resolution = resolve(api, job)
    assert resolution.fate == "open"
    assert "--retry in_doubt" in resolution.why
    assert not api.asked


def test_two_jobs_of_one_newsletter_are_told_apart_by_nobody() -> None:
    api = Api(**{"/v1/newsletters/9": {"newsletter": {"id": 9, "sent_at": NOW + 1}}})
    one, other = (doubtful(key, kind="newsletter_send", path="/v1/newsletters/9/send") for key in ("a", "b"))
    assert [r.fate for r in resolve(api, one, other)] == ["open", "open"]
    assert resolve(api, one, earlier=(other.anonymous(),)).rivals == ("b",)
    late = Api(**{"/v1/newsletters/9": {"newsletter": {"id": 9, "sent_at": NOW + 5000}}})
    assert resolve(late, one, at=NOW + 6000).fate == "open", "somebody sent it later"


def test_triggers_that_another_may_have_made_stay_open() -> None:
    listed = {"triggers": [{"id": 4, "created_at": int(NOW)}]}
    resolution = resolve(Api(**{TRIGGERS: listed}), broadcast("a"), earlier=(broadcast("b").anonymous(),))
    assert (resolution.fate, resolution.rivals) == ("open", ("b",))
    foreign = {"triggers": [*listed["triggers"], {"id": 3, "created_at": int(NOW) - 100}]}
    assert resolve(Api(**{TRIGGERS: foreign}), broadcast("a")).shown == ("4", "3")
    odd = {"triggers": [*listed["triggers"], {"id": 3, "created_at": "2027-01-15"}]}
    assert resolve(Api(**{TRIGGERS: odd}), broadcast("a")).fate == "open"
