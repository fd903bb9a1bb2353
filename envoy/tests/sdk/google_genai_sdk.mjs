// The unmodified npm package `@google/genai` through a gateway.

import { ApiError, FunctionCallingConfigMode, GoogleGenAI, Modality, Type } from '@google/genai';

import { BUDGET_KEY, BUSY_KEY, DAY_KEY, EXPIRED_KEY, GATEWAY, KEY, PICTURE, breaks, check, refused, repeats, simulate } from './gateway.mjs';

const MODEL = 'gemini-2.5-flash';
const FORBIDDEN = 'gemini-2.5-pro';
const ASK = { model: MODEL, contents: 'Say hello.', config: { maxOutputTokens: 64 } };
const PLACE = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
const FUNCTION = { name: 'weather', description: 'The weather.', parametersJsonSchema: PLACE };

/** A client that makes this number of attempts; the SDK makes one unless its `retryOptions` are set. */
function client(apiKey, attempts) {
  const retryOptions = attempts && { attempts, initialDelay: 1, maxDelay: 4 };
  return new GoogleGenAI({ apiKey, httpOptions: { baseUrl: GATEWAY, timeout: 30_000, retryOptions } });
}

// The SDK's error has the status, and the body as its message.
const read = (error) => ({ status: error.status, body: error.message });
const good = client(KEY);

async function generate() {
  const answer = await good.models.generateContent(ASK);
  check('content', answer.text && answer.usageMetadata.totalTokenCount > 0, answer);
  const chunks = [];
  for await (const chunk of await good.models.generateContentStream(ASK)) chunks.push(chunk);
  check('stream', chunks.map((chunk) => chunk.text).join('') && chunks.at(-1).usageMetadata.totalTokenCount > 0, chunks.at(-1));

  const chat = good.chats.create({ model: MODEL });
  check('chat', (await chat.sendMessage({ message: 'Say hello.' })).text);
  let text = '';
  for await (const chunk of await chat.sendMessageStream({ message: 'Again.' })) text += chunk.text;
  check('chat: stream', text && chat.getHistory().length >= 4, chat.getHistory());

  const tools = [{ functionDeclarations: [FUNCTION] }];
  const call = await good.models.generateContent({ ...ASK, config: { tools } });
  check('tools: call', call.functionCalls[0].args.city, call);
  const part = { functionResponse: { id: call.functionCalls[0].id, name: 'weather', response: { output: 'clear' } } };
  const contents = [{ role: 'user', parts: [{ text: 'Say hello.' }] }, call.candidates[0].content, { role: 'user', parts: [part] }];
  check('tools: answer', (await good.models.generateContent({ model: MODEL, contents, config: { tools } })).text);
  const forced = { functionCallingConfig: { mode: FunctionCallingConfigMode.ANY, allowedFunctionNames: ['weather'] } };
  const called = [];
  for await (const chunk of await good.models.generateContentStream({ ...ASK, config: { tools, toolConfig: forced } })) called.push(...(chunk.functionCalls ?? []));
  check('tools: stream', called[0].args.city, called);
  const callable = { tool: async () => tools[0], callTool: async () => [part] };
  check('tools: called by the SDK', (await good.models.generateContent({ ...ASK, config: { tools: [callable] } })).text);

  const schemas = [{ responseJsonSchema: PLACE }, { responseSchema: { type: Type.OBJECT, properties: { city: { type: Type.STRING } }, required: ['city'] } }];
  for (const schema of schemas) {
    const config = { responseMimeType: 'application/json', ...schema };
    check(`structured: ${Object.keys(schema)}`, JSON.parse((await good.models.generateContent({ ...ASK, config })).text).city);
  }
  const image = await good.models.generateContent({ ...ASK, config: { responseModalities: [Modality.TEXT, Modality.IMAGE] } });
  check('image', image.candidates[0].content.parts[0].inlineData.data, image);
}

async function transport() {
  const ask = (behavior) => ({ ...ASK, config: { ...ASK.config, httpOptions: simulate(behavior) } });
  for (const behavior of ['gzip', 'chunk-bytes=7']) {
    check(`${behavior}`, (await good.models.generateContent(ask(behavior))).text);
    let text = '';
    for await (const chunk of await good.models.generateContentStream(ask(behavior))) text += chunk.text;
    check(`${behavior}: stream`, text);
  }
  const picture = [{ role: 'user', parts: [{ text: 'Name it.' }, { inlineData: { mimeType: 'image/png', data: PICTURE } }] }];
  check('picture', (await good.models.generateContent({ ...ASK, contents: picture })).text);
  await refused('the provider is unavailable', 503, 'UNAVAILABLE', () => good.models.generateContent(ask('status=503')), read);
  await breaks('the provider breaks off', async () => { for await (const _ of await good.models.generateContentStream(ask('cut-after=3, tokens=50'))); });
}

async function others() {
  const models = [];
  for await (const model of await good.models.list()) models.push(model.name);
  check('model list', models.includes(`models/${MODEL}`) && !models.includes(`models/${FORBIDDEN}`), models);
  check('one model', (await good.models.get({ model: MODEL })).name === `models/${MODEL}`);
  check('token count', (await good.models.countTokens({ model: MODEL, contents: 'Say hello.' })).totalTokens > 0);
  const vectors = await good.models.embedContent({ model: 'gemini-embedding-001', contents: ['a', 'b'] });
  check('embeddings', vectors.embeddings.length === 2 && vectors.embeddings[0].values.length > 0, vectors);
  const left = { httpOptions: simulate('tokens=200, chunk-ms=20') };
  for await (const _ of await good.models.generateContentStream({ ...ASK, config: left })) break;
  check('a stream that is left early', (await good.models.generateContent(ASK)).text);
}

async function refusals() {
  const ask = (key, more = {}) => () => client(key).models.generateContent({ ...ASK, ...more });
  const forbidden = await refused('forbidden model', 403, 'target_not_allowed', ask(KEY, { model: FORBIDDEN }), read);
  check('forbidden model: class', forbidden instanceof ApiError && JSON.parse(forbidden.message).error.status === 'PERMISSION_DENIED', forbidden);
  await refused('forbidden model, stream', 403, 'target_not_allowed', () => good.models.generateContentStream({ ...ASK, model: FORBIDDEN }), read);
  await refused('unknown key', 401, 'invalid_api_key', ask('sk-unknown'), read);
  await refused('expired key', 401, 'expired_api_key', ask(EXPIRED_KEY), read);
  await refused('more than the budget', 400, 'request_too_large_for_budget', ask(BUDGET_KEY), read);
  const unlisted = await refused('a model that is not listed', 404, 'model_not_found', () => good.models.get({ model: FORBIDDEN }), read);
  check('a model that is not listed: status', JSON.parse(unlisted.message).error.status === 'NOT_FOUND', unlisted.message);
  await refused('files', 403, 'stored_objects_not_served', () => good.files.get({ name: 'files/one' }), read);
  const limited = await refused('a day\'s limit', 429, 'team_rpd_exceeded', ask(DAY_KEY), read);
  check('a day\'s limit: status', JSON.parse(limited.message).error.status === 'RESOURCE_EXHAUSTED', limited.message);
}

await generate();
await transport();
await others();
await refusals();
await repeats('a call in flight', (retries) => client(BUSY_KEY, retries && retries + 1).models.generateContent(ASK), read);
