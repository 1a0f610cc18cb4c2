// The npm packages openai and ai: whole and streamed responses, tools and schemas.
import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText, tool } from "ai";
import OpenAI from "openai";
import { z } from "zod";

const { OPENAI_BASE_URL: baseURL, OPENAI_API_KEY: apiKey } = process.env;
const messages = [{ role: "user", content: "What is the weather in Oslo?" }];
const few = { model: "small", messages, max_tokens: 12 };
const parameters = {
  type: "object",
  properties: { city: { enum: ["Oslo", "Rome"] } },
  required: ["city"],
};

const client = new OpenAI({ maxRetries: 0 });
const whole = await client.chat.completions.create({ ...few, n: 2, logprobs: true });
assert.equal(whole.choices.length, 2);
assert.ok(whole.choices[0].logprobs.content.length);
const stream = await client.chat.completions.create({ ...few, stream: true });
let text = "";
for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? "";
assert.ok(text);
const called = await client.chat.completions.create({
  ...few,
  max_tokens: 4000,
  tools: [{ type: "function", function: { name: "weather", parameters } }],
  tool_choice: "required",
});
assert.equal(called.choices[0].finish_reason, "tool_calls");
assert.ok(JSON.parse(called.choices[0].message.tool_calls[0].function.arguments).city);
await assert.rejects(client.chat.completions.create({ ...few, temperature: 3 }), { status: 400 });

const model = createOpenAICompatible({ name: "gateway", baseURL, apiKey })("small");
const limits = { model, prompt: "What is the weather in Oslo?", maxRetries: 0 };
assert.ok((await generateText({ ...limits, maxOutputTokens: 12 })).text);
text = "";
for await (const piece of streamText({ ...limits, maxOutputTokens: 12 }).textStream) text += piece;
assert.ok(text);
const weather = tool({ inputSchema: z.object({ city: z.enum(["Oslo", "Rome"]) }) });
const answer = await generateText({
  ...limits,
  maxOutputTokens: 4000,
  tools: { weather },
  toolChoice: "required",
});
assert.equal(answer.toolCalls[0].toolName, "weather");
