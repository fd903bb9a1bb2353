"""An HTTP/3 client for tests.

`client.py certificate FOLDER` writes a self-signed certificate for `gateway.test` and its key.
`client.py requests CERTIFICATE PORT` reads a JSON list of requests from standard input and sends them over one
connection: those of one inner list together, one list after the other. It writes a JSON list of responses. A request
with `leave` closes the connection after the first bytes of its response.
"""

import asyncio
import base64
import datetime
import json
import sys


def certificate(folder):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway.test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("gateway.test")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    with open(f"{folder}/gateway.crt", "wb") as file:
        file.write(made.public_bytes(serialization.Encoding.PEM))
    with open(f"{folder}/gateway.pem", "wb") as file:
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )


async def exchange(trusted, port, rounds):
    from aioquic.asyncio.client import connect
    from aioquic.asyncio.protocol import QuicConnectionProtocol
    from aioquic.h3.connection import H3_ALPN, H3Connection
    from aioquic.h3.events import DataReceived, HeadersReceived
    from aioquic.quic.configuration import QuicConfiguration
    from aioquic.quic.events import ConnectionTerminated

    class Client(QuicConnectionProtocol):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.http = H3Connection(self._quic)
            self.open = {}

        def send(self, request):
            stream = self._quic.get_next_available_stream_id()
            head = [
                (b":method", request["method"].encode()),
                (b":scheme", b"https"),
                (b":authority", b"gateway.test"),
                (b":path", request["path"].encode()),
            ]
            head += [(name.encode(), value.encode()) for name, value in request["headers"]]
            body = b""
            if request["body"]:
                with open(request["body"], "rb") as file:
                    body = file.read()
            answer = {"status": 0, "headers": [], "body": b""}
            done = self._loop.create_future()
            self.open[stream] = (answer, done, request.get("leave", False))
            self.http.send_headers(stream, head, end_stream=not body)
            if body:
                self.http.send_data(stream, body, end_stream=True)
            self.transmit()
            return done

        def quic_event_received(self, event):
            if isinstance(event, ConnectionTerminated):
                for _, done, _ in self.open.values():
                    if not done.done():
                        done.set_exception(ConnectionError(f"{event.error_code} {event.reason_phrase}"))
                return
            for found in self.http.handle_event(event):
                if not isinstance(found, (HeadersReceived, DataReceived)) or found.stream_id not in self.open:
                    continue
                answer, done, leave = self.open[found.stream_id]
                if isinstance(found, DataReceived):
                    answer["body"] += found.data
                    if leave and not done.done():
                        done.set_result(answer)
                        self.close()
                elif answer["status"] < 200:
                    fields = [(name.decode(), value.decode("latin-1")) for name, value in found.headers]
                    answer["status"] = int(dict(fields)[":status"])
                    answer["headers"] = [field for field in fields if not field[0].startswith(":")]
                if found.stream_ended and not done.done():
                    done.set_result(answer)

    configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name="gateway.test")
    configuration.load_verify_locations(trusted)
    answers = []
    async with connect("127.0.0.1", port, configuration=configuration, create_protocol=Client) as client:
        for together in rounds:
            pending = [client.send(request) for request in together]
            answers += await asyncio.wait_for(asyncio.gather(*pending), 60)
    return answers


if sys.argv[1] == "certificate":
    certificate(sys.argv[2])
else:
    found = asyncio.run(exchange(sys.argv[2], int(sys.argv[3]), json.load(sys.stdin)))
    for answer in found:
        answer["body"] = base64.b64encode(answer["body"]).decode()
    json.dump(found, sys.stdout)
