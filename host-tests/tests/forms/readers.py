"""Reads forms with Werkzeug, Django, Starlette and the standard library, and prints the fields that each of them finds.

Input: a JSON list of {"type": content-type, "body": base64}. Output: a JSON list of {reader: [[name, value], ...] or null}.
"""

import asyncio
import base64
import email.policy
import io
import json
import sys

import django.conf
from django.core.handlers.wsgi import WSGIRequest
from starlette.requests import Request as StarletteRequest
from werkzeug.wrappers import Request as WerkzeugRequest

django.conf.settings.configure(DATA_UPLOAD_MAX_MEMORY_SIZE=None)


def environ(media_type, body):
    return {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "CONTENT_TYPE": media_type,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }


def werkzeug(media_type, body):
    return list(WerkzeugRequest(environ(media_type, body)).form.items(multi=True))


def django_reader(media_type, body):
    fields = WSGIRequest(environ(media_type, body)).POST
    return [(name, value) for name, values in fields.lists() for value in values]


def starlette(media_type, body):
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": [(b"content-type", media_type.encode())]}

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def fields():
        async with StarletteRequest(scope, receive).form() as form:
            return [(name, value) for name, value in form.multi_items() if isinstance(value, str)]

    return asyncio.run(fields())


def standard_library(media_type, body):
    head = f"MIME-Version: 1.0\r\nContent-Type: {media_type}\r\n\r\n".encode()
    message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    if not message.is_multipart():
        raise ValueError("no parts")
    found = []
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        if name is not None and part.get_filename() is None:
            found.append((str(name), part.get_payload(decode=True).decode("utf-8", "replace")))
    return found


READERS = {"werkzeug": werkzeug, "django": django_reader, "starlette": starlette, "email": standard_library}


def read(reader, form):
    try:
        return [[str(name), str(value)] for name, value in reader(form["type"], base64.b64decode(form["body"]))]
    except Exception:  # A reader that refuses a form reads no field.
        return None


forms = json.load(sys.stdin)
json.dump([{name: read(reader, form) for name, reader in READERS.items()} for form in forms], sys.stdout)
