""""echo" of /v1/completions: the prompt with the probabilities of its tokens, as evaluations request it."""

import unittest

from served import DEMO, Served

SERVER = None
TEXT = "/v1/completions"


def setUpModule():
    global SERVER
    SERVER = Served("-m", DEMO, "--parallel", "2", "--log", "off")


def tearDownModule():
    assert SERVER.end() == 0


class Echo(unittest.TestCase):
    def scored(self, **more):
        return SERVER.post(TEXT, {"temperature": 0, "max_tokens": 1, "logprobs": 1, "echo": True, **more})["choices"]

    def test_echo_with_logprobs(self):
        said = SERVER.post(TEXT, {"prompt": "The river", "temperature": 0, "max_tokens": 6, "logprobs": 2,
                                  "ignore_eos": True})["choices"][0]
        ids = SERVER.post("/tokenize", {"content": "The river" + said["text"], "add_special": True})["tokens"]
        n = len(said["logprobs"]["tokens"])
        for prompt in ["The river" + said["text"], ids]:
            choice, = self.scored(prompt=prompt, logprobs=2, ignore_eos=True)
            told = choice["logprobs"]
            self.assertTrue(choice["text"].startswith("The river" + said["text"]))
            self.assertEqual({len(part) for part in told.values()}, {len(ids) + 1})
            self.assertEqual((told["token_logprobs"][0], told["top_logprobs"][0]), (None, None))
            # the same bits as when the tokens were generated
            self.assertEqual(told["token_logprobs"][-1 - n:-1], said["logprobs"]["token_logprobs"])
            self.assertEqual(told["top_logprobs"][-1 - n:-1], said["logprobs"]["top_logprobs"])
            self.assertEqual(told["text_offset"][:2], [0, 0])  # BOS is not part of the text
            for token, offset in list(zip(told["tokens"], told["text_offset"], strict=True))[1:]:
                self.assertEqual(choice["text"][offset:offset + len(token)], token)
            events = SERVER.stream(TEXT, {"prompt": prompt, "temperature": 0, "max_tokens": 1, "logprobs": 2, "echo": True,
                                          "ignore_eos": True})
            self.assertEqual("".join(e["choices"][0]["text"] for _, e in events[:-1]), choice["text"])
            for part, values in told.items():
                streamed = [v for _, e in events[:-1] for v in (e["choices"][0]["logprobs"] or {part: []})[part]]
                self.assertEqual(streamed, values)
        only, = self.scored(prompt="The river", max_tokens=0, logprobs=0)
        self.assertEqual((only["text"], only["finish_reason"]), ("The river", "length"))
        self.assertEqual(len(only["logprobs"]["tokens"]), len(SERVER.post("/tokenize", {
            "content": "The river", "add_special": True})["tokens"]))

    def test_scores_as_evaluations_ask_for_them(self):
        """Requests as of lm-eval: ids of contexts and continuations; the generated token is ignored."""
        context = SERVER.post("/tokenize", {"content": "The river Orne", "add_special": True})["tokens"]
        ends = [SERVER.post("/tokenize", {"content": text})["tokens"] for text in [" flows", " is long.", " 日本 🙂"]]
        choices = self.scored(prompt=[context + e for e in ends])
        self.assertEqual([c["index"] for c in choices], [0, 1, 2])
        for choice, end in zip(choices, ends, strict=True):
            told = choice["logprobs"]
            self.assertEqual(len(told["token_logprobs"][len(context):-1]), len(end))
            for p, top in zip(told["token_logprobs"][len(context):-1], told["top_logprobs"][len(context):-1], strict=True):
                self.assertLessEqual(p, max(top.values()))
        texts = self.scored(prompt=["The river", "The town"], n=2)
        self.assertEqual([c["index"] for c in texts], [0, 1, 2, 3])
        self.assertEqual(texts[0]["logprobs"], texts[1]["logprobs"])
        # an answer that ends at once reports the token that ended it
        eos = SERVER.post("/tokenize", {"content": SERVER.get("/props")["eos_token"], "parse_special": True})["tokens"][0]
        ended, = self.scored(prompt=context, logit_bias={str(eos): 100})
        self.assertEqual((ended["text"], ended["finish_reason"]), ("The river Orne", "stop"))
        self.assertEqual(len(ended["logprobs"]["token_logprobs"]), len(context) + 1)

    def test_parts_of_characters_have_names(self):
        choice, = self.scored(prompt="日本 🙂 é", logprobs=5)
        told = choice["logprobs"]
        self.assertTrue(any(t.startswith("bytes:\\x") for t in told["tokens"]) or "日" in "".join(told["tokens"]))
        for token, p, top in zip(told["tokens"][1:], told["token_logprobs"][1:], told["top_logprobs"][1:], strict=True):
            self.assertEqual(top[token], p)


if __name__ == "__main__":
    unittest.main()
