// OpenAI's client for JavaScript against a server that runs.
//   node clients.js URL KEY          (clients.sh installs it)
"use strict";
const assert = require("assert");
const OpenAI = require("openai").default || require("openai");

const [url, key] = process.argv.slice(2);
const client = new OpenAI({baseURL: url + "/v1", apiKey: key, maxRetries: 0});
const messages = [{role: "user", content: "Who designed the bridge?"}];
const tools = [{type: "function", function: {name: "weather", parameters: {
  type: "object", required: ["city"], properties: {city: {type: "string", enum: ["Rome", "Oslo"]}}}}}];

(async () => {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  assert.deepEqual(names, ["chat", "agent", "vectors"]);

  const ask = {model: "chat", messages, temperature: 0, max_tokens: 12};
  const whole = await client.chat.completions.create(ask);
  assert.equal(whole.usage.completion_tokens, 12);
  let text = "";
  let usage;
  for await (const chunk of await client.chat.completions.create({...ask, stream: true, stream_options: {include_usage: true}})) {
    if (chunk.choices.length) text += chunk.choices[0].delta.content || "";
    usage = chunk.usage || usage;
  }
  assert.equal(text, whole.choices[0].message.content);
  assert.equal(usage.completion_tokens, 12);

  // a stream that is left in the middle ends its generation
  const stream = await client.chat.completions.create({...ask, max_tokens: 1500, ignore_eos: true, stream: true});
  for await (const chunk of stream) { if (chunk.choices[0].delta.content) break; }
  stream.controller.abort();
  const slots = async () => (await (await fetch(url + "/slots", {headers: {Authorization: "Bearer " + key}})).json());
  for (let i = 0; (await slots()).some((s) => s.is_processing); i++) {
    assert.ok(i < 200);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }

  const called = await client.chat.completions.create({model: "agent", messages, tools, tool_choice: "required", max_tokens: 300});
  assert.equal(called.choices[0].finish_reason, "tool_calls");
  assert.match(JSON.parse(called.choices[0].message.tool_calls[0].function.arguments).city, /Rome|Oslo/);
  const schema = {type: "object", properties: {colour: {enum: ["red", "blue"]}}, required: ["colour"], additionalProperties: false};
  const json = await client.chat.completions.create({...ask, max_tokens: 60,
    response_format: {type: "json_schema", json_schema: {name: "colour", schema, strict: true}}});
  assert.match(JSON.parse(json.choices[0].message.content).colour, /red|blue/);
  const vectors = await client.embeddings.create({model: "vectors", input: ["t5", "t6"]});
  assert.deepEqual(vectors.data.map((d) => d.embedding.length), [64, 64]);
  assert.equal((await client.completions.create({model: "chat", prompt: "The river", max_tokens: 3})).usage.completion_tokens <= 3, true);
  await assert.rejects(client.chat.completions.create({...ask, temperature: -1}), (e) => e.status === 400 && e.param === "temperature");
  await assert.rejects(new OpenAI({baseURL: url + "/v1", apiKey: "wrong", maxRetries: 0}).models.list(), (e) => e.status === 401);
  console.log("openai of npm: ok");
})().catch((e) => { console.error(e); process.exit(1); });
