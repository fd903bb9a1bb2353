// The unmodified npm package `ai` (AI SDK) with its providers for OpenAI, Anthropic and Google, through a gateway.

import { createAnthropic } from '@ai-sdk/anthropic';
import { createGoogle } from '@ai-sdk/google';
import { createOpenAI } from '@ai-sdk/openai';
import { APICallError, Output, RetryError, embedMany, generateImage, generateText, stepCountIs, streamText, tool } from 'ai';
import { z } from 'zod';

import { BUDGET_KEY, BUSY_KEY, DAY_KEY, EXPIRED_KEY, GATEWAY, KEY, check, refused, repeats } from './gateway.mjs';

const Weather = z.object({ city: z.string(), degrees: z.number(), sky: z.enum(['clear', 'cloudy']) });
const tools = { weather: tool({ description: 'The weather.', inputSchema: z.object({ city: z.string() }), execute: async ({ city }) => `clear in ${city}` }) };
const ask = { prompt: 'Say hello.', maxRetries: 0 };

const openai = (apiKey) => createOpenAI({ baseURL: `${GATEWAY}/v1`, apiKey });
const anthropic = (apiKey) => createAnthropic({ baseURL: `${GATEWAY}/v1`, apiKey });
const google = (apiKey) => createGoogle({ baseURL: `${GATEWAY}/v1beta`, apiKey });

const PROVIDERS = {
  'OpenAI responses': { model: (key) => openai(key)('gpt-5-mini'), forbidden: openai(KEY)('gpt-5') },
  'OpenAI chat': { model: (key) => openai(key).chat('gpt-5-mini'), forbidden: openai(KEY).chat('gpt-5') },
  Anthropic: { model: (key) => anthropic(key)('claude-haiku-4-5'), forbidden: anthropic(KEY)('claude-opus-4-5') },
  Google: { model: (key) => google(key)('gemini-2.5-flash'), forbidden: google(KEY)('gemini-2.5-pro') },
};

function read(error) {
  const call = RetryError.isInstance(error) ? error.lastError : error;
  return { status: call?.statusCode, body: call?.responseBody ?? String(call) };
}

async function provider(name, { model: of, forbidden }) {
  const model = of(KEY);
  const { text, usage } = await generateText({ ...ask, model });
  check(`${name}: text`, text && usage.inputTokens > 0 && usage.outputTokens > 0, usage);
  const stream = streamText({ ...ask, model });
  let streamed = '';
  for await (const part of stream.textStream) streamed += part;
  check(`${name}: stream`, streamed && (await stream.usage).outputTokens > 0, await stream.usage);

  const steps = { ...ask, model, tools, stopWhen: stepCountIs(3) };
  const used = await generateText(steps);
  check(`${name}: tools`, used.text && used.steps.length === 2 && used.steps[0].toolResults[0].output.startsWith('clear'), used.steps);
  const running = streamText(steps);
  check(`${name}: tools in a stream`, (await running.text) && (await running.steps).length === 2, await running.steps);
  const structured = await generateText({ ...ask, model, output: Output.object({ schema: Weather }) });
  check(`${name}: structured`, Weather.safeParse(structured.output).success, structured.output);
  const partial = streamText({ ...ask, model, output: Output.object({ schema: Weather }) });
  check(`${name}: structured stream`, Weather.safeParse(await partial.output).success);

  const error = await refused(`${name}: forbidden model`, 403, 'target_not_allowed', () => generateText({ ...ask, model: forbidden }), read);
  check(`${name}: forbidden model: message`, APICallError.isInstance(error) && error.message.includes('not available'), error.message);
  await refused(`${name}: unknown key`, 401, 'invalid_api_key', () => generateText({ ...ask, model: of('sk-unknown') }), read);
  await refused(`${name}: expired key`, 401, 'expired_api_key', () => generateText({ ...ask, model: of(EXPIRED_KEY) }), read);
  await refused(`${name}: more than the budget`, 400, 'request_too_large_for_budget', () => generateText({ ...ask, model: of(BUDGET_KEY) }), read);
  const limited = await refused(`${name}: a day's limit`, 429, 'team_rpd_exceeded', () => generateText({ ...ask, model: of(DAY_KEY) }), read);
  check(`${name}: a day's limit: header`, Number(limited.responseHeaders['retry-after']) > 60, limited.responseHeaders);
}

async function others() {
  const { image } = await generateImage({ model: openai(KEY).image('gpt-image-1'), prompt: 'a gate', maxRetries: 0 });
  check('image', image.base64, image);
  for (const model of [openai(KEY).embedding('text-embedding-3-small'), google(KEY).embedding('gemini-embedding-001')]) {
    const { embeddings } = await embedMany({ model, values: ['a', 'b'], maxRetries: 0 });
    check(`${model.provider}: embeddings`, embeddings.length === 2 && embeddings[1].length > 0, embeddings);
  }
}

for (const [name, one] of Object.entries(PROVIDERS)) await provider(name, one);
await others();
const limited = (maxRetries) => generateText({ ...ask, model: PROVIDERS['OpenAI responses'].model(BUSY_KEY), maxRetries });
await repeats('a call in flight', limited, read);
