"""Models, sessions, streams, conversations, schedulers and grammars."""

import gc
import math
import os
import pickle
import re
import struct
import tempfile
import tracemalloc
import unittest
from pathlib import Path

import gemma_cpp
import numpy as np
from gemma_cpp._library import checked, lib
from model_file import EXAMPLES, MODEL, QUESTION


class WithModel(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = gemma_cpp.Model(MODEL)

    def ready(self, **options):
        session = gemma_cpp.Session(self.model, **{"n_ctx": 256, "n_threads": 1, **options})
        session.set_tokens(self.model.encode_chat(QUESTION))
        return session


class Models(WithModel):
    def test_text_goes_there_and_back(self):
        text = "A sentence, with \u00e9 and \U0001f600."
        self.assertEqual(self.model.decode(self.model.encode(text)), text)
        self.assertEqual(self.model.encode("x", bos=True)[0], self.model.info.bos)
        self.assertEqual(self.model.decode_bytes(self.model.encode("\u00e9")), b"\xc3\xa9")
        self.assertTrue(self.model.is_end(self.model.info.eos))
        self.assertEqual(self.model.encode_chat([{"role": "user", "content": QUESTION[0][1]}]),
                         self.model.encode_chat(QUESTION))

    def test_what_c_would_cut_is_refused(self):
        with self.assertRaises(ValueError):
            self.model.encode_chat([("user", "a\0b")])
        with self.assertRaises(ValueError):
            self.ready().generate(stop="a\0b")
        self.assertEqual(self.model.decode(self.model.encode("a\0b")), "a\0b")

    def test_embeddings(self):
        texts = ["The lighthouse", "", "a\0b"] * 12  # more than one call computes
        vectors = self.model.embed(texts, n_threads=1)
        self.assertEqual((vectors.shape, vectors.dtype), ((36, self.model.info.embedding_width), np.float32))
        np.testing.assert_array_equal(vectors[0], self.model.embed(texts[0]))
        np.testing.assert_array_equal(vectors[:3], vectors[33:])
        np.testing.assert_allclose(np.linalg.norm(self.model.embed(texts[:1], dims=8), axis=1), 1, rtol=1e-5)
        self.assertEqual(self.model.embed([]).shape[0], 0)
        with self.assertRaises(gemma_cpp.Error):
            self.model.embed(texts, prompt="query")  # the model has no prompts
        with self.assertRaises(ValueError):
            self.model.embed(texts, prompt="no such")

    def test_a_model_lives_as_long_as_what_was_made_of_it(self):
        with gemma_cpp.Model(MODEL) as model:
            session = gemma_cpp.Session(model, n_ctx=64)
        with self.assertRaises(ValueError):
            model.encode("x")
        del model
        gc.collect()
        session.set_tokens([2, 5, 6])
        self.assertEqual(session.n_past, 3)

    def test_errors_have_a_code_and_say_what_is_wrong(self):
        with self.assertRaisesRegex(gemma_cpp.Error, "no/such.gguf") as caught:
            gemma_cpp.Model("no/such.gguf")
        self.assertEqual(caught.exception.code, gemma_cpp.Error.IO)
        with self.assertRaisesRegex(gemma_cpp.Error, "not in the vocabulary"):
            self.ready().set_tokens([-1])
        for bad, kind in (([1.5], TypeError), ([[1]], TypeError), ([2**40], OverflowError)):
            with self.assertRaises(kind):
                self.ready().set_tokens(bad)
        with self.assertRaisesRegex(gemma_cpp.Error, "before the first token"):
            gemma_cpp.Session(self.model, n_ctx=16).logits()
        with self.assertRaisesRegex(TypeError, "temprature"):
            self.ready().generate(temprature=1)
        plan = self.model.plan(512)
        with self.assertRaisesRegex(gemma_cpp.Error, "largest that fits|not even one"):
            gemma_cpp.Session(self.model, n_ctx=512, max_memory=plan.file_bytes + plan.kv_bytes // 2)

    def test_the_versions_are_one(self):
        written = (EXAMPLES.parent / "gemma" / "version.hpp").read_text()
        version = re.search(r'VERSION_STRING "([^"]+)"', written)[1]
        project = (EXAMPLES / "python" / "pyproject.toml").read_text()
        self.assertEqual(gemma_cpp.version(), version)
        self.assertEqual(re.search(r'^version = "([^"]+)"', project, re.M)[1], version)


def write_adapter(path, seed=1):
    """A LoRA file of rank 2 for one matrix of the demo model: [256, 512]."""

    def text(value):
        return struct.pack("<Q", len(value)) + value.encode()

    numbers = np.random.default_rng(seed)
    a, b = (numbers.standard_normal(n * 2).astype("<f4") for n in (512, 256))
    keys = [("general.type", "adapter"), ("general.architecture", "gemma"), ("adapter.type", "lora")]
    out = b"GGUF" + struct.pack("<IQQ", 3, 2, len(keys) + 1)
    for key, value in keys:
        out += text(key) + struct.pack("<I", 8) + text(value)
    out += text("adapter.lora.alpha") + struct.pack("<If", 6, 2.0)
    for suffix, dims, offset in (("a", (512, 2), 0), ("b", (2, 256), a.nbytes)):
        out += text(f"blk.0.attn_output.weight.lora_{suffix}") + struct.pack("<IQQIQ", 2, *dims, 0, offset)
    path.write_bytes(out + bytes(-len(out) % 32) + a.tobytes() + b.tobytes())


class Adapters(WithModel):
    @unittest.skipIf("GEMMA_TEST_MODEL" in os.environ, "the adapter is the demo model's")
    def test_scales(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "lora.gguf")
            write_adapter(path)
            logits = {}
            for scale in (None, 0.0, 0.5, 1.0):
                model = gemma_cpp.Model(MODEL, adapters=None if scale is None else {path: scale})
                session = gemma_cpp.Session(pickle.loads(pickle.dumps(model)), n_ctx=16, n_threads=1)
                session.set_tokens([2, 5, 6])
                logits[scale] = session.logits().copy()
            for scale in (0.5, 1.0):
                self.assertGreater(np.abs(logits[scale] - logits[None]).max(), 1e-3)
            np.testing.assert_allclose(logits[0.0], logits[None], atol=1e-6)
            self.assertFalse((logits[0.5] == logits[1.0]).all())
            llm = gemma_cpp.Llama(MODEL, n_ctx=16, n_threads=1, lora_path=str(path), lora_scale=0.5)
            llm([2, 5, 6], max_tokens=1)
        with self.assertRaisesRegex(gemma_cpp.Error, "no/such"):
            gemma_cpp.Model(MODEL, adapters={"no/such.gguf": 1.0})


class Sessions(WithModel):
    def test_logits_are_a_view(self):
        session = self.ready()
        logits = session.logits()
        pointer = checked(lib().gemma_session_logits, session._handle.pointer)
        self.assertEqual(logits.ctypes.data, pointer)
        self.assertEqual((logits.shape, logits.dtype), ((self.model.info.vocab_size,), np.float32))
        self.assertFalse(logits.flags.writeable)
        self.assertEqual(session.hidden_state().shape, (self.model.info.d_model,))
        before = logits.copy()
        session.append([5])
        session.logits()
        self.assertTrue((logits != before).any(), "the same memory shows the next token's")
        tracemalloc.start()
        kept = [session.logits() for _ in range(50)]
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        self.assertLess(size, 50 * self.model.info.vocab_size * 4 / 8)
        self.assertEqual(len({k.ctypes.data for k in kept}), 1)

    def test_a_view_outlives_its_session(self):
        with self.ready() as session:
            logits = session.logits()
            want = logits.copy()
        del session
        gc.collect()
        np.testing.assert_array_equal(logits, want)

    def test_score_is_the_log_softmax(self):
        session = self.ready()
        logits = session.logits().astype(np.float64)
        normaliser = logits.max() + math.log(np.exp(logits - logits.max()).sum())
        self.assertAlmostEqual(session.score([5, 6])[0], logits[5] - normaliser, places=9)
        top = gemma_cpp.top_log_probabilities(logits.astype(np.float32), 3)
        self.assertEqual(top[0][0], int(logits.argmax()))
        self.assertAlmostEqual(top[0][1], logits.max() - normaliser, places=9)

    def test_the_sequence(self):
        session, ids = self.ready(), self.model.encode_chat(QUESTION)
        self.assertEqual(session.tokens, ids)
        self.assertEqual(session.set_tokens(np.array(ids)), len(ids))
        saved = session.snapshot()
        session.append([7, 8])
        session.truncate(len(ids) + 1)
        self.assertEqual(session.tokens, ids + [7])
        session.restore(session.read_snapshot(saved.to_bytes()))
        self.assertEqual(session.tokens, ids)
        with self.assertRaises(gemma_cpp.Error):
            session.read_snapshot(b"not a snapshot")
        session.reset()
        self.assertEqual(session.n_past, 0)
        session.close()
        with self.assertRaises(ValueError):
            session.append([5])

    def test_a_stream_and_a_call_say_the_same(self):
        options = {"max_tokens": 20, "temperature": 0.9, "seed": 7, "log_probabilities": True}
        whole = self.ready().generate(**options)
        session = self.ready()
        tokens = list(session.stream(**options))
        self.assertEqual("".join(t.text for t in tokens), whole.text)
        self.assertEqual([t.id for t in tokens if t.id >= 0], whole.tokens)
        self.assertEqual(len(whole.log_probabilities), len(whole.tokens))
        self.assertTrue(all(p < 0 for p in whole.log_probabilities))
        self.assertIn(whole.reason, ("max_tokens", "end_of_turn"))
        self.assertGreater(whole.seconds, 0)

    def test_stop_strings_and_callbacks(self):
        whole = self.ready().generate(max_tokens=30, ignore_end=True).text
        stop = whole[2:4]
        cut = self.ready().generate(max_tokens=30, ignore_end=True, stop=stop)
        self.assertEqual((cut.text, cut.reason), (whole[:whole.find(stop)], "stop_string"))
        ended = self.ready().generate(on_token=lambda token: False, ignore_end=True)
        self.assertEqual((len(ended.tokens), ended.reason), (1, "callback"))
        with self.assertRaises(ZeroDivisionError):
            self.ready().generate(on_token=lambda token: 1 // 0)

    def test_own_choices(self):
        session = self.ready()
        said = session.generate(pick=lambda logits: int(np.argsort(logits)[-2]), max_tokens=3, ignore_end=True)
        self.assertEqual(len(said.tokens), 3)
        forbidden = self.ready().generate(max_tokens=1, ignore_end=True).tokens[0]

        def forbid(logits, tokens):
            self.assertGreater(len(tokens), 3)
            logits[forbidden] = -np.inf

        self.assertNotIn(forbidden, self.ready().generate(process=forbid, max_tokens=5, ignore_end=True).tokens)
        for option in ("pick", "process"):
            with self.assertRaises(ZeroDivisionError):
                self.ready().generate(**{option: lambda *_: 1 // 0})
        noted = self.ready().generate(noted=[forbidden], repeat_penalty=1e6, max_tokens=1, ignore_end=True)
        self.assertNotEqual(noted.tokens, [forbidden])

    def test_a_stream_ends_when_its_session_is_used(self):
        session = self.ready()
        stream = session.stream(max_tokens=50, ignore_end=True)
        first, second = next(stream), next(stream)
        session.append([5])
        self.assertEqual(session.tokens[-2:], [first.id, 5], "the last token that was told is not in the sequence")
        self.assertNotEqual(second.id, gemma_cpp.Token(-1, "", 0).id)
        with self.assertRaisesRegex(gemma_cpp.Error, "used for something else"):
            next(stream)
        for token in session.stream(max_tokens=50, ignore_end=True):
            break  # the answer is not read to its end: no call waits for it
        session.append([6])
        with session.stream(max_tokens=50) as stream:
            pass
        self.assertEqual(list(stream), [])


class Drafts(WithModel):
    TEXT = "Where is the lighthouse? " * 12

    def ask(self, source, **options):
        session = gemma_cpp.Session(self.model, n_ctx=512, n_threads=1, draft=source)
        session.set_tokens(self.model.encode(self.TEXT, bos=True))
        return session.generate(**{"max_tokens": 40, "ignore_end": True, **options})

    def along(self, **more):
        """Options of an answer whose tokens are forced to repeat the prompt."""
        forced = iter(self.model.encode(self.TEXT))
        return {"pick": lambda logits: next(forced), **more}

    def test_answers_are_the_same(self):
        for options in ({}, {"temperature": 0.8, "seed": 3, "log_probabilities": True}):
            plain = self.ask(None, **options)
            self.assertEqual((plain.n_drafted, plain.n_accepted), (0, 0))
            self.assertGreaterEqual(plain.n_steps, len(plain.tokens) - 1)
            for draft in ("lookup", self.model):
                got = self.ask(draft, **options)
                self.assertEqual((got.text, got.tokens, got.reason, got.log_probabilities),
                                 (plain.text, plain.tokens, plain.reason, plain.log_probabilities))

    def test_guesses_are_counted(self):
        plain, got = self.ask(None, **self.along()), self.ask("lookup", **self.along())
        self.assertEqual(got.tokens, plain.tokens)
        self.assertLess(got.n_steps, plain.n_steps / 2)
        self.assertGreater(got.n_accepted, 0)
        self.assertLessEqual(got.n_accepted, got.n_drafted)
        off = self.ask("lookup", draft=False, **self.along())
        self.assertEqual((off.tokens, off.n_drafted, off.n_steps), (plain.tokens, 0, plain.n_steps))

    def test_callbacks_are_called_once_for_each_token(self):
        seen = []

        def process(logits, tokens):
            seen.append(len(tokens))

        got = self.ask("lookup", process=process, **self.along())
        self.assertGreater(got.n_accepted, 0)
        self.assertEqual(seen, list(range(seen[0], seen[0] + len(got.tokens))))
        with self.assertRaises(ZeroDivisionError):
            self.ask("lookup", process=lambda *_: 1 // 0)

    def test_a_scheduler_guesses_too(self):
        plain, ids = self.ask(None), self.model.encode(self.TEXT, bos=True)
        for draft in ("lookup", gemma_cpp.Model(MODEL)):
            with gemma_cpp.Scheduler(self.model, max_sequences=2, n_ctx=512, n_threads=1, draft=draft) as scheduler:
                is_lookup = draft == "lookup"
                del draft
                gc.collect()
                self.assertEqual(scheduler.submit(ids, max_tokens=40, ignore_end=True).wait().tokens, plain.tokens)
                got = scheduler.submit(ids, max_tokens=40, ignore_end=True, **self.along()).wait()
                self.assertEqual(got.tokens, self.model.encode(self.TEXT)[:40])
                self.assertTrue(got.n_accepted > 0 or not is_lookup)
                off = scheduler.submit(ids, max_tokens=40, ignore_end=True, **self.along(draft=False)).wait()
                self.assertEqual((off.tokens, off.n_drafted), (got.tokens, 0))

    def test_what_is_planned_and_refused(self):
        self.assertEqual(self.model.plan(256).draft_bytes, 0)
        self.assertGreater(self.model.plan(256, draft="lookup").draft_bytes, 0)
        self.assertGreater(self.model.plan(256, draft=self.model).draft_bytes, self.model.info.file_bytes)
        with self.assertRaisesRegex(ValueError, "lookup"):
            gemma_cpp.Session(self.model, n_ctx=64, draft="guesses")
        with self.assertRaises(gemma_cpp.Error):
            gemma_cpp.Session(self.model, n_ctx=64, draft="lookup", draft_tokens=65)


class Conversations(WithModel):
    def test_answers_are_not_computed_again(self):
        session = gemma_cpp.Session(self.model, n_ctx=512, n_threads=1)
        chat = gemma_cpp.Conversation(session, system="Be brief.")
        self.assertEqual((chat.note, len(chat)), ("", 1))
        chat.ask("Where is the lighthouse?", max_tokens=12)
        answered = session.n_past
        said = list(chat.stream("Who keeps it?", max_tokens=4))
        self.assertEqual(session.tokens[-len(said):], [t.id for t in said])
        self.assertGreaterEqual(chat.n_reused, answered - 1)
        self.assertEqual(len(chat), 5)
        for _ in chat.stream("And then?", max_tokens=9):
            break  # the answer consists of the tokens until then
        gc.collect()
        self.assertEqual(len(chat), 7)
        chat.truncate(1)
        with self.assertRaises(ZeroDivisionError):
            chat.ask("Why?", pick=lambda _: 1 // 0)
        self.assertEqual(len(chat), 1)
        with self.assertRaises(gemma_cpp.Error):
            chat.add("assistant", "x", [-1])
        with self.assertRaises(gemma_cpp.Error):
            gemma_cpp.Conversation(session, chat_template="no such turns")


class Schedulers(WithModel):
    def test_answers_are_those_of_a_session(self):
        ids = self.model.encode_chat(QUESTION)
        alone = self.ready().generate(max_tokens=15, log_probabilities=True)
        with gemma_cpp.Scheduler(self.model, max_sequences=2, n_ctx=256, n_threads=1) as scheduler:
            answers = [scheduler.submit(ids, max_tokens=15, log_probabilities=True) for _ in range(4)]
            for answer in answers:
                got = answer.wait()
                self.assertEqual((got.text, got.tokens, got.reason), (alone.text, alone.tokens, alone.reason))
                self.assertEqual(got.log_probabilities, alone.log_probabilities)
            stopped = scheduler.submit(ids, max_tokens=200, ignore_end=True)
            next(stopped)
            stopped.cancel()
            self.assertLess(len(stopped.wait().tokens), 200)
            for bad in ({"top_p": 7.0}, {"noted": [1]}):
                with self.assertRaises((gemma_cpp.Error, TypeError)):
                    scheduler.submit(ids, **bad)
            with self.assertRaises(gemma_cpp.Error):
                scheduler.submit([])
            for option in ("pick", "process"):
                with self.assertRaises(ZeroDivisionError):
                    scheduler.submit(ids, **{option: lambda *_: 1 // 0}).wait()
            del answers, stopped
            # no call waits for the answer, and its callback is destroyed
            scheduler.submit(ids, process=lambda logits, tokens: None, max_tokens=100, ignore_end=True)
            gc.collect()
            self.assertEqual(scheduler.submit(ids, max_tokens=15).wait().text, alone.text)
        with self.assertRaises(ValueError):
            scheduler.submit(ids)


class Grammars(WithModel):
    def test_answers_are_texts_of_their_grammar(self):
        digits = gemma_cpp.Grammar.gbnf(self.model, 'root ::= [0-9] [0-9] "-" [a-c]')
        said = self.ready().generate(grammar=digits, temperature=0.8, seed=2).text
        self.assertTrue(digits.matches(said), said)
        self.assertFalse(digits.matches("12-d"))
        schema = gemma_cpp.Grammar.json_schema(self.model, {"enum": ["yes", "no"]})
        with gemma_cpp.Scheduler(self.model, n_ctx=256, n_threads=1) as scheduler:
            answer = scheduler.submit(self.model.encode_chat(QUESTION), grammar=schema)
            self.assertIn(answer.wait().text, ('"yes"', '"no"'))
        self.assertTrue(gemma_cpp.Grammar.json_object(self.model).matches('{"a": [1]}'))
        with self.assertRaises(gemma_cpp.Error):
            gemma_cpp.Grammar.gbnf(self.model, 'root ::= "a')


class Files(unittest.TestCase):
    def test_the_package_says_that_it_is_typed(self):
        self.assertTrue(Path(gemma_cpp.__file__).with_name("py.typed").exists())


if __name__ == "__main__":
    unittest.main()
