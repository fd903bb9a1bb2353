"""The unmodified package langchain-openai through a gateway."""

import asyncio
from typing import Literal

import openai
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

from gateway import arguments, check, gives_up, refused, repeats

args = arguments(model="gpt-5-mini", forbidden_model="gpt-5", embedding_model="text-embedding-3-small")
ASK = "Say hello."


class Weather(BaseModel):
    """The weather in a city."""

    city: str
    degrees: float
    sky: Literal["clear", "cloudy"]


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"clear in {city}"


def model(key=args.key, name=args.model, retries=0, **more):
    return ChatOpenAI(model=name, base_url=args.base_url + "/v1", api_key=key, max_retries=retries, timeout=30, **more)


def chat(name, of):
    answer = of.invoke(ASK)
    check(f"{name}: chat", answer.text and answer.usage_metadata["total_tokens"] > 0, answer)
    whole = None
    for chunk in of.stream(ASK):
        whole = chunk if whole is None else whole + chunk
    check(f"{name}: stream", whole.text and whole.usage_metadata["total_tokens"] > 0, whole)

    bound = of.bind_tools([weather])
    call = bound.invoke(ASK)
    check(f"{name}: tools: call", call.tool_calls[0]["args"]["city"], call)
    result = weather.invoke(call.tool_calls[0])
    check(f"{name}: tools: run", isinstance(result, ToolMessage) and result.content.startswith("clear in"), result)
    check(f"{name}: tools: answer", bound.invoke([HumanMessage(ASK), call, result]).text)
    streamed = None
    for chunk in bound.stream(ASK):
        streamed = chunk if streamed is None else streamed + chunk
    check(f"{name}: tools: stream", streamed.tool_calls[0]["args"]["city"], streamed)

    for method in ["json_schema", "function_calling"]:
        parsed = of.with_structured_output(Weather, method=method).invoke(ASK)
        check(f"{name}: structured: {method}", isinstance(parsed, Weather), parsed)


async def asynchronous():
    answer = await model().ainvoke(ASK)
    check("async", answer.text, answer)
    chunks = [chunk.text async for chunk in model().astream(ASK)]
    check("async stream", "".join(chunks), chunks)
    check("batch", len(await model().abatch([ASK] * 4)) == 4)


def refused_as(error_class, status, code):
    """The SDK derives its errors from those of `openai`."""
    return lambda name, call: refused(name, error_class, status, code, call, exact=False)


def refusals():
    denied = refused_as(openai.PermissionDeniedError, 403, "target_not_allowed")
    unauthorized = lambda code: refused_as(openai.AuthenticationError, 401, code)
    forbidden = model(name=args.forbidden_model)
    denied("forbidden model", lambda: forbidden.invoke(ASK))
    denied("forbidden model, stream", lambda: list(forbidden.stream(ASK)))
    unauthorized("invalid_api_key")("unknown key", lambda: model("sk-unknown").invoke(ASK))
    unauthorized("expired_api_key")("expired key", lambda: model(args.expired_key).invoke(ASK))
    too_large = refused_as(openai.BadRequestError, 400, "request_too_large_for_budget")
    too_large("more than the budget", lambda: model(args.budget_key).invoke(ASK))
    limited = refused_as(openai.RateLimitError, 429, "team_rpd_exceeded")
    gives_up("a day's limit", lambda retries: model(args.day_key, retries=retries).invoke(ASK), limited)


chat("completions", model(stream_usage=True))
chat("responses", model(use_responses_api=True))
# Without the check of lengths, which loads the tables of a tokenizer.
vectors = OpenAIEmbeddings(model=args.embedding_model, base_url=args.base_url + "/v1", api_key=args.key, check_embedding_ctx_length=False)
check("embeddings", len(vectors.embed_documents(["a", "b"])) == 2)
asyncio.run(asynchronous())
refusals()
busy = refused_as(openai.RateLimitError, 429, "team_tpm_exceeded")
repeats("a call in flight", args, lambda retries: model(args.busy_key, retries=retries).invoke(ASK), busy)
