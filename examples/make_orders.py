"""Write examples/orders.csv anew, an export as shops have it, with a few rows wrong, and an invoice for each order."""

from __future__ import annotations

import csv
import random
import sys
from pathlib import Path

FIRST = ["Ada", "Grace", "Linus", "Margaret", "Alan", "Katherine", "Edsger", "Barbara", "Donald", "Radia"]
LAST = ["Lovelace", "Hopper", "Hamilton", "Turing", "Johnson", "Liskov", "Perlman", "Müller", "O'Neill"]
CITIES = ["Berlin", "København", "Łódź", "Paris, Texas", 'Springfield "East"']
HEADER = ["order_id", "date", "email", "customer", "name", "city", "total", "gift"]


def order(chance: random.Random, number: int) -> list[str]:
    first = chance.choice(FIRST)
    return [
        str(number), f"{1 + number % 28:02d}.11.2026", f"{first.lower()}.{number}@example.com", str(4000 + number),
        f"{first} {chance.choice(LAST)}" if number % 9 else "", chance.choice(CITIES), f"{chance.uniform(4, 200):.2f}",
        chance.choice(["yes", "no"]),
    ]


def invoice(number: str) -> bytes:
    """The smallest PDF of one page with a line of text."""
    text = f"BT /F1 24 Tf 72 720 Td (Invoice {number}) Tj ET".encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%b\nendstream" % (len(text), text), b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    data, places = b"%PDF-1.4\n", []
    for place, one in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj%b\nendobj\n" % (place, one)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % len(data)
    return data + b"xref\n0 6\n0000000000 65535 f \n" + table + end


def main(folder: Path) -> None:
    chance = random.Random(7)
    rows = [order(chance, number) for number in range(1001, 1041)]
    (folder / "invoices").mkdir(exist_ok=True)
    for row in rows:
        (folder / "invoices" / f"{row[0]}.pdf").write_bytes(invoice(row[0]))
    rows[11][2] = "nobody"
    rows[22][6] = "n/a"
    rows[30] = rows[30][:4]
    rows.append(rows[2])
    with (folder / "orders.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=";", lineterminator="\n").writerows([HEADER, *rows])


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
