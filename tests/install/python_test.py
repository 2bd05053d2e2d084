#!/usr/bin/env python3
"""Tests the C interface from Python: answers, logits, scores, errors, exceptions in callbacks, threads.

    python_test.py LIBGEMMA.so MODEL.gguf
"""

import math
import sys
import threading
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "python"))
import gemma  # noqa: E402

QUESTION = [("user", "Where is the lighthouse?")]


class CInterface(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = gemma.Model(MODEL)

    def ready(self, **options):
        session = gemma.Session(self.model, n_ctx=256, n_threads=1, **options)
        session.set_tokens(self.model.encode_chat(QUESTION))
        return session

    def test_text_goes_there_and_back(self):
        text = "A sentence, with \u00e9 and \U0001f600."
        self.assertEqual(self.model.decode(self.model.encode(text)), text)
        self.assertEqual(self.model.encode("x", bos=True)[0], self.model.info.bos)

    def test_embeddings(self):
        texts = ["The lighthouse", "", "a\0b"]
        vectors = self.model.embed(texts, n_threads=1)
        self.assertEqual([len(v) for v in vectors], [self.model.info.embedding_width] * 3)
        self.assertEqual(vectors[:1], self.model.embed(texts[:1]))
        for v in self.model.embed(texts, dims=8):
            self.assertEqual(len(v), 8)
            self.assertAlmostEqual(math.hypot(*v), 1, places=5)
        with self.assertRaises(gemma.Error):
            self.model.embed(texts, prompt="query")  # the model has no prompts
        with self.assertRaises(gemma.Error):
            self.model.embed(texts, dims=10**6)

    def test_a_conversation_computes_nothing_of_its_answers_again(self):
        session = gemma.Session(self.model, n_ctx=512, n_threads=1)
        chat = gemma.Conversation(self.model)
        self.assertEqual(chat.note, "")
        heard = []
        first = chat.ask(session, "Where is the lighthouse?", max_tokens=12, on_token=lambda _, text: heard.append(text))
        self.assertEqual("".join(heard), first)
        chat.add("user", "Who keeps it?")
        ids = chat.encode()
        self.assertGreater(session.set_tokens(ids), len(self.model.encode_chat(QUESTION)))
        with self.assertRaises(gemma.Error):
            chat.add("assistant", "x", [-1])
        with self.assertRaises(gemma.Error):
            gemma.Conversation(self.model, "no such turns")

    def test_a_scheduler_answers_as_a_session_does(self):
        ids = self.model.encode_chat(QUESTION)
        alone = "".join(self.ready().generate(max_tokens=15))
        scheduler = gemma.Scheduler(self.model, max_sequences=2, n_ctx=256, n_threads=1)
        answers = [scheduler.submit(ids, max_tokens=15) for _ in range(4)]
        for answer in answers:
            self.assertEqual("".join(text for _, text in answer), alone)
        stopped = scheduler.submit(ids, max_tokens=150)
        stopped.cancel()
        self.assertLess(len(list(stopped)), 150)
        with self.assertRaises(gemma.Error):
            scheduler.submit([])
        with self.assertRaises(gemma.Error):
            scheduler.submit(ids, top_p=7.0)

    def test_answers_are_the_same_each_time(self):
        answers = {"".join(self.ready().generate(max_tokens=20, temperature=0.9, seed=7)) for _ in range(2)}
        self.assertEqual(len(answers), 1)
        self.assertTrue(answers.pop())

    def test_greedy_generation_takes_the_largest_logit(self):
        session = self.ready()
        logits = session.logits()
        self.assertEqual(len(logits), self.model.info.vocab_size)
        best = max(range(len(logits)), key=logits.__getitem__)
        seen = []
        session.generate(max_tokens=1, on_token=lambda token, _: seen.append(token))
        if best != self.model.info.eos and seen:
            self.assertEqual(seen[0], best)

    def test_score_is_the_log_softmax(self):
        session = self.ready()
        logits = session.logits()
        top = max(logits)
        normaliser = top + math.log(sum(math.exp(x - top) for x in logits))
        self.assertAlmostEqual(session.score([5, 6])[0], logits[5] - normaliser, places=9)

    def test_a_prefix_is_reused(self):
        session = self.ready()
        ids = self.model.encode_chat(QUESTION)
        self.assertEqual(session.set_tokens(ids), len(ids))

    def test_errors_have_a_code_and_say_what_is_wrong(self):
        with self.assertRaisesRegex(gemma.Error, "no/such.gguf") as caught:
            gemma.Model("no/such.gguf")
        self.assertEqual(caught.exception.code, 1)
        with self.assertRaisesRegex(gemma.Error, "not in the vocabulary") as caught:
            self.ready().set_tokens([-1])
        self.assertEqual(caught.exception.code, 11)
        with self.assertRaisesRegex(gemma.Error, "largest that fits|not even one") as caught:
            gemma.Session(self.model, n_ctx=4096, max_memory=1000)
        self.assertEqual(caught.exception.code, 13)
        with self.assertRaisesRegex(gemma.Error, "before the first token"):
            gemma.Session(self.model, n_ctx=16).logits()

    def test_stop_strings_end_the_text(self):
        whole = "".join(self.ready().generate(max_tokens=30))
        if len(whole) > 4:
            stop = whole[2:4]
            self.assertEqual("".join(self.ready().generate(max_tokens=30, stop=[stop])), whole[:whole.find(stop)])

    def test_a_callback_stops_and_its_exceptions_pass(self):
        self.assertEqual(len(self.ready().generate(on_token=lambda *_: False)), 1)
        with self.assertRaises(ZeroDivisionError):
            self.ready().generate(on_token=lambda *_: 1 // 0)

    def test_another_thread_cancels(self):
        session = self.ready()
        thread = []

        def on_token(*_):
            if not thread:
                thread.append(threading.Thread(target=session.cancel))
                thread[0].start()
                thread[0].join()

        session.generate(max_tokens=10**6, on_token=on_token)
        with self.assertRaises(gemma.Error) as caught:
            session.set_tokens([2, 3])
        self.assertEqual(caught.exception.code, 14)


if __name__ == "__main__":
    LIBRARY, MODEL = sys.argv.pop(1), sys.argv.pop(1)
    gemma.load_library(LIBRARY)
    unittest.main()
