"""The unmodified Anthropic SDK through a gateway: python anthropic_sdk.py --base-url http://127.0.0.1:8787 --key ..."""

import asyncio

import anthropic
from pydantic import BaseModel

from gateway import arguments, check, gives_up, refused, repeats, retry_obeys_the_gateway

args = arguments(model="claude-haiku-4-5", forbidden_model="claude-opus-4-5")
ASK = [{"role": "user", "content": "Say hello."}]


def client(key, retries=0):
    return anthropic.Anthropic(base_url=args.base_url, api_key=key, max_retries=retries, timeout=30)


def async_client(key):
    return anthropic.AsyncAnthropic(base_url=args.base_url, api_key=key, max_retries=0, timeout=30)


def message(of, model=args.model, **more):
    return of.messages.create(model=model, max_tokens=64, messages=ASK, **more)


def check_message(name, answer):
    check(f"{name}: text", answer.content[0].text, answer)
    check(f"{name}: usage", answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0, answer.usage)


def synchronous():
    good = client(args.key)
    check_message("message", message(good))
    events = list(message(good, stream=True))
    check("streaming message: events", [events[0].type, events[-1].type] == ["message_start", "message_stop"], events)
    with good.messages.stream(model=args.model, max_tokens=64, messages=ASK) as stream:
        text = "".join(stream.text_stream)
        check_message("streaming message", stream.get_final_message())
        check("streaming message: whole", text == stream.get_final_message().content[0].text, text)
    bearer = anthropic.Anthropic(base_url=args.base_url, auth_token=args.key, api_key=None, max_retries=0, timeout=30)
    check_message("key as a bearer token", message(bearer))
    models = {model.id for model in good.models.list()}
    check("model list: what may be called", args.model in models, models)
    check("model list: and nothing else", args.forbidden_model not in models, models)
    check("one model", good.models.retrieve(args.model).type == "model")


class Weather(BaseModel):
    city: str
    degrees: float
    days: list[str]


@anthropic.beta_tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"clear in {city}"


def tools():
    good = client(args.key)
    place = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tools = [{"name": "weather", "description": "The weather.", "input_schema": place, "cache_control": {"type": "ephemeral"}}]
    call = message(good, tools=tools)
    check("tools: call", call.stop_reason == "tool_use" and call.content[0].input["city"], call)
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.content[0].id, "content": "clear"}]}
    answer = good.messages.create(model=args.model, max_tokens=64, messages=[*ASK, {"role": "assistant", "content": call.content}, result], tools=tools)
    check_message("tools: answer", answer)
    with good.messages.stream(model=args.model, max_tokens=64, messages=ASK, tools=tools) as stream:
        check("tools: stream", stream.get_final_message().content[0].input["city"])
    runner = good.beta.messages.tool_runner(model=args.model, max_tokens=64, messages=ASK, tools=[weather])
    check_message("tools: runner", runner.until_done())

    parsed = good.messages.parse(model=args.model, max_tokens=64, messages=ASK, output_format=Weather)
    check("structured", isinstance(parsed.parsed_output, Weather), parsed)
    system = [{"type": "text", "text": "Be short.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    check_message("prompt caching", message(good, system=system))
    beta = good.beta.messages.create(model=args.model, max_tokens=64, messages=ASK, betas=["context-1m-2025-08-07"])
    check_message("beta headers", beta)
    raw = good.messages.with_raw_response.create(model=args.model, max_tokens=64, messages=ASK)
    check("raw response", raw.headers["x-ratelimit-limit-requests"] and raw.parse().content[0].text, dict(raw.headers))
    check("token count", good.messages.count_tokens(model=args.model, messages=ASK, tools=tools).input_tokens > 0)


async def asynchronous():
    async with async_client(args.key) as good:
        check_message("async message", await message(good))
        async with good.messages.stream(model=args.model, max_tokens=64, messages=ASK) as stream:
            check_message("async streaming message", await stream.get_final_message())
        models = [model.id async for model in good.models.list()]
        check("async model list", args.model in models, models)


def refusals():
    good = client(args.key)
    refused("unknown key", anthropic.AuthenticationError, 401, "invalid_api_key", lambda: message(client("sk-unknown")))
    refused("expired key", anthropic.AuthenticationError, 401, "expired_api_key", lambda: message(client(args.expired_key)))
    refused("forbidden model", anthropic.PermissionDeniedError, 403, "target_not_allowed", lambda: message(good, args.forbidden_model))
    refused("streaming: forbidden model", anthropic.PermissionDeniedError, 403, "target_not_allowed", lambda: message(good, args.forbidden_model, stream=True))
    refused("async: forbidden model", anthropic.PermissionDeniedError, 403, "target_not_allowed", lambda: message(async_client(args.key), args.forbidden_model))
    refused("more than the budget", anthropic.BadRequestError, 400, "request_too_large_for_budget", lambda: message(client(args.budget_key)))


def limits():
    limited = client(args.limited_key)
    for _ in range(3):
        message(limited)
    error = refused("fourth request", anthropic.RateLimitError, 429, "team_rpm_exceeded", lambda: message(limited))
    check("fourth request: type", error.body["error"]["type"] == "rate_limit_error", error.body)
    retry_obeys_the_gateway("retry", anthropic.RateLimitError, lambda retries: client(args.limited_key, retries), message)


synchronous()
tools()
asyncio.run(asynchronous())
refusals()
limits()
gives_up("a day's limit", lambda retries: message(client(args.day_key, retries)), lambda name, call: refused(name, anthropic.RateLimitError, 429, "team_rpd_exceeded", call))
repeats("a call in flight", args, lambda retries: message(client(args.busy_key, retries)), lambda name, call: refused(name, anthropic.RateLimitError, 429, "team_tpm_exceeded", call))
