"""Llama as programs for llama-cpp-python use it: shapes of results, options, refusals."""

import json
import unittest
import warnings

import gemma_cpp
from model_file import MODEL

CHAT = [{"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Where is the lighthouse?"}]}]


class WithLlama(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.llm = gemma_cpp.Llama(model_path=MODEL, n_ctx=256, n_threads=1, n_gpu_layers=-1, verbose=False)


class Completions(WithLlama):
    def test_the_whole(self):
        got = self.llm("Q: Where? A:", max_tokens=8, seed=1)
        self.assertEqual(set(got), {"id", "object", "created", "model", "choices", "usage"})
        self.assertEqual((got["object"], got["model"]), ("text_completion", MODEL))
        self.assertTrue(got["id"].startswith("cmpl-"))
        choice = got["choices"][0]
        self.assertEqual(set(choice), {"text", "index", "logprobs", "finish_reason"})
        self.assertEqual((choice["index"], choice["logprobs"]), (0, None))
        self.assertIn(choice["finish_reason"], ("length", "stop"))
        usage = got["usage"]
        self.assertEqual(usage["prompt_tokens"], len(self.llm.tokenize(b"Q: Where? A:")))
        self.assertLessEqual(usage["completion_tokens"], 8)
        self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + usage["completion_tokens"])

    def test_streamed_is_the_same(self):
        options = {"max_tokens": 12, "seed": 5, "temperature": 0.9, "repeat_penalty": 1.1}
        whole = self.llm.create_completion("The keeper", **options)
        parts = list(self.llm.create_completion("The keeper", stream=True, **options))
        self.assertEqual("".join(p["choices"][0]["text"] for p in parts), whole["choices"][0]["text"])
        self.assertTrue(all(p["choices"][0]["finish_reason"] is None and "usage" not in p for p in parts[:-1]))
        self.assertEqual(parts[-1]["choices"][0]["finish_reason"], whole["choices"][0]["finish_reason"])
        self.assertEqual(len({p["id"] for p in parts}), 1)

    def test_seeds(self):
        def say(**options):
            return self.llm("The", max_tokens=12, temperature=1.5, top_k=0, top_p=1.0, min_p=0.0, **options)["choices"][0]["text"]

        self.assertEqual(say(seed=3), say(seed=3))
        self.assertGreater(len({say() for _ in range(4)}), 1)
        self.llm.set_seed(11)
        first = [say(), say()]
        self.llm.set_seed(11)
        self.assertEqual([say(), say()], first)

    def test_stop_and_echo(self):
        whole = self.llm("The", max_tokens=20, temperature=0)["choices"][0]["text"]
        stop = whole[3:5]
        got = self.llm("The", max_tokens=20, temperature=0, stop=[stop], echo=True)["choices"][0]
        self.assertEqual((got["text"], got["finish_reason"]), ("The" + whole[:whole.find(stop)], "stop"))

    def test_logprobs(self):
        got = self.llm("The", max_tokens=5, temperature=0, logprobs=3)
        logprobs, text = got["choices"][0]["logprobs"], got["choices"][0]["text"]
        n = got["usage"]["completion_tokens"]
        for name in ("tokens", "text_offset", "token_logprobs", "top_logprobs"):
            self.assertEqual(len(logprobs[name]), n)
        for token, p, top in zip(logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"]):
            self.assertEqual(max(top.values()), p, "the likeliest was taken")
            self.assertIn(token, top)
        self.assertEqual("".join(logprobs["tokens"]), text)

    def test_penalties_and_biases(self):
        plain = self.llm("The", max_tokens=6, temperature=0)
        first = self.llm.tokenize(plain["choices"][0]["text"].encode(), add_bos=False)[0]
        banned = self.llm("The", max_tokens=6, temperature=0, logit_bias={first: -100})["choices"][0]["text"]
        self.assertNotEqual(banned, plain["choices"][0]["text"])
        many = self.llm("The", max_tokens=30, temperature=0, frequency_penalty=100.0, presence_penalty=1.0, logprobs=0)
        tokens = many["choices"][0]["logprobs"]["tokens"]
        self.assertEqual(len(tokens), len(set(tokens)))

        def only_first(ids, scores):
            scores[:] = -1e9
            scores[first] = 0
            return scores

        said = self.llm("The", max_tokens=3, logits_processor=[only_first])["choices"][0]["text"]
        self.assertEqual(said, self.llm.model.decode([first] * 3))

    def test_prompts(self):
        ids = self.llm.tokenize(b"The")
        self.assertEqual(ids[0], self.llm.token_bos())
        self.assertEqual(self.llm(ids, max_tokens=6, temperature=0)["choices"][0]["text"],
                         self.llm("The", max_tokens=6, temperature=0)["choices"][0]["text"])
        self.assertEqual(self.llm.tokenize(b"<bos>The", special=True), ids, "one BOS")
        self.assertEqual(self.llm.detokenize(self.llm.tokenize(b"The keeper")), b"The keeper")
        with self.assertRaisesRegex(ValueError, "exceed context window"):
            self.llm("word " * 300)
        got = self.llm("The", max_tokens=-1, logit_bias={self.llm.token_eos(): -1000.0}, temperature=0)
        self.assertEqual(got["choices"][0]["finish_reason"], "length")
        self.assertEqual(got["usage"]["total_tokens"], self.llm.n_ctx())


class Chats(WithLlama):
    def test_the_whole_and_streamed(self):
        whole = self.llm.create_chat_completion(CHAT, max_tokens=10, seed=1)
        self.assertEqual(whole["object"], "chat.completion")
        message = whole["choices"][0]["message"]
        self.assertEqual((set(message), message["role"]), ({"role", "content"}, "assistant"))
        parts = list(self.llm.create_chat_completion(CHAT, max_tokens=10, seed=1, stream=True))
        deltas = [p["choices"][0]["delta"] for p in parts]
        self.assertEqual((deltas[0], deltas[-1]), ({"role": "assistant"}, {}))
        self.assertEqual("".join(d.get("content", "") for d in deltas), message["content"])
        self.assertEqual(parts[-1]["choices"][0]["finish_reason"], whole["choices"][0]["finish_reason"])
        self.assertEqual({p["object"] for p in parts}, {"chat.completion.chunk"})

    def test_formats(self):
        schema = {"type": "object", "properties": {"sure": {"type": "boolean"}}, "required": ["sure"]}
        for format in ({"type": "json_object", "schema": schema},
                       {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}):
            got = self.llm.create_chat_completion(CHAT, response_format=format, max_tokens=100)
            self.assertIsInstance(json.loads(got["choices"][0]["message"]["content"])["sure"], bool)
        for grammar in ('root ::= "yes" | "no"', gemma_cpp.LlamaGrammar.from_string('root ::= "yes" | "no"')):
            got = self.llm.create_chat_completion(CHAT, grammar=grammar)
            self.assertIn(got["choices"][0]["message"]["content"], ("yes", "no"))
        number = gemma_cpp.LlamaGrammar.from_json_schema('{"enum": [7]}')
        self.assertEqual(self.llm("x", grammar=number)["choices"][0]["text"], "7")

    def test_logprobs(self):
        got = self.llm.create_chat_completion(CHAT, max_tokens=4, temperature=0, logprobs=True, top_logprobs=2)
        for entry in got["choices"][0]["logprobs"]["content"]:
            self.assertEqual(len(entry["top_logprobs"]), 2)
            self.assertEqual(entry["top_logprobs"][0]["logprob"], entry["logprob"])
            self.assertEqual(bytes(entry["bytes"]).decode(errors="replace"), entry["token"])

    def test_other_turns(self):
        llm = gemma_cpp.Llama(MODEL, n_ctx=256, n_threads=1, chat_format="chatml", verbose=False)
        self.assertNotEqual(llm.create_chat_completion(CHAT, max_tokens=1)["usage"]["prompt_tokens"],
                            self.llm.create_chat_completion(CHAT, max_tokens=1)["usage"]["prompt_tokens"])


class Others(WithLlama):
    def test_embeddings(self):
        got = self.llm.create_embedding(["a", "b"])
        self.assertEqual([len(d["embedding"]) for d in got["data"]], [self.llm.model.info.embedding_width] * 2)
        self.assertEqual(self.llm.embed("a"), got["data"][0]["embedding"])

    def test_state(self):
        self.llm("The", max_tokens=3)
        state = self.llm.save_state()
        self.llm.reset()
        self.llm.load_state(state)
        self.assertGreater(self.llm.session.n_past, 3)

    def test_a_half_read_stream(self):
        parts = self.llm("The", max_tokens=50, stream=True, temperature=0)
        next(parts)
        self.llm("x", max_tokens=1)  # the same thread does not wait for itself
        with self.assertRaisesRegex(gemma_cpp.Error, "another answer"):
            list(parts)

    def test_what_changes_nothing_is_told_and_what_would_is_refused(self):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            gemma_cpp.Llama(MODEL, n_ctx=16, n_gpu_layers=-1, use_mmap=True, f16_kv=True)
        self.assertEqual(len(caught), 1)
        self.assertIn("n_gpu_layers", str(caught[0].message))
        for bad in ({"lora_base": "x"}, {"rope_freq_base": 1e4}, {"vocab_only": True}, {"chat_format": "x"},
                    {"type_k": 2, "type_v": 2}):
            with self.assertRaises(ValueError, msg=str(bad)):
                gemma_cpp.Llama(MODEL, n_ctx=16, **bad)
        for bad in ({"mirostat_mode": 2}, {"typical_p": 0.9}, {"suffix": "x"}):
            with self.assertRaises(ValueError, msg=str(bad)):
                self.llm("x", **bad)
        with self.assertRaises(ValueError):
            self.llm.create_chat_completion(CHAT, tools=[{"type": "function"}])
        with self.assertRaisesRegex(gemma_cpp.Error, "no/such.gguf"):
            gemma_cpp.Llama(MODEL, n_ctx=16, lora_path="no/such.gguf")
        gemma_cpp.Llama(MODEL, n_ctx=16, n_threads=1, type_k=8, type_v=8)("x", max_tokens=1)
        for call in (lambda: gemma_cpp.Llama(MODEL, n_ctxx=3), lambda: self.llm("x", max_tokenz=3)):
            with self.assertRaises(TypeError):
                call()
        self.llm("x", max_tokens=1, mirostat_mode=0, typical_p=1.0, suffix=None)


if __name__ == "__main__":
    unittest.main()
