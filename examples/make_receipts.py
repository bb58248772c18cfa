"""Write examples/receipts.jsonl anew: 600 jobs of several kinds, a handful of them wrong in different ways."""

from __future__ import annotations

import base64
import json
import random
import sys
from pathlib import Path
from typing import Any

FIRST = ["Ada", "Grace", "Linus", "Margaret", "Alan", "Katherine", "Edsger", "Barbara", "Donald", "Radia", "Niklaus"]
LAST = ["Lovelace", "Hopper", "Hamilton", "Turing", "Johnson", "Liskov", "Perlman", "Wirth", "Müller", "O'Neill"]
WARES = ["coffee beans 1 kg", "filter papers", "hand grinder", "kettle", "espresso cups", "descaler", "milk jug"]


def person(chance: random.Random, number: int) -> tuple[str, str, str]:
    first, last = chance.choice(FIRST), chance.choice(LAST)
    plain = last.lower().replace("ü", "u").replace("'", "")
    return f"{first} {last}", f"{first.lower()}.{plain}{number}@example.com", f"+1555{number:07d}"


def receipt(chance: random.Random, number: int) -> dict[str, Any]:
    name, address, _ = person(chance, number)
    items = [
        {"name": chance.choice(WARES), "quantity": chance.randint(1, 3), "price": f"{chance.uniform(4, 80):.2f}"}
        for _ in range(chance.randint(1, 5))
    ]
    total = sum(item["quantity"] * float(item["price"]) for item in items)
    payload: dict[str, Any] = {
        "transactional_message_id": 3,
        "to": f'"{name}" <{address}>',
        "identifiers": {"id": str(100_000 + number)},
        "message_data": {"order": f"O-{number:06d}", "name": name, "items": items, "total": f"{total:.2f}"},
    }
    if chance.random() < 0.1:
        text = f"Invoice O-{number:06d}, total {total:.2f}".encode()
        payload["attachments"] = {"invoice.txt": base64.b64encode(text).decode()}
    if chance.random() < 0.1:
        payload["language"] = chance.choice(["de", "fr", "pt-BR"])
    return {"id": f"receipt-{number:06d}", "kind": "email", "payload": payload}


def code(chance: random.Random, number: int) -> dict[str, Any]:
    _, _, phone = person(chance, number)
    payload = {
        "transactional_message_id": "login_code",
        "to": phone,
        "identifiers": {"id": str(100_000 + number)},
        "message_data": {"code": f"{chance.randint(0, 999_999):06d}"},
    }
    return {"id": f"code-{number:06d}", "kind": "sms", "priority": "high", "payload": payload}


def notice(chance: random.Random, number: int) -> dict[str, Any]:
    kind = chance.choice(["push", "in_app", "inbox_message"])
    payload: dict[str, Any] = {
        "transactional_message_id": {"push": 1, "in_app": 2, "inbox_message": "order_news"}[kind],
        "identifiers": {"id": str(100_000 + number)},
        "message_data": {"order": f"O-{number:06d}", "tracking": f"https://track.example.com/{number}"},
    }
    if kind == "push":
        payload |= {"title": "On its way", "message": "Your order has left our house.", "sound": "default"}
    return {"id": f"shipped-{number:06d}", "kind": kind, "payload": payload}


def wrong(chance: random.Random) -> list[str]:
    """One line for each kind of mistake that people make."""
    too_many = receipt(chance, 900_001)
    too_many["payload"]["bcc"] = ", ".join(f"team{n}@example.com" for n in range(16))
    no_person = receipt(chance, 900_002)
    del no_person["payload"]["identifiers"]
    two_persons = receipt(chance, 900_003)
    two_persons["payload"]["identifiers"] = {"id": "1", "email": "ada@example.com"}
    bad_file = receipt(chance, 900_004)
    bad_file["payload"]["attachments"] = {"invoice.pdf": "this is not base64!"}
    misspelt = receipt(chance, 900_005)
    misspelt["prioritty"] = "high"
    local_number = code(chance, 900_006)
    local_number["payload"]["to"] = "030 1234567"
    text_flag = receipt(chance, 900_007)
    text_flag["payload"]["tracked"] = "yes"
    torn = json.dumps(receipt(chance, 900_008), ensure_ascii=False)[:120]
    twice = receipt(random.Random(1), 1)
    lines = [json.dumps(job, ensure_ascii=False) for job in
             (too_many, no_person, two_persons, bad_file, misspelt, local_number, text_flag, twice)]
    return [*lines, torn]


def main() -> None:
    chance = random.Random(2026)
    jobs = [receipt(random.Random(1), 1)]
    for number in range(2, 592):
        make = chance.choices([receipt, code, notice], [8, 1, 1])[0]
        jobs.append(make(chance, number))
    lines = [json.dumps(job, ensure_ascii=False) for job in jobs]
    for line in wrong(chance):
        lines.insert(chance.randint(1, len(lines)), line)
    Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("receipts.jsonl")).write_text(
        "\n".join(lines) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
