// The unmodified npm package `openai` through a gateway.

import OpenAI, { AzureOpenAI, toFile } from 'openai';
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';

import { BUDGET_KEY, BUSY_KEY, DAY_KEY, EXPIRED_KEY, GATEWAY, KEY, PICTURE, breaks, check, givesUp, refused, repeats, simulate } from './gateway.mjs';

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

async function transport() {
  const ask = (more, behavior) => good.chat.completions.create({ model: MODEL, messages: ASK, ...more }, simulate(behavior));
  for (const behavior of ['gzip', 'chunk-bytes=7', 'trailers']) {
    check(`${behavior}`, (await ask({}, behavior)).choices[0].message.content);
    let text = '';
    for await (const chunk of await ask({ stream: true }, behavior)) text += chunk.choices[0].delta.content ?? '';
    check(`${behavior}: stream`, text);
  }
  check('gzip=force', (await ask({}, 'gzip=force')).choices[0].message.content);
  const image = { type: 'image_url', image_url: { url: `data:image/png;base64,${PICTURE}` } };
  const seen = await ask({ messages: [{ role: 'user', content: [{ type: 'text', text: 'Name it.' }, image] }] }, '');
  check('picture', seen.choices[0].message.content, seen);
  const failed = await refused('the provider fails', 500, 'api_error', () => ask({}, 'status=500'), read);
  check('the provider fails: class', failed instanceof OpenAI.InternalServerError, failed);
  await breaks('the provider breaks off', async () => { for await (const _ of await ask({ stream: true }, 'cut-after=3')); });
  const slash = new OpenAI({ baseURL: `${GATEWAY}/v1/`, apiKey: KEY, maxRetries: 0 });
  check('base URL with a slash', (await slash.chat.completions.create({ model: MODEL, messages: ASK })).choices[0].message.content);
  const many = await Promise.all(Array.from({ length: 20 }, () => ask({}, '')));
  check('twenty at once', many.every((answer) => answer.usage.total_tokens > 0), many);
}

async function responses() {
  const answer = await good.responses.create({ model: MODEL, input: 'Say hello.' });
  check('responses', answer.output_text && answer.usage.total_tokens > 0, answer);
  const next = await good.responses.create({ model: MODEL, input: 'Again.', previous_response_id: answer.id });
  check('responses: a previous one', next.output_text && next.previous_response_id === answer.id, next);
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
  const moderated = await good.moderations.create({ model: 'omni-moderation-latest', input: 'Hello.' });
  check('moderation', moderated.results[0].flagged === false, moderated);

  const counted = await good.responses.inputTokens.count({ model: MODEL, input: 'Say hello.' });
  check('token count', counted.input_tokens > 0, counted);
  const compatible = new OpenAI({ baseURL: `${GATEWAY}/v1beta/openai/`, apiKey: KEY, maxRetries: 0 });
  const gemini = await compatible.chat.completions.create({ model: 'gemini-2.5-flash', messages: ASK });
  check('Gemini\'s compatible paths', gemini.choices[0].message.content, gemini);

  const models = [];
  for await (const model of good.models.list()) models.push(model.id);
  check('model list', models.includes(MODEL) && !models.includes(FORBIDDEN), models);
  check('one model', (await good.models.retrieve(MODEL)).id === MODEL);

  const stream = await good.chat.completions.create({ model: MODEL, messages: ASK, stream: true }, simulate('tokens=200, chunk-ms=20'));
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
  const file = await toFile(Buffer.from('{}'), 'batch.jsonl');
  const stored = await refused('files', 403, 'stored_objects_not_served', () => good.files.create({ file, purpose: 'batch' }), read);
  check('files: message', stored.message.length > 20, stored.message);
  await refused('a stored response', 403, 'stored_objects_not_served', () => good.responses.retrieve('resp_1'), read);
  await refused('no route', 404, 'unknown_route', () => good.get('/nowhere'), read);
  const limited = await givesUp('a day\'s limit', (retries) => client(DAY_KEY, retries).chat.completions.create({ model: MODEL, messages: ASK }), read);
  check('a day\'s limit: class', limited instanceof OpenAI.RateLimitError && limited.headers.get('x-should-retry') === 'false', limited);
}

await chat();
await transport();
await responses();
await others();
await refusals();
await repeats('a call in flight', (retries) => client(BUSY_KEY, retries).chat.completions.create({ model: MODEL, messages: ASK }), read);
