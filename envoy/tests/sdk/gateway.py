"""What both SDK tests need: where the gateway is, and which keys and models to use there."""

import argparse
import asyncio
import json
import time
import urllib.request
from contextlib import contextmanager


def arguments(**models):
    """`--base-url` and the keys; `models` are the defaults of the API's own model names."""
    parser = argparse.ArgumentParser(description="Calls a Tollgate gateway through an unmodified SDK.")
    parser.add_argument("--base-url", default="http://127.0.0.1:8787", help="the gateway, without a path")
    parser.add_argument("--key", required=True, help="may call the models below")
    parser.add_argument("--limited-key", help="its team may make three requests a minute")
    parser.add_argument("--busy-key", help="its team may use 10,000 tokens a minute")
    parser.add_argument("--day-key", help="its team may make one request a day, and did so")
    parser.add_argument("--expired-key", required=True)
    parser.add_argument("--budget-key", required=True, help="its team's budget is less than any call costs")
    for name, default in models.items():
        parser.add_argument("--" + name.replace("_", "-"), default=default)
    return parser.parse_args()


def check(name, condition, seen=None):
    """One line for each thing that holds; the first that does not ends the run."""
    if not condition:
        raise SystemExit(f"FAILED {name}: {seen!r}")
    print(f"ok {name}", flush=True)


def refused(name, error_class, status, code, call, exact=True):
    """Calls, and returns the SDK's own error after checking that it is the right one, with our words; `exact` if a
    subclass of it is wrong."""
    try:
        result = call()
        if asyncio.iscoroutine(result):
            result = asyncio.run(result)
    except error_class as error:
        check(f"{name}: {error_class.__name__}", not exact or type(error) is error_class, type(error))
        check(f"{name}: status {status}", error.status_code == status, error.status_code)
        # OpenAI's SDK keeps the inside of `error`, Anthropic's the whole body.
        body = error.body.get("error", error.body)
        check(f"{name}: code {code}", body["code"] == code, body)
        check(f"{name}: our message", body["message"] and body["message"] in str(error), str(error))
        return error
    raise SystemExit(f"FAILED {name}: not refused, but {result!r}")


def repeats(name, args, call, check_refusal):
    """Checks that the SDK itself repeats a call that is refused while another one holds the team's tokens: a stream of
    four seconds, which reserves all of them and uses few. `call(retries)` calls with `args.busy_key` and this number of
    retries."""
    body = {"model": "gpt-5-mini", "stream": True, "max_tokens": 9930, "messages": [{"role": "user", "content": "Hello."}]}
    headers = {"authorization": f"Bearer {args.busy_key}", "content-type": "application/json", "x-simulate": "tokens=25, chunk-ms=150"}
    request = urllib.request.Request(args.base_url + "/v1/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as held:
        check_refusal(f"{name}: without a retry", lambda: call(0))
        start = time.monotonic()
        call(8)
        waited = time.monotonic() - start
        check(f"{name}: the SDK waits and succeeds", 0.5 < waited < 20, waited)
        held.read()


def gives_up(name, call, check_refusal):
    """Checks that the SDK does not repeat a call that cannot be admitted for hours."""
    start = time.monotonic()
    check_refusal(name, lambda: call(3))
    check(f"{name}: at once", time.monotonic() - start < 2, time.monotonic() - start)


@contextmanager
def recorded_sleeps():
    """The SDKs wait with `time.sleep` before they try again: note how long, and do not."""
    slept, real = [], time.sleep
    time.sleep = slept.append
    try:
        yield slept
    finally:
        time.sleep = real


def retry_obeys_the_gateway(name, error_class, make_client, call):
    """A client that may retry sleeps exactly as long as `retry-after-ms` says, or not at all where the wait is
    too long to sleep through."""
    # The wait is over a minute in the second in which a minute's limit was used up, and below it after.
    time.sleep(2.5)
    client = make_client(1)
    with recorded_sleeps() as slept:
        try:
            call(client)
        except error_class as error:
            headers = error.response.headers
            told = float(headers["retry-after-ms"]) / 1000
            check(f"{name}: told to wait less than a minute", 0 < told < 60, told)
            check(f"{name}: one retry", len(slept) == 1, slept)
            # The answer that is at hand came after the one that made it sleep.
            check(f"{name}: slept as told", told <= slept[0] <= told + 1, (slept, told))
            check(f"{name}: whole seconds too", int(headers["retry-after"]) - 1 <= told <= int(headers["retry-after"]))
            return
    raise SystemExit(f"FAILED {name}: not refused")
