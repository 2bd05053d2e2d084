"""gemma-chat at a terminal: editing, history, colours, Ctrl-C, progress."""

import json
import os
import re
import signal
import unittest

from programs import BIN, GEMMA, ProgramTest, Terminal, environment, plain

QUESTION = "The bridge was designed by Anna Keller in 1931. Who designed the bridge?"
CTRL_C, CTRL_D, UP, LEFT, BACKSPACE = "\x03", "\x04", "\x1b[A", "\x1b[D", "\x7f"
# with these flags the demo model continues until the context is full
ENDLESS = ["--raw", "--temp", "3", "--top-k", "0", "--top-p", "1", "-c", "2048", "--isa", "scalar", "-t", "1"]


class Chat(ProgramTest):
    def chat(self, *flags, env=None, **options):
        terminal = Terminal("gemma-chat", "-m", GEMMA, "--seed", "1", *flags,
                            env=environment(XDG_STATE_HOME=str(self.folder / "state"), **(env or {})), **options)
        self.addCleanup(terminal.__exit__)
        return terminal

    def test_a_conversation(self):
        chat = self.chat("--temp", "0", "-n", "12")
        chat.wait_for_prompt()
        self.assertIn("6.6 million parameters", chat.seen)
        self.assertIn("/help", chat.seen)
        answer = plain(chat.command(QUESTION))
        self.assertRegex(answer, r"\d+\.\d tokens/s · first token after \d+\.\d\d s · \d+ tokens · context \d+ of 2048")
        used = int(re.search(r"context (\d+) of", answer)[1])
        longer = plain(chat.command("When?"))
        self.assertGreater(int(re.search(r"context (\d+) of", longer)[1]), used)
        self.assertIn("4 messages", plain(chat.command("/stats")))
        self.assertIn("a new conversation", chat.command("/reset"))
        self.assertIn("0 messages", plain(chat.command("/stats")))
        self.assertEqual(plain(chat.command(QUESTION)).splitlines()[:-2], answer.splitlines()[:-2])
        chat.send("/quit\r")
        self.assertEqual(chat.end(), 0)

    def test_help_lists_what_there_is(self):
        chat = self.chat()
        chat.wait_for_prompt()
        shown = chat.command("/help")
        for command in ["/help", "/reset", "/stats", "/system", "/save", "/load", "/quit", "Ctrl-C"]:
            self.assertIn(command, shown)

    def test_mistakes_do_not_end_it(self):
        chat = self.chat("-n", "2")
        chat.wait_for_prompt()
        self.assertIn("there is no command /nonsense", chat.command("/nonsense"))
        self.assertIn("cannot write", chat.command("/save /nonexistent/file"))
        self.assertIn("cannot be read", chat.command("/load /nonexistent/file"))
        self.assertIn("name of a file", chat.command("/save"))
        self.assertIn("tokens/s", chat.command("hello"))
        saved = self.folder / "conversation.json"
        self.assertIn("2 messages saved", chat.command(f"/save {saved}"))
        self.assertEqual(json.loads(saved.read_text())["messages"][0], {"role": "user", "content": "hello"})
        chat.send(CTRL_D)
        self.assertEqual(chat.end(), 0)

    def test_colours_on_a_terminal_only(self):
        chat = self.chat("-n", "2")
        chat.wait_for_prompt()
        chat.command("hello")
        self.assertIn("\x1b[32m", chat.seen)  # colour of the typed text
        self.assertIn("\x1b[2m", chat.seen)  # colour of the statistics
        for env in [{"NO_COLOR": "1"}, {"TERM": "dumb"}]:
            chat = self.chat("-n", "2", env=env)
            chat.wait_for_prompt()
            chat.command("hello")
            self.assertNotRegex(chat.seen, r"\x1b\[[0-9;]*m")

    def test_answers_into_a_file_are_plain(self):
        path = self.folder / "answers"
        chat = self.chat("-n", "3", "-p", "hello", stdout=str(path))
        self.assertEqual(chat.end(), 0)
        self.assertNotIn("\x1b", path.read_text())
        self.assertGreater(len(path.read_text()), 1)
        self.assertIn("tokens/s", chat.seen)

    def test_what_the_model_says_cannot_steer_the_terminal(self):
        chat = self.chat("--temp", "5", "--top-k", "0", "--top-p", "1", "--raw", "-n", "200", env={"NO_COLOR": "1"})
        chat.wait_for_prompt()
        answer = chat.command("x")
        answer = answer[:answer.rfind("tokens/s")].replace("\x1b[?2004l", "")  # written by the line editor
        self.assertNotRegex(answer, r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

    def test_ctrl_c_stops_an_answer_and_keeps_the_conversation(self):
        chat = self.chat(*ENDLESS, "-n", "-1")
        chat.wait_for_prompt()
        begin = len(chat.seen)
        chat.send("The\r")
        begin = chat.wait_for("\n", begin)
        chat.wait_for_answer(begin)
        chat.send(CTRL_C)
        end = chat.wait_for("stopped", begin)
        chat.wait_for_prompt(end)
        self.assertIn("tokens/s", chat.seen[end:])
        used = int(re.search(r"context: (\d+) of", chat.command("/stats"))[1])
        self.assertGreater(used, 2)
        chat.send("/quit\r")
        self.assertEqual(chat.end(), 0)

    def test_ctrl_c_at_the_prompt(self):
        chat = self.chat()
        begin = chat.wait_for_prompt()
        chat.send("never sent")
        chat.wait_for("never sent", begin)
        begin = len(chat.seen)
        chat.send(CTRL_C)
        begin = chat.wait_for_prompt(begin)
        chat.send(CTRL_C)
        begin = chat.wait_for("Ctrl-C again", begin)
        chat.wait_for_prompt(begin)
        self.assertIn("0 messages", chat.command("/stats"))
        begin = len(chat.seen)
        chat.send(CTRL_C)
        begin = chat.wait_for("Ctrl-C again", begin)
        chat.wait_for_prompt(begin)
        chat.send(CTRL_C)
        self.assertEqual(chat.end(), 0)

    def test_editing_and_history(self):
        chat = self.chat("-n", "1")
        chat.wait_for_prompt()
        saved = self.folder / "c.json"
        chat.command("Where is Xaris" + LEFT * 4 + BACKSPACE + "P")
        chat.command(UP + "?")
        chat.command(f"/save {saved}")
        self.assertEqual([m["content"] for m in json.loads(saved.read_text())["messages"][::2]],
                         ["Where is Paris", "Where is Paris?"])
        chat.send(CTRL_D)
        self.assertEqual(chat.end(), 0)
        later = self.chat("-n", "1")  # the history is kept after the program ends
        later.wait_for_prompt()
        later.command(UP + UP)
        later.command(f"/save {saved}")
        self.assertEqual(json.loads(saved.read_text())["messages"][0]["content"], "Where is Paris?")
        history = self.folder / "state/gemma/chat_history"
        self.assertEqual(history.stat().st_mode & 0o077, 0, "history is its owner's")

    def test_letters_of_every_kind(self):
        for locale in ["C.UTF-8", "C", None]:
            chat = self.chat("-n", "1", env={"LC_ALL": locale, "LANG": None})
            chat.wait_for_prompt()
            saved = self.folder / "c.json"
            chat.command("Grüße, 日本" + BACKSPACE + "語")
            chat.command(f"/save {saved}")
            self.assertEqual(json.loads(saved.read_text())["messages"][0]["content"], "Grüße, 日語")

    def test_lines_that_go_on(self):
        chat = self.chat("-n", "1")
        begin = chat.wait_for_prompt()
        chat.send("one\\\r")
        chat.wait_for(". ", begin)
        chat.command("two")
        saved = self.folder / "c.json"
        chat.command(f"/save {saved}")
        self.assertEqual(json.loads(saved.read_text())["messages"][0]["content"], "one\ntwo")

    def test_pasted_lines_are_one_message(self):
        chat = self.chat("-n", "1")
        chat.wait_for_prompt()
        chat.command("\x1b[200~first\r\nsecond\nthird\x1b[201~")
        saved = self.folder / "c.json"
        chat.command(f"/save {saved}")
        self.assertEqual(json.loads(saved.read_text())["messages"][0]["content"].split(), ["first", "second", "third"])

    def test_a_line_longer_than_the_screen(self):
        chat = self.chat("-n", "1")
        chat.wait_for_prompt()
        text = " ".join(f"word{i}" for i in range(300))
        chat.command(text)
        saved = self.folder / "c.json"
        chat.command(f"/save {saved}")
        self.assertEqual(json.loads(saved.read_text())["messages"][0]["content"], text)

    def test_a_full_context_is_said_plainly(self):
        chat = self.chat("-c", "48", "-n", "10")
        chat.wait_for_prompt()
        shown = plain(chat.command("word " * 60))
        self.assertRegex(shown, r"takes \d+ tokens, and the context holds 48")
        self.assertIn("-c N allows up to 2048", shown)
        self.assertIn("tokens/s", chat.command("hello"))
        for _ in range(4):
            shown = plain(chat.command("and then?"))
        self.assertIn("/reset begins a new one", shown)
        chat.command("/reset")
        self.assertIn("tokens/s", chat.command("hello"))

    def test_a_progress_line_while_a_long_prompt_is_read(self):
        chat = self.chat("--isa", "scalar", "-t", "1", "-n", "1")
        chat.wait_for_prompt()
        begin = len(chat.seen)
        chat.send("The bridge was opened in the year 1931. " * 130 + "\r")
        begin = chat.wait_for("reading the prompt", begin)
        at = chat.wait_for("tokens", begin)
        self.assertRegex(chat.seen[begin - 30:at], r"reading the prompt: \d+ of \d+ tokens")
        chat.send(CTRL_C)
        at = chat.wait_for("the message was taken back", at)
        chat.wait_for_prompt(at)
        self.assertIn("0 messages", plain(chat.command("/stats")))

    def test_typing_during_an_answer_waits_for_the_prompt(self):
        chat = self.chat(*ENDLESS, "-n", "50")
        chat.wait_for_prompt()
        begin = len(chat.seen)
        chat.send("The\r")
        begin = chat.wait_for("\n", begin)
        chat.wait_for_answer(begin)
        chat.send("/stats\r")
        at = chat.wait_for("tokens/s", begin)
        self.assertNotIn("/stats", chat.seen[begin:at])
        chat.wait_for("messages; memory", at)

    def test_json_needs_messages(self):
        chat = self.chat("--json")
        self.assertEqual(chat.end(), 1)
        self.assertIn("--json needs", chat.seen)

    def test_the_terminal_is_left_as_it_was(self):
        before, after = self.folder / "before", self.folder / "after"
        script = f'stty -a >{before}; "$@"; stty -a >{after}'
        for keys in [CTRL_D, "/quit\r", CTRL_C + CTRL_C]:
            chat = Terminal("/bin/sh", "-c", script, "sh", str(BIN / "gemma-chat"), "-m", GEMMA,
                            env=environment(XDG_STATE_HOME=str(self.folder)))
            self.addCleanup(chat.__exit__)
            chat.wait_for_prompt()
            chat.send(keys)
            self.assertEqual(chat.end(), 0)
            self.assertEqual(after.read_text(), before.read_text())

    def test_a_signal_at_the_prompt_ends_colours_and_paste_marks(self):
        for number in [signal.SIGTERM, signal.SIGHUP]:
            chat = self.chat(env={"TERM": "xterm", "NO_COLOR": ""})
            chat.wait_for_prompt()
            chat.send("half a line")
            shown = chat.wait_for("line")
            os.kill(chat.pid, number)
            self.assertEqual(chat.end(), -number)
            self.assertIn("\x1b[0m", chat.seen[shown:])
            self.assertIn("\x1b[?2004l", chat.seen[shown:])


if __name__ == "__main__":
    unittest.main()
