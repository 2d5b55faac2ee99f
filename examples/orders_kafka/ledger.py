"""An ordinary Kafka-triggered Lambda handler: books orders, each event once, in order per order.

Records come at least once. A batch is booked in one transaction and an event that was booked before
changes nothing, so a repeated batch does no harm.
"""

import base64
import json
import os
import sqlite3
from contextlib import closing

FOLLOWS = {"order.created": None, "order.paid": "created", "order.shipped": "paid"}


def handler(event, context):
    with closing(connect()) as ledger, ledger:
        for shard, records in event["records"].items():
            for record in records:
                book(ledger, shard, record)
            print(f"{shard}: {len(records)} booked, to offset {records[-1]['offset']}")


def book(ledger, shard, record):
    order = json.loads(base64.b64decode(record["value"]))
    if order["amount"] <= 0:
        raise ValueError(f"order {order['id']} has the amount {order['amount']}")
    place = (shard, record["offset"])
    if ledger.execute("select 1 from booked where shard = ? and number = ?", place).fetchone():
        return
    state = ledger.execute("select state from orders where id = ?", (order["id"],)).fetchone()
    if (state and state[0]) != FOLLOWS[order["type"]]:
        raise ValueError(f"{order['type']} of order {order['id']}, which is {state}")
    ledger.execute("insert into booked values (?, ?)", place)
    row = (order["id"], order["amount"], order["type"].removeprefix("order."))
    ledger.execute("insert or replace into orders values (?, ?, ?)", row)


def connect():
    ledger = sqlite3.connect(os.environ["LEDGER"], timeout=20)
    ledger.execute("create table if not exists orders (id primary key, amount, state)")
    ledger.execute("create table if not exists booked (shard, number, primary key (shard, number))")
    return ledger
