"""Reads streams of HTTP requests as the parser h11 does: hex lines in, a line of JSON out for each."""

import json
import sys

import h11


def read(stream):
    """Returns the requests that were read to their ends, and whether the reader would go on."""
    connection = h11.Connection(our_role=h11.SERVER)
    connection.receive_data(stream)
    connection.receive_data(b"")
    seen, current, body = [], None, b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                current, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                seen.append(
                    [
                        current.method.decode("latin-1"),
                        current.target.decode("latin-1"),
                        body.hex(),
                    ]
                )
                answer = h11.Response(status_code=200, headers=[("content-length", "0")])
                connection.send(answer)
                connection.send(h11.EndOfMessage())
                if connection.our_state is h11.MUST_CLOSE:
                    return seen, False
                connection.start_next_cycle()
            elif isinstance(event, h11.ConnectionClosed):
                return seen, True
            else:
                return seen, False
    except h11.ProtocolError:
        return seen, False


for line in sys.stdin:
    requests, goes_on = read(bytes.fromhex(line.strip()))
    print(json.dumps({"requests": requests, "goes_on": goes_on}), flush=True)
