"""gemma-tokenize: JSON lines in, a line out for each, whatever a line contains."""

import json
import pathlib
import resource
import subprocess
import unittest

from programs import BIN, GEMMA, LIMIT, LLAMA, MISTRAL, ProgramTest, environment

TEXTS = ["Hello world", " leading and trailing ", "Grüße, 日本語 🙂", "a\u0000b\x1b[2J", "", "\n\n\t", "x" * 5000,
         "1889 and 3.14", "<start_of_turn>user", "e\u0301 \u202e"]


class Tokenize(ProgramTest):
    def lines(self, model, *flags, stdin):
        """The output objects, one for each input line."""
        if not isinstance(stdin, (str, bytes)):
            stdin = "".join(json.dumps(line) + "\n" for line in stdin)
        out = self.succeeds("gemma-tokenize", "-m", model, *flags, stdin=stdin)
        return [json.loads(line) for line in out.splitlines()]

    def test_there_and_back(self):
        for model in [GEMMA, LLAMA, MISTRAL]:
            encoded = self.lines(model, stdin=[{"text": t} for t in TEXTS])
            self.assertEqual([list(e) for e in encoded], [["ids"]] * len(TEXTS))
            decoded = self.lines(model, "--decode", stdin=encoded)
            self.assertEqual([d["text"] for d in decoded], TEXTS)
            self.assertEqual([bytes.fromhex(d["hex"]).decode() for d in decoded], TEXTS)

    def test_bos(self):
        for model, bos in [(GEMMA, 2), (MISTRAL, 1)]:
            without, = self.lines(model, stdin=[{"text": "Hello"}])
            with_bos, = self.lines(model, "--bos", stdin=[{"text": "Hello"}])
            self.assertEqual(with_bos["ids"], [bos] + without["ids"])

    def test_control_tokens_are_parsed_only_when_asked(self):
        text = [{"text": "<start_of_turn>user"}]
        self.assertNotIn(4, self.lines(GEMMA, stdin=text)[0]["ids"])
        self.assertEqual(self.lines(GEMMA, "--special", stdin=text)[0]["ids"][0], 4)
        self.assertEqual(self.lines(GEMMA, "--decode", stdin=[{"ids": [2, 4]}])[0], {"text": "", "hex": ""})
        self.assertEqual(self.lines(GEMMA, "--decode", "--special", stdin=[{"ids": [2, 4]}])[0]["text"],
                         "<bos><start_of_turn>")

    def test_half_a_character_is_exact_in_hex(self):
        ids = self.lines(LLAMA, stdin=[{"text": "🦊"}])[0]["ids"]
        self.assertGreater(len(ids), 1)
        half, = self.lines(LLAMA, "--decode", stdin=[{"ids": ids[:1]}])
        self.assertIn("\ufffd", half["text"])
        self.assertTrue("🦊".encode().hex().startswith(half["hex"]))

    def test_chat(self):
        user = {"role": "user", "content": "Hi <end_of_turn> there"}
        asked, complete = self.lines(GEMMA, "--chat", stdin=[
            {"messages": [user], "add_generation_prompt": True},
            {"messages": [user, {"role": "assistant", "content": "Hello."}], "add_generation_prompt": False}])
        self.assertEqual(asked["text"], "<bos><start_of_turn>user\nHi <end_of_turn> there<end_of_turn>\n"
                                        "<start_of_turn>model\n")
        self.assertEqual(asked["ids"][:2], [2, 4])
        self.assertEqual(asked["ids"].count(2), 1)
        self.assertEqual(asked["ids"].count(5), 1, "what a user types is text, not the end of a turn")
        self.assertTrue(complete["text"].endswith("Hello.<end_of_turn>\n"))
        for model in [LLAMA, MISTRAL]:
            one, = self.lines(model, "--chat", stdin=[{"messages": [user], "add_generation_prompt": True}])
            self.assertIn("Hi <end_of_turn> there", one["text"])

    def test_a_template_that_is_not_known_gets_a_note(self):
        user = {"messages": [{"role": "user", "content": "Hi"}]}
        known, = self.lines(MISTRAL, "--chat", stdin=[user])
        self.assertEqual(list(known), ["text", "ids"])
        data = pathlib.Path(MISTRAL).read_bytes()
        self.assertIn(b"'[INST] '", data)
        path = self.write("changed.gguf", data.replace(b"'[INST] '", b"'[ASK!] '"))
        changed, = self.lines(path, "--chat", stdin=[user])
        self.assertEqual(list(changed), ["text", "ids", "note"])
        self.assertIn("--chat-template", changed["note"])
        chosen, = self.lines(path, "--chat", "--chat-template", "chatml", stdin=[user])
        self.assertEqual(list(chosen), ["text", "ids"])
        self.assertEqual(chosen["text"], "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")

    def test_turns_by_name(self):
        user = {"messages": [{"role": "user", "content": "Hi"}]}
        for name in ["gemma", "llama2", "llama3", "llama31", "mistral", "mistral-v3", "chatml", "zephyr"]:
            one, = self.lines(GEMMA, "--chat", "--chat-template", name, stdin=[user])
            self.assertIn("Hi", one["text"], name)
        self.refuses("gemma-tokenize", "-m", GEMMA, "--chat", "--chat-template", "vicuna", says=["vicuna", "zephyr"])
        self.refuses("gemma-tokenize", "-m", GEMMA, "--chat-template", "zephyr", says="--chat")

    def test_thoughts_and_tools(self):
        call = {"id": "1", "function": {"name": "now", "arguments": {"zone": "UTC", "n": 1.0}}}
        one, plain, refused = self.lines(GEMMA, "--chat", "--chat-template", "gemma4", stdin=[
            {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "tool_calls": [call]},
                          {"role": "tool", "tool_call_id": "1", "content": "noon"}],
             "tools": [{"type": "function", "function": {"name": "now", "description": "Time"}}], "enable_thinking": True},
            {"messages": [{"role": "user", "content": "Hi"}], "tools": None},
            {"messages": [{"role": "user", "content": "Hi"}], "tools": 5}])
        self.assertEqual(one["text"], "<bos><|turn>system\n<|think|>\n<|tool>declaration:now{description:<|\"|>Time<|\"|>}"
                         "<tool|><turn|>\n<|turn>user\nHi<turn|>\n<|turn>model\n<|tool_call>call:now{n:1.0,zone:<|\"|>UTC"
                         "<|\"|>}<tool_call|><|tool_response>response:now{value:<|\"|>noon<|\"|>}<tool_response|>")
        self.assertTrue(plain["text"].endswith("<|turn>model\n<|channel>thought\n<channel|>"))
        self.assertEqual(list(refused), ["error"])

    def test_conversations_that_the_template_refuses(self):
        for messages in [[], [{"role": "assistant", "content": "Hi"}],
                         [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]]:
            refused, = self.lines(GEMMA, "--chat", stdin=[{"messages": messages}])
            self.assertEqual(list(refused), ["error"])

    def test_a_bad_line_does_not_stop_the_others(self):
        good = '{"text": "Hello"}'
        bad = ["garbage", "", "[]", "5", "null", '"text"', '{"text": 5}', '{"txt": "a"}', '{"text": "a"', '{"text": "\\ud800"}']
        results = self.lines(GEMMA, stdin="\n".join(sum(([b, good] for b in bad), [])))
        self.assertEqual(len(results), 2 * len(bad))
        for i, line in enumerate(bad):
            self.assertEqual(list(results[2 * i]), ["error"], line)
            self.assertLess(len(results[2 * i]["error"]), 120)
            self.assertEqual(list(results[2 * i + 1]), ["ids"])

    def test_bad_ids(self):
        bad = [[4096], [-1], [99999999999], [18446744073709551615], [1e300], [1.5], ["2"], 2, None, [[2]], [True]]
        for ids, result in zip(bad, self.lines(GEMMA, "--decode", stdin=[{"ids": ids} for ids in bad])):
            self.assertEqual(list(result), ["error"], ids)
        self.assertEqual(self.lines(GEMMA, "--decode", stdin=[{"ids": []}])[0], {"text": "", "hex": ""})

    def test_bad_messages(self):
        bad = ['{"messages": 5}', '{"messages": [5]}', '{"messages": [{"role": "user"}]}', '{}', "[]",
               '{"messages": [{"role": 1, "content": "a"}]}',
               '{"messages": [{"role": "user", "content": "a"}], "add_generation_prompt": "yes"}']
        for result in self.lines(GEMMA, "--chat", stdin="\n".join(bad)):
            self.assertEqual(list(result), ["error"])

    def test_bytes_that_are_not_utf8(self):
        bad, good = self.lines(GEMMA, stdin=b'{"text": "\xff\xfe"}\n{"text": "ok"}\n')
        self.assertEqual((list(bad), list(good)), (["error"], ["ids"]))

    def test_the_last_line_may_lack_its_newline_and_others_may_end_as_on_windows(self):
        self.assertEqual(len(self.lines(GEMMA, stdin='{"text": "a"}\r\n{"text": "b"}')), 2)
        self.assertEqual(self.lines(GEMMA, stdin=""), [])

    def test_too_little_memory_is_an_error_wherever_it_is_noticed(self):
        def run_within(kibibytes):
            size = kibibytes * 1024
            done = subprocess.run([str(BIN / "gemma-tokenize"), "-m", GEMMA], input=b'{"text": "Hello"}\n',
                                  capture_output=True, env=environment(), timeout=LIMIT, check=False,
                                  preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size)))
            return done.returncode, done.stderr.decode()

        if run_within(1 << 20)[0] != 0:
            self.skipTest("a sanitizer's shadow takes more address space than any limit")
        enough = next(k for k in range(4 << 10, 1 << 20, 1 << 10) if run_within(k)[0] == 0)
        for kibibytes in range(enough - 2048, enough, 64):  # the vocabulary's tables need less
            status, err = run_within(kibibytes)
            self.assertIn(status, (0, 1), f"{kibibytes} KiB: {err}")
            if status == 1:
                self.assertRegex(err, r"\Agemma-tokenize: [^\n]+\n\Z")

    def test_modes_exclude_each_other(self):
        self.refuses("gemma-tokenize", "-m", GEMMA, "--decode", "--chat", says=["--decode", "--chat"])


if __name__ == "__main__":
    unittest.main()
