"""The unmodified package litellm (as a library) through a gateway."""

import asyncio
import os

# The tables in the package, instead of downloads.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS"] = "True"

import litellm
from pydantic import BaseModel

from gateway import arguments, check, gives_up, repeats

args = arguments(embedding_model="text-embedding-3-small")
ASK = [{"role": "user", "content": "Say hello."}]
PLACE = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "weather", "description": "The weather.", "parameters": PLACE}}
# The model that is allowed, the one that is not, and the address that each provider's adapter expects.
PROVIDERS = {
    "openai": ("gpt-5-mini", "gpt-5", args.base_url + "/v1"),
    "anthropic": ("claude-haiku-4-5", "claude-opus-4-5", args.base_url),
    "gemini": ("gemini-2.5-flash", "gemini-2.5-pro", args.base_url + "/v1beta"),
}


class Weather(BaseModel):
    city: str
    days: list[int]


def complete(provider, key=args.key, retries=0, forbidden=False, messages=ASK, **more):
    allowed, other, base = PROVIDERS[provider]
    name = f"{provider}/{other if forbidden else allowed}"
    return litellm.completion(model=name, api_base=base, api_key=key, messages=messages, max_tokens=64, max_retries=retries, timeout=30, **more)


def refused(name, error_class, status, words, call):
    """Checks the class, the status, and the words of the message: litellm does not keep the code of every error."""
    try:
        answer = call()
    except error_class as error:
        check(f"{name}: status {status}", error.status_code == status, error)
        check(f"{name}: message", words in str(error), error)
        return error
    raise SystemExit(f"FAILED {name}: not refused, but {answer!r}")


def provider(name):
    answer = complete(name)
    check(f"{name}: chat", answer.choices[0].message.content and answer.usage.total_tokens > 0, answer)
    chunks = list(complete(name, stream=True, stream_options={"include_usage": True}))
    check(f"{name}: stream", "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices), chunks[-1])
    check(f"{name}: stream: usage", litellm.stream_chunk_builder(chunks, messages=ASK).usage.completion_tokens > 0, chunks[-1])

    call = complete(name, tools=[TOOL]).choices[0].message
    check(f"{name}: tools: call", "city" in call.tool_calls[0].function.arguments, call)
    result = {"role": "tool", "tool_call_id": call.tool_calls[0].id, "name": "weather", "content": "clear"}
    answer = complete(name, messages=[*ASK, call.model_dump(), result], tools=[TOOL])
    check(f"{name}: tools: answer", answer.choices[0].message.content, answer)
    chunks = list(complete(name, tools=[TOOL], stream=True))
    whole = litellm.stream_chunk_builder(chunks, messages=ASK)
    check(f"{name}: tools: stream", "city" in whole.choices[0].message.tool_calls[0].function.arguments, whole)
    answer = complete(name, response_format=Weather)
    check(f"{name}: structured", Weather.model_validate_json(answer.choices[0].message.content), answer)

    denied = (litellm.PermissionDeniedError, litellm.BadRequestError, litellm.APIError)
    refused(f"{name}: forbidden model", denied, 403, "not available to this key", lambda: complete(name, forbidden=True))
    refused(f"{name}: forbidden model, stream", denied, 403, "not available to this key", lambda: list(complete(name, forbidden=True, stream=True)))
    refused(f"{name}: unknown key", litellm.AuthenticationError, 401, "is not valid here", lambda: complete(name, "sk-unknown"))
    refused(f"{name}: expired key", litellm.AuthenticationError, 401, "expired", lambda: complete(name, args.expired_key))
    refused(f"{name}: more than the budget", litellm.BadRequestError, 400, "whole budget", lambda: complete(name, args.budget_key))


async def asynchronous():
    allowed, _, base = PROVIDERS["openai"]
    answer = await litellm.acompletion(model=f"openai/{allowed}", api_base=base, api_key=args.key, messages=ASK)
    check("async", answer.choices[0].message.content, answer)


for one in PROVIDERS:
    provider(one)
base = PROVIDERS["openai"][2]
vectors = litellm.embedding(model=f"openai/{args.embedding_model}", input=["a", "b"], api_base=base, api_key=args.key)
check("embeddings", len(vectors.data) == 2 and vectors.usage.prompt_tokens > 0, vectors)
answer = litellm.responses(model="openai/gpt-5-mini", input="Say hello.", api_base=base, api_key=args.key)
check("responses", answer.output[0].content[0].text, answer)
ranked = litellm.rerank(model="cohere/rerank-v3.5", query="gate", documents=["a", "b"], api_base=args.base_url, api_key=args.key)
check("rerank", len(ranked.results) == 2, ranked)
moderated = litellm.moderation(model="omni-moderation-latest", input="Hello.", api_base=base, api_key=args.key)
check("moderation", moderated.results[0].flagged is False, moderated)
completed = litellm.text_completion(model="text-completion-openai/gpt-5-mini", prompt="Say hello.", api_base=base, api_key=args.key)
check("completion", completed.choices[0].text, completed)
models = litellm.get_valid_models(check_provider_endpoint=True, custom_llm_provider="openai", api_key=args.key, api_base=base)
check("model list", "gpt-5-mini" in str(models) and "gpt-5'" not in str(models), models)
asyncio.run(asynchronous())
limited = lambda name, call: refused(name, litellm.RateLimitError, 429, "limit", call)
gives_up("a day's limit", lambda retries: complete("openai", args.day_key, retries), limited)
repeats("a call in flight", args, lambda retries: complete("openai", args.busy_key, retries), limited)
