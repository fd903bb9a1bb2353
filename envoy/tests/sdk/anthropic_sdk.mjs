// The unmodified npm package `@anthropic-ai/sdk` through a gateway.

import Anthropic from '@anthropic-ai/sdk';
import { betaZodTool } from '@anthropic-ai/sdk/helpers/beta/zod';
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod';
import { z } from 'zod';

import { BUDGET_KEY, BUSY_KEY, DAY_KEY, EXPIRED_KEY, GATEWAY, KEY, PICTURE, breaks, check, givesUp, refused, repeats, simulate } from './gateway.mjs';

const MODEL = 'claude-haiku-4-5';
const FORBIDDEN = 'claude-opus-4-5';
const ASK = { model: MODEL, max_tokens: 64, messages: [{ role: 'user', content: 'Say hello.' }] };
const TOOL = { name: 'weather', description: 'The weather.', input_schema: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] } };
const Weather = z.object({ city: z.string(), degrees: z.number(), sky: z.enum(['clear', 'cloudy']) });

const client = (apiKey, maxRetries = 0) => new Anthropic({ baseURL: GATEWAY, apiKey, authToken: null, maxRetries, timeout: 30_000 });
const read = (error) => ({ status: error.status, body: error.error ?? String(error) });
const good = client(KEY);

async function messages() {
  const { data, response } = await good.messages.create(ASK).withResponse();
  check('message', data.content[0].text && data.usage.input_tokens > 0 && data.usage.output_tokens > 0, data);
  check('message: rate-limit headers', response.headers.has('x-ratelimit-limit-requests'), [...response.headers]);
  const events = [];
  for await (const event of await good.messages.create({ ...ASK, stream: true })) events.push(event.type);
  check('stream', events[0] === 'message_start' && events.at(-1) === 'message_stop', events);
  const streamed = await good.messages.stream(ASK).finalMessage();
  check('stream: helper', streamed.content[0].text && streamed.usage.output_tokens > 0, streamed);
  const bearer = new Anthropic({ baseURL: GATEWAY, apiKey: null, authToken: KEY, maxRetries: 0 });
  check('key as a bearer token', (await bearer.messages.create(ASK)).content[0].text);

  const call = await good.messages.create({ ...ASK, tools: [TOOL] });
  const use = call.content[0];
  check('tools: call', call.stop_reason === 'tool_use' && use.input.city, call);
  const result = { role: 'user', content: [{ type: 'tool_result', tool_use_id: use.id, content: 'clear' }] };
  const answer = await good.messages.create({ ...ASK, tools: [TOOL], messages: [...ASK.messages, { role: 'assistant', content: call.content }, result] });
  check('tools: answer', answer.content[0].text, answer);
  const used = await good.messages.stream({ ...ASK, tools: [TOOL] }).finalMessage();
  check('tools: stream', used.content[0].input.city, used);
  const tool = betaZodTool({ name: 'weather', description: 'The weather.', inputSchema: z.object({ city: z.string() }), run: ({ city }) => `clear in ${city}` });
  for (const stream of [false, true]) {
    const final = await good.beta.messages.toolRunner({ ...ASK, tools: [tool], stream }).runUntilDone();
    check(`tools: runner, stream ${stream}`, final.content[0].text, final);
  }

  const parsed = await good.messages.parse({ ...ASK, output_config: { format: zodOutputFormat(Weather) } });
  check('structured', Weather.safeParse(parsed.parsed_output).success, parsed);
  const system = [{ type: 'text', text: 'Be short.', cache_control: { type: 'ephemeral', ttl: '1h' } }];
  const cached = await good.messages.create({ ...ASK, system, cache_control: { type: 'ephemeral' } });
  check('prompt caching', cached.usage.cache_read_input_tokens >= 0, cached);
  const beta = await good.beta.messages.create({ ...ASK, betas: ['context-1m-2025-08-07', 'fine-grained-tool-streaming-2025-05-14'] });
  check('beta headers', beta.content[0].text, beta);
}

async function transport() {
  for (const behavior of ['gzip', 'chunk-bytes=7']) {
    check(`${behavior}`, (await good.messages.create(ASK, simulate(behavior))).content[0].text);
    check(`${behavior}: stream`, (await good.messages.stream(ASK, simulate(behavior)).finalMessage()).content[0].text);
  }
  const source = (media_type) => ({ type: 'base64', media_type, data: PICTURE });
  const content = [{ type: 'image', source: source('image/png') }, { type: 'document', source: source('application/pdf') }];
  check('picture and document', (await good.messages.create({ ...ASK, messages: [{ role: 'user', content }] })).content[0].text);
  const thinking = { type: 'enabled', budget_tokens: 1024 };
  check('thinking', (await good.messages.create({ ...ASK, max_tokens: 2048, thinking })).content[0].text);
  const failed = await refused('the provider is overloaded', 529, 'overloaded_error', () => good.messages.create(ASK, simulate('status=529')), read);
  check('the provider is overloaded: class', failed instanceof Anthropic.InternalServerError, failed);
  await breaks('the provider breaks off', () => good.messages.stream(ASK, simulate('cut-after=3, tokens=50')).finalMessage());
}

async function others() {
  check('token count', (await good.messages.countTokens({ model: MODEL, messages: ASK.messages, tools: [TOOL] })).input_tokens > 0);
  const models = [];
  for await (const model of good.models.list({ limit: 1000 })) models.push(model.id);
  check('model list', models.includes(MODEL) && !models.includes(FORBIDDEN), models);
  check('one model', (await good.models.retrieve(MODEL)).id === MODEL);
  const stream = good.messages.stream(ASK, simulate('tokens=200, chunk-ms=20'));
  for await (const _ of stream) break;
  stream.abort();
  check('a stream that is left early', stream.aborted || stream.controller.signal.aborted);
}

async function refusals() {
  const ask = (key, more = {}) => () => client(key).messages.create({ ...ASK, ...more });
  const forbidden = await refused('forbidden model', 403, 'target_not_allowed', ask(KEY, { model: FORBIDDEN }), read);
  check('forbidden model: class', forbidden instanceof Anthropic.PermissionDeniedError, forbidden);
  await refused('forbidden model, stream', 403, 'target_not_allowed', ask(KEY, { model: FORBIDDEN, stream: true }), read);
  const unknown = await refused('unknown key', 401, 'invalid_api_key', ask('sk-unknown'), read);
  check('unknown key: class', unknown instanceof Anthropic.AuthenticationError, unknown);
  await refused('expired key', 401, 'expired_api_key', ask(EXPIRED_KEY), read);
  await refused('more than the budget', 400, 'request_too_large_for_budget', ask(BUDGET_KEY), read);
  const unlisted = await refused('a model that is not listed', 404, 'model_not_found', () => good.models.retrieve(FORBIDDEN), read);
  check('a model that is not listed: class', unlisted instanceof Anthropic.NotFoundError && unlisted.error.error.type === 'not_found_error', unlisted);
  const nowhere = await refused('no route', 404, 'unknown_route', () => good.post('/v1/messages/nowhere'), read);
  check('no route: shape', nowhere.error.type === 'error', nowhere.error);
  const batches = await refused('batches', 403, 'stored_objects_not_served', () => good.messages.batches.list(), read);
  check('batches: shape', batches.error.type === 'error' && batches.error.error.type === 'permission_error', batches.error);
  const limited = await givesUp('a day\'s limit', (retries) => client(DAY_KEY, retries).messages.create(ASK), read);
  check('a day\'s limit: class', limited instanceof Anthropic.RateLimitError && limited.error.error.type === 'rate_limit_error', limited);
}

await messages();
await transport();
await others();
await refusals();
await repeats('a call in flight', (retries) => client(BUSY_KEY, retries).messages.create(ASK), read);
