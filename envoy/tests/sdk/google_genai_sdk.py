"""The unmodified package google-genai through a gateway."""

import asyncio
import json

from google import genai
from google.genai import errors, types
from pydantic import BaseModel

from gateway import arguments, check, repeats

args = arguments(model="gemini-2.5-flash", forbidden_model="gemini-2.5-pro", embedding_model="gemini-embedding-001")
ASK = "Say hello."
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
DECLARED = types.Tool(function_declarations=[types.FunctionDeclaration(name="weather", description="The weather.", parameters_json_schema=SCHEMA)])


class Weather(BaseModel):
    city: str
    degrees: float
    days: list[str]


def weather(city: str) -> str:
    """The weather in a city."""
    return f"clear in {city}"


def client(key, attempts=None, **headers):
    retry = types.HttpRetryOptions(attempts=attempts, initial_delay=1, max_delay=4, jitter=0.1) if attempts else None
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=args.base_url, timeout=30_000, retry_options=retry, headers=headers))


def generate(of, model=args.model, contents=ASK, **config):
    return of.models.generate_content(model=model, contents=contents, config=types.GenerateContentConfig(**config))


def refused(name, status, code, call):
    try:
        answer = call()
    except errors.APIError as error:
        check(f"{name}: status {status}", error.code == status, error)
        check(f"{name}: code {code}", code in json.dumps(error.details), error.details)
        return error
    raise SystemExit(f"FAILED {name}: not refused, but {answer!r}")


def content():
    good = client(args.key)
    answer = generate(good)
    check("content", answer.text and answer.usage_metadata.total_token_count > 0, answer)
    chunks = list(good.models.generate_content_stream(model=args.model, contents=ASK))
    check("stream", "".join(chunk.text for chunk in chunks) and chunks[-1].usage_metadata.total_token_count > 0, chunks[-1])
    chat = good.chats.create(model=args.model)
    check("chat", chat.send_message(ASK).text)
    check("chat: stream", "".join(chunk.text for chunk in chat.send_message_stream("Again.")))

    manual = types.AutomaticFunctionCallingConfig(disable=True)
    call = generate(good, tools=[DECLARED], automatic_function_calling=manual)
    check("tools: call", call.function_calls[0].args["city"], call)
    result = types.Content(role="user", parts=[types.Part.from_function_response(name="weather", response={"output": "clear"})])
    contents = [types.Content(role="user", parts=[types.Part(text=ASK)]), call.candidates[0].content, result]
    check("tools: answer", generate(good, contents=contents, tools=[DECLARED], automatic_function_calling=manual).text)
    used = generate(good, tools=[weather])
    check("tools: called by the SDK", used.text and len(used.automatic_function_calling_history) == 3, used)
    streamed = good.models.generate_content_stream(model=args.model, contents=ASK, config=types.GenerateContentConfig(tools=[DECLARED], automatic_function_calling=manual))
    check("tools: stream", [call for chunk in streamed for call in chunk.function_calls or []][0].args["city"])

    structured = generate(good, response_mime_type="application/json", response_schema=Weather)
    check("structured", isinstance(structured.parsed, Weather), structured)
    structured = generate(good, response_mime_type="application/json", response_json_schema=SCHEMA)
    check("structured: JSON Schema", structured.parsed["city"], structured)


async def asynchronous():
    good = client(args.key)
    async with good.aio as aio:
        check("async", (await aio.models.generate_content(model=args.model, contents=ASK)).text)
        chunks = [chunk.text async for chunk in await aio.models.generate_content_stream(model=args.model, contents=ASK)]
        check("async stream", "".join(chunks), chunks)


def others():
    good = client(args.key)
    models = {model.name for model in good.models.list()}
    check("model list", f"models/{args.model}" in models and f"models/{args.forbidden_model}" not in models, models)
    check("one model", good.models.get(model=args.model).name == f"models/{args.model}")
    check("token count", good.models.count_tokens(model=args.model, contents=ASK).total_tokens > 0)
    vectors = good.models.embed_content(model=args.embedding_model, contents=["a", "b"])
    check("embeddings", len(vectors.embeddings) == 2 and vectors.embeddings[0].values, vectors)
    query = genai.Client(api_key="unused", http_options=types.HttpOptions(base_url=args.base_url, headers={"x-goog-api-key": args.key}))
    check("key in a header of one's own", generate(query).text)


def refusals():
    error = refused("forbidden model", 403, "target_not_allowed", lambda: generate(client(args.key), args.forbidden_model))
    check("forbidden model: class", isinstance(error, errors.ClientError) and error.status == "PERMISSION_DENIED", error)
    good = client(args.key)
    refused("forbidden model, stream", 403, "target_not_allowed", lambda: list(good.models.generate_content_stream(model=args.forbidden_model, contents=ASK)))
    refused("files", 403, "stored_objects_not_served", lambda: good.files.get(name="files/one"))
    refused("unknown key", 401, "invalid_api_key", lambda: generate(client("sk-unknown")))
    refused("expired key", 401, "expired_api_key", lambda: generate(client(args.expired_key)))
    refused("more than the budget", 400, "request_too_large_for_budget", lambda: generate(client(args.budget_key)))
    error = refused("a day's limit", 429, "team_rpd_exceeded", lambda: generate(client(args.day_key)))
    check("a day's limit: status", error.status == "RESOURCE_EXHAUSTED", error)


content()
asyncio.run(asynchronous())
others()
refusals()
repeats("a call in flight", args, lambda retries: generate(client(args.busy_key, retries and retries + 1)), lambda name, call: refused(name, 429, "team_tpm_exceeded", call))
