"""Calls the Python client for the tests: a JSON object a line on stdin, an answer a line on stdout, in any order.

{"id", "sync", "url", "token", "call": "message.publish", "args": {...}} -> {"id", "ok"} or {"id", "error": {"type", "message", ...}}

Values that JSON has not: {"$base64": "..."} is bytes, {"$state": "CANCELED"} a log's state, {"$llm": [base_url, token]} a provider. Answers have the
names of the wire, so that a test reads them as those of the other client; what is None is left out.
"""

import asyncio
import base64
import concurrent.futures
import dataclasses
import enum
import inspect
import json
import os
import sys
import threading

import qstash
from qstash import AsyncQStash, QStash, Receiver
from qstash import chat
from qstash.flow_control_api import FlowControlInfo
from qstash.log import Log, LogState
from qstash.schedule import Schedule

answers = sys.stdout
# A client that prints must not get between the answers.
sys.stdout = sys.stderr
writing = threading.Lock()
building = threading.Lock()
clients = {}

NAMES = {
    "url_group": "topicName",
    "endpoint": "endpointName",
    "queue": "queueName",
    "headers": "header",
    "callback_headers": "callbackHeader",
    "failure_callback_headers": "failureCallbackHeader",
    "response_headers": "responseHeader",
    "caller_ip": "callerIP",
}
NAMES_OF = {
    Log: {"body_base64": "body"},
    Schedule: {"paused": "isPaused"},
    FlowControlInfo: {"key": "flowControlKey"},
}


def wire_name(kind, name):
    known = NAMES_OF.get(kind, {}).get(name) or NAMES.get(name)
    if known:
        return known
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def encode(value):
    if dataclasses.is_dataclass(value):
        fields = {}
        for field in dataclasses.fields(value):
            member = getattr(value, field.name)
            if member is None:
                continue
            if field.name == "flow_control":
                fields["flowControlKey"] = member.key
                fields.update({k: v for k, v in encode(member).items() if k != "key"})
            else:
                fields[wire_name(type(value), field.name)] = encode(member)
        return fields
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, list):
        return [encode(member) for member in value]
    if isinstance(value, dict):
        return {key: encode(member) for key, member in value.items()}
    return value


def decode(value):
    if isinstance(value, list):
        return [decode(member) for member in value]
    if isinstance(value, dict):
        if "$base64" in value:
            return base64.b64decode(value["$base64"])
        if "$state" in value:
            return LogState(value["$state"])
        if "$llm" in value:
            return {"name": "llm", "provider": chat.custom(*value["$llm"])}
        return {key: decode(member) for key, member in value.items()}
    return value


def client(request):
    """Builds a client as its users do: with nothing but QSTASH_URL and a token."""
    kind = QStash if request["sync"] else AsyncQStash
    key = (kind, request["url"], request["token"])
    with building:
        if key not in clients:
            os.environ["QSTASH_URL"] = request["url"]
            clients[key] = kind(request["token"])
            del os.environ["QSTASH_URL"]
        return clients[key]


def public_methods(thing):
    members = inspect.getmembers(type(thing), callable)
    return [name for name, _ in members if not name.startswith("_")]


def list_methods():
    """Lists what the package offers, so that a new method without a test is noticed."""

    def of(built):
        apis = {name: api for name, api in vars(built).items() if name != "http"}
        return [f"{name}.{method}" for name, api in apis.items() for method in public_methods(api)]

    receiver = [f"receiver.{method}" for method in public_methods(Receiver("a", "b"))]
    return {"sync": of(QStash("t")) + receiver, "async": of(AsyncQStash("t")) + receiver, "exports": qstash.__all__}


def find(request):
    call = request["call"]
    if call == "methods":
        return list_methods
    if call == "receiver.verify":
        current, following = request["args"].pop("keys")
        return Receiver(current, following).verify
    api, method = call.split(".")
    return getattr(getattr(client(request), api), method)


def answer(request, result=None, error=None):
    line = {"id": request["id"]}
    if error is None:
        line["ok"] = encode(result)
    else:
        facts = {name: getattr(error, name, None) for name in ("limit", "remaining", "reset")}
        line["error"] = {"type": type(error).__name__, "message": str(error), **facts}
    with writing:
        answers.write(json.dumps(line) + "\n")
        answers.flush()


def serve(request):
    try:
        answer(request, find(request)(**decode(request["args"])))
    except Exception as error:
        answer(request, error=error)


async def serve_async(request):
    try:
        answer(request, await find(request)(**decode(request["args"])))
    except Exception as error:
        answer(request, error=error)


def main():
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    workers = concurrent.futures.ThreadPoolExecutor(max_workers=32)
    for line in sys.stdin:
        request = json.loads(line)
        if request["sync"] or request["call"] in ("methods", "receiver.verify"):
            workers.submit(serve, request)
        else:
            asyncio.run_coroutine_threadsafe(serve_async(request), loop)
    # The tests are over, and nobody waits for what still runs.
    os._exit(0)


main()
