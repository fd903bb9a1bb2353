"""A team's life on the management API, from its creation to the day its developer leaves.

    workflow.py BASE-URL PLATFORM-ADMIN-TOKEN ADMIN-TOKEN DEVELOPER-TOKEN

The tokens are those of three users; the last two are `ada` and `bob`. Every step says what it expects, and the first
that finds something else ends the script. `initech` must not exist yet.
"""

import json
import sys
import time
import urllib.error
import urllib.request

BASE, ROOT, ADA, BOB = sys.argv[1:]
GRACE = 3
MERGE = "application/merge-patch+json"


def ask(token, method, path, body=None, kind="application/json"):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(BASE + path, data, method=method)
    request.add_header("authorization", f"Bearer {token}")
    if data is not None:
        request.add_header("content-type", kind)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            status, text = response.status, response.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    return status, json.loads(text) if text else None


def manage(expected, token, method, path, body=None, **more):
    status, answer = ask(token, method, "/tollgate/v1" + path, body, **more)
    assert status == expected, f"{method} {path}: {status}, not {expected}: {answer}"
    print(f"{status} {method} {path}")
    return answer


def chat(expected, secret, model="gpt-5-mini"):
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    status, answer = ask(secret, "POST", "/v1/chat/completions", body)
    assert status == expected, f"a call: {status}, not {expected}: {answer}"
    print(f"{status} a call of {model}")
    return answer


def used(key):
    limits = manage(200, BOB, "GET", f"/keys/{key}/usage")["limits"]
    return next(line["used"] for line in limits if line["window"] == "rpd")


# The platform's admin makes an organization, its ceiling, and a team in it.
manage(201, ROOT, "POST", "/organizations", {
    "id": "initech",
    "name": "Initech",
    "access": {"targets": ["gpt-5-mini", "gpt-5"]},
    "limits": {"rpm": 600, "rpd": 1000},
    "budget": {"max": "100.00", "period": "month"},
})
for user in ["ada", "bob"]:
    manage(200, ROOT, "PUT", f"/organizations/initech/members/{user}", {"role": "org_member"})
team = manage(201, ROOT, "POST", "/organizations/initech/teams", {"id": "support", "name": "Support"})
assert team["self_service"]["enabled"] is True, "a new team has self-service on"
manage(200, ROOT, "PUT", "/teams/support/members/ada", {"role": "team_admin"})

# Its admin sets limits and access, and what developers may do without asking.
manage(400, ADA, "PATCH", "/teams/support", {"limits": {"rpm": 601}}, kind=MERGE)
manage(200, ADA, "PATCH", "/teams/support",
       {"limits": {"rpm": 120, "rpd": 500}, "budget": {"max": "50.00", "period": "month"}}, kind=MERGE)
manage(200, ADA, "PUT", "/teams/support/access", {"mode": "restrict", "targets": ["gpt-5-mini"]})
manage(200, ADA, "PUT", "/teams/support/self-service", {
    "enabled": True, "max_keys_per_user": 2, "budget_ceiling": "5.00", "max_expiry_days": 30,
})
manage(200, ADA, "PUT", "/teams/support/members/bob", {"role": "team_developer"})

# A developer makes a key, and calls with it.
manage(403, BOB, "PATCH", "/teams/support", {"name": "Mine"}, kind=MERGE)
expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 7 * 86_400))
wanted = {"name": "laptop", "budget": {"max": "5.00", "period": "month"}, "limits": {"rpd": 100}, "expires_at": expires}
manage(400, BOB, "POST", "/teams/support/keys", wanted | {"budget": {"max": "5.01", "period": "month"}})
made = manage(201, BOB, "POST", "/teams/support/keys", wanted)
key, secret = made["id"], made["secret"]
chat(200, secret)
chat(403, secret, "gpt-5")
assert used(key) == 1, "one call was counted, and the refused one was not"

# The key is rotated: a new secret, everything else as it was. The old one lives for the grace.
rotated = manage(201, BOB, "POST", f"/keys/{key}/rotate", {"grace_seconds": GRACE})
turned = time.monotonic()
fresh = rotated["secret"]
assert rotated["id"] == key and fresh != secret
chat(200, fresh)
chat(403, fresh, "gpt-5")
if time.monotonic() - turned < GRACE - 1:
    chat(200, secret)
counted = used(key)
assert counted >= 2, "counters outlive a rotation"
time.sleep(max(0, turned + GRACE + 0.2 - time.monotonic()))
chat(401, secret)
chat(200, fresh)
assert used(key) == counted + 1

# The developer leaves the team: the key is dead with the next call.
manage(204, ADA, "DELETE", "/teams/support/members/bob")
chat(401, fresh)
manage(404, ROOT, "GET", f"/keys/{key}")

# All of it is in the audit, without a secret.
audit = manage(200, ROOT, "GET", "/audit?organization=initech&limit=100")
actions = [(entry["actor"], entry["action"], entry["status"]) for entry in audit["items"]]
for attempt in [
    ("ada", "DELETE /teams/support/members/bob", 204),
    ("bob", f"POST /keys/{key}/rotate", 201),
    ("bob", "POST /teams/support/keys", 201),
    ("bob", "POST /teams/support/keys", 400),
    ("bob", "PATCH /teams/support", 403),
    ("ada", "PUT /teams/support/access", 200),
]:
    assert attempt in actions, f"{attempt} is not in {actions}"
text = json.dumps(audit)
assert secret[-20:] not in text and fresh[-20:] not in text and "sha256:" not in text
print("the workflow works")
