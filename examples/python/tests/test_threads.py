"""Threads, forked and spawned processes, and Ctrl-C."""

import multiprocessing
import signal
import threading
import time
import unittest

import gemma_cpp
from model_file import MODEL


def ask(session, seed):
    with session.exclusive():
        session.set_tokens(session.model.encode_chat([("user", f"Where is lighthouse {seed}?")]))
        return session.generate(max_tokens=12, temperature=0.8, seed=seed).text


def in_threads(count, call):
    """The results of call(i) for i < count, each in a thread; all threads start together."""
    results, errors, barrier = [None] * count, [], threading.Barrier(count)

    def work(i):
        try:
            barrier.wait()
            results[i] = call(i)
        except BaseException as e:
            errors.append(e)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


class Threads(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = gemma_cpp.Model(MODEL)
        session = gemma_cpp.Session(cls.model, n_ctx=256, n_threads=1)
        cls.alone = [ask(session, seed) for seed in range(4)]

    def test_two_threads_in_one_session(self):
        session = gemma_cpp.Session(self.model, n_ctx=256, n_threads=1)
        got = in_threads(2, lambda i: [ask(session, (i + k) % 4) for k in range(8)])
        for i in range(2):
            self.assertEqual(got[i], [self.alone[(i + k) % 4] for k in range(8)])

    def test_calls_that_do_not_belong_together_are_safe_too(self):
        session = gemma_cpp.Session(self.model, n_ctx=256, n_threads=1)

        def call(i):
            for k in range(20):
                try:
                    session.set_tokens([2, 5 + i, 6 + k])
                    list(session.stream(max_tokens=4, ignore_end=True))
                    session.logits()
                except gemma_cpp.Error as e:
                    self.assertEqual(e.code, gemma_cpp.Error.CANCELLED)
            return True

        self.assertEqual(in_threads(3, call), [True] * 3)

    def test_four_sessions_in_four_threads(self):
        got = in_threads(4, lambda i: ask(gemma_cpp.Session(self.model, n_ctx=256, n_threads=1), i))
        self.assertEqual(got, self.alone)

    def test_threads_share_a_llama(self):
        llm = gemma_cpp.Llama(MODEL, n_ctx=256, n_threads=1, verbose=False)

        def call(i):
            parts = llm(f"Lighthouse {i}", max_tokens=8, seed=i, stream=True)
            return "".join(part["choices"][0]["text"] for part in parts)

        alone = [call(i) for i in range(4)]
        self.assertEqual(in_threads(4, call), alone)

    def test_another_thread_cancels(self):
        session = gemma_cpp.Session(self.model, n_ctx=256, n_threads=1)
        session.set_tokens([2, 5])
        stream = session.stream(max_tokens=10**6, ignore_end=True)
        next(stream)
        in_threads(1, lambda _: session.cancel())
        self.assertLess(len(list(stream)), 200)
        self.assertEqual(stream.result.reason, "cancelled")
        with self.assertRaises(gemma_cpp.Error) as caught:
            session.append([5])
        self.assertEqual(caught.exception.code, gemma_cpp.Error.CANCELLED)
        session.clear_cancel()
        session.append([5])


def answer_in_child(model, pipe):
    session = gemma_cpp.Session(model, n_ctx=256)
    pipe.send([ask(session, seed) for seed in range(2)])


class Processes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = gemma_cpp.Model(MODEL)
        cls.session = gemma_cpp.Session(cls.model, n_ctx=256, n_threads=2)
        cls.alone = [ask(cls.session, seed) for seed in range(2)]  # the parent has computed with threads

    def in_process(self, kind, target, *arguments):
        context = multiprocessing.get_context(kind)
        ours, theirs = context.Pipe()
        process = context.Process(target=target, args=(*arguments, theirs))
        process.start()
        theirs.close()
        self.assertTrue(ours.poll(60), "the child does not answer")
        got = ours.recv()
        process.join()
        self.assertEqual(process.exitcode, 0)
        return got

    def test_spawned(self):
        self.assertEqual(self.in_process("spawn", answer_in_child, self.model), self.alone)

    def test_forked(self):
        self.assertEqual(self.in_process("fork", answer_in_child, self.model), self.alone)

    def test_forked_with_what_the_parent_made(self):
        scheduler = gemma_cpp.Scheduler(self.model, n_ctx=64, n_threads=1)
        answer = scheduler.submit(self.model.encode("One", bos=True), max_tokens=3)
        busy = gemma_cpp.Session(self.model, n_ctx=64)

        def child(pipe):
            got = [[ask(self.session, seed) for seed in range(2)]]
            for call in (lambda: scheduler.submit([2, 5]), lambda: next(answer), lambda: busy.append([5])):
                try:
                    call()
                    got.append("no error")
                except gemma_cpp.Error as e:
                    got.append("make another" in str(e))
            pipe.send(got)

        taken, done = threading.Event(), threading.Event()

        def hold():
            with busy.exclusive():
                taken.set()
                done.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        taken.wait()
        try:
            self.assertEqual(self.in_process("fork", child), [self.alone, True, True, True])
        finally:
            done.set()
            thread.join()
        self.assertEqual(len(answer.wait().tokens), len(answer.result.tokens))
        busy.append([5])


class CtrlC(unittest.TestCase):
    """A signal's handler that raises KeyboardInterrupt, as Python's own does, while something computes."""

    def setUp(self):
        self.model = gemma_cpp.Model(MODEL)
        self.n = self.model.info.max_seq_len
        self.session = gemma_cpp.Session(self.model, n_ctx=self.n, n_threads=1, chunk=16)
        before = signal.signal(signal.SIGALRM, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGALRM, before)

    def interrupted(self, call, after=0.02):
        begin = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, after)
        try:
            with self.assertRaises(KeyboardInterrupt):
                call()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return time.monotonic() - begin

    def test_a_prompt(self):
        ids = [self.model.info.bos] + [5] * (self.n - 1)
        begin = time.monotonic()
        self.session.set_tokens(ids)
        whole = time.monotonic() - begin
        self.session.reset()
        self.interrupted(lambda: self.session.set_tokens(ids), whole / 8)
        self.assertLess(self.session.n_past, self.n)
        self.session.set_tokens(ids)  # the session can still be used
        self.assertEqual(self.session.n_past, self.n)

    def test_an_answer(self):
        self.session.set_tokens([self.model.info.bos])
        self.interrupted(lambda: self.session.generate(max_tokens=self.n, ignore_end=True, temperature=1.0))
        self.assertLess(self.session.n_past, self.n)
        self.session.append([5])

    def test_a_conversation_has_neither_question_nor_answer(self):
        chat = gemma_cpp.Conversation(self.session)
        self.interrupted(lambda: chat.ask("Where?", max_tokens=self.n, ignore_end=True, temperature=1.0))
        self.assertEqual(len(chat), 0)
        chat.ask("Where?", max_tokens=3)
        self.assertEqual(len(chat), 2)

    def test_a_llama(self):
        llm = gemma_cpp.Llama(MODEL, n_ctx=self.n, n_threads=1, verbose=False)
        self.interrupted(lambda: llm("x", max_tokens=-1, logit_bias={self.model.info.eos: -100.0}))
        self.assertEqual(llm("x", max_tokens=2)["usage"]["completion_tokens"], 2)

    def test_a_scheduler(self):
        with gemma_cpp.Scheduler(self.model, n_ctx=self.n, n_threads=1) as scheduler:
            answer = scheduler.submit([2, 5], max_tokens=self.n, ignore_end=True)
            self.interrupted(answer.wait)
            answer.cancel()


if __name__ == "__main__":
    unittest.main()
