"""Tests a running server with the official Python clients of OpenAI and Anthropic, and with LangChain's.
    clients.py URL KEY        (clients.sh installs them)"""

import json
import sys
import unittest

import anthropic
import openai
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

URL, KEY = sys.argv[1], sys.argv[2]
CLIENT = openai.OpenAI(base_url=URL + "/v1", api_key=KEY, max_retries=0)
WEATHER = {"type": "object", "required": ["city"],
           "properties": {"city": {"type": "string", "enum": ["Rome", "Oslo"]}, "days": {"type": "integer"}}}
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "Of a city.", "parameters": WEATHER}}]
HELLO = [{"role": "user", "content": "Who designed the bridge?"}]
COLOUR = {"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}, "dark": {"type": "boolean"}},
          "required": ["colour", "dark"], "additionalProperties": False}


class OpenAi(unittest.TestCase):
    def test_models(self):
        self.assertEqual([m.id for m in CLIENT.models.list()], ["chat", "agent", "vectors"])
        self.assertEqual(CLIENT.models.retrieve("agent").owned_by, "local")

    def test_chat(self):
        whole = CLIENT.chat.completions.create(model="chat", messages=HELLO, temperature=0, max_tokens=12, logprobs=True,
                                               top_logprobs=2)
        self.assertEqual(whole.usage.completion_tokens, 12)
        self.assertEqual(len(whole.choices[0].logprobs.content), 12)
        stream = CLIENT.chat.completions.create(model="chat", messages=HELLO, temperature=0, max_tokens=12, stream=True,
                                                stream_options={"include_usage": True})
        chunks = list(stream)
        self.assertEqual("".join(c.choices[0].delta.content or "" for c in chunks if c.choices),
                         whole.choices[0].message.content)
        self.assertEqual(chunks[-1].usage.completion_tokens, 12)
        raw = CLIENT.chat.completions.with_raw_response.create(model="chat", messages=HELLO, max_tokens=1)
        self.assertEqual(raw.status_code, 200)

    def test_completions(self):
        said = CLIENT.completions.create(model="chat", prompt=["The river", "The town"], temperature=0, max_tokens=4, n=2,
                                         logprobs=1)
        self.assertEqual(len(said.choices), 4)
        parts = list(CLIENT.completions.create(model="chat", prompt="The river", temperature=0, max_tokens=4, stream=True))
        self.assertEqual("".join(p.choices[0].text for p in parts), said.choices[0].text)

    def test_tools(self):
        said = CLIENT.chat.completions.create(model="agent", messages=HELLO, tools=TOOLS, tool_choice="required",
                                              temperature=1, seed=1, max_tokens=300)
        self.assertEqual(said.choices[0].finish_reason, "tool_calls")
        call = said.choices[0].message.tool_calls[0]
        self.assertIn(json.loads(call.function.arguments)["city"], ["Rome", "Oslo"])
        again = CLIENT.chat.completions.create(
            model="agent", max_tokens=5, tools=TOOLS,
            messages=[*HELLO, said.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}])
        self.assertTrue(again.choices)
        calls = [t for c in CLIENT.chat.completions.create(model="agent", messages=HELLO, tools=TOOLS, tool_choice="required",
                                                           temperature=1, seed=1, max_tokens=300, stream=True)
                 for t in c.choices[0].delta.tool_calls or []]
        self.assertEqual(calls[0].function.arguments, call.function.arguments)

    def test_schema(self):
        form = {"type": "json_schema", "json_schema": {"name": "colour", "schema": COLOUR, "strict": True}}
        said = CLIENT.chat.completions.create(model="chat", messages=HELLO, response_format=form, max_tokens=60)
        self.assertIn(json.loads(said.choices[0].message.content)["colour"], ["red", "blue"])

    def test_embeddings(self):
        # the client requests base64 unless it is told otherwise
        packed = CLIENT.embeddings.create(model="vectors", input=["t5 t6", "t7"])
        plain = CLIENT.embeddings.create(model="vectors", input=["t5 t6", "t7"], encoding_format="float")
        for a, b in zip(packed.data, plain.data, strict=True):
            self.assertEqual(len(a.embedding), 64)
            for x, y in zip(a.embedding, b.embedding, strict=True):
                self.assertAlmostEqual(x, y, places=6)
        self.assertEqual(len(CLIENT.embeddings.create(model="vectors", input="t5", dimensions=8).data[0].embedding), 8)

    def test_errors(self):
        with self.assertRaises(openai.AuthenticationError):
            openai.OpenAI(base_url=URL + "/v1", api_key="wrong", max_retries=0).models.list()
        with self.assertRaises(openai.NotFoundError) as e:
            CLIENT.chat.completions.create(model="nothing", messages=HELLO)
        self.assertEqual(e.exception.code, "model_not_found")
        with self.assertRaises(openai.BadRequestError) as e:
            CLIENT.chat.completions.create(model="chat", messages=HELLO, temperature=-1)
        self.assertEqual(e.exception.param, "temperature")
        with self.assertRaises(openai.BadRequestError) as e:
            CLIENT.chat.completions.create(model="chat", messages=[{"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": "data:,"}}]}])
        self.assertIn("text only", str(e.exception))
        with self.assertRaises(openai.BadRequestError) as e:
            CLIENT.completions.create(model="chat", prompt="river " * 5000)
        self.assertEqual(e.exception.code, "context_length_exceeded")


class Anthropic(unittest.TestCase):
    def test_messages(self):
        client = anthropic.Anthropic(base_url=URL, api_key=KEY, max_retries=0)
        ask = {"model": "chat", "max_tokens": 12, "system": "Be brief.", "messages": HELLO,
               "extra_body": {"temperature": 0}}  # newer versions of the client lack the argument
        whole = client.messages.create(**ask)
        self.assertEqual((whole.stop_reason, whole.usage.output_tokens), ("max_tokens", 12))
        with client.messages.stream(**ask) as stream:
            self.assertEqual("".join(stream.text_stream), whole.content[0].text)
            self.assertEqual(stream.get_final_message().usage.output_tokens, 12)
        cut = client.messages.create(**ask, stop_sequences=[whole.content[0].text[4:8]])
        self.assertEqual((cut.stop_reason, cut.stop_sequence), ("stop_sequence", whole.content[0].text[4:8]))
        n = client.messages.count_tokens(model="chat", system="Be brief.", messages=HELLO).input_tokens
        self.assertEqual(n, whole.usage.input_tokens + whole.usage.cache_read_input_tokens)
        tools = [{"name": "weather", "description": "Of a city.", "input_schema": WEATHER}]
        with client.messages.stream(model="agent", max_tokens=300, messages=HELLO, tools=tools,
                                    tool_choice={"type": "any"}) as stream:
            said = stream.get_final_message()
        self.assertEqual(said.stop_reason, "tool_use")
        self.assertIn(said.content[0].input["city"], ["Rome", "Oslo"])
        with self.assertRaises(anthropic.AuthenticationError):
            anthropic.Anthropic(base_url=URL, api_key="wrong", max_retries=0).messages.create(**ask)
        with self.assertRaises(anthropic.BadRequestError):
            client.messages.create(model="chat", max_tokens=1, messages=[{"role": "assistant", "content": 5}])


class LangChain(unittest.TestCase):
    def model(self, name, **more):
        return ChatOpenAI(model=name, base_url=URL + "/v1", api_key=KEY, max_retries=0, **more)

    def test_chat(self):
        model = self.model("chat", temperature=0, max_tokens=12)
        whole = model.invoke("Who designed the bridge?")
        self.assertEqual(whole.usage_metadata["output_tokens"], 12)
        self.assertEqual("".join(c.content for c in model.stream("Who designed the bridge?")), whole.content)
        self.assertEqual([m.content for m in model.batch(["Who designed the bridge?"] * 3)], [whole.content] * 3)

    def test_tools_and_schema(self):
        bound = self.model("agent", max_tokens=300).bind_tools(TOOLS, tool_choice="required")
        call, = bound.invoke("The weather?").tool_calls
        self.assertIn(call["args"]["city"], ["Rome", "Oslo"])
        form = self.model("chat", max_tokens=60).with_structured_output({"title": "colour", **COLOUR}, method="json_schema")
        self.assertIn(form.invoke("A colour.")["colour"], ["red", "blue"])

    def test_embeddings(self):
        # LangChain sends ids of OpenAI's tokenizers unless it is told not to
        embed = OpenAIEmbeddings(model="vectors", base_url=URL + "/v1", api_key=KEY, check_embedding_ctx_length=False)
        self.assertEqual([len(v) for v in embed.embed_documents(["t5", "t6"])], [64, 64])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
