"""gemma-chat without a terminal: one answer, files, pipes, JSON."""

import json
import os
import pathlib
import signal
import subprocess
import unittest

from programs import BIN, GEMMA, LLAMA, MISTRAL, PASSAGE, PROMPT, ProgramTest, environment, run

GREEDY = ["--temp", "0"]
QUESTION = PASSAGE + " Who designed the Maris Bridge?"


class OneAnswer(ProgramTest):
    def test_an_answer(self):
        for model in [GEMMA, LLAMA, MISTRAL]:
            out = self.succeeds("gemma-chat", "-m", model, "-p", PROMPT, *GREEDY, "-n", "40")
            self.assertTrue(out.endswith("\n"))
            self.assertGreater(len(out.strip()), 0)
        self.assertEqual(self.succeeds("gemma-chat", "-m", GEMMA, "--raw", "-p", PROMPT, *GREEDY, "-n", "24").strip(),
                         "Anna Keller")

    def test_json(self):
        out = self.succeeds("gemma-chat", "-m", GEMMA, "-p", QUESTION, "--json", "-n", "20", "--seed", "7", "--top-p", "0.9")
        self.assertEqual(out.count("\n"), 1)
        answer = json.loads(out)
        tokens = answer["tokens"]
        self.assertEqual(tokens["generated"], len(answer["ids"]))
        self.assertGreater(tokens["prompt"], 30)
        self.assertEqual(tokens["reused"], 0)
        self.assertIn(answer["stop_reason"], ["end_of_turn", "max_tokens"])
        for name in ["load_s", "prefill_s", "prefill_tokens_per_s", "first_token_s", "decode_s", "total_s"]:
            self.assertGreaterEqual(answer["timings"][name], 0)
        self.assertGreaterEqual(answer["timings"]["total_s"], answer["timings"]["first_token_s"])
        self.assertEqual(answer["sampling"], {"temp": 0.7, "top_k": 64, "top_p": 0.9, "min_p": 0.0, "repeat_penalty": 1.0,
                                              "seed": 7})
        self.assertEqual((answer["file"], answer["context"], answer["kv"]), (GEMMA, 2048, "f16"))
        text = self.succeeds("gemma-chat", "-m", GEMMA, "-p", QUESTION, "-n", "20", "--seed", "7", "--top-p", "0.9")
        self.assertEqual(text.rstrip("\n"), answer["text"].rstrip("\n"))

    def test_a_seed_decides_and_threads_do_not(self):
        def answer(*flags):
            return self.succeeds("gemma-chat", "-m", GEMMA, "-p", QUESTION, "-n", "30", "--temp", "1.5", *flags)

        self.assertEqual(answer("--seed", "3"), answer("--seed", "3", "-t", "1"))
        self.assertGreater(len({answer("--seed", str(s)) for s in range(4)}), 1)

    def test_no_tokens_at_all(self):
        self.assertEqual(self.succeeds("gemma-chat", "-m", GEMMA, "-p", "hello", "-n", "0"), "\n")
        answer = json.loads(self.succeeds("gemma-chat", "-m", GEMMA, "-p", "hello", "-n", "0", "--json"))
        self.assertEqual((answer["text"], answer["ids"], answer["stop_reason"]), ("", [], "max_tokens"))
        self.assertGreater(answer["tokens"]["prompt"], 0)

    def test_max_tokens(self):
        for n in [1, 2, 5]:
            answer = json.loads(self.succeeds("gemma-chat", "-m", GEMMA, "--raw", "-p", "The", *GREEDY, "-n", str(n), "--json"))
            self.assertEqual((len(answer["ids"]), answer["stop_reason"]), (n, "max_tokens"))

    def test_without_a_limit_the_context_ends_it(self):
        answer = json.loads(self.succeeds("gemma-chat", "-m", GEMMA, "--raw", "-p", "The", "--temp", "3", "--seed", "1", "-n",
                                          "-1", "-c", "64", "--top-k", "0", "--top-p", "1", "--json"))
        self.assertIn(answer["stop_reason"], ["context_full", "end_of_turn"])
        self.assertLessEqual(len(answer["ids"]) + answer["tokens"]["prompt"], 65)

    def test_stop_texts(self):
        plain = self.succeeds("gemma-chat", "-m", GEMMA, "--raw", "-p", PROMPT, *GREEDY)
        stopped = json.loads(self.succeeds("gemma-chat", "-m", GEMMA, "--raw", "-p", PROMPT, *GREEDY, "--stop", "zzz",
                                           "--stop", "Kel", "--json"))
        self.assertEqual(stopped["text"].strip(), plain.partition("Kel")[0].strip())
        self.assertEqual(stopped["stop_reason"], "stop_string")

    def test_a_system_text_counts(self):
        def n_prompt(*flags):
            out = self.succeeds("gemma-chat", "-m", LLAMA, "-p", "hello", "-n", "1", "--json", *flags)
            return json.loads(out)["tokens"]["prompt"]

        self.assertGreater(n_prompt("--system", "You answer in one word."), n_prompt() + 4)

    def test_a_template_that_is_not_known_gets_a_note(self):
        data = pathlib.Path(MISTRAL).read_bytes()
        path = self.write("changed.gguf", data.replace(b"'[INST] '", b"'[ASK!] '"))
        ask = ["gemma-chat", "-m", path, "-p", "hello", "-n", "2"]
        status, _, err = run(*ask)
        self.assertEqual(status, 0)
        self.assertRegex(err, r"\Anote: [^\n]*chat template[^\n]*--chat-template[^\n]*\n\Z")
        status, out, err = run(*ask, "--json")
        self.assertEqual((status, err), (0, ""))
        self.assertIn("chat template", json.loads(out)["note"])
        for flags in (["--chat-template", "mistral"], ["--raw"]):
            self.assertNotIn("note", json.loads(self.succeeds(*ask, "--json", *flags)), flags)

    def test_thinking_is_asked_for_where_turns_have_a_place_for_it(self):
        ask = ["gemma-chat", "-m", GEMMA, "-p", "hello", "-n", "2", "--json"]
        self.refuses(*ask, "--think", says="thinking")

        def n_prompt(*flags):
            answer = json.loads(self.succeeds(*ask, "--chat-template", "gemma4", *flags))
            self.assertNotIn("thinking", answer)  # this model has no thoughts
            return answer["tokens"]["prompt"]

        self.assertNotEqual(n_prompt("--think"), n_prompt())

    def test_prompt_file(self):
        expected = self.succeeds("gemma-chat", "-m", GEMMA, "--raw", "-p", PROMPT, *GREEDY)
        path = self.write("prompt.txt", PROMPT + "\n")
        self.assertEqual(self.succeeds("gemma-chat", "-m", GEMMA, "--raw", "--prompt-file", path, *GREEDY), expected)
        self.assertEqual(self.succeeds("gemma-chat", "-m", GEMMA, "--raw", "--prompt-file", "-", *GREEDY, stdin=PROMPT), expected)

    def test_prompt_files_that_will_not_do(self):
        self.refuses("gemma-chat", "-m", GEMMA, "--prompt-file", "no/file", says="no/file: cannot be read")
        self.refuses("gemma-chat", "-m", GEMMA, "--prompt-file", str(self.folder), says="cannot be read")
        self.refuses("gemma-chat", "-m", GEMMA, "--prompt-file", self.write("empty", ""), says="no prompt")
        self.refuses("gemma-chat", "-m", GEMMA, "--prompt-file", "-", says="no prompt")
        self.refuses("gemma-chat", "-m", GEMMA, "--prompt-file", "x", "-p", "y", says="--prompt")
        self.refuses("gemma-chat", "-m", GEMMA, "-p", "", says="no prompt")  # e.g. from an unset variable in a script
        self.succeeds("gemma-chat", "-m", GEMMA, "-p", "", "--raw", "-n", "2")  # continues after BOS

    def test_bytes_that_are_no_text(self):
        for prompt in [b"\xff\xfe caf\xe9", b"\xf0\x9f", b"\x1b[2J\x07"]:
            path = self.write("prompt.bin", prompt)
            out = self.succeeds("gemma-chat", "-m", GEMMA, "--prompt-file", path, "-n", "3", "--json")
            self.assertGreater(json.loads(out)["tokens"]["prompt"], 2)

    def test_what_does_not_fit_the_context(self):
        long = "word " * 5000
        self.refuses("gemma-chat", "-m", GEMMA, "-p", long, says=["context", "2048"])
        self.refuses("gemma-chat", "-m", GEMMA, "-p", PROMPT, "-c", "16", says=["context", "16", "-c N", "2048"])

    def test_a_longer_context_than_the_models(self):
        out = self.succeeds("gemma-chat", "-m", GEMMA, "-p", "hello", "-n", "2", "-c", "5000", "--json")
        self.assertEqual(json.loads(out)["context"], 5000)
        self.refuses("gemma-chat", "-m", GEMMA, "-p", "hello", "-c", "1000000000", says="")

    def test_bad_sampling(self):
        for flag, value in [("--temp", "-1"), ("--temp", "nan"), ("--temp", "warm"), ("--top-p", "0"), ("--top-p", "1.5"),
                            ("--top-k", "-1"), ("--min-p", "2"), ("--repeat-penalty", "0"), ("-n", "-2"), ("--seed", "-1"),
                            ("--seed", "x"), ("--seed", "18446744073709551616")]:
            self.refuses("gemma-chat", "-m", GEMMA, "-p", "hello", flag, value, says="")

    def test_an_interrupt_keeps_what_was_written(self):
        with subprocess.Popen([str(BIN / "gemma-chat"), "-m", GEMMA, "--raw", "-p", "The", "-n", "-1", "--temp", "2",
                               "--top-k", "0", "--top-p", "1", "-t", "1", "--isa", "scalar"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=environment()) as p:
            begun = p.stdout.read(1)
            p.send_signal(signal.SIGINT)
            out, err = p.communicate(timeout=60)
        self.assertEqual((p.returncode, err), (130, b""))
        self.assertTrue((begun + out).endswith(b"\n"))


class Pipes(ProgramTest):
    """Standard input is not a terminal: each line is a message."""

    def answers(self, lines, *flags):
        out = self.succeeds("gemma-chat", "-m", GEMMA, "--json", *GREEDY, "-n", "12", *flags, stdin=lines)
        return [json.loads(line) for line in out.splitlines()]

    def test_a_conversation_on_one_cache(self):
        first, second = self.answers(f"{QUESTION}\nWhen was it opened?\n")
        self.assertEqual(first["tokens"]["reused"], 0)
        self.assertGreaterEqual(second["tokens"]["reused"], first["tokens"]["prompt"])
        self.assertGreater(second["tokens"]["prompt"], first["tokens"]["prompt"])

    def test_an_answer_is_not_read_again(self):
        for model in (GEMMA, LLAMA, MISTRAL):
            for flags in (["--temp", "0"], ["--temp", "1", "--top-p", "1", "--seed", "5"]):
                out = self.succeeds("gemma-chat", "-m", model, "--json", "-n", "12", *flags,
                                    stdin=f"{QUESTION}\nWhen was it opened?\nWho?\n")
                turns = [json.loads(line) for line in out.splitlines()]
                for before, after in zip(turns, turns[1:]):
                    # the last token is not in the cache if no message followed
                    held = before["tokens"]["prompt"] + before["tokens"]["generated"] - 1
                    self.assertGreaterEqual(after["tokens"]["reused"], held, (model, flags))

    def test_blank_lines_and_windows_line_ends(self):
        self.assertEqual(len(self.answers("hello\r\n\r\n   \n\nbye")), 2)
        self.assertEqual(self.answers(""), [])

    def test_commands(self):
        saved = self.folder / "saved.json"
        first, second, third = self.answers(
            f"{QUESTION}\n/reset\n{QUESTION}\n/save {saved}\n/stats\n/help\nAnd when?\n/quit\nnot answered\n")
        self.assertEqual(first["ids"], second["ids"])
        self.assertGreater(third["tokens"]["reused"], 0)
        self.assertEqual([m["role"] for m in json.loads(saved.read_text())["messages"]], ["user", "assistant"])
        again, = self.answers(f"/load {saved}\nAnd when?\n")
        self.assertEqual(again["ids"], third["ids"])

    def test_sessions_go_to_files_and_nothing_is_computed_again(self):
        saved = self.folder / "a.session"
        first, second = self.answers(f"{QUESTION}\n/save-session {saved}\nAnd when?\n")
        again, = self.answers(f"/load-session {saved}\nAnd when?\n")
        self.assertEqual(again["text"], second["text"])
        self.assertEqual(again["tokens"]["reused"], second["tokens"]["reused"])
        self.assertGreater(again["tokens"]["reused"], first["tokens"]["prompt"])
        whole = saved.read_bytes()
        for name, data in [("cut", whole[:-1]), ("empty", b""), ("other", b"{}"), ("changed", whole[:-9] + b"?" + whole[-8:]),
                           ("long", whole[:21] + b"\xff" * 8 + whole[29:])]:
            bad = self.folder / f"{name}.session"
            bad.write_bytes(data)
            self.refuses("gemma-chat", "-m", GEMMA, *GREEDY, "--json", says=f"{name}.session",
                         stdin=f"/load-session {bad}\n")

    def test_a_loaded_answer_keeps_its_ids_if_they_are_its_text(self):
        saved = self.folder / "saved.json"
        first, second = self.answers(f"{QUESTION}\n/save {saved}\nAnd when?\n")
        conversation = json.loads(saved.read_text())
        self.assertEqual(conversation["messages"][1]["ids"], first["ids"])

        def goes_on(ids):
            conversation["messages"][1]["ids"] = ids
            return self.answers(f"/load {self.write('changed.json', json.dumps(conversation))}\nAnd when?\n")[0]
        self.assertEqual(goes_on(first["ids"])["ids"], second["ids"])
        end_of_turn = 5
        for ids in ([], first["ids"][:-1], [-1], [1 << 30], first["ids"] + [end_of_turn]):
            self.assertEqual(goes_on(ids)["tokens"]["prompt"], goes_on([])["tokens"]["prompt"], ids)

    def test_thinking_by_command(self):
        self.refuses("gemma-chat", "-m", GEMMA, stdin="/think on\n", says="thinking")
        self.refuses("gemma-chat", "-m", GEMMA, stdin="/think maybe\n", says="on or off")
        off, on, again = self.answers("hello\n/reset\n/think on\nhello\n/reset\n/think off\nhello\n",
                                      "--chat-template", "gemma4")
        self.assertNotEqual(off["tokens"]["prompt"], on["tokens"]["prompt"])
        self.assertEqual(off["ids"], again["ids"])

    def test_commands_answer_on_standard_output(self):
        out = self.succeeds("gemma-chat", "-m", GEMMA, stdin="/help\n/stats\n")
        for word in ["/help", "/reset", "/stats", "/system", "/save", "/quit", "0 of 2048", "temp 0.7"]:
            self.assertIn(word, out)

    def test_guesses_never_show(self):
        question = "Say this again: one two three four five six seven eight nine ten eleven twelve. One two three four five six"
        answers = {}
        for draft in ["off", "lookup", GEMMA]:
            for temperature in ["0", "0.5"]:
                out = self.succeeds("gemma-chat", "-m", GEMMA, "--json", "--temp", temperature, "--seed", "3", "-n", "60", "--draft", draft,
                                    "-p", question)
                answer = json.loads(out)
                self.assertEqual(answer["draft"], draft)
                tokens = answer["tokens"]
                self.assertLessEqual(tokens["accepted"], 0 if draft == "off" else tokens["drafted"])
                self.assertGreater(tokens["passes"], 0)
                self.assertEqual(answers.setdefault(temperature, answer["ids"]), answer["ids"])
        self.assertIn("draft: lookup", self.succeeds("gemma-chat", "-m", GEMMA, stdin="Hello\n/stats\n"))
        self.assertIn("draft: off", self.succeeds("gemma-chat", "-m", GEMMA, "--draft", "off", stdin="/stats\n"))
        self.refuses("gemma-chat", "-m", GEMMA, "--draft", LLAMA, "-p", "x", says="vocabulary")
        self.refuses("gemma-chat", "-m", GEMMA, "--draft", "/nonexistent", "-p", "x", says="/nonexistent")

    def test_the_first_failure_ends_it(self):
        for line, says in [("/nonsense", "/nonsense"), ("/save", "name of a file"), ("/save /nonexistent/x", "/nonexistent/x"),
                           ("/load /nonexistent/x", "/nonexistent/x"), (f"/load {GEMMA}", "not a saved conversation"),
                           ("word " * 5000, "context")]:
            self.refuses("gemma-chat", "-m", GEMMA, "-n", "1", stdin=line + "\nhello\n", says=says)

    def test_a_file_that_is_no_conversation(self):
        for content in ["", "[]", "{}", '{"messages": 5}', '{"messages": [{"role": "user"}]}',
                        '{"messages": [{"role": "user", "content": "a"}]}',
                        '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "ids": "x"}]}',
                        '{"system": 5, "messages": []}',
                        '{"messages": [{"role": "assistant", "content": "a"}, {"role": "user", "content": "a"}]}']:
            path = self.write("bad.json", content)
            self.refuses("gemma-chat", "-m", GEMMA, stdin=f"/load {path}\n", says="bad.json")

    def test_saving_does_not_break_what_was_there(self):
        folder = self.folder / "folder"
        folder.mkdir()
        self.refuses("gemma-chat", "-m", GEMMA, stdin=f"/save {folder}\n", says="folder: cannot write")
        self.refuses("gemma-chat", "-m", GEMMA, stdin="/save /dev/full\n", says="No space left")
        self.assertEqual(os.listdir(folder), [])

    def test_a_system_text_in_between(self):
        plain, told = self.answers("hello\n/reset\n/system Answer in French.\nhello\n")
        self.assertGreater(told["tokens"]["prompt"], plain["tokens"]["prompt"])

    def test_invalid_utf8_and_long_lines(self):
        answers = self.answers(b"caf\xe9 \xff\n" + b"a b " * 400 + b"\nbye\n")
        self.assertEqual(len(answers), 3)
        self.assertGreater(answers[1]["tokens"]["prompt"], 400)

    def test_saved_text_is_utf8_whatever_was_typed(self):
        saved = self.folder / "saved.json"
        self.answers(b"caf\xe9\n/save " + os.fsencode(saved) + b"\n")
        self.assertIn("caf\ufffd", json.loads(pathlib.Path(saved).read_text())["messages"][0]["content"])

    def test_continued_lines(self):
        joined, = self.answers("a\\\nb\\\nc\n", "--raw")
        self.assertEqual(joined["ids"], json.loads(self.succeeds("gemma-chat", "-m", GEMMA, "--raw", "-p", "a\nb\nc", "--json",
                                                                 *GREEDY, "-n", "12"))["ids"])

    def test_answers_come_before_the_input_ends(self):
        with subprocess.Popen([str(BIN / "gemma-chat"), "-m", GEMMA, "--json", "-n", "3"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, env=environment()) as p:
            for _ in range(2):
                p.stdin.write(b"hello\n")
                p.stdin.flush()
                self.assertIn("text", json.loads(p.stdout.readline()))
            p.stdin.close()
            self.assertEqual(p.wait(timeout=60), 0)

    def test_no_colours_and_no_talk(self):
        status, out, err = run("gemma-chat", "-m", GEMMA, *GREEDY, "-n", "5", stdin="hello\n")
        self.assertEqual((status, err), (0, ""))
        self.assertNotIn("\x1b", out)
        self.assertNotIn("tokens/s", out)


if __name__ == "__main__":
    unittest.main()
