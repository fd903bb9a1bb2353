// The unmodified npm package `openai` through a gateway.

import OpenAI, { AzureOpenAI, toFile } from 'openai';
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';

import { BUDGET_KEY, DAY_KEY, EXPIRED_KEY, GATEWAY, KEY, MINUTE_KEY, ROUTES, check, givesUp, refused, repeats } from './gateway.mjs';

const MODEL = 'gpt-5-mini';
const FORBIDDEN = 'gpt-5';
const ASK = [{ role: 'user', content: 'Say hello.' }];
const PLACE = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false };
const TOOL = { type: 'function', function: { name: 'weather', description: 'The weather.', parameters: PLACE, strict: true } };
const Weather = z.object({ city: z.string(), degrees: z.number(), sky: z.enum(['clear', 'cloudy']) });

const client = (apiKey, maxRetries = 0) => new OpenAI({ baseURL: `${GATEWAY}/v1`, apiKey, maxRetries, timeout: 30_000 });
const read = (error) => ({ status: error.status, body: error.error ?? String(error) });
const good = client(KEY);

async function chat() {
  const { data, response } = await good.chat.completions.create({ model: MODEL, messages: ASK }).withResponse();
  check('chat', data.choices[0].message.content && data.usage.total_tokens > 0, data);
  check('chat: rate-limit headers', Number(response.headers.get('x-ratelimit-remaining-requests')) >= 0, [...response.headers]);

  const chunks = [];
  for await (const chunk of await good.chat.completions.create({ model: MODEL, messages: ASK, stream: true })) chunks.push(chunk);
  check('stream', chunks.length > 2 && chunks.every((chunk) => chunk.choices.length > 0 && !chunk.usage), chunks.at(-1));
  const helper = good.chat.completions.stream({ model: MODEL, messages: ASK, stream_options: { include_usage: true } });
  const whole = await helper.finalChatCompletion();
  check('stream: helper', whole.choices[0].message.content && (await helper.totalUsage()).total_tokens > 0, whole);

  const call = await good.chat.completions.create({ model: MODEL, messages: ASK, tools: [TOOL] });
  const message = call.choices[0].message;
  check('tools: call', JSON.parse(message.tool_calls[0].function.arguments).city, call);
  const result = { role: 'tool', tool_call_id: message.tool_calls[0].id, content: 'clear' };
  const answer = await good.chat.completions.create({ model: MODEL, messages: [...ASK, message, result], tools: [TOOL] });
  check('tools: answer', answer.choices[0].message.content, answer);
  const tool = { type: 'function', function: { ...TOOL.function, parse: JSON.parse, function: ({ city }) => `clear in ${city}` } };
  for (const stream of [false, true]) {
    const runner = good.chat.completions.runTools({ model: MODEL, messages: ASK, tools: [tool], stream });
    check(`tools: runner, stream ${stream}`, await runner.finalContent(), runner.messages);
  }

  const format = zodResponseFormat(Weather, 'weather');
  const parsed = await good.chat.completions.parse({ model: MODEL, messages: ASK, response_format: format });
  check('structured', Weather.safeParse(parsed.choices[0].message.parsed).success, parsed);
  const streamed = await good.chat.completions.stream({ model: MODEL, messages: ASK, response_format: format }).finalChatCompletion();
  check('structured: stream', Weather.safeParse(streamed.choices[0].message.parsed).success, streamed);

  const azure = new AzureOpenAI({ endpoint: GATEWAY, apiKey: KEY, apiVersion: '2025-04-01-preview', deployment: MODEL, maxRetries: 0 });
  const deployed = await azure.chat.completions.create({ model: MODEL, messages: ASK });
  check('Azure', deployed.choices[0].message.content, deployed);
}

async function responses() {
  const answer = await good.responses.create({ model: MODEL, input: 'Say hello.' });
  check('responses', answer.output_text && answer.usage.total_tokens > 0, answer);
  const tools = [{ type: 'function', name: 'weather', parameters: PLACE, strict: true }];
  const stream = good.responses.stream({ model: MODEL, input: 'Say hello.', tools });
  const kinds = new Set();
  for await (const event of stream) kinds.add(event.type);
  const call = (await stream.finalResponse()).output[0];
  check('responses: tools in a stream', JSON.parse(call.arguments).city && kinds.has('response.function_call_arguments.delta'), [...kinds]);
  const input = [{ role: 'user', content: 'Say hello.' }, call, { type: 'function_call_output', call_id: call.call_id, output: 'clear' }];
  check('responses: answer', (await good.responses.create({ model: MODEL, input, tools })).output_text);
  const parsed = await good.responses.parse({ model: MODEL, input: 'Say hello.', text: { format: zodTextFormat(Weather, 'weather') } });
  check('responses: structured', Weather.safeParse(parsed.output_parsed).success, parsed);
}

async function others() {
  const vectors = await good.embeddings.create({ model: 'text-embedding-3-small', input: ['a', 'b'] });
  check('embeddings', vectors.data.length === 2 && vectors.data[1].embedding.length > 0, vectors);
  const images = await good.images.generate({ model: 'gpt-image-1', prompt: 'a gate' });
  check('image', images.data[0].b64_json, images);
  const speech = await good.audio.speech.create({ model: 'gpt-4o-mini-tts', voice: 'alloy', input: 'Hello.' });
  check('speech', (await speech.arrayBuffer()).byteLength > 0);
  const file = await toFile(Buffer.alloc(2000, 7), 'speech.wav', { type: 'audio/wav' });
  const text = await good.audio.transcriptions.create({ model: 'gpt-4o-transcribe', file });
  check('transcription', text.text && text.usage.total_tokens > 0, text);
  if (ROUTES) {
  const moderated = await good.moderations.create({ model: 'omni-moderation-latest', input: 'Hello.' });
  check('moderation', moderated.results[0].flagged === false, moderated);
  }

  const models = [];
  for await (const model of good.models.list()) models.push(model.id);
  check('model list', models.includes(MODEL) && !models.includes(FORBIDDEN), models);
  check('one model', (await good.models.retrieve(MODEL)).id === MODEL);

  const stream = await good.chat.completions.create({ model: MODEL, messages: ASK, stream: true }, { headers: { 'x-simulate': 'tokens=200, chunk-ms=20' } });
  for await (const _ of stream) break;
  check('a stream that is left early', stream.controller.signal.aborted);
}

async function refusals() {
  const ask = (key, model = MODEL, more = {}) => () => client(key).chat.completions.create({ model, messages: ASK, ...more });
  const forbidden = await refused('forbidden model', 403, 'target_not_allowed', ask(KEY, FORBIDDEN), read);
  check('forbidden model: class', forbidden instanceof OpenAI.PermissionDeniedError, forbidden);
  await refused('forbidden model, stream', 403, 'target_not_allowed', ask(KEY, FORBIDDEN, { stream: true }), read);
  const unknown = await refused('unknown key', 401, 'invalid_api_key', ask('sk-unknown'), read);
  check('unknown key: class', unknown instanceof OpenAI.AuthenticationError, unknown);
  await refused('expired key', 401, 'expired_api_key', ask(EXPIRED_KEY), read);
  await refused('more than the budget', 400, 'request_too_large_for_budget', ask(BUDGET_KEY), read);
  await refused('a model that is not listed', 404, 'model_not_found', () => good.models.retrieve(FORBIDDEN), read);
  const limited = await givesUp('a day\'s limit', (retries) => client(DAY_KEY, retries).chat.completions.create({ model: MODEL, messages: ASK }), read);
  check('a day\'s limit: class', limited instanceof OpenAI.RateLimitError && limited.headers.get('x-should-retry') === 'false', limited);
}

await chat();
await responses();
await others();
await refusals();
await repeats('a minute\'s limit', (retries) => client(MINUTE_KEY, retries).chat.completions.create({ model: MODEL, messages: ASK }), read);
