"""The unmodified OpenAI SDK through a gateway: python openai_sdk.py --base-url http://127.0.0.1:8787 --key ..."""

import asyncio
import json

import openai
from pydantic import BaseModel

from gateway import arguments, check, gives_up, recorded_sleeps, refused, repeats, retry_obeys_the_gateway

args = arguments(model="gpt-5-mini", embedding_model="text-embedding-3-small", forbidden_model="gpt-5")
BASE = args.base_url + "/v1"
ASK = [{"role": "user", "content": "Say hello."}]


def client(key, retries=0):
    return openai.OpenAI(base_url=BASE, api_key=key, max_retries=retries, timeout=30)


def async_client(key):
    return openai.AsyncOpenAI(base_url=BASE, api_key=key, max_retries=0, timeout=30)


def chat(of, model=args.model, **more):
    return of.chat.completions.create(model=model, messages=ASK, **more)


def check_chat(name, answer):
    check(f"{name}: an answer", answer.choices[0].message.content, answer)
    usage = answer.usage
    check(f"{name}: usage", usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 0, usage)


def check_stream(name, chunks, usage_asked):
    """The usage that the gateway asks for on its own account is not seen by a client that did not ask."""
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    check(f"{name}: text", text, chunks)
    check(f"{name}: ends", any(choice.finish_reason for choice in chunks[-2].choices + chunks[-1].choices), chunks[-2:])
    reports = [chunk for chunk in chunks if chunk.usage is not None]
    if usage_asked:
        check(f"{name}: usage in the last chunk", reports == chunks[-1:] and not chunks[-1].choices, chunks[-1])
    else:
        check(f"{name}: no usage chunk", not reports and all(chunk.choices for chunk in chunks), chunks[-1])


def synchronous():
    good = client(args.key)
    check_chat("chat", chat(good))
    check_stream("streaming chat", list(chat(good, stream=True)), usage_asked=False)
    asked = chat(good, stream=True, stream_options={"include_usage": True})
    check_stream("streaming chat with usage", list(asked), usage_asked=True)
    not_asked = chat(good, stream=True, stream_options={"include_usage": False})
    check_stream("streaming chat that declines usage", list(not_asked), usage_asked=False)

    answer = good.responses.create(model=args.model, input="Say hello.")
    check("responses", answer.output_text and answer.usage.total_tokens > 0, answer)
    events = list(good.responses.create(model=args.model, input="Say hello.", stream=True))
    check("streaming responses", events[-1].type == "response.completed" and events[-1].response.usage, events[-1])

    vectors = good.embeddings.create(model=args.embedding_model, input=["a", "b"])
    check("embeddings", len(vectors.data) == 2 and vectors.data[0].embedding and vectors.usage.prompt_tokens > 0, vectors)

    models = {model.id for model in good.models.list()}
    check("model list: what may be called", {args.model, args.embedding_model} <= models, models)
    check("model list: and nothing else", args.forbidden_model not in models, models)
    check("one model", good.models.retrieve(args.model).id == args.model)

    raw = good.chat.completions.with_raw_response.create(model=args.model, messages=ASK)
    check("rate-limit headers", int(raw.headers["x-ratelimit-remaining-requests"]) >= 0, dict(raw.headers))
    with good.chat.completions.with_streaming_response.create(model=args.model, messages=ASK, stream=True) as raw:
        check("rate-limit headers of a stream", "x-ratelimit-limit-requests" in raw.headers, dict(raw.headers))
        raw.read()


class Weather(BaseModel):
    city: str
    degrees: float
    days: list[str]


PLACE = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
FUNCTION = {"name": "weather", "description": "The weather.", "parameters": PLACE, "strict": True}


def tools():
    good = client(args.key)
    tools = [{"type": "function", "function": FUNCTION}]
    message = chat(good, tools=tools).choices[0].message
    check("tools: call", json.loads(message.tool_calls[0].function.arguments)["city"], message)
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "clear"}
    answer = good.chat.completions.create(model=args.model, messages=[*ASK, message, result], tools=tools)
    check("tools: answer", answer.choices[0].message.content, answer)
    with good.chat.completions.stream(model=args.model, messages=ASK, tools=tools) as stream:
        call = stream.get_final_completion().choices[0].message.tool_calls[0]
    check("tools: stream", call.function.parsed_arguments["city"], call)
    with good.responses.stream(model=args.model, input="Say hello.", tools=[{"type": "function", **FUNCTION}]) as stream:
        item = stream.get_final_response().output[0]
    check("tools: responses, stream", item.type == "function_call" and item.parsed_arguments["city"], item)

    parsed = good.beta.chat.completions.parse(model=args.model, messages=ASK, response_format=Weather)
    check("structured", isinstance(parsed.choices[0].message.parsed, Weather), parsed)
    parsed = good.responses.parse(model=args.model, input="Say hello.", text_format=Weather)
    check("structured: responses", isinstance(parsed.output_parsed, Weather), parsed)
    answer = chat(good, response_format={"type": "json_object"})
    check("structured: any JSON", json.loads(answer.choices[0].message.content), answer)


def azure():
    deployed = openai.AzureOpenAI(azure_endpoint=args.base_url, api_key=args.key, api_version="2025-04-01-preview", max_retries=0)
    check_chat("Azure", chat(deployed))
    check_stream("Azure: stream", list(chat(deployed, stream=True)), usage_asked=False)
    check("Azure: embeddings", deployed.embeddings.create(model=args.embedding_model, input="a").data[0].embedding)
    check("Azure: responses", deployed.responses.create(model=args.model, input="Say hello.").output_text)
    check_chat("Azure: version 1", chat(openai.OpenAI(base_url=args.base_url + "/openai/v1/", api_key=args.key, max_retries=0)))


async def asynchronous():
    async with async_client(args.key) as good:
        check_chat("async chat", await chat(good))
        chunks = [chunk async for chunk in await chat(good, stream=True)]
        check_stream("async streaming chat", chunks, usage_asked=False)
        answer = await good.responses.create(model=args.model, input="Say hello.")
        check("async responses", answer.output_text, answer)
        vectors = await good.embeddings.create(model=args.embedding_model, input="a")
        check("async embeddings", vectors.data[0].embedding, vectors)
        models = [model.id async for model in good.models.list()]
        check("async model list", args.model in models, models)
        many = await asyncio.gather(*(chat(good) for _ in range(8)))
        check("eight at once", all(answer.usage.total_tokens > 0 for answer in many), many)


def refusals():
    good = client(args.key)
    refused("unknown key", openai.AuthenticationError, 401, "invalid_api_key", lambda: chat(client("sk-unknown")))
    refused("expired key", openai.AuthenticationError, 401, "expired_api_key", lambda: chat(client(args.expired_key)))
    refused("forbidden model", openai.PermissionDeniedError, 403, "target_not_allowed", lambda: chat(good, args.forbidden_model))
    refused("unknown model", openai.PermissionDeniedError, 403, "target_not_allowed", lambda: chat(good, "no-such-model"))
    refused("a model that is not listed", openai.NotFoundError, 404, "model_not_found", lambda: good.models.retrieve(args.forbidden_model))
    refused("no route", openai.NotFoundError, 404, "unknown_route", lambda: good.get("/nowhere", cast_to=object))
    refused("no model", openai.BadRequestError, 400, "model_required", lambda: good.post("/chat/completions", body={"messages": ASK}, cast_to=object))
    refused("more than the budget", openai.BadRequestError, 400, "request_too_large_for_budget", lambda: chat(client(args.budget_key)))
    refused("async: forbidden model", openai.PermissionDeniedError, 403, "target_not_allowed", lambda: chat(async_client(args.key), args.forbidden_model))
    refused("streaming: forbidden model", openai.PermissionDeniedError, 403, "target_not_allowed", lambda: chat(good, args.forbidden_model, stream=True))


def limits():
    limited = client(args.limited_key)
    for _ in range(3):
        chat(limited)
    error = refused("fourth request", openai.RateLimitError, 429, "team_rpm_exceeded", lambda: chat(limited))
    check("fourth request: param", error.param == "team_rpm", error.param)
    check("fourth request: type", error.type == "rate_limit_error", error.type)
    with recorded_sleeps() as slept:
        refused("a wait too long to sleep", openai.RateLimitError, 429, "team_rpm_exceeded", lambda: chat(client(args.limited_key, 2)))
        wait = float(error.response.headers["retry-after-ms"])
        check("a wait over a minute is not slept", all(seconds <= 60 for seconds in slept), (wait, slept))
    retry_obeys_the_gateway("retry", openai.RateLimitError, lambda retries: client(args.limited_key, retries), chat)


synchronous()
tools()
azure()
asyncio.run(asynchronous())
refusals()
limits()
if args.day_key:
    gives_up("a day's limit", lambda retries: chat(client(args.day_key, retries)), lambda name, call: refused(name, openai.RateLimitError, 429, "team_rpd_exceeded", call))
if args.busy_key:
    repeats("a call in flight", args, lambda retries: chat(client(args.busy_key, retries)), lambda name, call: refused(name, openai.RateLimitError, 429, "team_tpm_exceeded", call))
